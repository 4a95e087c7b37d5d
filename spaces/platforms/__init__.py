"""Kinds of chat system, one file each. `contract.py` says what one is."""
