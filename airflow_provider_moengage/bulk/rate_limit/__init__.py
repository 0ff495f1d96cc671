"""Keeping to the workspace's rate limit, and sharing it with other senders."""
