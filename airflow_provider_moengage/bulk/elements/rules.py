"""The names and numbers of MoEngage's data rules, each with the page it comes from.

They are separate from the code that applies them, so that a change in MoEngage's documentation is a change here
only.
"""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """The kinds of problems with an element. The values are stable: rejects, reports and alerts use them."""

    ELEMENT_INVALID = "element_invalid"
    TYPE_INVALID = "type_invalid"
    CUSTOMER_ID_MISSING = "customer_id_missing"
    CUSTOMER_ID_REFUSED = "customer_id_refused"
    ATTRIBUTES_INVALID = "attributes_invalid"
    ATTRIBUTE_NAME_BLOCKED = "attribute_name_blocked"
    EVENT_ACTIONS_EMPTY = "event_actions_empty"
    EVENT_ACTION_NAME_EMPTY = "event_action_name_empty"
    EVENT_TIME_INVALID = "event_time_invalid"
    EVENT_TIME_FUTURE = "event_time_future"
    TIMEZONE_OFFSET_INVALID = "timezone_offset_invalid"
    PLATFORM_INVALID = "platform_invalid"
    DEVICE_FIELD_MISSING = "device_field_missing"
    ARRAY_EDIT_CONFLICT = "array_edit_conflict"
    VALUE_NOT_FINITE = "value_not_finite"
    VALUE_NOT_ENCODABLE = "value_not_encodable"
    VALUE_NOT_READABLE = "value_not_readable"
    ELEMENT_TOO_LARGE = "element_too_large"
    REFUSED_BY_SERVER = "refused_by_server"
    OUTCOME_UNKNOWN = "outcome_unknown"

    ATTRIBUTE_NAME_RESERVED = "attribute_name_reserved"
    ATTRIBUTE_NAME_MOE_PREFIX = "attribute_name_moe_prefix"
    NAME_TRUNCATED = "name_truncated"
    VALUE_TRUNCATED = "value_truncated"
    URL_TOO_LONG = "url_too_long"
    LIST_TRUNCATED = "list_truncated"
    LIST_MIXED_TYPES = "list_mixed_types"
    TOO_MANY_ATTRIBUTES = "too_many_attributes"
    EVENT_TIME_MISSING = "event_time_missing"
    NUMBER_ROUNDED = "number_rounded"
    VALUE_LOOKS_LIKE_TIME = "value_looks_like_time"
    PLATFORM_UNKNOWN = "platform_unknown"
    ATTRIBUTE_DROPPED = "attribute_dropped"
    ATTRIBUTE_WRITTEN_ONCE = "attribute_written_once"
    OBJECT_TOO_DEEP = "object_too_deep"


WARNINGS = frozenset(
    {
        Code.ATTRIBUTE_NAME_RESERVED,
        Code.ATTRIBUTE_NAME_MOE_PREFIX,
        Code.NAME_TRUNCATED,
        Code.VALUE_TRUNCATED,
        Code.URL_TOO_LONG,
        Code.LIST_TRUNCATED,
        Code.LIST_MIXED_TYPES,
        Code.TOO_MANY_ATTRIBUTES,
        Code.EVENT_TIME_MISSING,
        Code.NUMBER_ROUNDED,
        Code.VALUE_LOOKS_LIKE_TIME,
        Code.PLATFORM_UNKNOWN,
        Code.ATTRIBUTE_DROPPED,
        Code.ATTRIBUTE_WRITTEN_ONCE,
        Code.OBJECT_TOO_DEEP,
    }
)
"""What MoEngage accepts, and then silently cuts, ignores or alters. Every other code rejects the element."""

# MoEngage user guide, "Customer ids that are not accepted": such a record is dropped after a 200.
REFUSED_CUSTOMER_IDS = frozenset(
    """
    unknown guest null 0 1 true false user_attribute_unique_id (empty) na n/a "" dummy_seller_code user_id id
    customer_id uid userid none -2 -1 2
    """.split()
) | {""}

# API reference, "Bulk Import" with Identity Resolution: any of these in `attributes` identifies a customer, unless
# the workspace has chosen others. User guide, "User identity resolution": up to five String attributes.
IDENTIFYING_ATTRIBUTES = frozenset({"moe_mobile", "u_em", "u_mb", "uid"})
MOST_IDENTIFIERS = 5

# User guide, "Reserved attribute names".
BLOCKED_ATTRIBUTE_NAMES = frozenset({"id", "_id"})
RESERVED_ATTRIBUTE_NAMES = frozenset(
    """
    USER_ATTRIBUTE_UNIQUE_ID USER_ATTRIBUTE_USER_EMAIL USER_ATTRIBUTE_USER_MOBILE USER_ATTRIBUTE_USER_NAME
    USER_ATTRIBUTE_USER_GENDER USER_ATTRIBUTE_USER_FIRST_NAME USER_ATTRIBUTE_USER_LAST_NAME
    USER_ATTRIBUTE_USER_BDAY USER_ATTRIBUTE_NOTIFICATION_PREF USER_ATTRIBUTE_OLD_ID MOE_TIME_FORMAT
    MOE_TIME_TIMEZONE USER_ATTRIBUTE_DND_START_TIME USER_ATTRIBUTE_DND_END_TIME MOE_GAID INSTALL UPDATE
    MOE_ISLAT status user_id source
    """.split()
)
MOENGAGE_PREFIX = "moe_"
MOENGAGE_OWN_ATTRIBUTES = frozenset(
    """
    moe_mobile moe_wa_subscription moe_em_unsub_categories moe_sub_w moe_spam moe_unsubscribe moe_hard_bounce
    moe_sms_subscription moe_email_optin_status moe_gaid moe_push_opted moe_os_type moe_project_name
    moe_push_provisional_opted moe_mweb moe_geo_location
    """.split()
)

