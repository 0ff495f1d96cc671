"""Triggers. They only read; nothing here triggers an import."""
