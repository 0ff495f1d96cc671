"""Compares what was sent of a user with what MoEngage has, with tolerance for what MoEngage alters by its rules.

MoEngage user guide, "Limits of events and attributes", and API reference, "Data types": names are cut to 200
characters, texts and items of lists to 512, lists to 50 items; times are stored as times. What MoEngage ignores,
or writes only once, cannot be compared.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_moengage.arguments import in_utc
from airflow_provider_moengage.bulk.elements.findings import Finding
from airflow_provider_moengage.bulk.elements.rules import (
    LONGEST_LIST,
    LONGEST_LIST_OF_OBJECTS,
    LONGEST_NAME,
    LONGEST_VALUE,
    STRUCTURED_ATTRIBUTES,
    Code,
)

_NOT_COMPARABLE = frozenset(
    {
        Code.ATTRIBUTE_NAME_RESERVED,
        Code.ATTRIBUTE_NAME_MOE_PREFIX,
        Code.ATTRIBUTE_WRITTEN_ONCE,
        Code.URL_TOO_LONG,
        Code.LIST_MIXED_TYPES,
        Code.OBJECT_TOO_DEEP,
    }
)
"""Warnings about an attribute that MoEngage ignores, drops, does not update, or turns into something else."""

_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|UTC|[+-]\d\d:?\d\d))?)?")

_MILLISECONDS_FROM = 1e11
"""Epoch numbers from here on are milliseconds: as seconds, they would be after the year 5000."""

_SAME_FRACTION = 1e-9
"""Relative difference of two numbers with a fraction that are the same: MoEngage may write fewer digits."""

_LARGEST_EXACT = 2**53
"""Whole numbers up to here have a double of their own. Beyond, a double does not tell which one was meant."""


@dataclass(slots=True)
class Expected:
    """What MoEngage should have of a user.

    :param attributes: what was sent, by MoEngage's name.
    :param unset: names of attributes that were taken off.
    :param may_be_missing: whether MoEngage creates no such user.
    """

    attributes: dict[str, Any] = field(default_factory=dict)
    unset: set[str] = field(default_factory=set)
    may_be_missing: bool = True
    _not_comparable: set[str] = field(default_factory=set)

    def add(self, element: Mapping[str, Any], findings: Iterable[Finding], names: Names) -> None:
        """Add an element of the user; a later one replaces what an earlier one has set.

        :param findings: what the checks say about it.
        """
        self.may_be_missing = self.may_be_missing and element.get("update_existing_only") is True
        doubtful = {finding.about for finding in findings if finding.code in _NOT_COMPARABLE}
        for name, value in element.get("attributes", {}).items():
            if name in STRUCTURED_ATTRIBUTES:
                for edits in [value] if isinstance(value, Mapping) else ():
                    self._give_up(edits, names)
            elif name in doubtful or not names.are_compared(name):
                self._give_up([name], names)
            elif (cut := name[:LONGEST_NAME]) not in self._not_comparable:
                self.attributes[cut] = value
                self.unset.discard(cut)
        for condition in element.get("unset_attributes", ()):
            name = condition.get("attr", "")
            if condition.get("type") == "equals" and names.are_compared(name):
                self.attributes.pop(name, None)
                self.unset.add(name)

    def differing(self, found: Mapping[str, Any]) -> list[str]:
        """Return the names of the attributes that are not as they were sent."""
        wrong = [name for name, value in self.attributes.items() if not is_same(value, found.get(name))]
        return wrong + [name for name in self.unset if found.get(name) is not None]

    def _give_up(self, given: Iterable[str], names: Names) -> None:
        for name in given:
            self._not_comparable.add(name[:LONGEST_NAME])
            self.attributes.pop(name[:LONGEST_NAME], None)
            names.not_compared.add(name)


@dataclass(slots=True)
class Names:
    """Which attributes are compared.

    :param ignored: names that the user leaves out.
    :param not_compared: names that were sent, of some user at least, and cannot be compared or are ignored.
    """

    ignored: frozenset[str] = frozenset()
    not_compared: set[str] = field(default_factory=set)

    def are_compared(self, name: str) -> bool:
        """Return whether an attribute is compared."""
        return name not in self.ignored


def is_same(sent: Any, found: Any) -> bool:
    """Return whether a stored value is what MoEngage makes of the one that was sent."""
    if isinstance(sent, bool) or isinstance(found, bool):
        return sent is found
    if isinstance(sent, int | float) and isinstance(found, int | float):
        return _is_same_number(sent, found)
    if isinstance(sent, str):
        return sent[:LONGEST_VALUE] == found or _is_same_time(sent, found)
    if isinstance(sent, list):
        return isinstance(found, list) and _is_same_list(sent, found)
    if isinstance(sent, dict):
        return isinstance(found, dict) and all(is_same(value, found.get(name)) for name, value in sent.items())
    return bool(sent == found)


def _is_same_number(sent: float, found: float) -> bool:
    """Return whether two numbers are the same: a whole one, such as an ID, in all of its digits."""
    is_exact = isinstance(sent, int) or (sent.is_integer() and abs(sent) <= _LARGEST_EXACT)
    if not is_exact:
        return math.isclose(sent, found, rel_tol=_SAME_FRACTION)
    return sent == found and (isinstance(found, int) or abs(sent) <= _LARGEST_EXACT)


def _is_same_list(sent: list[Any], found: list[Any]) -> bool:
    most = LONGEST_LIST_OF_OBJECTS if any(isinstance(item, dict) for item in sent) else LONGEST_LIST
    kept = sent[:most]
    return len(kept) == len(found) and all(map(is_same, kept, found))


def _is_same_time(sent: str, found: Any) -> bool:
    """Return whether two texts are the same time to the second; the stored one may be an epoch number."""
    one, other = _moment(sent), _moment(found)
    return one is not None and other is not None and abs((one - other).total_seconds()) < 1


def _moment(value: Any) -> dt.datetime | None:
    try:
        if isinstance(value, int | float):
            seconds = value / 1000 if abs(value) >= _MILLISECONDS_FROM else value
            return dt.datetime.fromtimestamp(seconds, dt.UTC)
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            return None
        return in_utc(dt.datetime.fromisoformat(value.replace(" UTC", "Z").replace("UTC", "Z")))
    except (ValueError, OverflowError, OSError):
        return None
