"""How many polls may fail. A throttled poll is none of them: nothing is wrong but the pace."""

from __future__ import annotations

FAILED_POLLS = 5
"""In a row; then whoever waits gives up with the last error."""
