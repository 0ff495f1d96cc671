"""The fast path for elements that break no rule: decides in a fraction of the time of the full check.

Most elements need little or no change and break no rule. This module accepts only those; every other element goes
through :func:`~airflow_provider_moengage.bulk.elements.checks.prepare`, which reports what is wrong.
``docs/decisions/element-rules-exist-twice.md`` explains why the rules are in both.
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from airflow_provider_moengage.bulk.elements import rules
from airflow_provider_moengage.bulk.elements.checks import (
    Prepared,
    action_name,
    event_attribute_name,
    not_json,
    prepare,
    user_attribute_name,
)
from airflow_provider_moengage.bulk.elements.encoding import (
    ENCODING_ERRORS,
    Encoder,
    exact_decimal,
    finite,
    is_rounded,
    safe_time,
    to_utc,
)
from airflow_provider_moengage.bulk.elements.event_time import event_time
from airflow_provider_moengage.bulk.elements.findings import Finding
from airflow_provider_moengage.bulk.elements.json_value import to_json_value
from airflow_provider_moengage.bulk.elements.rules import DOCUMENTED, WorkspaceRules
from airflow_provider_moengage.bulk.elements.weight import Weight, weight


class NeedsFullCheckError(Exception):
    """The fast path cannot decide: :func:`~airflow_provider_moengage.bulk.elements.checks.prepare` must."""


@dataclass(slots=True)
class PreparedElements:
    """Checked elements, their weights and their users: lists of the same length."""

    elements: list[Any] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    flawed: dict[int, Prepared] = field(default_factory=dict)
    """Elements with findings, by their index in the lists."""

    def add(self, prepared: Prepared) -> None:
        """Add an element that took the full check."""
        if prepared.findings:
            self.flawed[len(self.elements)] = prepared
        self.elements.append(prepared.element)
        self.weights.append(prepared.weight)
        self.users.append(prepared.user)


class Preparer(Protocol):
    """Turns what a source yields into checked elements."""

    def __call__(
        self, given: Sequence[Any], rules_apply: bool, workspace: WorkspaceRules = DOCUMENTED, /
    ) -> PreparedElements:
        """Return the checked elements.

        :param rules_apply: False checks only what would prevent encoding.
        :param workspace: what the rules depend on besides an element.
        """


def prepare_elements(
    elements: Iterable[Any],
    rules_apply: bool,
    workspace: WorkspaceRules = DOCUMENTED,
    /,
    encoder: Encoder | None = None,
) -> PreparedElements:
    """Check and convert elements as the API expects them, ``{"type": "customer", ...}``.

    :param rules_apply: False checks only what would prevent encoding.
    :param workspace: what the rules depend on besides an element.
    :param encoder: encodes each element before the next one is read, so that what the source does to it afterwards
        changes nothing. None: nobody changes the elements, and they are encoded together later.
    """
    result = PreparedElements()
    add, add_weight, add_user = result.elements.append, result.weights.append, result.users.append
    latest = workspace.latest_time()
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
                if len(attributes) > rules.MOST_USER_ATTRIBUTES:
                    raise NeedsFullCheckError
                sent = element if attributes is given else {**element, "attributes": attributes}
                element_weight = _CUSTOMER
            elif kind == "event":
                element_weight, sent = _fast_event(element, rules_apply, latest)
            else:
                raise NeedsFullCheckError
            ready: Any = sent if encoder is None else encoder.one(sent)
        except Exception:  # noqa: BLE001 (any method of any value may raise anything; the full check reports it)
            prepared = prepare(element, rules_apply=rules_apply, workspace=workspace)
            result.add(prepared if encoder is None else _encoded(prepared, encoder))
        else:
            add(ready)
            add_weight(element_weight)
            add_user(user)
    return result


def _encoded(prepared: Prepared, encoder: Encoder) -> Prepared:
    """Return an element encoded, and as it will stand in the rejects: the source may change it now."""
    if all(finding.is_warning for finding in prepared.findings):
        try:
            element = encoder.one(prepared.element)
        except ENCODING_ERRORS as error:
            prepared.findings.append(not_json(error))
        else:
            prepared.element = element
    if prepared.findings:
        prepared.given = to_json_value(prepared.given)
    return prepared


_REFUSED = rules.REFUSED_CUSTOMER_IDS
_CUSTOMER = weight("customer", 0)
_EVENT = weight("event", 1)


def _fast_event(event: dict[str, Any], rules_apply: bool, latest: dt.datetime) -> tuple[Weight, dict[str, Any]]:
    """Return an event's weight, and the event as it will be sent."""
    actions = event["actions"]
    if type(actions) is not list or not actions:
        raise NeedsFullCheckError
    sent = [_fast_action(action, rules_apply, latest) for action in actions]
    element_weight = _EVENT if len(actions) == 1 else weight("event", len(actions))
    return element_weight, event if all(map(operator.is_, sent, actions)) else {**event, "actions": sent}


