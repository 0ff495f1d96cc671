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


class UnusualError(Exception):
    """An element needs a closer look."""


@dataclass(slots=True)
class Ready:
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


Form = Callable[[Sequence[Any], bool], Ready]
"""Makes elements of what a source gives; the second argument is that of :func:`ready_elements`."""


def ready_elements(elements: Sequence[Any], rules_apply: bool) -> Ready:
    """Make elements ready that have the API's own form.

    :param rules_apply: False checks only what would keep them from being encoded.
    """
    ready = Ready()
    add, weigh, own = ready.elements.append, ready.weights.append, ready.users.append
    for element in elements:
        try:
            if type(element) is not dict or len(element) != 3:
                raise UnusualError
            kind, user = element["type"], element["customer_id"]
            if type(user) is not str or type(kind) is not str or user.strip().casefold() in _REFUSED:
                raise UnusualError
            if kind == "customer":
                given = element["attributes"]
                attributes = _usual_attributes(given, _GOOD_USER_NAMES, user_attribute_name)
                sent = element if attributes is given else {**element, "attributes": attributes}
                counted = _CUSTOMER
            elif kind == "event":
                counted, sent = _usual_event(element, rules_apply)
            else:
                raise UnusualError
        except (UnusualError, KeyError, TypeError, NotEncodableError):
            ready.add(prepare(element, rules_apply=rules_apply))
        else:
            add(sent)
            weigh(counted)
            own(user)
    return ready


_REFUSED = rules.REFUSED_CUSTOMER_IDS
_CUSTOMER = weight("customer", 0)
_EVENT = weight("event", 1)


def _usual_event(event: dict[str, Any], rules_apply: bool) -> tuple[Weight, dict[str, Any]]:
    """Return what an event counts for, and it as it is sent."""
    actions = event["actions"]
    if type(actions) is not list or not actions:
        raise UnusualError
    sent = [_usual_action(action, rules_apply) for action in actions]
    counted = _EVENT if len(actions) == 1 else weight("event", len(actions))
    return counted, event if all(map(operator.is_, sent, actions)) else {**event, "actions": sent}


def _usual_action(action: Any, rules_apply: bool) -> dict[str, Any]:
    if type(action) is not dict or not _ACTION_FIELDS.issuperset(action):
        raise UnusualError
    name, time = action["action"], action["current_time"]
    if type(name) is not str or not is_good_event(name):
        raise UnusualError
    if "platform" in action:
        platform = action["platform"]
        if type(platform) is not str or platform not in rules.EVENT_PLATFORMS:
            raise UnusualError
    sent = action
    if "attributes" in action:
        given = action["attributes"]
        attributes = _usual_attributes(given, _GOOD_EVENT_NAMES, event_attribute_name)
        if len(attributes) > rules.MOST_EVENT_ATTRIBUTES:
            raise UnusualError
        if attributes is not given:
            sent = {**action, "attributes": attributes}
    if type(time) is not dt.datetime or time.tzinfo is not dt.UTC:
        if not rules_apply:
            raise UnusualError
        sent = {**sent, "current_time": usual_time(time)}
    return sent


_ACTION_FIELDS = frozenset({"action", "current_time", "attributes", "platform"})

_MOST_NAMES = 4_096
_GOOD_USER_NAMES: set[str] = set()
_GOOD_EVENT_NAMES: set[str] = set()
_GOOD_EVENTS: set[str] = set()
"""Names of attributes and events that were looked at and break no rule: not so many that they take memory."""


def is_good_event(name: str) -> bool:
    """Say whether a text is an event's name that breaks no rule."""
    if name in _GOOD_EVENTS:
        return True
    is_good = not action_name(name)
    if is_good and len(_GOOD_EVENTS) < _MOST_NAMES:
        _GOOD_EVENTS.add(name)
    return is_good


def _usual_attributes(
    attributes: Any, good: set[str], find: Callable[[str], tuple[Finding, ...]]
) -> dict[str, Any]:
    """Return attributes as they are sent; a copy where a value is sent in another form."""
    if type(attributes) is not dict:
        raise UnusualError
    if not good.issuperset(attributes):
        _look_at_names(attributes, good, find)
    changed = None
    for name, value in attributes.items():
        kind = type(value)
        if kind is str:
            if len(value) > rules.LONGEST_VALUE:
                raise UnusualError
        elif kind not in AS_IT_IS:
            sent = CONVERTERS[kind](value)
            if sent is not value:
                changed = changed or dict(attributes)
                changed[name] = sent
    return changed or attributes


def _look_at_names(attributes: dict[Any, Any], good: set[str], find: Callable[[str], tuple[Finding, ...]]) -> None:
    for name in attributes:
        if type(name) is not str or name == "platforms" or find(name):
            raise UnusualError
    if len(good) + len(attributes) <= _MOST_NAMES:
        good.update(attributes)


def usual_time(value: Any) -> dt.datetime:
    """Return when an event happened.

    :raises UnusualError: where that cannot be read at once.
    """
    moment = event_time(value) if type(value) in _READ_AS_TIMES else None
    if moment is None:
        raise UnusualError
    return moment


_READ_AS_TIMES = frozenset({dt.datetime, dt.date, str, int, float})

AS_IT_IS = frozenset({str, int, bool, type(None), UUID, dt.date, dt.time})
"""Types whose values are sent as they are and break no rule; only texts may be too long."""


def _usual_decimal(value: Decimal) -> Any:
    sent = exact_decimal(value)
    if type(sent) is str and len(sent) > rules.LONGEST_VALUE:
        raise UnusualError
    return sent


CONVERTERS: dict[type, Callable[[Any], Any]] = {float: finite, Decimal: _usual_decimal, dt.datetime: to_utc}
"""Make of a value what is sent. They raise UnusualError or NotEncodableError where it takes a closer look, as does
every value whose type is neither here nor in :data:`AS_IT_IS`."""