# User guide, "User attributes": MoEngage's standard attributes.
STANDARD_ATTRIBUTES = frozenset("u_n u_fn u_ln u_gd u_em u_mb u_bd uid geo".split())
# User guide, "User attributes": set once, and never updated.
WRITTEN_ONCE_ATTRIBUTES = frozenset(
    "publisher_name campaign_name u_l_a cr_t moe_gaid advertising_identifier".split()
)

# API reference, "Bulk Import", "Array attributes": objects of attribute name to value, inside `attributes`.
ADD_TO_LISTS = "addValueToArrayField"
REMOVE_FROM_LISTS = "removeValueFromArrayField"
ARRAY_EDITS = (ADD_TO_LISTS, REMOVE_FROM_LISTS)
STRUCTURED_ATTRIBUTES = frozenset({"platforms", *ARRAY_EDITS})
"""Names inside `attributes` that are instructions, each with a form of its own."""

# API reference, "Bulk Import": platforms of an event's action, of a customer's opt-ins, and of a device. MoEngage
# takes others of the first two, but its campaigns per platform miss them.
EVENT_PLATFORMS = ("ANDROID", "iOS", "web", "TV", "unknown")
CUSTOMER_PLATFORMS = ("ANDROID", "iOS", "web")
DEVICE_PLATFORMS = ("ANDROID", "iOS", "web", "TV")
DEVICE_ATTRIBUTES = ("platform", "push_id")
# API reference, "Bulk Import", "Device attributes": others are dropped.
KEPT_DEVICE_ATTRIBUTES = frozenset(
    """
    model platform push_id moe_push_opted moe_push_provisional_opted app_version os_version moe_gaid idfv
    """.split()
)

# User guide, "Limits of events and attributes".
LONGEST_NAME = 200
LONGEST_VALUE = 512
LONGEST_LIST = 50
MOST_EVENT_ATTRIBUTES = 100
MOST_USER_ATTRIBUTES = 256
"""Custom ones in a workspace; MoEngage rejects new ones beyond that."""

# User guide, "Object data type": for attributes that are objects, or lists of objects.
MOST_OBJECT_KEYS = 100
LARGEST_OBJECT = 25_000
"""Bytes of JSON; "25 kB", read as the smaller of its meanings."""
DEEPEST_OBJECT = 2
"""Levels of objects; MoEngage turns deeper ones into text."""
LONGEST_LIST_OF_OBJECTS = 100
NOT_IN_OBJECT_KEYS = frozenset("$.%#")

# API reference, "Data types": a datetime is YYYY-MM-DDTHH:mm:ssZ, maybe with a fraction; other text stays text.
DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
LOOKS_LIKE_TIME = re.compile(
    r"(\d{4}[-/.]\d\d[-/.]\d\d|\d\d[-/.]\d\d[-/.]\d{4})[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?"
    r" ?(Z|UTC|GMT|[+-]\d\d(:?\d\d)?)?"
)
SHORTEST_TIME = 15
"""Texts that :data:`LOOKS_LIKE_TIME` matches are longer, and their 14th character is a colon."""


def is_time_as_text(value: str) -> bool:
    """Return whether a text looks like a time that MoEngage does not read as one."""
    return not DATETIME.fullmatch(value) and bool(LOOKS_LIKE_TIME.fullmatch(value))


# API reference, "Bulk Import": seconds east of UTC.
TIMEZONE_OFFSETS = range(-54_000, 54_001)

FUTURE_TOLERANCE = 900
"""Seconds that an event may lie ahead of the worker's clock. API reference, "Bulk Import": events in the future
are not accepted. Clocks with a time service differ by less; a local time that is read as UTC is off by
at least twice as much."""

# IEEE 754: every whole number below this is exact as a double; this one may have been the next one.
FIRST_INEXACT_FLOAT = 2**53

# API reference, "Bulk Import": "100 kB a request", read as the smaller of its meanings.
LARGEST_BODY = 100_000


@dataclass(frozen=True, slots=True)
class WorkspaceRules:
    """What the rules depend on besides an element.

    :param identifiers: attributes that identify a user without a customer id; None: MoEngage's documented ones.
    :param clock: returns the UTC epoch time in seconds.
    """

    identifiers: frozenset[str] | None = None
    clock: Callable[[], float] = time.time

    def latest_time(self) -> dt.datetime:
        """Return the latest time that an event may have now."""
        return dt.datetime.fromtimestamp(self.clock(), dt.UTC) + dt.timedelta(seconds=FUTURE_TOLERANCE)


DOCUMENTED = WorkspaceRules()
"""A workspace with MoEngage's documented identifiers."""
