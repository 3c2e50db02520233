"""Measurements, never assertions. `make bench` for what is usual, or `python -m bench NAME`; each prints a table of what it measured and how."""
