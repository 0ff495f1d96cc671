"""Checks one element and converts its values for encoding.

Follows MoEngage API reference, "Bulk Import". Finds what MoEngage would refuse, or accept and silently drop,
before the element is sent. A message may name an attribute; it never holds a value.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from airflow_provider_moengage.bulk.elements import rules
from airflow_provider_moengage.bulk.elements.encoding import (
    NotEncodableError,
    NotFiniteError,
    NotReadableError,
    is_rounded,
    to_plain,
)
from airflow_provider_moengage.bulk.elements.event_time import event_time, local_time
from airflow_provider_moengage.bulk.elements.findings import Finding
from airflow_provider_moengage.bulk.elements.instructions import (
    check_array_edits,
    check_device_platform,
    check_number,
    check_unset,
    opt_ins,
    set_platform,
)
from airflow_provider_moengage.bulk.elements.objects import check_object, has_objects
from airflow_provider_moengage.bulk.elements.rules import DOCUMENTED, Code, WorkspaceRules
from airflow_provider_moengage.bulk.elements.weight import Weight, weight


@dataclass(slots=True)
class Prepared:
    """An element as it will be sent, with what the pipeline needs to know about it."""

    element: Any
    given: Any = None
    """The element before it was converted."""
    kind: str = "customer"
    """``customer``, ``event`` or ``device``; an unknown kind counts as a customer."""
    user: str = ""
    """Identifies the user: equal for equal users, and used for nothing else."""
    actions: int = 0
    """How many events MoEngage counts for it."""
    unsets: bool = field(default=False, init=False)
    """Whether it has ``unset_attributes``."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def weight(self) -> Weight:
        """What it counts toward the rate limits and in the report."""
        codes = tuple(sorted({str(finding.code) for finding in self.findings})) if self.findings else ()
        return weight(self.kind, self.actions, codes, unsets=self.unsets)


def prepare(element: object, *, rules_apply: bool = True, workspace: WorkspaceRules = DOCUMENTED) -> Prepared:
    """Check an element and convert its values for encoding. The original is not changed. Never raises.

    :param element: a dict as the API expects it, ``{"type": "customer", ...}``.
    :param rules_apply: False checks only what would prevent encoding.
    :param workspace: what the rules depend on besides the element.
    """
    try:
        return _prepare(element, rules_apply, workspace)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 (any method of any value may raise anything)
        message = f"a value cannot be read: one of its methods raised {type(error).__name__}; convert it before"
        return Prepared(None, element, findings=[Finding(Code.VALUE_NOT_ENCODABLE, message)])


def _prepare(element: object, rules_apply: bool, workspace: WorkspaceRules) -> Prepared:
    if not isinstance(element, Mapping):
        name = type(element).__name__
        finding = Finding(Code.ELEMENT_INVALID, f"expected a JSON object, not {name}")
        return Prepared(None, element, findings=[finding])
    prepared = Prepared(dict(element), element)
    kind = element.get("type")
    check = _KINDS.get(kind) if isinstance(kind, str) else None
    if check is not None:
        prepared.kind = str.__str__(kind)  # str() of an Enum member would be its name
    elif rules_apply:
        expected = ", ".join(_KINDS)
        prepared.findings.append(Finding(Code.TYPE_INVALID, f"type: expected one of {expected}"))
    _plain_fields(prepared, rules_apply)
    prepared.unsets = bool(prepared.element.get("unset_attributes"))
    _identify(prepared, workspace)
    if rules_apply and check is not None:
        check(prepared, workspace)
    return prepared


def not_json(error: Exception) -> Finding:
    """Return the finding for what only the encoder notices: half a surrogate pair, a huge number."""
    return Finding(Code.VALUE_NOT_ENCODABLE, f"cannot be written as JSON ({type(error).__name__})")


def _plain_fields(prepared: Prepared, rules_apply: bool) -> None:
    element, findings = prepared.element, prepared.findings
    for name, value in element.items():
        if name == "actions":
            actions = value if type(value) in (list, tuple) else _plain(name, value, findings)
            if isinstance(actions, list | tuple):
                prepared.actions = len(actions)
                actions = _actions(actions, findings, rules_apply)
            element[name] = actions
        elif name == "attributes" and isinstance(value, dict):
            element[name] = attribute_values(value, findings, rules_apply)
        elif name in ("customer_id", "device_id"):
            element[name] = identifier(name, value, findings)
        elif name == "user_identifiers" and isinstance(value, dict):
            element[name] = _user_identifiers(value, findings)
        elif type(name) is not str:
            findings.append(Finding(Code.VALUE_NOT_ENCODABLE, "a field name is not a string; use string keys"))
        elif type(value) is not str:
            element[name] = _plain(name, value, findings)


