"""What a task remembers of the business event it triggers, so that no retry triggers it a second time.

Airflow's state store keeps it across tries (3.3 and later). A try first says that it is about to send, then what
the answer was, and as its last act that it has told so. The next try reads from that what it may do. A Clear of
an ended task is a person's wish to trigger it anew; Airflow raises ``max_tries`` then, and for no retry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_moengage.api.business_events import UNKNOWN_ADVICE
from airflow_provider_moengage.exceptions import MoEngageOutcomeUnknownError
from airflow_provider_moengage.operators.task_state import TaskState

_KEY = "moengage_business_event"
_SENDING, _FIRED, _UNKNOWN = "sending", "fired", "unknown"


class FiringRecord:
    """The record of one task instance.

    :param context: the task's context.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._state = TaskState(context, _KEY)
        self._life = getattr(context["ti"], "max_tries", None)

    def answer_of_earlier_try(self, event_name: str, *, may_repeat: bool) -> dict[str, Any] | None:
        """Return what MoEngage told an earlier try, or None where this try is to send.

        :param may_repeat: send although an earlier try may have started campaigns.
        :raises MoEngageOutcomeUnknownError: where an earlier try may have started campaigns.
        """
        kept = self._state.get()
        if kept is None:
            return None
        is_cleared = kept["is_reported"] and kept["life"] != self._life
        if is_cleared:
            return None
        if kept["status"] == _FIRED:
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
        """Remember that from now on campaigns may start. Returns when that is stored."""
        self._keep(_SENDING)

    def fired(self, answer: dict[str, Any]) -> None:
        """Remember MoEngage's answer."""
        self._keep(_FIRED, answer=answer)

    def nothing_started(self) -> None:
        """Forget it all: the next try may send."""
        self._state.forget()

    def unknown(self) -> None:
        """Remember that campaigns may have started, and that the task says so as it fails."""
        self._keep(_UNKNOWN, is_reported=True)

    def reported(self, answer: dict[str, Any]) -> None:
        """Remember, as the try's last act, that it has told the answer."""
        self._keep(_FIRED, answer=answer, is_reported=True)

    def _keep(self, status: str, *, answer: dict[str, Any] | None = None, is_reported: bool = False) -> None:
        kept = {"status": status, "is_reported": is_reported, "life": self._life}
        self._state.set(kept if answer is None else {**kept, "answer": answer})
