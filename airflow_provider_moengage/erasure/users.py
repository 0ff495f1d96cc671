"""Reads whom to erase from a query. A row that names nobody stops the task before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_moengage.bulk.elements.checks import identifier
from airflow_provider_moengage.bulk.elements.rules import REFUSED_CUSTOMER_IDS
from airflow_provider_moengage.exceptions import MoEngageRequestError
from airflow_provider_moengage.sources.sql_stream import DatabaseHook, stream_query
from airflow_provider_moengage.tables.dialect import LONGEST_NAME

ROWS_AT_ONCE = 5_000

_NOBODY = REFUSED_CUSTOMER_IDS | {
    *("<na>", "[]", "-", "nan", "nat", "nil", "no", "not available", "undefined", "{}"),
}
"""Texts that stand for no value. MoEngage has no user with such an ID, and may have many with such an address."""

_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_SEPARATORS = re.compile(r"[\s().-]")
_NUMBER = re.compile(r"\+?([0-9])(?!\1+$)[0-9]{4,16}")
"""Five to seventeen digits that are not all the same. E.164 has at most 15; before them may be 00."""


@dataclass(frozen=True, slots=True)
class Identity:
    """How rows name the users to erase.

    :param kind: ``ID``, ``email`` or ``mobile``.
    :param column: with the IDs, addresses or numbers.
    :param user_column: with the users' IDs; None if these are not known.
    """

    kind: str
    column: str
    user_column: str | None


@dataclass(frozen=True, slots=True)
class Users:
    """The users of a query.

    :param by_identity: IDs of the users of each identity, as far as they are known.
    :param rows: of the query.
    :param kind: of the identities: ``ID``, ``email`` or ``mobile``.
    """

    by_identity: Mapping[str, frozenset[str]]
    rows: int
    kind: str

    @property
    def ids(self) -> frozenset[str]:
        """The users' IDs, as far as they are known."""
        return frozenset[str]().union(*self.by_identity.values())

    @property
    def count(self) -> int:
        """The number of users; without IDs, of identities."""
        return len(self.ids) or len(self.by_identity)

    @property
    def shared(self) -> list[int]:
        """How many users of the query each identity has that several users share.

        Addresses that differ in case, and numbers that are written in different ways, may be the same to MoEngage.
        """
        owners: dict[str, set[str]] = {}
        for identity, users in self.by_identity.items():
            owners.setdefault(_reading(identity, self.kind), set()).update(users)
        return [len(users) for users in owners.values() if len(users) > 1]


def read_users(hook: DatabaseHook, sql: str, identity: Identity, max_users: int) -> Users:
    """Read a query to its end. Only the users are held in memory, at most ``max_users``.

    :raises ValueError: if the query is not a SELECT, or lacks a column.
    :raises MoEngageRequestError: if a row names nobody, or there are too many users.
    """
    found: dict[str, set[str]] = {}
    users: set[str] = set()
    rows = 0
    with stream_query(hook, sql, fetch_size=ROWS_AT_ONCE) as result:
        at = [_index(result.columns, name) for name in (identity.column, identity.user_column) if name is not None]
        for rows, row in enumerate(result.read(), 1):
            name = _text(row[at[0]], identity.column, rows, identity.kind)
            known = found.setdefault(name, set())
            if identity.user_column is not None:
                user = _text(row[at[-1]], identity.user_column, rows, "ID")
                known.add(user)
                users.add(user)
            if max(len(found), len(users)) > max_users:
                raise MoEngageRequestError(
                    f"The query returns more than max_users={max_users:,} users, so nobody was erased. Check the"
                    " query; if all of them are to be erased, raise max_users"
                )
    return Users({name: frozenset(known) for name, known in found.items()}, rows, identity.kind)


def _reading(identity: str, kind: str) -> str:
    """Return what addresses or numbers that may be the same have in common."""
    if kind == "mobile":
        return _SEPARATORS.sub("", identity).removeprefix("+").removeprefix("00")
    return identity.casefold() if kind == "email" else identity


def _index(columns: tuple[str, ...], name: str) -> int:
    places = [at for at, column in enumerate(columns) if column == name]
    if not places:
        places = [at for at, column in enumerate(columns) if column.casefold() == name.casefold()]
    if len(places) != 1:
        raise ValueError(
            f"sql: expected one column {name!r}, but the query returns {', '.join(columns)}; nobody was erased"
        )
    return places[0]


def _text(value: Any, column: str, row: int, kind: str) -> str:
    """Return what names a user, as it is.

    :param row: the number of the row, from 1.
    :param kind: ``ID``, ``email`` or ``mobile``.
    :raises MoEngageRequestError: if it names nobody.
    """
    what = _objection(value)
    text = ""
    if what is None:
        findings: list[Any] = []
        text = identifier("customer_id", value, findings) if kind == "ID" or not isinstance(value, str) else value
        if findings or type(text) is not str:
            what = f"a value of type {type(value).__name__} that cannot be sent"
        else:
            what = _objection_to_text(text, kind)
    if what is not None:
        raise MoEngageRequestError(
            f"Column {column!r}: row {row:,} of the query has {what}, so nobody was erased. Correct the row, or"
            " exclude it in the query"
        )
    return text


def _objection(value: Any) -> str | None:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "a boolean"
    return None


def _objection_to_text(text: str, kind: str) -> str | None:
    if not text.strip():
        return "an empty text"
    word = text.strip().casefold()
    if word in _NOBODY:
        return f"the text {word!r}, which stands for no user"
    if len(text) > LONGEST_NAME:
        return f"a text of {len(text):,} characters, more than the {LONGEST_NAME} of a ledger"
    if "\0" in text or not _is_encodable(text):
        return "a character that a ledger cannot hold"
    return _objection_to_address(text, kind)


def _objection_to_address(text: str, kind: str) -> str | None:
    if kind == "email" and not _EMAIL.fullmatch(text):
        return "a text that is no email address"
    if kind == "mobile" and not _NUMBER.fullmatch(_SEPARATORS.sub("", text)):
        return "a text that is no phone number"
    return None


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
