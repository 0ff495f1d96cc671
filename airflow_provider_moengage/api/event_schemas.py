"""The business events of a workspace, and the types of their attributes.

MoEngage API reference, "Business Events" (``GET /v5/business-events?name=``). The reference uses several names for
the same field; all of them are accepted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EventSchema:
    """A business event as defined in MoEngage.

    :param name: its name.
    :param attributes: attribute to type: ``string``, ``number``, ``boolean``, ``datetime``, or another type.
    """

    name: str
    attributes: Mapping[str, str]

    def misfits(self, attributes: Mapping[str, Any], *, are_types_checked: bool = True) -> list[str]:
        """Return a sentence for each attribute that MoEngage would refuse; undocumented types accept every value.

        :param attributes: attribute to JSON value.
        :param are_types_checked: if not, only the names are compared.
        """
        sentences = []
        for name, value in attributes.items():
            kind = self.attributes.get(name)
            if kind is None:
                known = ", ".join(sorted(self.attributes)) or "none"
                sentences.append(f"it has no attribute {name!r} (it has: {known})")
            elif are_types_checked and value is not None and kind in _FITS and not _FITS[kind](value):
                sentences.append(f"attribute {name!r} is a {kind}, and the value is not ({type(value).__name__})")
        return sentences


def read_schemas(content: Mapping[str, Any]) -> tuple[list[EventSchema], str | None]:
    """Return the business events on one page of the list, and the cursor of the next, None after the last."""
    data = content.get("data")
    found = data if isinstance(data, list) else []
    paging: list[Any] = [content, content.get("pagination"), content.get("paging")]
    if isinstance(data, dict):
        found = next((value for value in data.values() if isinstance(value, list)), [])
        paging += [data, data.get("pagination"), data.get("paging")]
    cursor = next(
        (
            str(page[name])
            for page in paging
            if isinstance(page, dict)
            for name in ("next_cursor", "cursor", "next")
            if page.get(name)
        ),
        None,
    )
    return [schema for event in found if (schema := _schema(event)) is not None], cursor


def _schema(event: Any) -> EventSchema | None:
    if not isinstance(event, dict):
        return None
    name = event.get("name") or event.get("event_name")
    attributes = event.get("attributes", event.get("event_attributes"))
    return EventSchema(str(name), dict(_attributes(attributes))) if name else None


def _attributes(attributes: Any) -> Iterator[tuple[str, str]]:
    if isinstance(attributes, dict):
        yield from ((str(name), str(kind)) for name, kind in attributes.items())
    for attribute in attributes if isinstance(attributes, list) else ():
        if not isinstance(attribute, dict):
            continue
        name = attribute.get("name") or attribute.get("attribute_name")
        kinds = (attribute.get(key) for key in ("type", "data_type", "attribute_data_type"))
        if name:
            yield str(name), next((str(kind).lower() for kind in kinds if kind), "unknown")


def _is_datetime(value: Any) -> bool:
    if isinstance(value, dt.date):
        return True
    try:
        return isinstance(value, str) and bool(dt.datetime.fromisoformat(value))
    except ValueError:
        return False


_FITS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: not isinstance(value, bool | int | float | list | dict),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "datetime": _is_datetime,
}
