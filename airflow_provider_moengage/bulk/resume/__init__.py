"""What a try leaves for the next one: the checkpoint, the rejects and the counters."""
