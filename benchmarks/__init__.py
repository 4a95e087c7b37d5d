"""Runnable measurements. `make bench` runs them all, `python -m benchmarks inbox` one of them."""
