"""What a server sent, and the scrub without which nobody reads it."""
