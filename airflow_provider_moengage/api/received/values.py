"""What a server sent: a type of its own, so that none of it is shown before it went through the scrub.

A body or a header may quote a key or an element, or contain what breaks a terminal. A :class:`Received` therefore
has no readable text: ``str()``, ``repr()`` and formats yield a placeholder, and a comparison raises. Its methods
read numbers, times and known words. Text comes from :meth:`Received.text`, :meth:`Received.name` and
:meth:`Received.request_id` only, all of which scrub it and bound its length.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from typing import Any, NoReturn

import msgspec

from airflow_provider_moengage.api.received.scrub import MARK, Scrub, is_printable

LONGEST_TEXT = 500
"""Characters of a message."""

LONGEST_NAME = 512
"""Characters of a name or an ID: a path on S3 has at most 1,024 bytes."""

LONGEST_WORD = 40
"""Characters of a status or a type."""

_REQUEST_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:=-]{0,63}")
"""MoEngage's examples are eight letters and digits, or a UUID; gateways also send ``Root=1-...``."""

_OBJECT_ID = re.compile(r"[0-9A-Fa-f]{24}")

_DEEPEST = 6
_MOST_PARTS = 50
"""Levels and parts of an error that become one sentence."""


class Received:
    """A value of a response: text, a number, or JSON.

    :param value: as JSON has it; None if there is none.
    :param scrub: knows the workspace's keys and what the request has sent.
    """

    __slots__ = ("_scrub", "_value")

    def __init__(self, value: Any, scrub: Scrub) -> None:
        self._value = value
        self._scrub = scrub

    @classmethod
    def body(cls, raw: bytes, scrub: Scrub) -> Received:
        """Return a body's JSON object; an empty one if it is anything else (for example, a proxy's page), or has
        a name twice: JSON leaves open which of its values counts, and a failure must not be read as a success.
        """
        try:
            content = msgspec.json.decode(raw)
            json.loads(raw, object_pairs_hook=_check_names)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            content = None
        return cls(content if isinstance(content, dict) else {}, scrub)

    @classmethod
    def header(cls, headers: Mapping[str, str], name: str, scrub: Scrub) -> Received:
        """Return a header's value."""
        return cls(headers.get(name), scrub)

    def __str__(self) -> str:
        return "<received from the server>"

    __repr__ = __str__

    def __format__(self, _: str) -> str:
        return str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_empty, ())

    def __eq__(self, _: object) -> NoReturn:
        raise TypeError("what a server sent is compared by word() or equals()")

    def __bool__(self) -> NoReturn:
        raise TypeError("whether a server sent something is asked by is_present")

    __hash__ = None  # type: ignore[assignment]
    __iter__ = None  # an array's values are items()

    def __getitem__(self, name: str) -> Received:
        """Return a field of an object; without a value if it has none, or if this is not an object."""
        return self._of(self._value.get(name) if isinstance(self._value, dict) else None)

    def first(self, *names: str) -> Received:
        """Return the first of these fields that has a value."""
        return next((field for name in names if (field := self[name]).is_present), self._of(None))

    def has(self, name: str) -> bool:
        """Return whether this is an object with this field, which may be null."""
        return isinstance(self._value, dict) and name in self._value

    @property
    def is_present(self) -> bool:
        """Whether there is a value: not null, not empty, not false."""
        return self._value is not None and self._value != "" and self._value is not False

    @property
    def is_null(self) -> bool:
        """Whether it is null, or not there."""
        return self._value is None

    @property
    def is_nothing(self) -> bool:
        """Whether it is null, false, zero, or empty: text, an array or an object."""
        return not self._value

    @property
    def is_object(self) -> bool:
        """Whether it is a JSON object."""
        return isinstance(self._value, dict)

    @property
    def is_list(self) -> bool:
        """Whether it is a JSON array."""
        return isinstance(self._value, list)

    def _parts(self) -> tuple[list[str], Scrub]:
        """Return the parts of an error of any shape, not scrubbed yet, and the scrub. For :func:`sentence`."""
        return list(_texts(self._value, _DEEPEST)), self._scrub

    def items(self) -> list[Received]:
        """Return the values of an array; none if this is not an array."""
        return [self._of(item) for item in self._value] if isinstance(self._value, list) else []

    def fields(self) -> list[tuple[Received, Received]]:
        """Return names and values of an object; none if this is not an object."""
        fields = self._value.items() if isinstance(self._value, dict) else ()
        return [(self._of(name), self._of(value)) for name, value in fields]

    def equals(self, text: str) -> bool:
        """Return whether it is exactly this text."""
        return bool(self._value == text)

    def word(self, known: Iterable[str]) -> str | None:
        """Return which of the known words it is, in any case, with or without spaces; None if it is none."""
        said = _one_word(self._said[:_LONGEST_SEARCHED])
        return _by_one_word(tuple(known)).get(said) if said else None

    def finds(self, pattern: re.Pattern[str]) -> bool:
        """Return whether it is text in which a pattern is found, with case folded and single spaces."""
        value = self._value
        return isinstance(value, str) and pattern.search(" ".join(value.casefold().split())) is not None

    def mentions(self, *words: str) -> bool:
        """Return whether it contains all of these words, in any case."""
        said = self._said[:_LONGEST_SEARCHED].casefold()
        return all(word in said for word in words)

    def count(self) -> int | None:
        """Return a whole number, which may be text; None if it is not one."""
        value = self._value
        if isinstance(value, bool) or value is None:
            return None
        try:
            return value if isinstance(value, int) else int(float(value))
        except (TypeError, ValueError, OverflowError):
            return None

    def number(self) -> int | float | None:
        """Return a number, which may be text; None if it is not one, or not finite."""
        value = self._value
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return None
        try:
            if isinstance(value, str) and "_" in value:
                return None  # Python reads 1_0 as 10
            read = value if isinstance(value, int) else float(value)
            return read if isfinite(read) else None
        except (ValueError, OverflowError):
            return None

    def flag(self) -> bool | None:
        """Return a truth value, which may be text; None if there is none."""
        return None if self._value is None else self._said.strip().casefold() in ("true", "1", "yes")

    def moment(self) -> datetime | None:
        """Return a time as it was sent, with or without a time zone; None if it is not a time.

        Which zone one without has is not for this class to say.
        """
        try:
            return datetime.fromisoformat(self._said.strip())
        except (ValueError, OverflowError):
            return None

    def id_time(self) -> datetime | None:
        """Return when an ID was made, in UTC, if it is a MongoDB ObjectId: these begin with the second."""
        said = self._said.strip()
        return datetime.fromtimestamp(int(said[:8], 16), UTC) if _OBJECT_ID.fullmatch(said) else None

    def text(self, limit: int = LONGEST_TEXT) -> str | None:
        """Return it as one line for people: an error's parts, joined.

        :param limit: characters.
        """
        return sentence([self], limit)

    def name(self) -> str | None:
        """Return a name or an ID, at most 512 characters. Different ones stay different, also if they contain a
        key, end in more characters, or are not printable: they then end in a part of their hash.
        """
        said = self._said.strip()
        if not said:
            return None
        is_safe = len(said) <= LONGEST_NAME and is_printable(said) and not self._scrub.has_key(said)
        if is_safe:
            return said if self._scrub.is_clean(said) else MARK
        readable = self._scrub.text(said, LONGEST_NAME - 17)
        return f"{readable}~{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"

    def request_id(self) -> str | None:
        """Return a request's ID: at most 64 letters, digits and ``. _ : = -``. None if it is anything else, or
        contains a key or a value of the request.
        """
        said = self._said.strip()
        return said if _REQUEST_ID.fullmatch(said) and self._scrub.is_clean(said) else None

    def for_next_request(self) -> str | None:
        """Return text that goes back to the same server as it is, and nowhere else: a cursor."""
        return self._said or None

    def data(self) -> Any:
        """Return it as JSON, as it was sent, for the caller who asked MoEngage for this data. It may hold
        anything, so it is never logged, raised or put into an XCom.
        """
        return self._value

    def _of(self, value: Any) -> Received:
        return Received(value, self._scrub)

    @property
    def _said(self) -> str:
        return _plain(self._value)