def _user_identifiers(given: dict[Any, Any], findings: list[Finding]) -> Any:
    """Return a user's identifiers as text: MoEngage identifies users by String attributes only."""
    plain = _plain("user_identifiers", given, findings)
    if plain is None:
        return None
    exact = {str.__str__(name): value for name, value in given.items()}
    return {
        name: value
        if value is None or isinstance(value, str)
        else identifier(f"user_identifiers.{name}", exact[name], findings)
        for name, value in plain.items()
    }


def _actions(actions: list[Any] | tuple[Any, ...], findings: list[Finding], rules_apply: bool) -> list[Any]:
    plain: list[Any] = []
    for action in actions:
        if not isinstance(action, Mapping):
            plain.append(_plain("actions", action, findings))
            continue
        copy = dict(action)
        for name, value in action.items():
            if name == "attributes" and isinstance(value, dict):
                copy[name] = attribute_values(value, findings, rules_apply)
            elif type(name) is not str:
                findings.append(Finding(Code.VALUE_NOT_ENCODABLE, "a field name is not a string; use string keys"))
            elif type(value) is not str:
                if name == "user_time" and isinstance(value, dt.datetime):
                    value = value.replace(tzinfo=None)  # noqa: PLW2901 (local time, which is not converted)
                copy[name] = _plain(name, value, findings)
        plain.append(copy)
    return plain


def attribute_values(attributes: dict[Any, Any], findings: list[Finding], rules_apply: bool) -> dict[Any, Any]:
    """Return attributes with values that can be encoded; a copy only if one changes.

    :param findings: receives the problems, each with the attribute's name.
    :param rules_apply: False checks only what would prevent encoding.
    """
    changed: dict[Any, Any] | None = None
    for name, value in attributes.items():
        kind = type(value)
        if type(name) is not str:
            return attribute_values(_plain_names(attributes, findings), findings, rules_apply)
        if kind is str:
            if rules_apply:
                _check_text(name, value, findings)
        elif not (kind is int or kind is bool or value is None):
            plain = _plain(name, value, findings)
            if rules_apply and plain is not None:
                _check_converted(name, value, plain, findings)
            if plain is not value:
                changed = dict(attributes) if changed is None else changed
                changed[name] = plain
    return attributes if changed is None else changed


def _check_converted(name: str, value: Any, plain: Any, findings: list[Finding]) -> None:
    if type(plain) is list:
        _check_list(name, plain, findings)
    elif type(plain) is dict and name not in rules.ARRAY_EDITS:
        check_object(name, plain, findings)
    elif type(plain) is str:
        _check_text(name, plain, findings)
    if is_rounded(value):
        message = f"{name}: a decimal with more digits than a 64-bit float holds; the nearest float is sent"
        findings.append(Finding(Code.NUMBER_ROUNDED, message, about=name))


def _plain_names(attributes: dict[Any, Any], findings: list[Finding]) -> dict[str, Any]:
    """Return the attributes with plain str names: numpy, SQLAlchemy and Enums have subclasses of str."""
    if not all(isinstance(name, str) for name in attributes):
        findings.append(Finding(Code.VALUE_NOT_ENCODABLE, "an attribute name is not a string; use string keys"))
    plain = {str.__str__(name): value for name, value in attributes.items() if isinstance(name, str)}
    if len(plain) != len(attributes) and not findings:
        findings.append(Finding(Code.VALUE_NOT_ENCODABLE, "two attributes have the same name; rename one"))
    return plain


def _plain(name: str, value: Any, findings: list[Finding]) -> Any:
    """Return the converted value, or None and add a finding, so that later checks can compare it safely."""
    try:
        return to_plain(value)
    except NotFiniteError as error:
        findings.append(
            Finding(Code.VALUE_NOT_FINITE, f"{name}: {error} cannot be sent; send a valid value or null")
        )
    except NotReadableError as error:
        findings.append(Finding(Code.VALUE_NOT_READABLE, f"{name}: {error}"))
    except (NotEncodableError, RecursionError) as error:
        what = error if isinstance(error, NotEncodableError) else "an object that contains itself"
        findings.append(
            Finding(Code.VALUE_NOT_ENCODABLE, f"{name}: {what} cannot be sent; convert it or leave it out")
        )
    return None


