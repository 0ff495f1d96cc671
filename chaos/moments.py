"""When a try is killed: at any time, and more often where a run begins and where it ends."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class After(StrEnum):
    """What a moment is counted from."""

    FORK = "fork"
    """The task process is there; Airflow has not called the operator yet."""
    BEGINNING = "beginning"
    """The operator is called."""
    NEARLY_ALL = "nearly all"
    """All but the last few requests are accepted."""
    REJECTS = "rejects"
    """The rejects file is in its place; that all is done is not stored yet."""


@dataclass(frozen=True)
class Moment:
    """So many seconds after something."""

    after: After
    seconds: float


_KINDS = {"anywhere": 60, "boot": 5, "first": 13, "last": 13, "rejects": 9}
"""How many of a hundred."""

_AT_THE_END = ("last", "rejects")
_FIRST = 0.5
_LAST = 0.5
_REJECTS = 0.04
"""More often at once: on a disk the last state follows within milliseconds."""
_BOOT = 0.8


class Plan:
    """The moments of one run, one a try.

    Those that lie anywhere are spread evenly over the run, whatever share of it each try gets done.

    :param kills: how many.
    """

    def __init__(self, kills: int, chance: random.Random) -> None:
        self._chance = chance
        kinds = chance.choices(list(_KINDS), weights=list(_KINDS.values()), k=kills)
        self._kinds = [kind for kind in kinds if kind not in _AT_THE_END]
        self._kinds += sorted(kind for kind in kinds if kind in _AT_THE_END)

    def next(self, seconds_left: float) -> Moment | None:
        """Return the next try's moment; None lets it live.

        :param seconds_left: that the rest of the run will take, as far as is known.
        """
        if not self._kinds:
            return None
        chance = self._chance
        among = self._kinds.count("anywhere")
        match self._kinds.pop(0):
            case "boot":
                return Moment(After.FORK, chance.uniform(0, _BOOT))
            case "first":
                return Moment(After.BEGINNING, chance.uniform(0, _FIRST))
            case "last":
                return Moment(After.NEARLY_ALL, chance.uniform(0, _LAST))
            case "rejects":
                return Moment(After.REJECTS, _REJECTS * chance.random() ** 2)
            case _:
                earliest = 1 - chance.random() ** (1 / (among + 1))  # the first of those that are left
                return Moment(After.BEGINNING, earliest * seconds_left)
