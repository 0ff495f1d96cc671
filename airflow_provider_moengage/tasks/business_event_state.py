"""The state that a task stores about the business event it triggers, so that no retry triggers it a second time.

Airflow's state store keeps it across tries (3.3 and later). A try records that it is about to send, then the
response, and finally that it has reported the outcome. The next try reads from this whether it may send. A Clear
of an ended task asks to trigger the event again; Airflow raises ``max_tries`` on a Clear but not on a retry.

Two tries may run at once: a worker that lost the network, and its successor. At most one of them may send. The
store cannot compare and swap, so they agree through two values, as in Lamport's fast mutual exclusion algorithm:
each writes its token, gives up if the turn is taken, takes it, and gives up if its token is gone.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from airflow_provider_moengage.api.business_events import UNKNOWN_ADVICE
from airflow_provider_moengage.exceptions import MoEngageOutcomeUnknownError
from airflow_provider_moengage.tasks.state import ClearEpoch, TaskState

_KEY = "moengage_business_event"
_TURN_KEY = "moengage_business_event_turn"
_SENDING, _TRIGGERED, _UNKNOWN = "sending", "fired", "unknown"  # as earlier versions stored them


class ErrorLog(Protocol):
    """A logger of Python or Airflow."""

    def error(self, message: str, /, *args: Any) -> Any:
        """Log an error."""


class TriggerRecord:
    """The record of one task instance.

    :param context: the task's context.
    :param log: gets an error if the store fails after the response has arrived, so that the task can still report
        the response.
    """

    def __init__(self, context: Mapping[str, Any], log: ErrorLog) -> None:
        self._state = TaskState(context, _KEY)
        self._turn = TaskState(context, _TURN_KEY)
        self._token = secrets.token_hex(8)
        self._seen: dict[str, Any] | None = None
        self._log = log
        self._clear_epoch = ClearEpoch(context)

    @property
    def is_kept(self) -> bool:
        """Whether the next try can read this record."""
        return self._state.is_kept

    def answer_of_earlier_try(self, event_name: str, *, may_repeat: bool) -> dict[str, Any] | None:
        """Return MoEngage's response to an earlier try, or None if this try should send.

        :param may_repeat: send even if an earlier try may have started campaigns.
        :raises MoEngageOutcomeUnknownError: if an earlier try may have started campaigns.
        """
        kept = self._seen = self._state.get()
        if kept is None:
            return None
        is_reported = kept.get("is_reported", False)
        if is_reported and kept.get("life") != self._clear_epoch.max_tries:
            return None  # a Clear
        if kept.get("status") == _TRIGGERED:
            if is_reported and kept.get("retries") != self._clear_epoch.retries:
                self._keep(_TRIGGERED, answer=kept["answer"], is_reported=True)
                raise MoEngageOutcomeUnknownError(
                    f"Business event {event_name!r} was triggered by an earlier try. The task's `retries` have"
                    " changed since, so a retry and a Clear look the same; clear it once more to trigger it."
                )
            answer: dict[str, Any] = kept["answer"]
            return answer
        if may_repeat:
            self.nothing_started()
            self._seen = self._state.get()
            return None
        self.unknown()
        raise MoEngageOutcomeUnknownError(
            f"Business event {event_name!r}: an earlier try of this task ended while it was sending the request,"
            f" without a response. {UNKNOWN_ADVICE}."
        )

    def about_to_send(self, event_name: str) -> None:
        """Record that campaigns may start from now on. Returns once that is stored, or raises.

        :raises MoEngageOutcomeUnknownError: if another try of this task may send, or has sent.
        """
        if not self.is_kept:
            return
        if self._state.get() == self._seen:
            self._keep(_SENDING)
            if self._taken_in() != self._clear_epoch.max_tries:
                with self._not_hiding_the_answer():
                    self._turn.set({"life": self._clear_epoch.max_tries})
                if (self._state.get() or {}).get("token") == self._token:
                    return
        raise MoEngageOutcomeUnknownError(
            f"Business event {event_name!r}: another try of this task triggers it, or has triggered it since this"
            f" try began, so this one sends nothing. {UNKNOWN_ADVICE}."
        )

    def triggered(self, answer: dict[str, Any]) -> None:
        """Record MoEngage's response."""
        with self._not_hiding_the_answer():
            self._keep(_TRIGGERED, answer=answer)

    def nothing_started(self) -> None:
        """Delete the record: the next try may send."""
        with self._not_hiding_the_answer():
            if self._is_current():
                self._state.forget()
                self._turn.forget()

    def unknown(self) -> None:
        """Record that campaigns may have started, and that the task fails and reports it."""
        with self._not_hiding_the_answer():
            self._keep(_UNKNOWN, is_reported=True)

    def reported(self, answer: dict[str, Any]) -> None:
        """Mark the outcome as reported; must be the last call."""
        with self._not_hiding_the_answer():
            self._keep(_TRIGGERED, answer=answer, is_reported=True)

    def _taken_in(self) -> Any:
        """Return between which Clears the turn was taken; an object of its own if it was not."""
        taken = self._turn.get()
        return object() if taken is None else taken.get("life")

    def _is_current(self) -> bool:
        """Return whether no Clear has begun a later try, whose record this one must leave alone."""
        kept = self._state.get() or {}
        later, mine = kept.get("life"), self._clear_epoch.max_tries
        return not isinstance(later, int) or not isinstance(mine, int) or later <= mine

    def _keep(self, status: str, *, answer: dict[str, Any] | None = None, is_reported: bool = False) -> None:
        if not self._is_current():
            return
        epoch = self._clear_epoch
        kept = {
            "status": status,
            "is_reported": is_reported,
            "life": epoch.max_tries,
            "retries": epoch.retries,
            "token": self._token,
        }
        self._state.set(kept if answer is None else {**kept, "answer": answer})

    @contextmanager
    def _not_hiding_the_answer(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 (whatever the store raises, the response is reported)
            name = type(error).__name__
            self._log.error(
                "Airflow's state store failed (%s): another try of this task will report an unknown outcome", name
            )
