"""Whether a response that calls itself a success is one.

MoEngage's endpoints report failures in several ways, also in a 200. A response that says both is no success: its
outcome is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from airflow_provider_moengage.api.received.values import Received

_SUCCESSES = ("success", "successful", "ok", "200", "200 ok", "true")

_ERRORS = ("error", "errors", "error_type", "failed", "failures", "rejected")

_TRIGGERED = re.compile(
    r"\b(ha(s|ve) been|was|were) (successfully )?triggered\b|\btriggered (import )?successfully\b"
)
_FAILS = (
    r"\b(not|never|none|nothing|cannot|without|unable|invalid|unsuccessful\w*|fail\w*|error\w*|reject\w*|refus\w*"
    r"|den(y|ied)|skip\w*|drop\w*|discard\w*|ignor\w*|partial\w*|abort\w*|cancel\w*|block\w*|exceed\w*"
)
_DENIES = re.compile(_FAILS + r")\b|n['\u2019]t\b")
_DENIES_TRIGGER = re.compile(
    _FAILS + r"|no|neither|nor|zero|0|unless|if|will|would|could|should|to be|limit\w*|quota|queue\w*"
    r"|pending|scheduled|waiting)\b|n['\u2019]t\b"
)


def says_failure(content: Received, also: Iterable[str] = ()) -> bool:
    """Return whether a 200 is a failure for all that, in one of the ways in which MoEngage's endpoints say so.

    :param also: words for a status of the endpoint that is no failure, besides the usual ones.
    """
    data, successes = content["data"], (*_SUCCESSES, *also)
    parts = [content, data] if data.is_object else [content]
    return any(
        any(not part[name].is_nothing for name in _ERRORS)
        or any(
            not part[name].is_null and part[name].word(successes) is None
            for name in ("status", "success", "status_code")
        )
        or (part["code"].number() or 0) >= 300
        for part in parts
    )


def names_errors(content: Received) -> bool:
    """Return whether a response has a field that is about errors, whatever its exact name, and not empty."""
    return any(
        any(name.mentions(word) for word in ("error", "fail", "reject", "exception")) and _is_something(value)
        for name, value in content.fields()
    )


def _is_something(value: Received) -> bool:
    return not value.is_nothing and value.number() != 0


def denies(message: Received) -> bool:
    """Return whether a message says that something did not happen, or is not the text that it should be."""
    return message.finds(_DENIES) or message.is_list or message.is_object


def says_triggered(message: Received) -> bool:
    """Return whether a message says that something has been triggered, and nothing else about it."""
    return message.finds(_TRIGGERED) and not message.finds(_DENIES_TRIGGER)
