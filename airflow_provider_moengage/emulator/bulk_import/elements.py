"""Checks a bulk body: refuses it with a documented error, or accepts and counts its elements.

MoEngage API reference, "Bulk Import", and "Data API overview" for the customer ids that are dropped.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_moengage.emulator.http import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REFUSED_CUSTOMER_IDS = frozenset(
    [
        "unknown", "guest", "null", "0", "1", "true", "false", "user_attribute_unique_id", "(empty)", "na",
        "n/a", "", '""', "dummy_seller_code", "user_id", "id", "customer_id", "uid", "userid", "none",
        "-2", "-1", "2",
    ]
)  # fmt: skip
"""Ids whose records MoEngage drops after a 200."""

ARRIVAL = "arrival"
"""The day of an event without ``current_time``: MoEngage stamps it with the time it arrives."""

UNREADABLE = "unreadable"
"""The day of an event whose ``current_time`` has no documented format."""

_EPOCH_MILLISECONDS_FROM = 100_000_000_000

_WIDEST_OFFSET = timedelta(seconds=54_000)
"""How far a user's local time may be ahead of UTC (``user_timezone_offset``)."""


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """A refused bulk body: the three fields of MoEngage's error object."""

    def __init__(self, error_type: str, message: str, attribute: str | None = None) -> None:
        super().__init__(error_type, message, attribute)
        self.error_type = error_type
        self.message = message
        self.attribute = attribute


@dataclass(frozen=True, slots=True)
class Intake:
    """The contents of an accepted body.

    ``dropped`` counts elements by their refused customer id, ``future`` the other actions that lie in the future.
    The other counts include them, but ``days`` and ``seen`` do not, because MoEngage drops them.
    ``days`` counts actions by (name, day in UTC). ``seen`` has the users of the kept elements.
    """

    elements: int
    customers: int
    events: int
    devices: int
    actions: int
    dropped: Mapping[str, int]
    future: int
    days: Mapping[tuple[str, str], int]
    seen: frozenset[str]

    @property
    def users(self) -> int:
        """Users that count against the rate limit: one a customer or device element."""
        return self.customers + self.devices


def read_envelope(body: bytes) -> list[Any]:
    """Return the elements of a bulk body.

    :raises Refusal: when the body is not ``{"type": "transition", "elements": [...]}``.
    """
    if not body:
        raise Refusal("Empty request body", "Empty request body")
    try:
        envelope = read_json(body)
    except msgspec.DecodeError:
        raise Refusal("Malformed JSON", "Malformed JSON") from None
    if type(envelope) is not dict:
        raise Refusal("TypeError", "expected object")
    if envelope.get("type") != "transition":
        raise Refusal("AttributeError", "type should be transition", "type")
    elements = envelope.get("elements")
    if elements is None:
        raise Refusal("MissingAttributeError", "elements not found in the payload", "elements")
    if type(elements) is not list:
        raise Refusal("TypeError", "expected array", "elements")
    if not elements:
        raise Refusal("MissingAttributeError", "elements cannot be empty array", "elements")
    return elements


def take_in(
    elements: list[Any], now: float, identifiers: Iterable[str] = (), *, refuses_future: bool = False
) -> Intake:
    """Check and count the elements of a body.

    :param now: epoch seconds; an action after that is not kept.
    :param identifiers: attributes that identify a user in a workspace with Identity Resolution.
    :param refuses_future: refuse the body instead.
    :raises Refusal: for the first element that MoEngage refuses; the error has no position.
    """
    customers = events = devices = actions = future = 0
    present = datetime.fromtimestamp(now, UTC)
    dropped: Counter[str] = Counter()
    kept: list[tuple[str, str]] = []
    seen: set[str] = set()
    for element in elements:
        kind = element.get("type") if type(element) is dict else None
        named: list[tuple[str, str]] = []
        early = 0
        if kind == "event":
            user = _event_user(element)
            named, early = _actions(element, present)
            if early and refuses_future:
                raise Refusal("AttributeError", "current_time cannot be in the future", "current_time")
            events += 1
            actions += len(named) + early
        elif kind == "customer":
            user = _customer_user(element, identifiers)
            customers += 1
        elif kind == "device":
            user = _device_user(element)
            devices += 1
        else:
            raise Refusal("AttributeError", "type in elements should be customer/event/device", "type")
        if user in REFUSED_CUSTOMER_IDS:
            dropped[user] += 1
        else:
            future += early
            if (named or not early) and element.get("update_existing_only") is not True:
                seen.add(user)
            kept += named
    days = Counter(kept)
    return Intake(len(elements), customers, events, devices, actions, dropped, future, days, frozenset(seen))


