"""Measures the real server, side by side with a peer. Run it with ``make bench``."""
