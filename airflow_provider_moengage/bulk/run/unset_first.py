"""Finds the elements that must not be in one request with an earlier one of the same user.

MoEngage API reference, "Bulk Import", "Unsetting Attributes": within one request, unsetting an attribute wins over
setting it. So what is set after it was unset goes into a later request, or it would be lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from airflow_provider_moengage.bulk.batch import Elements
from airflow_provider_moengage.bulk.elements.unset import UnsetAttributes, set_by
from airflow_provider_moengage.bulk.elements.weight import Weight, any_unsets


class _Read(msgspec.Struct):
    attributes: Any = None
    unset_attributes: Any = None


_DECODER = msgspec.json.Decoder(_Read)


class UnsetFirst:
    """What the elements of one body unset, by user."""

    __slots__ = ("_by_user",)

    def __init__(self) -> None:
        self._by_user: dict[str, UnsetAttributes] = {}

    def places(self, given: Elements) -> Sequence[int]:
        """Return the indexes of the elements that have to be looked at one by one; of most bodies, none."""
        if any_unsets(given.weights):
            unset = [user for user, weight in zip(given.users, given.weights, strict=True) if weight.unsets]
        elif not self._by_user or self._by_user.keys().isdisjoint(given.users):
            return ()
        else:
            unset = []
        users = self._by_user.keys() | set(unset)
        return [at for at, user in enumerate(given.users) if user in users]

    def add(self, user: str, weight: Weight, line: bytes) -> None:
        """Record an element that was put into the body."""
        if weight.unsets:
            unset = self._by_user.setdefault(user, UnsetAttributes())
            unset.add(_DECODER.decode(line).unset_attributes)

    def forbids(self, user: str, weight: Weight, line: bytes) -> bool:
        """Return whether an element sets what an earlier element of the body unsets."""
        unset = self._by_user.get(user)
        if unset is None or weight.kind != "customer":
            return False
        attributes = _DECODER.decode(line).attributes
        return isinstance(attributes, dict) and bool(unset.of(set_by(attributes)))
