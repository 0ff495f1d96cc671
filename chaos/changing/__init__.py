"""Syncs that send only changed rows, of a table that changes while they are killed and tried again."""
