"""Reads user profiles: the request, and what each response means. It only reads, so each request may be repeated.

MoEngage API reference, "Get User" (``POST /v1/customers/export?app_id={workspace_id}``): at most 20 users a
request and 1,000 users a minute. MoEngage has to switch it on for the workspace. The response has the users that
exist in ``data.users``, and the others in ``data.users_not_found``. How a user in it names the ID that was asked
for is not documented, so each likely place is read. If a response does not tell its users apart, each is requested
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec

from airflow_provider_moengage.api.campaigns.pace import Pace
from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.paging import Retries, ask_with_retries
from airflow_provider_moengage.api.received.scrub import Scrub
from airflow_provider_moengage.api.received.success import says_failure
from airflow_provider_moengage.api.received.values import Received
from airflow_provider_moengage.api.responses import TYPES, Outcome, Reply, read_reply, refusal

PATH = "/v1/customers/export"

MOST_USERS = 20
"""Users of a request ("Get User"); MoEngage refuses more with a 400 of the type ``LimitBreached``."""

USERS_PER_MINUTE = 1_000
"""Users per minute and workspace ("Get User")."""

ID_ATTRIBUTE = "uid"
"""MoEngage's attribute for the ID (user guide, "User attributes")."""

ID_KIND = "customer_id"
"""The kind of ID by which users are asked for."""

NOT_ENABLED = "Get User may not be enabled for this workspace: ask MoEngage's support"
"""Hint shown when MoEngage denies the request."""


@dataclass(frozen=True, slots=True)
class User:
    """A user of MoEngage, or that there is none with an ID.

    Neither ID nor attributes are part of ``repr``, so that a log of it shows nothing personal.

    :param customer_id: the ID that was asked for.
    :param attributes: the user's attributes, as MoEngage returns them; None if MoEngage has no such user.
    """

    customer_id: str = field(repr=False)
    attributes: Mapping[str, Any] | None = field(repr=False)

    @property
    def is_found(self) -> bool:
        """Whether MoEngage has this user."""
        return self.attributes is not None


def export_body(customer_ids: Sequence[str], fields: Sequence[str] | None) -> bytes:
    """Return the body of a request.

    :param customer_ids: at most :data:`MOST_USERS`, each once.
    :param fields: attributes to return; None: all.
    """
    data: dict[str, Any] = {
        "identifiers": [{"identifier_type": ID_KIND, "identifier": each} for each in customer_ids]
    }
    if fields is not None:
        data["user_fields_to_export"] = list(dict.fromkeys([*fields, ID_ATTRIBUTE]))
    return msgspec.json.encode({"data": data})


class UserReply:
    """The response to a request for users.

    :raises ApiError: if it is not one that reports users.
    """

    def __init__(
        self, status_code: int, headers: Mapping[str, str], body: bytes, *, scrub: Scrub, now: float
    ) -> None:
        content = Received.body(body, scrub)
        data = content["data"]
        reports = data["users"].is_list or data["users_not_found"].is_list
        if status_code != 200 or says_failure(content) or not reports:
            raise _refusal(read_reply(status_code, headers, body, scrub=scrub, now=now))
        self._users = data["users"].items()
        self._missing = data["users_not_found"].items()

    def of_one(self, customer_id: str) -> User:
        """Return the only user that was asked for.

        :raises ApiError: if the response does not say clearly whether there is one.
        """
        if len(self._users) == 1 and not self._missing:
            return User(customer_id, _attributes(self._users[0]))
        if len(self._missing) == 1 and not self._users:
            [entry] = self._missing
            is_clear = not entry.is_nothing and _is_by_customer_id(entry)
            if is_clear and _id_of_missing(entry) in (None, customer_id):
                return User(customer_id, None)
        raise _unreadable("does not say whether it has the user that was asked for")

    def of_several(self, customer_ids: Sequence[str]) -> list[User] | None:
        """Return each user that was asked for, in that order; None if the response does not tell them apart.

        :param customer_ids: the IDs of the request, each once.
        """
        found = [(_id_of(user), _attributes(user)) for user in self._users]
        missing = [(_id_of_missing(entry), None) for entry in self._missing]
        users = {
            customer_id: User(customer_id, attributes)
            for customer_id, attributes in found + missing
            if customer_id
        }
        if len(users) < len(found) + len(missing) or users.keys() != set(customer_ids):
            return None
        return [users[customer_id] for customer_id in customer_ids]


