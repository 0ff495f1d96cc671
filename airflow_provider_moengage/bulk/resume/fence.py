"""A fence between two tries of one task that run at once: the later one takes over, the earlier one stops.

Airflow can start a try while the one before is still alive: a worker that lost its network, or a machine that was
suspended. Each try puts a token of its own into the fence before it reads the checkpoint, and looks for it after
each write. A try that does not find its token sends nothing more.
"""

from __future__ import annotations

import secrets
from typing import Any, Protocol

_MAX_TOKENS = 32
"""Tries that ended before they stored anything; older ones are forgotten."""


class FencedError(Exception):
    """A later try of the task has taken over."""


class FenceStore(Protocol):
    """Keeps a small document when the process ends."""

    def load(self) -> dict[str, Any] | None:
        """Return the document: None if there is none, empty if it cannot be read."""

    def save(self, state: dict[str, Any]) -> None:
        """Replace the document."""


class Fence:
    """The fence of a task. To create one is to take over from any other try.

    :param store: where it is stored, next to the checkpoint.
    """

    def __init__(self, store: FenceStore) -> None:
        self.token = secrets.token_hex(8)
        self._store = store
        self._earlier = _tokens(store.load())
        self._is_alone = False
        store.save({"tokens": [*self._earlier, self.token][-_MAX_TOKENS:]})

    def allows(self, token: object) -> bool:
        """Return whether a checkpoint with this token is of the last try that stored one: a try that was fenced
        may have overwritten it since.
        """
        return not self._earlier or token in self._earlier

    def check(self) -> None:
        """Check, after a checkpoint was stored, that no later try has taken over.

        :raises FencedError: if one has.
        """
        if _tokens(self._store.load())[-1:] != [self.token]:
            raise FencedError("another try of this task has taken over")
        if not self._is_alone:
            self._store.save({"tokens": [self.token]})
            self._is_alone = True


def _tokens(document: dict[str, Any] | None) -> list[str]:
    tokens = (document or {}).get("tokens")
    return [token for token in tokens if isinstance(token, str)] if isinstance(tokens, list) else []