def _check_text(name: str, value: str, findings: list[Finding]) -> None:
    if len(value) > rules.LONGEST_VALUE:
        findings.append(_long_value(name, value))
    elif rules.is_time_as_text(value):
        message = (
            f"{name}: text that looks like a timestamp, but MoEngage stores it as text; send a datetime, or text"
            " like 2026-01-31T12:00:00Z"
        )
        findings.append(Finding(Code.VALUE_LOOKS_LIKE_TIME, message, about=name))


def _long_value(name: str, value: str) -> Finding:
    if value.startswith(("http://", "https://")):
        return Finding(
            Code.URL_TOO_LONG,
            f"{name}: MoEngage drops a URL of {len(value)} characters; shorten it to 512",
            about=name,
        )
    return Finding(
        Code.VALUE_TRUNCATED,
        f"{name}: MoEngage keeps only the first 512 of {len(value)} characters; shorten it",
        about=name,
    )


def _check_list(name: str, items: list[Any], findings: list[Finding]) -> None:
    longest = rules.LONGEST_LIST
    if has_objects(items):
        longest = rules.LONGEST_LIST_OF_OBJECTS
        check_object(name, items, findings)
    if len(items) > longest:
        message = f"{name}: MoEngage keeps only the first {longest} of {len(items)} items; shorten the list"
        findings.append(Finding(Code.LIST_TRUNCATED, message, about=name))
    elif any(isinstance(item, str) and len(item) > rules.LONGEST_VALUE for item in items):
        message = f"{name}: MoEngage cuts an item to 512 characters; shorten it"
        findings.append(Finding(Code.LIST_TRUNCATED, message, about=name))
    if len({float if type(item) is int else type(item) for item in items}) > 1:
        message = f"{name}: the list mixes types; send items of one type"
        findings.append(Finding(Code.LIST_MIXED_TYPES, message, about=name))


NO_ID = "?"
"""Replaces an id that cannot be sent, so that the rest of the element can be checked."""


def identifier(name: str, value: Any, findings: list[Finding]) -> Any:
    """Return an id as text: 42, 42.0 (as pandas returns it) and Decimal(42) become "42".

    :param name: its name in messages.
    :param findings: receives the reason if it cannot be an id.
    """
    if type(value) is str or value is None:
        return value
    try:
        plain = to_plain(value)
    except NotFiniteError:
        return None
    except NotReadableError as error:
        findings.append(Finding(Code.VALUE_NOT_READABLE, f"{name}: {error}"))
        return NO_ID
    except (NotEncodableError, RecursionError) as error:
        findings.append(
            Finding(Code.VALUE_NOT_ENCODABLE, f"{name}: {error} cannot be sent; send a string or an integer")
        )
        return NO_ID
    if reason := _not_exact(value, plain, name):
        findings.append(Finding(Code.VALUE_NOT_ENCODABLE, f"{name}: {reason}"))
        return NO_ID
    plain = _whole_id(value, plain)
    if isinstance(plain, bool | int | float | str | UUID):
        try:
            return str(plain)
        except ValueError:  # Python refuses to write an int of so many digits
            message = f"{name}: an integer of thousands of digits is not an id; send a shorter one"
            findings.append(Finding(Code.VALUE_NOT_ENCODABLE, message))
            return NO_ID
    message = f"{name}: a value of type {type(value).__name__} is not an id; send a string or an integer"
    findings.append(Finding(Code.VALUE_NOT_ENCODABLE, message))
    return NO_ID


def _not_exact(value: Any, plain: Any, name: str) -> str:
    """Return why a value may not be the id that the source has; empty if it is."""
    if isinstance(plain, bool) and name.startswith(("device_id", "user_identifiers")):  # of a customer: refused
        return "true or false is not an id; send a string or an integer"
    if isinstance(value, Decimal):
        is_whole = value == value.to_integral_value()
    elif isinstance(plain, float):
        is_whole = plain.is_integer()
        limit = _FIRST_INEXACT.get(str(getattr(value, "dtype", "")), rules.FIRST_INEXACT_FLOAT)
        if abs(plain) >= limit:
            return "a float of this size has lost its last digits; read the column as text or as an integer"
    else:
        return ""
    return "" if is_whole else "a number with a fraction is not an id; send a string or an integer"


