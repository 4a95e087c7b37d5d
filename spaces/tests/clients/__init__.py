"""Clients that other people wrote, unmodified, against our simulated servers."""
