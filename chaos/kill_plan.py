"""When each try is killed: at any time, and more often where a run begins and where it ends."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class After(StrEnum):
    """The event from which the time to a kill is counted."""

    FORK = "fork"
    """The task process exists; Airflow has not called the operator yet."""
    START = "start"
    """The operator is called."""
    NEARLY_ALL = "nearly all"
    """All but the last few requests are accepted."""
    REJECTS = "rejects"
    """The rejects file is in its place; the completed state is not stored yet."""


@dataclass(frozen=True)
class KillTime:
    """A number of seconds after an event."""

    after: After
    seconds: float


_KINDS = {"anywhere": 60, "boot": 5, "first": 13, "last": 13, "rejects": 9}
"""How often each is chosen, in percent."""

_AT_THE_END = ("last", "rejects")
_FIRST = 0.5
_LAST = 0.5
_REJECTS = 0.04
"""Mostly at once: on a disk the completed state follows within milliseconds."""
_BOOT = 0.8


class KillPlan:
    """The kill times of one run, one for each try.

    Those at any time are spread evenly over the run, whatever share of it each try gets done.

    :param kills: number of kills.
    """

    def __init__(self, kills: int, generator: random.Random) -> None:
        self._random = generator
        kinds = generator.choices(list(_KINDS), weights=list(_KINDS.values()), k=kills)
        self._kinds = [kind for kind in kinds if kind not in _AT_THE_END]
        self._kinds += sorted(kind for kind in kinds if kind in _AT_THE_END)

    def next(self, seconds_left: float) -> KillTime | None:
        """Return when to kill the next try; None lets it end.

        :param seconds_left: estimate of how long the rest of the run takes.
        """
        if not self._kinds:
            return None
        generator = self._random
        anywhere = self._kinds.count("anywhere")
        match self._kinds.pop(0):
            case "boot":
                return KillTime(After.FORK, generator.uniform(0, _BOOT))
            case "first":
                return KillTime(After.START, generator.uniform(0, _FIRST))
            case "last":
                return KillTime(After.NEARLY_ALL, generator.uniform(0, _LAST))
            case "rejects":
                return KillTime(After.REJECTS, _REJECTS * generator.random() ** 2)
            case _:
                earliest = 1 - generator.random() ** (1 / (anywhere + 1))  # the first of those that are left
                return KillTime(After.START, earliest * seconds_left)
