"""One run: read, check, pack, and send over several lanes."""
