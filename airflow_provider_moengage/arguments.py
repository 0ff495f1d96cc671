"""Checks of arguments, shared by operators, sensors, triggers and hooks. Every message names the argument.

Values may be templated: a check of a number or flag accepts the text that a template renders to.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from os import PathLike
from typing import Any, TypeGuard, TypeVar

Word = TypeVar("Word", bound=str)


def is_unresolved(value: object) -> bool:
    """Return whether a value is known only when the task runs: a template, or another task's output."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    return is_task_output(value)


def is_task_output(value: object) -> bool:
    """Return whether a value is an XComArg."""
    return hasattr(value, "iter_references")


def is_non_empty(value: object) -> TypeGuard[str]:
    """Return whether a value is a string that is not blank."""
    return isinstance(value, str) and bool(value.strip())


def non_empty(name: str, value: object, expected: str = "a non-empty string") -> str:
    """Return a string that is not blank.

    :param expected: what the argument is, for the message.
    :raises ValueError: naming the argument.
    """
    if not is_non_empty(value):
        raise ValueError(f"{name} {value!r}: expected {expected}")
    return value


def one_of(name: str, value: object, known: Sequence[Word]) -> Word:
    """Return a value that is one of the known strings.

    :raises ValueError: naming the argument.
    """
    for word in known:
        if word == value:
            return word
    raise ValueError(f"{name} {value!r}: expected {' or '.join(map(repr, known))}")


def boolean(name: str, value: object) -> bool:
    """Return a bool that is not templated.

    :raises ValueError: naming the argument.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} {value!r}: expected True or False")
    return value


def flag(name: str, value: object) -> bool:
    """Return a bool, or the one that a rendered template spells out.

    :raises ValueError: naming the argument.
    """
    word = value.strip().lower() if isinstance(value, str) else None
    return word == "true" if word in ("true", "false") else boolean(name, value)


def number(name: str, value: object, expected: str) -> float:
    """Return a finite number, or the one in a rendered template.

    :param expected: what the argument is, for the message.
    :raises ValueError: naming the argument.
    """
    read = _number_of(value)
    if read is None:
        raise ValueError(f"{name} {value!r}: expected {expected}")
    return read


def whole(name: str, value: object, least: int, most: int) -> int:
    """Return a whole number, or the one in a rendered template.

    :raises ValueError: naming the argument.
    """
    read = _number_of(value)
    if read is None or read != int(read) or not least <= read <= most:
        raise ValueError(f"{name} {value!r}: expected a whole number from {least} to {most}")
    return int(read)


def seconds(name: str, value: object) -> float:
    """Return the seconds of a number or a timedelta.

    :raises ValueError: naming the argument.
    """
    read = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(read, bool) or not isinstance(read, int | float) or not 0 <= read < float("inf"):
        raise ValueError(f"{name} {value!r}: expected seconds, or a timedelta, of 0 or more")
    return float(read)


def count_or_share(name: str, value: object) -> int | float:
    """Return a count (an int) or a share (a float up to 1.0), or the one in a rendered template.

    1 is one, and 1.0 is all of them, so the type matters.

    :raises ValueError: naming the argument.
    """
    read = value
    if isinstance(value, str) and (given := _number_of(value)) is not None:
        read = int(given) if value.strip().isdigit() else given
    if isinstance(read, int) and not isinstance(read, bool) and read >= 0:
        return read
    if isinstance(read, float) and 0.0 <= read <= 1.0:
        return read
    raise ValueError(f"{name} {value!r}: expected a count of users (0, 1, 2, ...) or a share of them (0.0 to 1.0)")


def in_utc(moment: datetime) -> datetime:
    """Return a datetime in UTC; without a time zone it is UTC already.

    :raises OverflowError: if it falls outside the years 1 to 9999.
    """
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def path_text(path: Any) -> Any:
    """Return a path as text; a template, another task's output and None are returned as they are."""
    return str(path) if isinstance(path, PathLike) or hasattr(path, "protocol") else path


class TemplatedArguments:
    """A base class of operators, sensors and notifiers that comes before Airflow's own.

    Jinja turns None into the text ``None``, for example if the parameter of ``{{ params.folder }}`` is null. The
    argument then counts as not given, like the output of a task that was skipped.
    """

    def render_template(self, content: Any, *arguments: Any, **options: Any) -> Any:
        """Render a template, also one inside a list or mapping; one of None gives None, not its name."""
        rendered = super().render_template(content, *arguments, **options)  # type: ignore[misc]
        was_template = isinstance(content, str) and is_unresolved(content)
        is_none = isinstance(rendered, str) and rendered.strip() == "None"
        return None if was_template and is_none else rendered


def _number_of(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if isfinite(read) else None