def _fast_action(action: Any, rules_apply: bool, latest: dt.datetime) -> dict[str, Any]:
    if type(action) is not dict or not _ACTION_FIELDS.issuperset(action):
        raise NeedsFullCheckError
    name, time = action["action"], action["current_time"]
    if type(name) is not str or not is_valid_event_name(name):
        raise NeedsFullCheckError
    platform = action.get("platform", "web")
    if type(platform) is not str or platform not in _EVENT_PLATFORMS:
        raise NeedsFullCheckError
    sent = action
    if "attributes" in action:
        given = action["attributes"]
        attributes = _fast_attributes(given, _VALID_EVENT_NAMES, event_attribute_name)
        if len(attributes) > rules.MOST_EVENT_ATTRIBUTES:
            raise NeedsFullCheckError
        if attributes is not given:
            sent = {**action, "attributes": attributes}
    if type(time) is dt.datetime and time.tzinfo is dt.UTC:
        if time > latest and rules_apply:
            raise NeedsFullCheckError
        return sent
    if not rules_apply:
        raise NeedsFullCheckError
    return {**sent, "current_time": fast_event_time(time, latest)}


_EVENT_PLATFORMS = frozenset(rules.EVENT_PLATFORMS)
_ACTION_FIELDS = frozenset({"action", "current_time", "attributes", "platform"})

_MAX_NAMES = 4_096
_VALID_USER_NAMES: set[str] = set()
_VALID_EVENT_NAMES: set[str] = set()
_VALID_EVENTS: set[str] = set()
"""Names of attributes and events known to break no rule, bounded so that they take little memory."""


def is_valid_event_name(name: str) -> bool:
    """Return whether an event's name breaks no rule."""
    if name in _VALID_EVENTS:
        return True
    is_valid = not action_name(name)
    if is_valid and len(_VALID_EVENTS) < _MAX_NAMES:
        _VALID_EVENTS.add(name)
    return is_valid


def _fast_attributes(
    attributes: Any, valid: set[str], check: Callable[[str], tuple[Finding, ...]]
) -> dict[str, Any]:
    """Return attributes as they will be sent; a copy if a value is converted."""
    if type(attributes) is not dict:
        raise NeedsFullCheckError
    if not valid.issuperset(attributes):
        _check_new_names(attributes, valid, check)
    changed = None
    for name, value in attributes.items():
        kind = type(value)
        if kind is str:
            if len(value) > rules.SHORTEST_TIME and (
                (value[13] == ":" and rules.is_time_as_text(value)) or len(value) > rules.LONGEST_VALUE
            ):
                raise NeedsFullCheckError
        elif kind not in UNCHANGED_TYPES:
            sent = CONVERTERS[kind](value)
            if sent is not value:
                changed = changed or dict(attributes)
                changed[name] = sent
    return changed or attributes


def _check_new_names(
    attributes: dict[Any, Any], valid: set[str], check: Callable[[str], tuple[Finding, ...]]
) -> None:
    for name in attributes:
        if type(name) is not str or name in rules.STRUCTURED_ATTRIBUTES or check(name):
            raise NeedsFullCheckError
    if len(valid) + len(attributes) <= _MAX_NAMES:
        valid.update(attributes)


def fast_event_time(value: Any, latest: dt.datetime) -> dt.datetime:
    """Return when an event happened.

    :param latest: the latest time that an event may have.

    :raises NeedsFullCheckError: if that cannot be read.
    """
    moment = event_time(value) if type(value) in _TIME_TYPES else None
    if moment is None or moment > latest:
        raise NeedsFullCheckError
    return moment


_TIME_TYPES = frozenset({dt.datetime, dt.date, str, int, float})

UNCHANGED_TYPES = frozenset({str, int, bool, type(None), UUID, dt.date})
"""Types whose values are sent unchanged and break no rule, except that a str may be too long."""


def _fast_decimal(value: Decimal) -> Any:
    sent = exact_decimal(value)
    if type(sent) is float and is_rounded(value):
        raise NeedsFullCheckError
    return sent


CONVERTERS: dict[type, Callable[[Any], Any]] = {
    float: finite,
    Decimal: _fast_decimal,
    dt.datetime: to_utc,
    dt.time: safe_time,
}
"""Convert a value to the one to send. They raise NeedsFullCheckError or NotEncodableError if the element needs the
full check, as does every value whose type is neither here nor in :data:`UNCHANGED_TYPES`."""