_FIRST_INEXACT = {"float16": 2**11, "float32": 2**24}
"""For numpy's small floats, as :data:`rules.FIRST_INEXACT_FLOAT`."""


def _whole_id(value: Any, plain: Any) -> Any:
    """Return a whole id without a fraction; a Decimal not through a double, which has only 53 bits."""
    if isinstance(value, Decimal):
        return int(value) if value.adjusted() < rules.LONGEST_VALUE else str(value)
    return int(plain) if isinstance(plain, float) else plain


def _identify(prepared: Prepared, workspace: WorkspaceRules) -> None:
    element = prepared.element
    for name in ("customer_id", "device_id"):
        if element.get(name, "") is None:  # MoEngage accepts a missing id, but not null
            del element[name]
    customer_id = element.get("customer_id")
    if customer_id is not None:
        prepared.user = str(customer_id)
        return
    identifiers = element.get("user_identifiers")
    if not isinstance(identifiers, dict):
        attributes = element.get("attributes")
        known = attributes if isinstance(attributes, dict) else {}
        identifiers = {name: known[name] for name in _identifiers(workspace) & known.keys()}
    try:
        prepared.user = repr(sorted((str(name), str(value)) for name, value in identifiers.items()))
    except ValueError:  # Python refuses to write an int of so many digits
        message = "an identifier is an integer of thousands of digits; send a shorter one"
        prepared.findings.append(Finding(Code.VALUE_NOT_ENCODABLE, message))


def _identifiers(workspace: WorkspaceRules) -> frozenset[str]:
    return rules.IDENTIFYING_ATTRIBUTES if workspace.identifiers is None else workspace.identifiers


def _check_customer(prepared: Prepared, workspace: WorkspaceRules) -> None:
    element, findings = prepared.element, prepared.findings
    attributes = element.get("attributes", {})
    identified = False
    if isinstance(attributes, dict):
        identified = any(_is_given(attributes.get(name)) for name in _identifiers(workspace))
        _check_names(attributes, findings, user_attribute_name)
        check_number(attributes, findings)
        if "platforms" in attributes:
            element["attributes"] = {**attributes, "platforms": opt_ins(attributes["platforms"], findings)}
        check_array_edits(attributes, findings)
        check_unset(element.get("unset_attributes"), attributes, findings)
        if element.get("customer_id") is None:
            _check_exact_identifiers(attributes, workspace, findings)
    else:
        message = "attributes: expected an object; leave the field out if there are none"
        findings.append(Finding(Code.ATTRIBUTES_INVALID, message))
    check_customer_id(element.get("customer_id"), findings, identified_otherwise=identified)
    if "platforms" in element:
        element["platforms"] = opt_ins(element["platforms"], findings)


def _is_given(value: Any) -> bool:
    """Return whether an identifier can say who a user is."""
    return bool(value.strip() if isinstance(value, str) else value)


def _check_exact_identifiers(
    attributes: dict[Any, Any], workspace: WorkspaceRules, findings: list[Finding]
) -> None:
    for name in sorted(_identifiers(workspace) & attributes.keys()):
        value = attributes[name]
        if isinstance(value, float) and abs(value) >= rules.FIRST_INEXACT_FLOAT:
            message = f"attribute {name!r}: identifies the user, and a float of this size has lost its last digits"
            findings.append(Finding(Code.VALUE_NOT_ENCODABLE, f"{message}; send text"))


def _check_event(prepared: Prepared, workspace: WorkspaceRules) -> None:
    element, findings = prepared.element, prepared.findings
    identifiers = element.get("user_identifiers")
    known = workspace.identifiers
    identified = isinstance(identifiers, dict) and any(
        _is_given(value) and (known is None or name in known) for name, value in identifiers.items()
    )
    if isinstance(identifiers, dict) and len(identifiers) > rules.MOST_IDENTIFIERS:
        message = f"user_identifiers: {len(identifiers)} names; a workspace has at most {rules.MOST_IDENTIFIERS}"
        findings.append(Finding(Code.ATTRIBUTES_INVALID, message))
    check_customer_id(element.get("customer_id"), findings, identified_otherwise=identified)
    actions = element.get("actions")
    if not isinstance(actions, list) or not actions:
        findings.append(Finding(Code.EVENT_ACTIONS_EMPTY, "actions: expected a list with at least one action"))
        return
    for action in actions:
        if isinstance(action, dict):
            _check_action(action, findings, workspace)
        else:
            findings.append(Finding(Code.EVENT_ACTIONS_EMPTY, "actions: expected every action to be an object"))


