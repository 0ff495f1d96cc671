"""What a task remembers of the business event it triggers, so that no retry triggers it a second time.

Airflow's state store keeps it across tries (3.3 and later). A try first says that it is about to send, then what
the answer was, and as its last act that it has told so. The next try reads from that what it may do. A Clear of
an ended task is a person's wish to trigger it anew; Airflow raises ``max_tries`` then, and for no retry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow_provider_moengage.api.business_events import UNKNOWN_ADVICE
from airflow_provider_moengage.exceptions import MoEngageOutcomeUnknownError
from airflow_provider_moengage.tasks.state import TaskLife, TaskState

_KEY = "moengage_business_event"
_SENDING, _FIRED, _UNKNOWN = "sending", "fired", "unknown"


class FiringRecord:
    """The record of one task instance.

    :param context: the task's context.
    :param log: told where the store fails after the answer is there, which must not hide the answer.
    """

    def __init__(self, context: Mapping[str, Any], log: Any) -> None:
        self._state = TaskState(context, _KEY)
        self._log = log
        self._life = TaskLife(context)

    @property
    def is_kept(self) -> bool:
        """Whether the next try will know of this one."""
        return self._state.is_kept

    def answer_of_earlier_try(self, event_name: str, *, may_repeat: bool) -> dict[str, Any] | None:
        """Return what MoEngage told an earlier try, or None where this try is to send.

        :param may_repeat: send although an earlier try may have started campaigns.
        :raises MoEngageOutcomeUnknownError: where an earlier try may have started campaigns.
        """
        kept = self._state.get()
        if kept is None:
            return None
        is_reported = kept.get("is_reported", False)
        if is_reported and kept.get("life") != self._life.max_tries:
            return None  # a Clear
        if kept.get("status") == _FIRED:
            if is_reported and kept.get("retries") != self._life.retries:
                self._keep(_FIRED, answer=kept["answer"], is_reported=True)
                raise MoEngageOutcomeUnknownError(
                    f"Business event {event_name!r} was triggered by an earlier try. As the task's `retries` were"
                    " changed since, a retry and a Clear look the same; clear it once more to trigger it anew."
                )
            answer: dict[str, Any] = kept["answer"]
            return answer
        if may_repeat:
            return None
        self.unknown()
        raise MoEngageOutcomeUnknownError(
            f"Business event {event_name!r}: an earlier try of this task ended while it was sending it, without an"
            f" answer. {UNKNOWN_ADVICE}."
        )

    def about_to_send(self) -> None:
        """Remember that from now on campaigns may start. Returns when that is stored, or raises."""
        self._keep(_SENDING)

    def fired(self, answer: dict[str, Any]) -> None:
        """Remember MoEngage's answer."""
        with self._not_hiding_the_answer():
            self._keep(_FIRED, answer=answer)

    def nothing_started(self) -> None:
        """Forget it all: the next try may send."""
        with self._not_hiding_the_answer():
            self._state.forget()

    def unknown(self) -> None:
        """Remember that campaigns may have started, and that the task says so as it fails."""
        with self._not_hiding_the_answer():
            self._keep(_UNKNOWN, is_reported=True)

    def reported(self, answer: dict[str, Any]) -> None:
        """Remember, as the try's last act, that it has told the answer."""
        with self._not_hiding_the_answer():
            self._keep(_FIRED, answer=answer, is_reported=True)

    def _keep(self, status: str, *, answer: dict[str, Any] | None = None, is_reported: bool = False) -> None:
        life = self._life
        kept = {"status": status, "is_reported": is_reported, "life": life.max_tries, "retries": life.retries}
        self._state.set(kept if answer is None else {**kept, "answer": answer})

    @contextmanager
    def _not_hiding_the_answer(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            name = type(error).__name__
            self._log.error(
                "Airflow's state store failed (%s): another try of this task will say that the outcome is unknown",
                name,
            )
