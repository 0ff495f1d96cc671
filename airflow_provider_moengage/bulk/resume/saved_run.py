"""What earlier tries of a task have stored, and whether this try may resume from it.

A retry may resume where the try before it ended. When a person clears a task that had ended, everything is sent
again. The caller distinguishes the two with a *clear epoch*: it is the same for all tries between two Clears.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from airflow_provider_moengage.bulk.report import DeliveryReport
from airflow_provider_moengage.bulk.resume.fence import Fence, FencedError

_VERSION = 2
_RUNNING, _COMPLETE = "running", "complete"


class _Running(msgspec.Struct, tag_field="status", tag=_RUNNING):
    """The state of a run that has not ended."""

    version: int
    fingerprint: str
    life: list[Any]
    bookmark: dict[str, Any]
    figures: dict[str, Any]
    rejects_path: str | None
    rejects_bytes: int
    at_most_once: bool


class _Complete(msgspec.Struct, tag_field="status", tag=_COMPLETE):
    """The state of a run that has delivered everything."""

    version: int
    fingerprint: str
    life: list[Any]
    report: dict[str, Any]


class Store(Protocol):
    """Keeps a state when the process ends."""

    def load(self) -> dict[str, Any] | None:
        """Return what an earlier try stored: None for nothing, empty if it cannot be read."""

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state. Returns when it is stored; a killed process leaves the old or the new one."""


class UnknownOutcomeError(Exception):
    """An earlier try may have sent what this one would send, and it must not be sent twice."""


class SavedRun:
    """The run of earlier tries of the same task, as they stored it.

    :param store: where it is stored.
    :param fingerprint: of the inputs; a run of other inputs is not resumed.
    :param clear_epoch: two JSON-ready values. The first changes only when the task is cleared; the second may
        change at other times too.
    :param is_retry: False if this is certainly the first try, or the first after a Clear.
    :param fence: stops this try when a later one has taken over.
    """

    def __init__(
        self,
        store: Store,
        fingerprint: str,
        clear_epoch: tuple[Any, Any] = (None, None),
        *,
        is_retry: bool = True,
        fence: Fence | None = None,
    ) -> None:
        self._store = store
        self._fence = fence
        self._clear_epoch = list(clear_epoch)
        self._stamp = {"version": _VERSION, "fingerprint": fingerprint, "life": self._clear_epoch}
        self._state = self._checked(store.load())
        self._is_retry = is_retry

    @property
    def report(self) -> DeliveryReport | None:
        """The report of a try since the last Clear that delivered everything; None if there is work to do."""
        state = self._state
        if not state or not (self._is_complete and self._has_same_inputs and state["life"] == self._clear_epoch):
            return None
        return DeliveryReport(**state["report"])

    @property
    def unfinished(self) -> dict[str, Any] | None:
        """The state of an unfinished run of the same inputs."""
        return self._state if self._state and self._has_same_inputs and not self._is_complete else None

    @property
    def rejects_path(self) -> str | None:
        """Where the unfinished run has written its rejects."""
        path = (self.unfinished or {}).get("rejects_path")
        return None if path is None else str(path)

    def obstacle(self, *, is_resumable: bool, why_not: str, at_most_once: bool) -> str | None:
        """Return why this try cannot resume although an earlier one may have sent something.

        :param is_resumable: whether another reading of the source finds the same elements.
        :param why_not: why it does not.
        :return: a clause that follows "because"; None if this try can resume, or has nothing to resume from.
        """
        state = self._state
        if state is None:
            return None
        if not state:
            return "the checkpoint of an earlier try cannot be read" if self._is_retry else None
        if not self._may_be_a_retry:
            return None if self.unfinished is None or is_resumable else why_not
        obstacles = (
            (not self._has_same_inputs, "the inputs have changed since then"),
            (self._is_complete, "`retries` has changed since, so a retry and a Clear cannot be distinguished"),
            (not is_resumable, why_not),
            (
                at_most_once and not state.get("at_most_once"),
                "an earlier try ran with delivery='at_least_once', which does not record requests before they are"
                " sent",
            ),
        )
        return next((reason for applies, reason in obstacles if applies), None)

    @property
    def must_not_repeat(self) -> bool:
        """Whether no Clear has asked to send again what an earlier try may have sent."""
        return self._may_be_a_retry or (self._state == {} and self._is_retry)

    def save(self, state: Mapping[str, Any], *, is_complete: bool = False) -> None:
        """Replace what is stored.

        :raises FencedError: if a later try has taken over.
        """
        stored = {**self._stamp, "status": _COMPLETE if is_complete else _RUNNING, **state}
        if self._fence is not None:
            stored["token"] = self._fence.token
        self._store.save({**stored, "checksum": _checksum(stored)})
        if self._fence is not None:
            self._fence.check()

    def check(self) -> None:
        """Check that this is still the latest try. Where that cannot be read, it is taken to be.

        :raises FencedError: if a later try has taken over.
        """
        if self._fence is not None:
            try:
                self._fence.look()
            except FencedError:
                raise
            except Exception:  # noqa: BLE001 (each storage has errors of its own)
                return

    def _checked(self, state: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return a state as it was stored; empty if it is damaged, or of another version of this package."""
        if not state:
            return state
        content = {name: value for name, value in state.items() if name != "checksum"}
        try:
            msgspec.convert(content, _Running | _Complete)
        except msgspec.ValidationError:
            return {}
        is_whole = state.get("checksum") == _checksum(content)
        is_latest = self._fence is None or self._fence.allows(state.get("token"))
        return content if is_whole and is_latest else {}

    @property
    def _is_complete(self) -> bool:
        return bool(self._state) and (self._state or {}).get("status") == _COMPLETE

    @property
    def _has_same_inputs(self) -> bool:
        state = self._state or {}
        return all(state.get(name) == self._stamp[name] for name in ("version", "fingerprint"))

    @property
    def _may_be_a_retry(self) -> bool:
        stored = (self._state or {}).get("life")
        return isinstance(stored, list) and stored[:1] == self._clear_epoch[:1]


def _checksum(state: Mapping[str, Any]) -> str:
    text = json.dumps(state, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=8).hexdigest()
