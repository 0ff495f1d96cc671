"""Checks attributes that are objects, or lists of objects. MoEngage user guide, "Object data type"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from airflow_provider_moengage.bulk.elements import rules
from airflow_provider_moengage.bulk.elements.findings import Finding
from airflow_provider_moengage.bulk.elements.rules import Code


def check_object(name: str, value: dict[str, Any] | list[Any], findings: list[Finding]) -> None:
    """Check an object, or a list of objects, that can be encoded.

    :param name: the attribute's name, for messages.
    """
    if _depth(value) > rules.DEEPEST_OBJECT:
        message = f"{name}: MoEngage turns objects inside more than two levels into text; flatten it"
        findings.append(Finding(Code.OBJECT_TOO_DEEP, message, about=name))
    keys = [key for nested in _objects(value) for key in nested]
    if len(keys) > rules.MOST_OBJECT_KEYS:
        message = f"{name}: an object of {len(keys)} keys, and MoEngage takes 100; send fewer"
        findings.append(Finding(Code.TOO_MANY_ATTRIBUTES, message, about=name))
    if any(rules.NOT_IN_OBJECT_KEYS & set(key) for key in keys):
        message = f"{name}: MoEngage does not take keys of an object with $ . % or #; rename them"
        findings.append(Finding(Code.NAME_TRUNCATED, message, about=name))
    if _size(value) > rules.LARGEST_OBJECT:
        message = f"{name}: an object of more than 25 kB, which MoEngage does not keep; shorten it"
        findings.append(Finding(Code.VALUE_TRUNCATED, message, about=name))


def has_objects(items: list[Any]) -> bool:
    """Return whether a list is one of objects."""
    return any(type(item) is dict for item in items)


def _depth(value: Any) -> int:
    if type(value) is dict:
        return 1 + max(map(_depth, value.values()), default=0)
    return max(map(_depth, value), default=0) if type(value) is list else 0


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects inside a value that are counted together: each item of a list counts by itself."""
    if type(value) is list:
        largest = max(value, key=lambda item: len(item) if type(item) is dict else 0, default=None)
        value = largest if type(largest) is dict else None
    stack = [value]
    while stack:
        top = stack.pop()
        if type(top) is dict:
            yield top
            stack.extend(top.values())
        elif type(top) is list:
            stack.extend(top)


def _size(value: Any) -> int:
    try:
        return len(msgspec.json.encode(value))
    except (ValueError, TypeError, OverflowError, RecursionError):  # it cannot be sent, which is found elsewhere
        return 0
