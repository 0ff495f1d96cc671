"""The business events of a workspace, and the types of their attributes.

MoEngage API reference, "Business Events" (``GET /v5/business-events?name=``). The reference uses several names for
the same field; all of them are accepted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_moengage.api.received.values import LONGEST_WORD, Received


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


def read_schemas(content: Received) -> tuple[list[EventSchema], str | None]:
    """Return the business events on one page of the list, and the cursor of the next, None after the last."""
    data = content["data"]
    found = data if data.is_list else next((value for _, value in data.fields() if value.is_list), data)
    pages = [place for page in (content, data) for place in (page, page["pagination"], page["paging"])]
    cursors = (page.first("next_cursor", "cursor", "next").for_next_request() for page in pages)
    cursor = next((cursor for cursor in cursors if cursor is not None), None)
    return [schema for event in found.items() if (schema := _schema(event)) is not None], cursor


def _schema(event: Received) -> EventSchema | None:
    name = event.first("name", "event_name").name()
    attributes = event["attributes"] if event.has("attributes") else event["event_attributes"]
    return EventSchema(name, dict(_attributes(attributes))) if name else None


def _attributes(attributes: Received) -> Iterator[tuple[str, str]]:
    named = [(name, kind) for name, kind in attributes.fields()]
    named += [
        (attribute.first("name", "attribute_name"), attribute.first("type", "data_type", "attribute_data_type"))
        for attribute in attributes.items()
    ]
    for attribute, kind in named:
        if name := attribute.name():
            yield name, kind.word(_FITS) or (kind.text(LONGEST_WORD) or "unknown").lower()


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
