"""Shared by tests, demo, chaos and benchmarks: servers to start, and a fake clock."""
