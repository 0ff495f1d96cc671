"""Business events, v1 and v5."""
