"""Elements: their rules, their encoding, and what they count toward the rate limits."""
