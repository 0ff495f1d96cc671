"""Asks before something is changed."""

from __future__ import annotations

import sys


def is_confirmed(question: str, *, yes: bool) -> bool:
    """Return whether the person agrees. Without a terminal nobody can be asked, so it takes ``--yes``.

    :param yes: whether the person has agreed already.
    :raises ValueError: if nobody can be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ValueError(f"{question} Add --yes to do it without being asked")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().casefold() in ("y", "yes")
