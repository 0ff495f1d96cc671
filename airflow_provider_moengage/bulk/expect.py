"""The option of a sync that checks how many rows its query returns, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_moengage.arguments import is_unresolved, number, whole

_MOST_ROWS = 10**15


@dataclass(frozen=True, slots=True)
class Expect:
    """Fail before anything is sent if the query returns fewer rows than expected, or far more or fewer than usual.

    :param least_rows: the fewest rows that are accepted; None: any number. Templated.
    :param most_change: how far the number of rows may be from that of the last successful runs, as a fraction:
        0.5 accepts half of it up to one and a half times. None: it is not compared. Templated. It is compared with
        the median of the last five successful runs: those in the table of ``results``, else those that the
        state of ``changed_only`` remembers. The first run passes.
    :raises ValueError: naming the option that is wrong.
    """

    least_rows: Any = None
    most_change: Any = 0.5

    def __post_init__(self) -> None:
        if not (self.least_rows is None or is_unresolved(self.least_rows)):
            object.__setattr__(self, "least_rows", whole("expect.least_rows", self.least_rows, 0, _MOST_ROWS))
        if not (self.most_change is None or is_unresolved(self.most_change)):
            expected = "a fraction above 0, such as 0.5, or None"
            given = number("expect.most_change", self.most_change, expected)
            if given <= 0:
                raise ValueError(f"expect.most_change {self.most_change!r}: expected {expected}")
            object.__setattr__(self, "most_change", given)

    def rendered(self, render: Callable[[Any], Any]) -> Expect:
        """Return the option with its templates rendered.

        :raises ValueError: naming the option that rendered to something else.
        """
        return replace(self, least_rows=render(self.least_rows), most_change=render(self.most_change))
