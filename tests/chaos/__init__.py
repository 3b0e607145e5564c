"""Kill everything, at any moment, and count what became of each delivery: `python -m tests.chaos`."""
