"""Which attributes ``unset_attributes`` takes off a profile.

MoEngage API reference, "Bulk Import", "Unsetting Attributes": a list of conditions ``{"type", "attr",
"case_sensitive"}`` of the types ``equals``, ``prefix``, ``suffix`` and ``contains``. Within one request, unsetting
an attribute wins over setting it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from airflow_provider_moengage.bulk.elements import rules

_MATCHES: dict[str, Callable[[str, str], bool]] = {
    "equals": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
    "contains": str.__contains__,
}


class UnsetAttributes:
    """The attributes that elements of one user unset."""

    __slots__ = ("_conditions", "_has_unreadable", "_names")

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._conditions: dict[tuple[str, str, bool], None] = {}
        self._has_unreadable = False

    def add(self, unset: Any) -> None:
        """Add an element's ``unset_attributes``, in plain JSON types. A condition that cannot be read is taken as
        one that any attribute meets.
        """
        for condition in unset if isinstance(unset, list) else [unset]:
            given = condition if isinstance(condition, dict) else {}
            kind, attr = given.get("type"), given.get("attr")
            if not isinstance(kind, str) or kind not in _MATCHES or not isinstance(attr, str):
                self._has_unreadable = True
                continue
            is_exact = given.get("case_sensitive") is True  # without the field, either may be the default
            if kind == "equals" and is_exact:
                self._names.add(attr)
            else:
                self._conditions[kind, attr if is_exact else attr.casefold(), is_exact] = None

    def of(self, names: Iterable[str]) -> list[str]:
        """Return those of some names that are unset."""
        return [name for name in names if self._holds(name)]

    def _holds(self, name: str) -> bool:
        if self._has_unreadable or name in self._names:
            return True
        folded = name.casefold()
        return any(_MATCHES[kind](name if is_exact else folded, attr) for kind, attr, is_exact in self._conditions)


def is_condition(condition: Any) -> bool:
    """Return whether a condition has the documented form. An empty name would be met by every attribute."""
    return (
        isinstance(condition, dict)
        and isinstance(condition.get("type"), str)
        and condition["type"] in _MATCHES
        and isinstance(condition.get("attr"), str)
        and bool(condition["attr"].strip())
        and isinstance(condition.get("case_sensitive", True), bool)
    )


def set_by(attributes: Mapping[Any, Any]) -> list[str]:
    """Return the attributes that an element sets, or whose lists it adds to."""
    added = attributes.get(rules.ADD_TO_LISTS)
    names = [name for name, value in attributes.items() if value is not None and isinstance(name, str)]
    return [*names, *added] if isinstance(added, dict) else names
