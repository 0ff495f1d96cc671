"""A worker that can be killed while an operator runs, whatever its threads are doing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.resume.saved_run import SavedRun
from airflow_provider_moengage.bulk.run import delivery
from tests.killing import KilledError, KillSwitch

if TYPE_CHECKING:
    import pytest


class Worker:
    """Runs tries of tasks, and is killed on request."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._switch = KillSwitch()
        self._streams: list[Any] = []
        monkeypatch.setattr(delivery, "_TICK", 0.01)
        monkeypatch.setattr(delivery, "_LAST_WAIT", 0.1)
        for owner, name in (
            (MoEngageClient, "bulk_import"),
            (SavedRun, "save"),
            (Rejects, "flush"),
            (Rejects, "close"),
        ):
            monkeypatch.setattr(owner, name, self._killable(getattr(owner, name)))
        monkeypatch.setattr(Rejects, "_open", self._remembering_streams(Rejects._open))

    def is_killed(self, run: Callable[[], Any], *, after: int) -> bool:
        """Make a try.

        :param after: kill points that it may pass; the next one kills it.
        :return: whether it was killed. It may have ended before.
        """
        self._switch = KillSwitch(after)
        with suppress(KilledError):
            run()
        is_killed = self._switch.is_killed
        for stream in self._streams:
            stream.close()  # writes what is buffered now, before the next try writes
        self._streams.clear()
        self._switch = KillSwitch()
        return is_killed

    def _killable(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def acted(*given: Any, **named: Any) -> Any:
            switch = self._switch
            switch.point()
            result = act(*given, **named)
            switch.point()
            return result

        return acted

    def _remembering_streams(self, opened: Callable[..., Any]) -> Callable[..., Any]:
        def remembering(rejects: Rejects, *given: Any) -> Any:
            stream = opened(rejects, *given)
            if stream not in self._streams:
                self._streams.append(stream)
            return stream

        return remembering