class UserReader:
    """Reads users in batches, within the limit. Not thread-safe.

    :param send: sends a body and returns the response.
    :param pace: counts users.
    :param retries: how often a request is repeated.
    """

    def __init__(self, send: Callable[[bytes], UserReply], pace: Pace, retries: Retries) -> None:
        self._send = send
        self._pace = pace
        self._retries = retries

    def read(self, customer_ids: Iterable[str], fields: Sequence[str] | None) -> Iterator[User]:
        """Yield a user for each ID, in that order.

        :param fields: attributes to return; None: all.
        :raises ApiError: if MoEngage does not answer, or not for all of them.
        """
        given = iter(customer_ids)
        while batch := list(islice(given, MOST_USERS)):
            users = {user.customer_id: user for user in self._batch(list(dict.fromkeys(batch)), fields)}
            yield from (users[customer_id] for customer_id in batch)

    def _batch(self, customer_ids: Sequence[str], fields: Sequence[str] | None) -> list[User]:
        users = None
        if len(customer_ids) > 1:
            users = self._ask(customer_ids, fields).of_several(customer_ids)
        return users or [self._ask([each], fields).of_one(each) for each in customer_ids]

    def _ask(self, customer_ids: Sequence[str], fields: Sequence[str] | None) -> UserReply:
        body = export_body(customer_ids, fields)

        def ask() -> UserReply:
            self._pace.wait(len(customer_ids))
            try:
                return self._send(body)
            finally:
                self._pace.answered(len(customer_ids))

        return ask_with_retries(ask, self._retries)


def _is_by_customer_id(entry: Received) -> bool:
    """Return whether an entry names a user by the kind of ID that was asked for.

    "Get User" knows another one, ``moengage_id``: that MoEngage has no such user says nothing about a customer ID.
    """
    places = (entry, entry["identifier"])
    return all(
        not place.is_object or place["identifier_type"].is_nothing or place["identifier_type"].equals(ID_KIND)
        for place in places
    )


def _id_of(user: Received) -> str | None:
    if not _is_by_customer_id(user):
        return user["customer_id"].for_next_request() or user["user_attributes"][ID_ATTRIBUTE].for_next_request()
    attributes, identifier = user["user_attributes"], user["identifier"]
    places = (
        user["customer_id"],
        identifier if not identifier.is_object else identifier["identifier"],
        user[ID_ATTRIBUTE],
        attributes[ID_ATTRIBUTE],
        attributes["USER_ATTRIBUTE_UNIQUE_ID"],
    )
    return next((customer_id for place in places if (customer_id := place.for_next_request())), None)


def _id_of_missing(entry: Received) -> str | None:
    return entry.for_next_request() or _id_of(entry)


def _attributes(user: Received) -> Mapping[str, Any]:
    attributes = user["user_attributes"].data()
    return attributes if isinstance(attributes, dict) else {}


def _unreadable(what: str) -> ApiError:
    return ApiError(ErrorKind.SERVER, f"MoEngage's response {what}, so it cannot be relied on", status_code=200)


def _refusal(reply: Reply) -> ApiError:
    if reply.outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN):  # a success without users, or a proxy's page
        return _unreadable("reports no users")
    error = refusal(reply)
    if TYPES.get(reply.error_type or "", reply.status_code) == 403:
        error = ApiError(
            error.kind,
            f"{error.message}. {NOT_ENABLED}",
            status_code=error.status_code,
            request_id=error.request_id,
            retry_after=error.retry_after,
        )
    return error