def _check_action(action: dict[str, Any], findings: list[Finding], workspace: WorkspaceRules) -> None:
    findings.extend(action_name(action.get("action")))
    attributes = action.get("attributes")
    if isinstance(attributes, dict):
        _check_names(attributes, findings, event_attribute_name)
        if len(attributes) > rules.MOST_EVENT_ATTRIBUTES:
            message = f"attributes: MoEngage keeps only the first 100 of {len(attributes)}; send fewer"
            findings.append(Finding(Code.TOO_MANY_ATTRIBUTES, message))
    elif attributes is not None:
        findings.append(Finding(Code.ATTRIBUTES_INVALID, "attributes: expected an object"))
    if "current_time" not in action and "user_time" not in action:
        message = "current_time: missing, so MoEngage will use the time of arrival; set it"
        findings.append(Finding(Code.EVENT_TIME_MISSING, message))
    for field_name, read in _TIMES.items():
        if field_name in action:
            moment = read(action[field_name])
            if moment is None:
                message = f"{field_name}: expected ISO 8601 (2020-05-31T16:33:35Z) or epoch seconds"
                findings.append(Finding(Code.EVENT_TIME_INVALID, message))
            else:
                _check_not_future(field_name, moment, workspace, findings)
                action[field_name] = moment
    if "user_timezone_offset" in action and not _is_offset(action["user_timezone_offset"]):
        message = "user_timezone_offset: expected seconds from -54000 to 54000"
        findings.append(Finding(Code.TIMEZONE_OFFSET_INVALID, message))
    set_platform(action, findings)


_TIMES: dict[str, Callable[[Any], dt.datetime | None]] = {"current_time": event_time, "user_time": local_time}


def _check_not_future(
    field_name: str, moment: dt.datetime, workspace: WorkspaceRules, findings: list[Finding]
) -> None:
    latest = workspace.latest_time()
    if field_name == "user_time":  # the clock on the wall, which is ahead of UTC in the east
        latest += dt.timedelta(seconds=rules.TIMEZONE_OFFSETS[-1])
    if moment > latest:
        message = (
            f"{field_name}: in the future, and MoEngage does not accept that; is it a local time that is read as"
            " UTC?"
        )
        findings.append(Finding(Code.EVENT_TIME_FUTURE, message))


def _check_device(prepared: Prepared, workspace: WorkspaceRules) -> None:  # noqa: ARG001 (as the others)
    element, findings = prepared.element, prepared.findings
    check_customer_id(element.get("customer_id"), findings, identified_otherwise=False)
    if not element.get("device_id"):
        findings.append(Finding(Code.DEVICE_FIELD_MISSING, "device_id: required; send the device's id"))
    attributes = element.get("attributes")
    if not isinstance(attributes, dict):
        findings.append(Finding(Code.ATTRIBUTES_INVALID, "attributes: expected an object"))
        return
    for name in rules.DEVICE_ATTRIBUTES:
        if not attributes.get(name):
            findings.append(
                Finding(Code.DEVICE_FIELD_MISSING, f"attributes.{name}: required; send a non-empty value")
            )
    check_device_platform(attributes.get("platform"), findings)
    _check_names(attributes, findings, device_attribute_name)


_KINDS: dict[str, Callable[[Prepared, WorkspaceRules], None]] = {
    "customer": _check_customer,
    "event": _check_event,
    "device": _check_device,
}


