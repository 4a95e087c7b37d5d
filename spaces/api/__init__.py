"""Spaces and what lives in them, in REST. Who may see which of them is decided by `bots.api`."""
