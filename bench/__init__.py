"""Measurements, never assertions. `make bench` runs the usual ones, `python -m bench NAME` one; each prints a table of what it measured and how."""
