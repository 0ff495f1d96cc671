"""The business events that a workspace defines.

MoEngage API reference, "Business Events": each event has a schema of attributes, and campaigns and flows
that it starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

import msgspec

from airflow_provider_moengage.emulator.http import object_id

AttributeType = Literal["string", "number", "boolean", "datetime"]
ATTRIBUTE_TYPES: tuple[str, ...] = get_args(AttributeType)

_DATETIME = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z)?", re.ASCII)


class BusinessEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A business event as the dashboard defines it.

    :param attributes: the type of each attribute that a trigger may carry, none of them required; ``None``:
        any attribute of any type.
    :param campaigns: ids of the active campaigns that it starts. MoEngage's are 24 hexadecimal digits; any text
        is valid here.
    :param flows: ids of the active flows that it starts.
    """

    name: str
    attributes: dict[str, AttributeType] | None = msgspec.field(default_factory=dict)
    campaigns: tuple[str, ...] = ()
    flows: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name: expected a non-empty string")
        for name, kind in (self.attributes or {}).items():
            if kind not in ATTRIBUTE_TYPES:
                raise ValueError(f"attributes {name!r}: expected one of {', '.join(ATTRIBUTE_TYPES)}")
        for field in ("campaigns", "flows"):
            if isinstance(getattr(self, field), str):
                raise ValueError(f"{field} {getattr(self, field)!r}: expected a tuple of ids")

    @property
    def id(self) -> str:
        """Its id: 24 hexadecimal digits, the same for the same name."""
        return object_id(f"business event {self.name}")

    @classmethod
    def read(cls, wire: Any) -> BusinessEvent:
        """Make a business event from its JSON form.

        :raises ValueError: for an unknown field or a value it can't have.
        """
        try:
            return msgspec.convert(wire, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"business event: {error}") from error

    def expected(self, attribute: str, value: Any) -> str | None:
        """Return the type that ``value`` should have; ``None`` if it has that type.

        :raises KeyError: for an attribute that the event doesn't have.
        """
        if self.attributes is None:
            return None
        kind = self.attributes[attribute]
        return None if _fits(kind, value) else kind


@dataclass(frozen=True, slots=True)
class Defined:
    """A business event and when (epoch seconds) it was defined."""

    event: BusinessEvent
    created_at: float


class Catalog:
    """The business events of one workspace, in the order of their definition."""

    def __init__(self) -> None:
        self._defined: dict[str, Defined] = {}

    def add(self, event: BusinessEvent, now: float) -> None:
        """Define an event, or replace the one with its name."""
        known = self._defined.get(event.name)
        self._defined[event.name] = Defined(event, known.created_at if known else now)

    def clear(self) -> None:
        """Delete all definitions."""
        self._defined.clear()

    def find(self, name: str) -> BusinessEvent | None:
        """Return the event with that name."""
        defined = self._defined.get(name)
        return defined.event if defined else None

    def __iter__(self) -> Iterator[Defined]:
        return iter(self._defined.values())


def json_type(value: Any) -> str:
    """Return the name of a JSON value's type."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _fits(kind: AttributeType, value: Any) -> bool:
    if kind != "datetime":
        return json_type(value) == kind
    if not isinstance(value, str) or not _DATETIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
