"""The names and numbers of MoEngage's data rules, each with the page it comes from.

They are separate from the code that applies them, so that a change in MoEngage's documentation is a change here
only.
"""

from __future__ import annotations

import re
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
    TIMEZONE_OFFSET_INVALID = "timezone_offset_invalid"
    PLATFORM_INVALID = "platform_invalid"
    DEVICE_FIELD_MISSING = "device_field_missing"
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

# API reference, "Bulk Import" with Identity Resolution: any of these in `attributes` identifies a customer.
IDENTIFYING_ATTRIBUTES = frozenset({"moe_mobile", "u_em", "u_mb", "uid"})

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
    moe_sms_subscription moe_email_optin_status moe_gaid moe_push_opted
    """.split()
)

# API reference, "Bulk Import": platforms of an event's action, and of a customer's opt-ins.
EVENT_PLATFORMS = ("ANDROID", "iOS", "web", "TV", "unknown")
CUSTOMER_PLATFORMS = ("ANDROID", "iOS", "web")
DEVICE_ATTRIBUTES = ("platform", "push_id")

# User guide, "Limits of events and attributes".
LONGEST_NAME = 200
LONGEST_VALUE = 512
LONGEST_LIST = 50
MOST_EVENT_ATTRIBUTES = 100

# API reference, "Data types": a datetime is YYYY-MM-DDTHH:mm:ssZ, maybe with a fraction; other text stays text.
DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
LOOKS_LIKE_TIME = re.compile(
    r"(\d{4}[-/.]\d\d[-/.]\d\d|\d\d[-/.]\d\d[-/.]\d{4})[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?"
    r" ?(Z|UTC|GMT|[+-]\d\d(:?\d\d)?)?"
)
SHORTEST_TIME = 15
"""Texts that :data:`LOOKS_LIKE_TIME` matches are longer, and their 14th character is a colon."""

# API reference, "Bulk Import": seconds east of UTC.
TIMEZONE_OFFSETS = range(-54_000, 54_001)

# IEEE 754: whole numbers up to here are exact as doubles.
LARGEST_EXACT_FLOAT = 2**53

# API reference, "Bulk Import": "100 kB a request", read as the smaller of its meanings.
LARGEST_BODY = 100_000