_LONGEST_SEARCHED = 2_000


def sentence(
    fields: Iterable[Received],
    limit: int = LONGEST_TEXT,
    *,
    between: str = "; ",
    may_quote_values: bool = False,
) -> str | None:
    """Return an error of any shape as one line: MoEngage's details are strings, lists or objects.

    :param limit: characters.
    :param between: what joins the parts.
    :param may_quote_values: leave the values of the request in: for the rejects file, which holds the element.
    """
    scrub = None
    texts: list[str] = []
    for field in fields:
        more, scrub = field._parts()  # noqa: SLF001 (nobody else may read it)
        texts += more
    joined = between.join(list(dict.fromkeys(texts))[:_MOST_PARTS])
    if scrub is None or not joined:
        return None
    return scrub.text(joined, limit, may_quote_values=may_quote_values) or None


def _one_word(text: str) -> str:
    return text.casefold().translate(_NO_SPACES).rstrip(".")


@lru_cache(maxsize=64)
def _by_one_word(known: tuple[str, ...]) -> Mapping[str, str]:
    """Return known words by how they are compared; of words that are alike, the first."""
    return {_one_word(word): word for word in reversed(known)}


_NO_SPACES = str.maketrans("", "", " _-\t\r\n")


def _empty() -> Received:
    return Received(None, Scrub(()))


def _texts(value: Any, levels: int) -> Iterator[str]:
    if levels == 0:
        return
    if isinstance(value, dict):
        texts = [text for name in ("issue", "message") for text in _texts(value.get(name), levels - 1)]
        if not texts:
            others = [item for name, item in value.items() if name not in ("code", "target", "field")]
            texts = [text for item in others[:_MOST_PARTS] for text in _texts(item, levels - 1)]
        field_name = ", ".join(_texts(value.get("target", value.get("field")), levels - 1))
        joined = ": ".join(dict.fromkeys(texts))
        if joined:
            yield f"{field_name}: {joined}" if field_name else joined
    elif isinstance(value, list):
        for item in value[:_MOST_PARTS]:
            yield from _texts(item, levels - 1)
    elif text := _plain(value).strip():
        yield text


def _plain(value: Any) -> str:
    if value is None or isinstance(value, dict | list):
        return ""
    try:
        return str(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return ""


def _check_names(pairs: list[tuple[str, Any]]) -> None:
    """Check that an object has each name once.

    :raises ValueError: if not.
    """
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name is there twice")
