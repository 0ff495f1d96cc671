"""Ids of parametrized tests that are equal in every process, as pytest-xdist requires."""

from __future__ import annotations

import re


def name_of(value: object) -> str:
    """Return the repr of a value without its memory address."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
