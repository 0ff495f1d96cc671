"""The users of a source as members of a segment: their IDs, checked as those of customers are."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from airflow_provider_moengage.bulk.elements.fast_path import PreparedElements, Preparer
from airflow_provider_moengage.bulk.elements.rules import DOCUMENTED, WorkspaceRules
from airflow_provider_moengage.bulk.sources import Chunk, Remaining, Source


class Member(msgspec.Struct, frozen=True, gc=False, rename={"customer_id": "uid"}):
    """A member, as the API expects it."""

    customer_id: Any


class Members:
    """A source of customers, as a source of members.

    :param users: its elements are customers with an ID.
    """

    def __init__(self, users: Source) -> None:
        self._users = users
        self.is_resumable = users.is_resumable
        self.why_not = users.why_not

    @property
    def total(self) -> int | None:
        """How many there are, if that is known."""
        return self._users.total

    @property
    def was_interrupted(self) -> bool:
        """Whether it was read in several parts, which may be of different moments."""
        return self._users.was_interrupted

    def chunks(self, bookmark: Mapping[str, Any] | None, size: Callable[[], int]) -> Generator[Chunk]:
        """Read all of it, or what remains after a bookmark."""
        for chunk in self._users.chunks(bookmark, size):
            yield replace(chunk, preparer=_AsMembers(chunk.preparer))

    def remaining(self, bookmark: Mapping[str, Any]) -> Remaining:
        """Read a bookmark."""
        return self._users.remaining(bookmark)

    def token(self, position: int, key: Any) -> Any:
        """Return what identifies an element in a bookmark."""
        return self._users.token(position, key)

    def bookmark(self, remaining: Remaining) -> dict[str, Any]:
        """Return what remains, JSON-ready."""
        return self._users.bookmark(remaining)


@dataclass(frozen=True, slots=True)
class _AsMembers:
    """A preparer that turns checked customers into members. The rules for IDs always apply: a member without a
    valid ID cannot be sent.
    """

    prepare: Preparer

    def __call__(
        self,
        given: Sequence[Any],
        rules_apply: bool,  # noqa: ARG002
        workspace: WorkspaceRules = DOCUMENTED,
        /,
    ) -> PreparedElements:
        ready = self.prepare(given, True, workspace)
        members = [Member(_id_of(element)) for element in ready.elements]
        for at, prepared in ready.flawed.items():
            # Not a customer: who replays the rejects as a bulk import would create users.
            flawed = Member(_id_of(prepared.given))
            ready.flawed[at] = replace(prepared, element=members[at], given={"uid": flawed.customer_id})
        return PreparedElements(members, ready.weights, ready.users, ready.flawed)


def _id_of(customer: Any) -> Any:
    if isinstance(customer, Mapping):
        return customer.get("customer_id")
    return getattr(customer, "customer_id", None)
