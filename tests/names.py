"""Names of parametrized tests: the same in each process, so that several can share the tests."""

from __future__ import annotations

import re


def name_of(value: object) -> str:
    """Say what a value is, without the address that it has in this process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
