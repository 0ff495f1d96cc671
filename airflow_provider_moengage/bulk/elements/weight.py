"""What an element counts toward the rate limits and in the report."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache


class Weight:
    """What an element counts for. Equal ones are the same object (:func:`weight`), so counting is fast."""

    __slots__ = ("actions", "kind", "unsets", "users", "warnings")

    def __init__(self, kind: str, actions: int, warnings: tuple[str, ...], unsets: bool) -> None:
        self.kind = kind
        self.actions = actions
        """Events that it takes of the rate limit."""
        self.users = 0 if kind == "event" else 1
        """Users that it takes of the rate limit."""
        self.warnings = warnings
        """Codes of what MoEngage will cut, ignore or alter."""
        self.unsets = unsets
        """Whether it unsets attributes: then it matters what follows it in a request."""


@lru_cache(maxsize=4_096)
def weight(kind: str, actions: int, warnings: tuple[str, ...] = (), *, unsets: bool = False) -> Weight:
    """Return the weight of an element.

    :param kind: ``customer``, ``event`` or ``device``.
    :param actions: events that MoEngage counts for it.
    :param warnings: codes of what MoEngage will cut, ignore or alter.
    :param unsets: whether it has ``unset_attributes``.
    """
    return Weight(kind, actions, warnings, unsets)


def users_of(weights: Sequence[Weight]) -> int:
    """Return what elements count toward the limit of users."""
    return sum([weight.users for weight in weights])


def events_of(weights: Sequence[Weight]) -> int:
    """Return what elements count toward the limit of events: one per action."""
    return sum([weight.actions for weight in weights])


def any_unsets(weights: Sequence[Weight]) -> bool:
    """Return whether any of some elements, at least one, unsets attributes."""
    first = weights[0]
    if weights.count(first) == len(weights):
        return first.unsets
    return any(weight.unsets for weight in set(weights))


def budgets(weights: Sequence[Weight]) -> tuple[int, int]:
    """Return what elements, at least one, count toward the limits of users and of events."""
    first, number = weights[0], len(weights)
    if weights.count(first) == number:
        return first.users * number, first.actions * number
    return users_of(weights), events_of(weights)
