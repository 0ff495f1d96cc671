"""Writing files that a MoEngage file import reads."""
