"""Client-side rate limiting, and sharing the workspace's limit with other senders."""
