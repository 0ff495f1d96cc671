"""Waiting for file imports in the triggerer. Nothing here triggers an import, and a trigger holds no secret."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.file_imports import ImportRef
from airflow_provider_moengage.exceptions import MoEngageError, MoEngageRequestError
from airflow_provider_moengage.polling.poller import FAILED_POLLS, Decide, Finding, WaitSpec
from airflow_provider_moengage.polling.selection import Selection
from airflow_provider_moengage.triggers import pollers
from airflow_provider_moengage.triggers.file_import_event import FileImportRunEventTrigger
from airflow_provider_moengage.triggers.pollers import poll_updates

__all__ = ["FileImportRunEventTrigger", "FileImportRunTrigger"]

if TYPE_CHECKING:
    from airflow_provider_moengage.api.file_imports import FileRun


class FileImportRunTrigger(BaseTrigger):
    """Fires once: when the files have finished, when the time is up, or when polling cannot succeed.

    The event's ``status`` is ``finished`` (with ``files``), ``timeout`` (with ``limit``: ``timeout`` or
    ``execution_timeout``) or ``error`` (with ``kind``, ``message`` and ``status_code``).

    All triggers of a workspace in one triggerer share one poller, whatever their number.

    :param moengage_conn_id: the workspace's connection.
    :param what: ``import_id`` or ``import_name``, and its value.
    :param selection: see :meth:`~airflow_provider_moengage.polling.selection.Selection.to_dict`.
    :param poke_interval: seconds between two polls of the import. Of several triggers, the shortest counts.
    :param timeout_at: UTC epoch seconds at which to give up; None for never.
    :param execution_timeout_at: UTC epoch seconds at which the task's ``execution_timeout`` is reached, which
        Airflow 3 does not enforce while a task is deferred.
    :param may_be_absent: an import that MoEngage does not know has no files yet; it exists, as it was triggered.
    :param is_patient: continue however many polls fail in a row.
    :param failed_polls: polls in a row that have failed before.
    :param run: what the task needs to know about its run when it resumes; the event returns it, with the
        selection's baseline.
    :param project_code: the project of a portfolio; None: the connection's.
    :param least_seconds: fire no sooner than this many seconds after the start: Airflow fails a task whose
        deferral ends before the scheduler has seen that it began.
    """

    def __init__(  # noqa: PLR0913 (stored arguments)
        self,
        *,
        moengage_conn_id: str,
        what: Sequence[str],
        selection: Mapping[str, Any],
        poke_interval: float = 60.0,
        timeout_at: float | None = None,
        execution_timeout_at: float | None = None,
        may_be_absent: bool = False,
        is_patient: bool = False,
        failed_polls: int = 0,
        run: Mapping[str, Any] | None = None,
        project_code: str | None = None,
        least_seconds: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.moengage_conn_id = moengage_conn_id
        self.what = list(what)
        self.selection = dict(selection)
        self.poke_interval = poke_interval
        self.timeout_at = timeout_at
        self.execution_timeout_at = execution_timeout_at
        self.may_be_absent = may_be_absent
        self.is_patient = is_patient
        self.failed_polls = failed_polls
        self.project_code = project_code
        self.least_seconds = least_seconds
        self.run_facts = None if run is None else dict(run)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as JSON primitives."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "moengage_conn_id": self.moengage_conn_id,
                "what": self.what,
                "selection": self.selection,
                "poke_interval": self.poke_interval,
                "timeout_at": self.timeout_at,
                "execution_timeout_at": self.execution_timeout_at,
                "may_be_absent": self.may_be_absent,
                "is_patient": self.is_patient,
                "failed_polls": self.failed_polls,
                "run": self.run_facts,
                "least_seconds": self.least_seconds,
                **_only_if_set("project_code", self.project_code),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire once."""
        started = pollers.CLOCK.time()
        event = await self._event()
        remaining = started + self.least_seconds - pollers.CLOCK.time()
        if remaining > 0:
            await pollers.CLOCK.sleep(remaining, asyncio.Event())
        if self.run_facts is not None:
            baseline = {name: self.selection.get(name) for name in ("baseline", "baseline_since")}
            event["run"] = {**self.run_facts, **baseline}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call, unused-ignore]

    async def on_kill(self) -> None:
        """Warn that the import continues (Airflow 3.3 and later)."""
        self.log.warning(
            "The task was killed. MoEngage cannot cancel an import: a run of import %s that has started continues",
            self.what[1],
        )

    async def _event(self) -> dict[str, Any]:
        limits = {"timeout": self.timeout_at, "execution_timeout": self.execution_timeout_at}
        set_limits = {name: at for name, at in limits.items() if at is not None}
        first = min(set_limits, key=lambda name: set_limits[name], default=None)
        seconds = None if first is None else max(0.0, set_limits[first] - time.time())
        try:
            async with asyncio.timeout(seconds):
                return await self._wait()
        except TimeoutError:
            return {"status": "timeout", "limit": first}

    async def _wait(self) -> dict[str, Any]:
        spec = WaitSpec(
            ImportRef(self.what[0], self.what[1]),
            self.poke_interval,
            self.may_be_absent,
            None if self.is_patient else max(1, FAILED_POLLS - self.failed_polls),
            needs_times=Selection.from_dict(self.selection).needs_times,
        )
        looking = poll_updates(self.moengage_conn_id, spec, self._decision(), project_code=self.project_code)
        try:
            async with aclosing(looking):
                async for finding in looking:
                    if finding.note is not None:
                        self.log.info("Import %s: %s", self.what[1], finding.note)
                    if finding.result is not None:
                        return {"status": "finished", "files": [run.to_dict() for run in finding.result]}
        except MoEngageError as error:
            kind = "request" if isinstance(error, MoEngageRequestError) else "server"
            return {"status": "error", "kind": kind, "message": str(error), "status_code": None}
        except ApiError as error:
            return _error_event(error)
        raise RuntimeError("polling ended without an error")

    def _decision(self) -> Decide:
        selection = Selection.from_dict(self.selection)

        def decide(runs: Sequence[FileRun]) -> Finding:
            chosen = selection.choose(runs)
            return Finding(chosen if selection.are_over(chosen) else None, selection.describe(chosen))

        return decide


def _only_if_set(name: str, value: str | None) -> dict[str, str]:
    """Return an argument that a triggerer of an earlier release does not know, unless it has its default."""
    return {} if value is None else {name: value}


def _error_event(error: ApiError) -> dict[str, Any]:
    is_absence = error.kind is ErrorKind.NOT_FOUND
    return {
        "status": "error",
        # A worker of an earlier release does not know the kind "not found".
        "kind": (ErrorKind.REQUEST if is_absence else error.kind).value,
        "is_absence": is_absence,
        "message": error.message,
        "status_code": error.status_code,
    }
