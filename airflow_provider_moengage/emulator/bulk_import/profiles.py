"""The profiles of the users: what becomes of their elements, with what MoEngage cuts, ignores or alters.

MoEngage user guide, "Limits of events and attributes", "Reserved attribute names" and "User attributes"; API
reference, "Bulk Import", for edits of lists and attributes to unset. Bodies are read only when somebody asks for a
user, so that accepting them takes no longer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from airflow_provider_moengage.emulator.bulk_import.elements import REFUSED_CUSTOMER_IDS, read_moment

LONGEST_NAME = 200
LONGEST_VALUE = 512
LONGEST_LIST = 50
MOST_DEVICES = 1_000
MOST_EVENTS = 50
"""Events of a user that are kept; the others are counted."""

_ID = "uid"

_IGNORED = frozenset(
    """
    id _id platforms USER_ATTRIBUTE_UNIQUE_ID USER_ATTRIBUTE_USER_EMAIL USER_ATTRIBUTE_USER_MOBILE
    USER_ATTRIBUTE_USER_NAME USER_ATTRIBUTE_USER_GENDER USER_ATTRIBUTE_USER_FIRST_NAME
    USER_ATTRIBUTE_USER_LAST_NAME USER_ATTRIBUTE_USER_BDAY USER_ATTRIBUTE_NOTIFICATION_PREF USER_ATTRIBUTE_OLD_ID
    MOE_TIME_FORMAT MOE_TIME_TIMEZONE USER_ATTRIBUTE_DND_START_TIME USER_ATTRIBUTE_DND_END_TIME MOE_GAID
    INSTALL UPDATE MOE_ISLAT status user_id source
    """.split()
) | {""}
"""Names inside ``attributes`` that set no attribute."""

_WRITTEN_ONCE = frozenset("publisher_name campaign_name u_l_a cr_t moe_gaid advertising_identifier".split())

_ADD, _REMOVE = "addValueToArrayField", "removeValueFromArrayField"

_CONDITIONS: dict[str, Callable[[str, str], bool]] = {
    "equals": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
    "contains": str.__contains__,
}


@dataclass(slots=True)
class Profile:
    """What a workspace knows of a user.

    :param events: the last events: name, time as it was sent, and attributes.
    :param event_count: all events.
    """

    attributes: dict[str, Any] = field(default_factory=dict)
    devices: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MOST_EVENTS))
    event_count: int = 0

    def set(self, element: dict[str, Any]) -> None:
        """Apply a customer element."""
        attributes = element.get("attributes") or {}
        for given_name, value in attributes.items():
            name = given_name[:LONGEST_NAME]
            kept = _kept(value)
            if given_name in _IGNORED or given_name in (_ADD, _REMOVE) or kept is None:
                continue
            if name not in _WRITTEN_ONCE or name not in self.attributes:
                self.attributes[name] = kept
        self._edit_lists(attributes)
        for condition in _conditions(element):
            for name in [name for name in self.attributes if condition(name)]:
                del self.attributes[name]

    def add_device(self, element: dict[str, Any]) -> None:
        """Apply a device element."""
        if len(self.devices) < MOST_DEVICES or element["device_id"] in self.devices:
            self.devices[element["device_id"]] = element["attributes"]

    def add_events(self, element: dict[str, Any], now: float) -> None:
        """Apply an event element; actions after ``now`` are in the future, and dropped."""
        for action in element["actions"]:
            when = action.get("current_time", action.get("user_time"))
            moment = read_moment(action.get("current_time"))
            if moment is not None and moment.timestamp() > now:
                continue
            self.events.append(
                {"name": action["action"], "time": when, "attributes": action.get("attributes", {})}
            )
            self.event_count += 1

    def _edit_lists(self, attributes: dict[str, Any]) -> None:
        for name, value in (attributes.get(_ADD) or {}).items():
            self.attributes[name] = [*self._list(name), *_list_of(value)][:LONGEST_LIST]
        for name, value in (attributes.get(_REMOVE) or {}).items():
            self.attributes[name] = [each for each in self._list(name) if each not in _list_of(value)]

    def _list(self, name: str) -> list[Any]:
        stored = self.attributes.get(name)
        return stored if isinstance(stored, list) else []


@dataclass(frozen=True, slots=True)
class _Accepted:
    at: float
    elements: int
    body: bytes


class Profiles:
    """The profiles of a workspace."""

    def __init__(self) -> None:
        self._profiles: dict[str, Profile] = {}
        self._unread: deque[_Accepted] = deque()
        self._held = 0
        self.is_complete = True
        """Whether no body was dropped before it was read."""

    def accept(self, body: bytes, elements: int, now: float, keep: int | None) -> None:
        """Keep an accepted body until somebody asks for a user."""
        self._unread.append(_Accepted(now, elements, body))
        self._held += elements
        self.trim(keep)

    def trim(self, keep: int | None) -> None:
        """Drop the oldest unread bodies beyond the last ``keep`` elements."""
        while keep is not None and self._unread and self._held - self._unread[0].elements >= keep:
            self._held -= self._unread.popleft().elements
            self.is_complete = False

    def find(self, user: str, until: float) -> Profile | None:
        """Return a user's profile.

        :param until: bodies that were accepted later are not ingested yet.
        """
        self._ingest(until)
        return self._profiles.get(user)

    def delete(self, users: Iterable[str]) -> None:
        """Delete profiles, with everything that was accepted so far."""
        self._ingest(float("inf"))
        for user in users:
            self._profiles.pop(user, None)

    def users_with(self, attribute: str, value: str) -> list[str]:
        """Return the users who have a value of an attribute, of everything that was accepted so far."""
        self._ingest(float("inf"))
        return [user for user, profile in self._profiles.items() if profile.attributes.get(attribute) == value]

    def _ingest(self, until: float) -> None:
        while self._unread and self._unread[0].at <= until:
            accepted = self._unread.popleft()
            self._held -= accepted.elements
            for element in msgspec.json.decode(accepted.body)["elements"]:
                self._apply(element, accepted.at)

    def _apply(self, element: dict[str, Any], at: float) -> None:
        user = element.get("customer_id")
        if user is None or user in REFUSED_CUSTOMER_IDS:
            return  # without an ID: a user with other identifiers
        profile = self._profiles.get(user)
        if profile is None:
            if element.get("update_existing_only") is True:
                return
            profile = self._profiles[user] = Profile({_ID: user})
        match element["type"]:
            case "customer":
                profile.set(element)
            case "device":
                profile.add_device(element)
            case _:
                profile.add_events(element, at)


def _kept(value: Any) -> Any:
    """Return what MoEngage keeps of a value; None: nothing."""
    if isinstance(value, str):
        is_url = value.startswith(("http://", "https://"))
        return None if is_url and len(value) > LONGEST_VALUE else value[:LONGEST_VALUE]
    if isinstance(value, list):
        return [each[:LONGEST_VALUE] if isinstance(each, str) else each for each in value[:LONGEST_LIST]]
    return value


def _list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _conditions(element: dict[str, Any]) -> list[Callable[[str], bool]]:
    """Return the conditions of ``unset_attributes``; those of an unknown form are ignored."""
    found = []
    conditions = element.get("unset_attributes")
    for given in conditions if isinstance(conditions, list) else ():
        if not isinstance(given, dict):
            continue
        matches, attr = _CONDITIONS.get(given.get("type", "")), given.get("attr")
        if matches is not None and isinstance(attr, str):
            is_exact = given.get("case_sensitive", True)
            found.append(_condition(matches, attr, is_exact=is_exact))
    return found


def _condition(matches: Callable[[str, str], bool], attr: str, *, is_exact: bool) -> Callable[[str], bool]:
    if is_exact:
        return lambda name: matches(name, attr)
    return lambda name: matches(name.casefold(), attr.casefold())
