"""Any value as JSON values, for the rejects: the way it is sent, if it can be sent. Never fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from airflow_provider_moengage.bulk.elements.encoding import Unreadable, to_plain

_DEEPEST = 50
_MOST_ITEMS = 50_000
"""Of an element with all that is inside it; what follows is left out. A request has no room for more."""

_LONGEST_INTEGER = 4_096
"""Bits. Python refuses to write an int of more than 4,300 decimal digits."""


def to_json_value(value: object) -> object:
    """Return anything as JSON values: the way it is sent, if it can be sent. Never fails."""
    return _Converter().value(value, ())


class _Converter:
    def __init__(self) -> None:
        self._left = _MOST_ITEMS

    def value(self, value: Any, within: tuple[int, ...]) -> object:
        """Return a value.

        :param within: ids of the objects around it, to stop at one that contains itself.
        """
        self._left -= 1
        if self._left < 0:
            return "..."
        try:
            return self._converted(value, within)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 (any method of any value may raise anything)
            return _kind(value)

    def _converted(self, value: Any, within: tuple[int, ...]) -> object:
        kind = type(value)
        if kind is str or kind is bool or value is None:
            return value
        if isinstance(value, Unreadable):
            return None  # replayed as it is, the attribute is left as it was
        if kind is int:
            return value if value.bit_length() <= _LONGEST_INTEGER else hex(value)
        if kind is float:
            return value if value - value == 0 else str(value)
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            return self._container(value, within)
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value).decode(errors="backslashreplace")
        return self._other(value, within)

    def _container(self, value: Any, within: tuple[int, ...]) -> object:
        if id(value) in within or len(within) > _DEEPEST:
            return "..."
        within = (*within, id(value))
        if isinstance(value, Mapping):
            plain: dict[str, object] = {}
            for name, item in value.items():
                if self._left < 0:
                    break
                plain[_name(name)] = self.value(item, within)
            return plain
        items = []
        if isinstance(value, set | frozenset):
            value = sorted(value, key=repr)  # its order differs between processes
        for item in value:
            if self._left < 0:
                break
            items.append(self.value(item, within))
        return items

    def _other(self, value: Any, within: tuple[int, ...]) -> object:
        try:
            # The form that is sent: a datetime in another form would be mere text when the file is replayed.
            plain = msgspec.to_builtins(to_plain(value))
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 (any method of any value may raise anything)
            return str.__str__(str(value))
        return self.value(plain, within) if type(plain) in (int, float) else plain


def _name(name: object) -> str:
    try:
        return str.__str__(name) if isinstance(name, str) else str.__str__(str(name))
    except Exception:  # noqa: BLE001 (any class may have a broken __str__)
        return _kind(name)


def _kind(value: object) -> str:
    try:
        return f"<{str.__str__(type(value).__name__)}>"
    except Exception:  # noqa: BLE001 (a class of a class may break even this)
        return "<?>"
