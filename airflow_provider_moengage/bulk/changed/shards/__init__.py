"""The state of a sync whose rows several tasks read, each a range of keys."""
