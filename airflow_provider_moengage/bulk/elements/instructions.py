"""Checks the parts of an element that tell MoEngage what to do: platforms, array edits, attributes to unset.

MoEngage API reference, "Bulk Import".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_moengage.bulk.elements import rules
from airflow_provider_moengage.bulk.elements.findings import Finding
from airflow_provider_moengage.bulk.elements.rules import Code
from airflow_provider_moengage.bulk.elements.unset import UnsetAttributes, is_condition, set_by


def normal_platform(platform: str, known: Iterable[str]) -> str:
    """Return a platform the way MoEngage writes it; an unknown one unchanged."""
    text = platform.strip().casefold()
    return next((name for name in known if name.casefold() == text), platform)


def set_platform(action: dict[str, Any], findings: list[Finding]) -> None:
    """Normalise the platform of an event's action; an empty one is left out."""
    platform = action.get("platform")
    if platform is None:
        return
    if not isinstance(platform, str):
        message = f"platform: expected text, one of {', '.join(rules.EVENT_PLATFORMS)}"
        findings.append(Finding(Code.PLATFORM_INVALID, message))
    elif not platform.strip():
        del action["platform"]
    else:
        action["platform"] = _checked_platform("platform", platform, rules.EVENT_PLATFORMS, findings)


def opt_ins(platforms: Any, findings: list[Finding]) -> Any:
    """Return a customer's opt-ins with normalised platforms, without those that name none."""
    if platforms is None:
        return None
    if not isinstance(platforms, list) or not all(_is_opt_in(opt_in) for opt_in in platforms):
        known = ", ".join(rules.CUSTOMER_PLATFORMS)
        message = f"platforms: expected a list of objects with a platform, one of {known}"
        findings.append(Finding(Code.PLATFORM_INVALID, message))
        return platforms
    return [
        {
            **opt_in,
            "platform": _checked_platform("platforms", opt_in["platform"], rules.CUSTOMER_PLATFORMS, findings),
        }
        for opt_in in platforms
        if opt_in["platform"].strip()
    ]


def _is_opt_in(opt_in: Any) -> bool:
    return isinstance(opt_in, dict) and isinstance(opt_in.get("platform"), str)


def _checked_platform(where: str, platform: str, known: tuple[str, ...], findings: list[Finding]) -> str:
    normal = normal_platform(platform, known)
    if normal not in known:
        message = (
            f"{where}: MoEngage accepts it, but campaigns per platform miss it; send one of {', '.join(known)}"
        )
        findings.append(Finding(Code.PLATFORM_UNKNOWN, message, about=where))
    return normal


def check_device_platform(platform: Any, findings: list[Finding]) -> None:
    """Add a finding if a device's platform is one that MoEngage may refuse."""
    if platform and platform not in rules.DEVICE_PLATFORMS:
        known = ", ".join(rules.DEVICE_PLATFORMS)
        message = f"attributes.platform: expected one of {known}; upper and lower case matter"
        findings.append(Finding(Code.PLATFORM_INVALID, message))


def check_array_edits(attributes: Mapping[Any, Any], findings: list[Finding]) -> None:
    """Check the values to add to lists and to remove from them."""
    edits = {field: attributes[field] for field in rules.ARRAY_EDITS if attributes.get(field) is not None}
    named: dict[str, list[str]] = {}
    for field, values in edits.items():
        if isinstance(values, dict):
            named[field] = list(values)
        else:
            message = f"{field}: expected an object of attribute name to value"
            findings.append(Finding(Code.ATTRIBUTES_INVALID, message))
    direct = attributes.keys() - rules.STRUCTURED_ATTRIBUTES
    findings.extend(
        Finding(Code.ARRAY_EDIT_CONFLICT, message)
        for message in array_edit_conflicts(
            named.get(rules.ADD_TO_LISTS, ()), named.get(rules.REMOVE_FROM_LISTS, ()), direct
        )
    )


def array_edit_conflicts(added: Iterable[str], removed: Iterable[str], direct: Iterable[Any]) -> list[str]:
    """Return why edits of lists conflict: MoEngage refuses the element (``ArrayFieldError``).

    :param added: attributes to whose lists a value is added.
    :param removed: attributes from whose lists a value is removed.
    :param direct: attributes that the same element sets.
    """
    added, removed, direct = list(added), list(removed), set(direct)
    both = [name for name in added if name in removed]
    edited = dict.fromkeys([*added, *removed])
    return [
        *(
            f"attribute {name!r}: a value is added and removed at the same time; send two elements"
            for name in both
        ),
        *(
            f"attribute {name!r}: it is set and its list is edited at the same time; send two elements"
            for name in edited
            if name in direct
        ),
        *(
            f"attribute {name!r}: it is MoEngage's own, and only lists of custom attributes can be edited"
            for name in edited
            if _is_own(name)
        ),
    ]


def _is_own(name: str) -> bool:
    return (
        name in rules.RESERVED_ATTRIBUTE_NAMES
        or name in rules.STANDARD_ATTRIBUTES
        or name.startswith(rules.MOENGAGE_PREFIX)
    )


def check_number(attributes: Mapping[Any, Any], findings: list[Finding]) -> None:
    """Add a finding if an element has more attributes than a workspace holds."""
    if len(attributes) <= rules.MOST_USER_ATTRIBUTES:
        return
    own = rules.STANDARD_ATTRIBUTES | rules.MOENGAGE_OWN_ATTRIBUTES | rules.STRUCTURED_ATTRIBUTES
    number = len(attributes.keys() - own)
    if number > rules.MOST_USER_ATTRIBUTES:
        message = (
            f"attributes: {number} custom ones, and MoEngage rejects new ones beyond the"
            f" {rules.MOST_USER_ATTRIBUTES} of a workspace; send fewer"
        )
        findings.append(Finding(Code.TOO_MANY_ATTRIBUTES, message))


def check_unset(unset: Any, attributes: Mapping[Any, Any], findings: list[Finding]) -> None:
    """Check the conditions of an element's ``unset_attributes``, and that it sets nothing that meets one of them:
    MoEngage would unset it.
    """
    if unset is None:
        return
    readable = [condition for condition in unset if is_condition(condition)] if isinstance(unset, list) else []
    if readable != unset:
        message = (
            "unset_attributes: expected a list of objects with type (equals, prefix, suffix or contains), attr"
            " (not empty) and case_sensitive (true or false)"
        )
        findings.append(Finding(Code.ATTRIBUTES_INVALID, message))
    taken = UnsetAttributes()
    taken.add(readable)
    for name in taken.of(set_by(attributes)):
        message = f"attribute {name!r}: set and unset in one element, so MoEngage unsets it; do one of them"
        findings.append(Finding(Code.ATTRIBUTE_DROPPED, message, about=name))
