"""File imports: triggers, run history and details."""
