"""Whether what was sent has arrived: a sample of users, and the comparison with what MoEngage has."""
