"""Single users: their deletion."""
