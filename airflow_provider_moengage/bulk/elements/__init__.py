"""An element: its rules, its encoding, and what it weighs against the limits."""
