"""A fence between two tries of one task that run at once: the later one takes over, the earlier one stops.

Airflow can start a try while the previous one is still alive, because its worker lost the network or its machine
was suspended. Each try stores its own token before it reads the checkpoint, and checks for the token after each
write. A try that finds another token stops sending.
"""

from __future__ import annotations

import secrets
from typing import Any, Protocol

_MAX_TOKENS = 32
"""Tokens kept of tries that ended before they stored a checkpoint; older ones are dropped."""


class FencedError(Exception):
    """A later try of the task has taken over."""


class FenceStore(Protocol):
    """Stores a small document that outlives the process."""

    def load(self) -> dict[str, Any] | None:
        """Return the document: None if there is none, an empty one if it cannot be read."""

    def save(self, state: dict[str, Any]) -> None:
        """Replace the document."""


class Fence:
    """The fence of a task. Creating one takes over from any other try.

    :param store: stores the fence next to the checkpoint.
    """

    def __init__(self, store: FenceStore) -> None:
        self.token = secrets.token_hex(8)
        self._store = store
        self._earlier = _tokens(store.load())
        self._is_alone = False
        store.save({"tokens": [*self._earlier, self.token][-_MAX_TOKENS:]})

    def allows(self, token: object) -> bool:
        """Return whether a checkpoint with this token belongs to the last try that stored one.

        A fenced try may have overwritten the checkpoint since.
        """
        return not self._earlier or token in self._earlier

    def look(self) -> None:
        """Check that no later try has taken over, and store nothing: a checkpoint of an earlier try stays valid.

        :raises FencedError: if one has.
        """
        if _tokens(self._store.load())[-1:] != [self.token]:
            raise FencedError("another try of this task has taken over")

    def check(self) -> None:
        """Check that no later try has taken over; call this after storing a checkpoint.

        :raises FencedError: if one has.
        """
        self.look()
        if not self._is_alone:
            self._store.save({"tokens": [self.token]})
            self._is_alone = True


def _tokens(document: dict[str, Any] | None) -> list[str]:
    tokens = (document or {}).get("tokens")
    return [token for token in tokens if isinstance(token, str)] if isinstance(tokens, list) else []
