"""What tests, demo, chaos and benchmarks share: servers that they start, and a clock that they turn."""
