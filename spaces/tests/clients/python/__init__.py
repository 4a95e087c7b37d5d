"""Programs that drive a client by the orders of a test; `.venv-clients` runs them.

They import nothing of ours but each other: that environment knows no Django.
"""
