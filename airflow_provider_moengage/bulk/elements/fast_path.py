"""Elements made ready to be sent, many at a time: those that are as they should be pass at once.

Most elements need no change and break no rule, and to see that takes a fraction of the time that
:func:`~airflow_provider_moengage.bulk.elements.checks.prepare` takes to say what is wrong with one. So each is
looked at here, and prepared only where it may be one of the others.
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from airflow_provider_moengage.bulk.elements import rules
from airflow_provider_moengage.bulk.elements.checks import (
    Finding,
    Prepared,
    action_name,
    event_attribute_name,
    prepare,
    user_attribute_name,
)
from airflow_provider_moengage.bulk.elements.encoding import NotEncodableError, exact_decimal, finite, to_utc
from airflow_provider_moengage.bulk.elements.event_time import event_time
from airflow_provider_moengage.bulk.elements.weight import Weight, weight


class NeedsFullCheckError(Exception):
    """An element needs a closer look."""


@dataclass(slots=True)
class PreparedElements:
    """Elements that can be encoded, each with what is known of it: lists of the same length."""

    elements: list[Any] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    flawed: dict[int, Prepared] = field(default_factory=dict)
    """Those of them that something is wrong with, by their place in the lists."""

    def add(self, prepared: Prepared) -> None:
        """Add one that took a closer look."""
        if prepared.findings:
            self.flawed[len(self.elements)] = prepared
        self.elements.append(prepared.element)
        self.weights.append(prepared.weight)
        self.users.append(prepared.user)


Preparer = Callable[[Sequence[Any], bool], PreparedElements]
"""Makes elements of what a source gives; the second argument is that of :func:`prepare_elements`."""


def prepare_elements(elements: Sequence[Any], rules_apply: bool) -> PreparedElements:
    """Make elements ready that have the API's own form.

    :param rules_apply: False checks only what would keep them from being encoded.
    """
    ready = PreparedElements()
    add, weigh, own = ready.elements.append, ready.weights.append, ready.users.append
    for element in elements:
        try:
            if type(element) is not dict or len(element) != 3:
                raise NeedsFullCheckError
            kind, user = element["type"], element["customer_id"]
            if type(user) is not str or type(kind) is not str or user.strip().casefold() in _REFUSED:
                raise NeedsFullCheckError
            if kind == "customer":
                given = element["attributes"]
                attributes = _fast_attributes(given, _VALID_USER_NAMES, user_attribute_name)
                sent = element if attributes is given else {**element, "attributes": attributes}
                counted = _CUSTOMER
            elif kind == "event":
                counted, sent = _fast_event(element, rules_apply)
            else:
                raise NeedsFullCheckError
        except (NeedsFullCheckError, KeyError, TypeError, NotEncodableError):
            ready.add(prepare(element, rules_apply=rules_apply))
        else:
            add(sent)
            weigh(counted)
            own(user)
    return ready


_REFUSED = rules.REFUSED_CUSTOMER_IDS
_CUSTOMER = weight("customer", 0)
_EVENT = weight("event", 1)


def _fast_event(event: dict[str, Any], rules_apply: bool) -> tuple[Weight, dict[str, Any]]:
    """Return what an event counts for, and it as it is sent."""
    actions = event["actions"]
    if type(actions) is not list or not actions:
        raise NeedsFullCheckError
    sent = [_fast_action(action, rules_apply) for action in actions]
    counted = _EVENT if len(actions) == 1 else weight("event", len(actions))
    return counted, event if all(map(operator.is_, sent, actions)) else {**event, "actions": sent}


def _fast_action(action: Any, rules_apply: bool) -> dict[str, Any]:
    if type(action) is not dict or not _ACTION_FIELDS.issuperset(action):
        raise NeedsFullCheckError
    name, time = action["action"], action["current_time"]
    if type(name) is not str or not is_valid_event_name(name):
        raise NeedsFullCheckError
    if "platform" in action:
        platform = action["platform"]
        if type(platform) is not str or platform not in rules.EVENT_PLATFORMS:
            raise NeedsFullCheckError
    sent = action
    if "attributes" in action:
        given = action["attributes"]
        attributes = _fast_attributes(given, _VALID_EVENT_NAMES, event_attribute_name)
        if len(attributes) > rules.MOST_EVENT_ATTRIBUTES:
            raise NeedsFullCheckError
        if attributes is not given:
            sent = {**action, "attributes": attributes}
    if type(time) is not dt.datetime or time.tzinfo is not dt.UTC:
        if not rules_apply:
            raise NeedsFullCheckError
        sent = {**sent, "current_time": fast_event_time(time)}
    return sent


_ACTION_FIELDS = frozenset({"action", "current_time", "attributes", "platform"})

_MAX_NAMES = 4_096
_VALID_USER_NAMES: set[str] = set()
_VALID_EVENT_NAMES: set[str] = set()
_VALID_EVENTS: set[str] = set()
"""Names of attributes and events that were looked at and break no rule: not so many that they take memory."""


def is_valid_event_name(name: str) -> bool:
    """Say whether a text is an event's name that breaks no rule."""
    if name in _VALID_EVENTS:
        return True
    is_good = not action_name(name)
    if is_good and len(_VALID_EVENTS) < _MAX_NAMES:
        _VALID_EVENTS.add(name)
    return is_good


def _fast_attributes(
    attributes: Any, good: set[str], find: Callable[[str], tuple[Finding, ...]]
) -> dict[str, Any]:
    """Return attributes as they are sent; a copy where a value is sent in another form."""
    if type(attributes) is not dict:
        raise NeedsFullCheckError
    if not good.issuperset(attributes):
        _check_new_names(attributes, good, find)
    changed = None
    for name, value in attributes.items():
        kind = type(value)
        if kind is str:
            if len(value) > rules.LONGEST_VALUE:
                raise NeedsFullCheckError
        elif kind not in UNCHANGED_TYPES:
            sent = CONVERTERS[kind](value)
            if sent is not value:
                changed = changed or dict(attributes)
                changed[name] = sent
    return changed or attributes


def _check_new_names(
    attributes: dict[Any, Any], good: set[str], find: Callable[[str], tuple[Finding, ...]]
) -> None:
    for name in attributes:
        if type(name) is not str or name == "platforms" or find(name):
            raise NeedsFullCheckError
    if len(good) + len(attributes) <= _MAX_NAMES:
        good.update(attributes)


def fast_event_time(value: Any) -> dt.datetime:
    """Return when an event happened.

    :raises NeedsFullCheckError: where that cannot be read at once.
    """
    moment = event_time(value) if type(value) in _TIME_TYPES else None
    if moment is None:
        raise NeedsFullCheckError
    return moment


_TIME_TYPES = frozenset({dt.datetime, dt.date, str, int, float})

UNCHANGED_TYPES = frozenset({str, int, bool, type(None), UUID, dt.date, dt.time})
"""Types whose values are sent as they are and break no rule; only texts may be too long."""


def _fast_decimal(value: Decimal) -> Any:
    sent = exact_decimal(value)
    if type(sent) is str and len(sent) > rules.LONGEST_VALUE:
        raise NeedsFullCheckError
    return sent


CONVERTERS: dict[type, Callable[[Any], Any]] = {float: finite, Decimal: _fast_decimal, dt.datetime: to_utc}
"""Convert a value to the one to send. They raise NeedsFullCheckError or NotEncodableError if the element needs the
full check, as does every value whose type is neither here nor in :data:`UNCHANGED_TYPES`."""
