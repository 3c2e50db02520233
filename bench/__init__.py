"""Measurements, never assertions. `make bench` for a step, or `python -m bench NAME`; each prints a table of what it measured and how."""