def check_customer_id(
    customer_id: Any, findings: list[Finding], *, identified_otherwise: bool, name: str = "customer_id"
) -> None:
    """Add a finding if the id is missing, or is one that MoEngage drops.

    :param identified_otherwise: whether other fields identify the user, so that the id may be missing.
    :param name: its name in messages.
    """
    if customer_id is None:
        if not identified_otherwise:
            message = f"{name}: missing, and nothing else identifies the user; send the user's id"
            findings.append(Finding(Code.CUSTOMER_ID_MISSING, message))
    elif isinstance(customer_id, str) and customer_id.strip().casefold() in rules.REFUSED_CUSTOMER_IDS:
        message = f"{name}: MoEngage treats this id as invalid and drops the record; send the user's real id"
        findings.append(Finding(Code.CUSTOMER_ID_REFUSED, message))


def _check_names(
    attributes: dict[Any, Any], findings: list[Finding], check: Callable[[str], tuple[Finding, ...]]
) -> None:
    for name in attributes:
        if type(name) is str and (found := check(name)):
            findings.extend(found)


def action_name(name: Any) -> tuple[Finding, ...]:
    """Return the problems with an event's name."""
    if not isinstance(name, str) or not name.strip():
        return (Finding(Code.EVENT_ACTION_NAME_EMPTY, "action: expected a non-empty event name"),)
    if len(name) > rules.LONGEST_NAME:
        return (
            Finding(
                Code.NAME_TRUNCATED,
                f"action: MoEngage keeps only the first 200 of {len(name)} characters; shorten it",
                about="action",
            ),
        )
    if name.startswith(rules.MOENGAGE_PREFIX):
        message = "action: MoEngage reserves the prefix moe_; rename the event"
        return (Finding(Code.ATTRIBUTE_NAME_MOE_PREFIX, message, about="action"),)
    if "." in name:
        message = "action: MoEngage alters a name with a dot; rename the event"
        return (Finding(Code.NAME_TRUNCATED, message, about="action"),)
    return ()


@lru_cache(maxsize=4_096)
def user_attribute_name(name: str) -> tuple[Finding, ...]:
    """Return the problems with the name of a user attribute."""
    if name in rules.BLOCKED_ATTRIBUTE_NAMES:
        message = f"attribute {name!r}: MoEngage does not accept this name; rename the attribute"
        return (Finding(Code.ATTRIBUTE_NAME_BLOCKED, message),)
    if name in rules.RESERVED_ATTRIBUTE_NAMES:
        message = f"attribute {name!r}: MoEngage reserves this name; rename the attribute"
        return (Finding(Code.ATTRIBUTE_NAME_RESERVED, message, about=name),)
    if name in rules.WRITTEN_ONCE_ATTRIBUTES:
        message = f"attribute {name!r}: MoEngage writes it once and never updates it; use a name of your own"
        return (Finding(Code.ATTRIBUTE_WRITTEN_ONCE, message, about=name),)
    return event_attribute_name(name)


@lru_cache(maxsize=4_096)
def device_attribute_name(name: str) -> tuple[Finding, ...]:
    """Return the problems with the name of a device attribute."""
    found = event_attribute_name(name)
    if found or name in rules.KEPT_DEVICE_ATTRIBUTES:
        return found
    message = f"attribute {name!r}: MoEngage drops it of a device; send it as an attribute of the user"
    return (Finding(Code.ATTRIBUTE_DROPPED, message, about=name),)


@lru_cache(maxsize=4_096)
def event_attribute_name(name: str) -> tuple[Finding, ...]:
    """Return the problems with the name of an event attribute."""
    if not name.strip():
        message = "attribute '': MoEngage does not accept an empty name; name the attribute"
        return (Finding(Code.ATTRIBUTE_NAME_BLOCKED, message),)
    if name.startswith(rules.MOENGAGE_PREFIX) and name not in rules.MOENGAGE_OWN_ATTRIBUTES:
        message = f"attribute {name!r}: MoEngage reserves the prefix moe_; rename the attribute"
        return (Finding(Code.ATTRIBUTE_NAME_MOE_PREFIX, message, about=name),)
    if len(name) > rules.LONGEST_NAME:
        message = (
            f"attribute {name[:20]!r}...: MoEngage keeps only the first 200 of {len(name)} characters; shorten it"
        )
        return (Finding(Code.NAME_TRUNCATED, message, about=name),)
    return ()


def _is_offset(value: Any) -> bool:
    if isinstance(value, str):
        return bool(re.fullmatch(r"[+-]?\d{1,5}", value)) and int(value) in rules.TIMEZONE_OFFSETS
    return not isinstance(value, bool) and value in rules.TIMEZONE_OFFSETS
