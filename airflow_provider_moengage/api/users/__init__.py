"""Users: deletion, erasure and segments."""
