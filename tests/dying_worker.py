"""Workers that die: an operator's process ends in the middle of whatever its threads do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.resume.saved_run import SavedRun
from airflow_provider_moengage.bulk.run import delivery
from tests.killing import Doom, KilledError

if TYPE_CHECKING:
    import pytest


class Worker:
    """Runs tries of tasks, and dies when it is told to.

    :param monkeypatch: of the test.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._doom = Doom()
        self._streams: list[Any] = []
        monkeypatch.setattr(delivery, "_TICK", 0.01)
        monkeypatch.setattr(delivery, "_LAST_WAIT", 0.1)
        for owner, name in (
            (MoEngageClient, "bulk_import"),
            (SavedRun, "save"),
            (Rejects, "flush"),
            (Rejects, "close"),
        ):
            monkeypatch.setattr(owner, name, self._mortal(getattr(owner, name)))
        monkeypatch.setattr(Rejects, "_open", self._noting(Rejects._open))

    def tries(self, run: Callable[[], Any], *, moments: int) -> bool:
        """Run a try that dies after so many moments; say whether it did, for it may end before."""
        self._doom = Doom(moments)
        with suppress(KilledError):
            run()
        died = self._doom.is_dead
        for stream in self._streams:
            stream.close()  # what is in its buffer must not be written over what the next try writes
        self._streams.clear()
        self._doom = Doom()
        return died

    def _mortal(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def acted(*given: Any, **named: Any) -> Any:
            doom = self._doom
            doom.moment()
            result = act(*given, **named)
            doom.moment()
            return result

        return acted

    def _noting(self, opened: Callable[..., Any]) -> Callable[..., Any]:
        def note(rejects: Rejects, *given: Any) -> Any:
            stream = opened(rejects, *given)
            if stream not in self._streams:
                self._streams.append(stream)
            return stream

        return note