def read_moment(given: object) -> datetime | None:
    """Return a time in UTC: ISO 8601, epoch seconds, or epoch milliseconds, also as strings; else ``None``."""
    try:
        if isinstance(given, str) and not given.lstrip("-").isdecimal():
            moment = datetime.fromisoformat(given)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        epoch = float(given)  # type: ignore[arg-type]  # anything else is unreadable
        if epoch >= _EPOCH_MILLISECONDS_FROM:
            epoch /= 1000
        return datetime.fromtimestamp(epoch, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _customer_user(element: dict[str, Any], identifiers: Iterable[str]) -> str:
    attributes = _object(element, "attributes")
    _check_array_fields(attributes)
    if "customer_id" not in element:
        known = {name: attributes[name] for name in identifiers if attributes.get(name)}
        if known:
            return _identity(known)
    return _string(element, "customer_id")


def _check_array_fields(attributes: dict[str, Any]) -> None:
    """Refuse edits of arrays that contradict each other (Bulk Import, Array attributes)."""
    added = _object(attributes, "addValueToArrayField")
    removed = _object(attributes, "removeValueFromArrayField")
    for name in (*added, *removed):
        if name in added and name in removed:
            raise Refusal("ArrayFieldError", f"Cannot add and remove values of {name} at the same time", name)
        if name in attributes:
            raise Refusal("ArrayFieldError", f"Cannot set and update {name} at the same time", name)
        if name in _STANDARD_ATTRIBUTES or name.startswith(("moe_", "USER_ATTRIBUTE_", "MOE_")):
            raise Refusal("ArrayFieldError", f"Cannot update reserved attribute {name}", name)


_STANDARD_ATTRIBUTES = frozenset(["u_n", "u_fn", "u_ln", "u_gd", "u_em", "u_mb", "u_bd", "uid", "geo"])


def _event_user(element: dict[str, Any]) -> str:
    if "customer_id" not in element:
        identifiers = _object(element, "user_identifiers")
        if identifiers:
            return _identity(identifiers)
    return _string(element, "customer_id")


def _device_user(element: dict[str, Any]) -> str:
    user = _string(element, "customer_id")
    _string(element, "device_id")
    attributes = _object(element, "attributes", required=True)
    if _string(attributes, "platform") not in ("ANDROID", "iOS", "web", "TV"):
        raise Refusal("AttributeError", "platform should be ANDROID/iOS/web/TV", "platform")
    _string(attributes, "push_id")
    return user


def _actions(element: dict[str, Any], present: datetime) -> tuple[list[tuple[str, str]], int]:
    """Return name and day (UTC) of each action that is kept, and how many lie in the future."""
    actions = element.get("actions")
    if actions is None:
        raise Refusal("MissingAttributeError", "actions not found in the payload", "actions")
    if type(actions) is not list:
        raise Refusal("TypeError", "expected array", "actions")
    if not actions:
        raise Refusal("MissingAttributeError", "actions cannot be empty array", "actions")
    named: list[tuple[str, str]] = []
    early = 0
    for action in actions:
        if type(action) is not dict:
            raise Refusal("TypeError", "expected object", "actions")
        name = action.get("action")
        if name is None or name == "":
            raise Refusal("MissingAttributeError", "action cannot be empty Unicode string", "action")
        if type(name) is not str:
            raise Refusal("TypeError", "expected string", "action")
        _object(action, "attributes")
        moment, latest = _moment(action, present)
        if moment is None:
            named.append((name, ARRIVAL if latest is None else UNREADABLE))
        elif latest is not None and moment > latest:
            early += 1
        else:
            named.append((name, moment.date().isoformat()))
    return named, early


def _moment(action: dict[str, Any], present: datetime) -> tuple[datetime | None, datetime | None]:
    """Return when an action happened, and the latest time that is not in the future; both ``None`` without a time.

    A ``user_time`` is the user's local time, and MoEngage derives ``current_time`` from it if that is missing.
    """
    given = action.get("current_time")
    if given is not None:
        return read_moment(given), present
    given = action.get("user_time")
    if given is None:
        return None, None
    offset = action.get("user_timezone_offset")
    ahead = _WIDEST_OFFSET
    if isinstance(offset, int | float) and abs(offset) <= ahead.total_seconds():
        ahead = timedelta(seconds=offset)
    return read_moment(given), present + ahead


def _string(holder: dict[str, Any], name: str) -> str:
    if name not in holder:
        raise Refusal("MissingAttributeError", f"{name} not found in the payload", name)
    value = holder[name]
    if type(value) is not str:
        raise Refusal("TypeError", "expected string", name)
    return value


def _object(holder: dict[str, Any], name: str, *, required: bool = False) -> dict[str, Any]:
    value = holder.get(name)
    if value is None and name not in holder:
        if required:
            raise Refusal("MissingAttributeError", f"{name} not found in the payload", name)
        return {}
    if type(value) is not dict:
        raise Refusal("TypeError", "expected object", name)
    return value


def _identity(identifiers: dict[str, Any]) -> str:
    return msgspec.json.encode(identifiers, order="deterministic").decode()
