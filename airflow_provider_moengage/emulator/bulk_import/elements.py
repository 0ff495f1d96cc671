"""Checks a bulk body: refuses it with a documented error, or accepts and counts its elements.

MoEngage API reference, "Bulk Import", and "Data API overview" for the customer ids that are dropped.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
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

    ``dropped`` counts elements by their refused customer id. The other counts include them, but ``days`` and
    ``seen`` do not, because MoEngage drops them.
    ``days`` counts actions by (name, day in UTC). ``seen`` has the users of the kept elements.
    """

    elements: int
    customers: int
    events: int
    devices: int
    actions: int
    dropped: Mapping[str, int]
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


def take_in(elements: list[Any], identifiers: Iterable[str] = ()) -> Intake:
    """Check and count the elements of a body.

    :param identifiers: attributes that identify a user in a workspace with Identity Resolution.
    :raises Refusal: for the first element that MoEngage refuses; the error has no position.
    """
    customers = events = devices = actions = 0
    dropped: Counter[str] = Counter()
    kept: list[tuple[str, str]] = []
    seen: set[str] = set()
    for element in elements:
        kind = element.get("type") if type(element) is dict else None
        named: list[tuple[str, str]] = []
        if kind == "event":
            user = _event_user(element)
            named = _actions(element)
            events += 1
            actions += len(named)
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
            seen.add(user)
            kept += named
    days = Counter(kept)
    return Intake(len(elements), customers, events, devices, actions, dropped, days, frozenset(seen))


def event_day(current_time: object) -> str:
    """Return the UTC day of an event: ISO 8601, epoch seconds, or epoch milliseconds, also as strings."""
    if current_time is None:
        return ARRIVAL
    try:
        if isinstance(current_time, str) and not current_time.lstrip("-").isdecimal():
            moment = datetime.fromisoformat(current_time)
            if moment.tzinfo is not None and moment.tzinfo is not UTC:
                moment = moment.astimezone(UTC)
            return moment.date().isoformat()
        epoch = float(current_time)  # type: ignore[arg-type]  # anything else is unreadable
        if epoch >= _EPOCH_MILLISECONDS_FROM:
            epoch /= 1000
        return datetime.fromtimestamp(epoch, UTC).date().isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        return UNREADABLE


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


def _actions(element: dict[str, Any]) -> list[tuple[str, str]]:
    actions = element.get("actions")
    if actions is None:
        raise Refusal("MissingAttributeError", "actions not found in the payload", "actions")
    if type(actions) is not list:
        raise Refusal("TypeError", "expected array", "actions")
    if not actions:
        raise Refusal("MissingAttributeError", "actions cannot be empty array", "actions")
    named = []
    for action in actions:
        if type(action) is not dict:
            raise Refusal("TypeError", "expected object", "actions")
        name = action.get("action")
        if name is None or name == "":
            raise Refusal("MissingAttributeError", "action cannot be empty Unicode string", "action")
        if type(name) is not str:
            raise Refusal("TypeError", "expected string", "action")
        _object(action, "attributes")
        happened = action.get("current_time", action.get("user_time"))  # derived from it if it is alone
        named.append((name, event_day(happened)))
    return named


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
