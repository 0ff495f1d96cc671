"""What the tries of a task leave for each other, and what a try may conclude from it.

A retry may go on where the try before it has ended; a person's Clear of a task that had ended is a wish to send
everything again. Whose tries they are, the caller says: a *life* is the same for all tries between two Clears.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from airflow_provider_moengage.bulk.report import DeliveryReport

_VERSION = 1
_RUNNING, _COMPLETE = "running", "complete"


class Store(Protocol):
    """Where a state outlives the process."""

    def load(self) -> dict[str, Any] | None:
        """Return what an earlier try has left: None for nothing, empty where it cannot be read."""

    def save(self, state: dict[str, Any]) -> None:
        """Replace it. Returns when it is stored: a process that is killed meanwhile leaves the old or the new."""


class InDoubtError(Exception):
    """An earlier try may have sent what this one would send, and that must not be sent twice."""


class Memory:
    """What earlier tries of the same task have left in a store.

    :param store: where it is.
    :param fingerprint: of the inputs; with others the run starts afresh.
    :param life: what changes when somebody clears the task, and may change otherwise: two JSON-ready values, of
        which the first surely stays over the retries.
    :param is_retry: False where this is surely the first try, or the first after a Clear.
    """

    def __init__(
        self, store: Store, fingerprint: str, life: tuple[Any, Any] = (None, None), *, is_retry: bool = True
    ) -> None:
        self._store = store
        self._stamp = {"version": _VERSION, "fingerprint": fingerprint, "life": list(life)}
        self._state = store.load()
        self._is_retry = is_retry

    @property
    def report(self) -> DeliveryReport | None:
        """What an earlier try in this life of the task has ended with: there is nothing left to do."""
        state = self._state
        if not state or not (self._is_complete and self._is_same_input and state["life"] == self._stamp["life"]):
            return None
        return DeliveryReport(**state["report"])

    @property
    def unfinished(self) -> dict[str, Any] | None:
        """The state of a run of the same inputs that has not ended."""
        return self._state if self._state and self._is_same_input and not self._is_complete else None

    @property
    def rejects_path(self) -> str | None:
        """Where the unfinished run has put its rejects."""
        path = (self.unfinished or {}).get("rejects_path")
        return None if path is None else str(path)

    def why_afresh(self, source_has_names: bool, why_not: str, *, at_most_once: bool) -> str | None:
        """Say why this try cannot go on where the one before it has ended, though one may have sent something.

        :param source_has_names: whether the source is read again under the same names.
        :param why_not: why it is not.
        :return: half a sentence; None where it can, or where there is nothing to go on with.
        """
        state = self._state
        if state is None:
            return None
        if not state:
            return "what an earlier try has left cannot be read" if self._is_retry else None
        if not self._may_be_a_retry:
            return None if self.unfinished is None or source_has_names else why_not
        if not self._is_same_input:
            return "an earlier try had other inputs"
        if self._is_complete:
            return "`retries` were changed since, so that a retry and a Clear look the same"
        if not source_has_names:
            return why_not
        if at_most_once and not state["at_most_once"]:
            return "an earlier try ran with delivery='at_least_once', which notes no requests"
        return None

    @property
    def must_not_repeat(self) -> bool:
        """Whether what an earlier try has sent belongs to this one too: nobody has asked for it anew."""
        return self._may_be_a_retry or (self._state == {} and self._is_retry)

    def save(self, state: Mapping[str, Any], *, is_complete: bool = False) -> None:
        """Replace what is there."""
        self._store.save({**self._stamp, "status": _COMPLETE if is_complete else _RUNNING, **state})

    @property
    def _is_complete(self) -> bool:
        return bool(self._state) and (self._state or {}).get("status") == _COMPLETE

    @property
    def _is_same_input(self) -> bool:
        state = self._state or {}
        return all(state.get(name) == self._stamp[name] for name in ("version", "fingerprint"))

    @property
    def _may_be_a_retry(self) -> bool:
        life = (self._state or {}).get("life")
        return isinstance(life, list) and life[:1] == self._stamp["life"][:1]  # type: ignore[index]
