"""Sends only what changed: the state of a sync, and the comparison of a run with it."""
