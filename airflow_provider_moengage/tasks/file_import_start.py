"""The conversation in which an import is triggered, once: baseline, call, cooldown, and calls without an answer.

MoEngage API reference, "Trigger File Import": an import runs once in five minutes, and a trigger within them is
refused (400 ``ALREADY_EXISTS``). That makes the call safe to repeat.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.bulk.clock import SystemClock
from airflow_provider_moengage.exceptions import MoEngageRateLimitError
from airflow_provider_moengage.tasks.file_import_state import ImportRecord, ImportRun, newest
from airflow_provider_moengage.tasks.file_import_wait import execution_timeout_at

if TYPE_CHECKING:
    from airflow_provider_moengage.api.file_imports import FileRun
    from airflow_provider_moengage.api.file_imports_client import FileImportsClient, TriggerReply
    from airflow_provider_moengage.hooks.moengage import MoEngageHook
    from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator

LEAST_WAIT = timedelta(seconds=30)
"""Until an import that was refused for its cooldown is asked for again, whatever its history says."""

COOLDOWN_MARGIN = timedelta(seconds=2)
"""Clocks differ a little."""

PAUSE = 5.0
"""Seconds until a call that had no answer, or that was throttled for an unknown time, is made again."""

THROTTLED_ASKS = 30
"""Times that a run history is asked for while MoEngage throttles: minutes, for a limit of a minute."""

CLOCK = SystemClock()
"""What operator and call go by."""


class ImportCall:
    """The conversation in which an import is triggered, once.

    :param task: the operator.
    :param context: the task's context.
    """

    def __init__(self, task: TriggerFileImportOperator, context: Mapping[str, Any]) -> None:
        from airflow_provider_moengage.hooks.moengage import MoEngageHook

        self._task = task
        self._import_id = task.import_id
        self._log = task.log
        self._context = context
        self._record = ImportRecord(context)
        self._hook: MoEngageHook = MoEngageHook(task.moengage_conn_id)
        self._client: FileImportsClient = self._hook.get_file_imports_conn()

    def __enter__(self) -> ImportCall:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def earlier(self) -> tuple[ImportRun, bool] | None:
        """Return the run that an earlier try has called for, and whether it surely was triggered."""
        known = self._record.earlier(self._import_id)
        if known is not None or self._record.is_kept:
            return known
        if self._task.on_cooldown == "fail":
            return None  # an earlier try that was refused would be answered with the very run that refused it
        files = self._history()
        run = self._record.earlier_in(files, self._import_id)
        if run is None or self._task.has_failed(run, files):
            return None
        self._log.warning(
            "Before Airflow 3.3 nothing is kept of an earlier try. The run of %s, the newest since the Dag run"
            " began, is taken for the one it has triggered; clear the task to trigger the import anew",
            run.triggered_at.isoformat(timespec="seconds"),
        )
        return run, True

    def trigger(self, give_up_at: datetime, *, run: ImportRun | None = None) -> ImportRun:
        """Trigger the import and return its run.

        :param run: of a call that may have triggered it.
        """
        from airflow_provider_moengage.api.file_imports_client import Triggering
        from airflow_provider_moengage.hooks.file_imports import ATTEMPTS, trigger_error

        may_have_run = run is not None
        failed = 0
        while True:
            if run is None:
                run = ImportRun.before(self._import_id, self._history(), now())
                self._record.calling(run)
            if may_have_run and self._has_new_files(run):
                return self._is_triggered(run)
            self._task.pause(0)
            reply = self._client.trigger(self._import_id)
            if reply.triggering is Triggering.TRIGGERED:
                return self._is_triggered(run)
            if reply.triggering is Triggering.RAN_RECENTLY:
                if may_have_run and (self._has_new_files(run) or not _was_cooling(run)):
                    return self._is_triggered(run)
                self._cool_down(reply, give_up_at, run if may_have_run else None)
                run = run if may_have_run else None
                continue
            may_have_run = may_have_run or reply.triggering is Triggering.UNKNOWN
            error = trigger_error(self._import_id, reply)
            if reply.triggering not in (Triggering.UNKNOWN, Triggering.NOT_SENT, Triggering.THROTTLED):
                self._record.forget()
                raise error
            failed += 1
            if failed >= ATTEMPTS:
                if not may_have_run:
                    self._record.forget()
                raise error
            self._log.warning("%s Asking again", error)
            self._task.pause(min(reply.retry_after or PAUSE, max(0.0, (give_up_at - now()).total_seconds())))

    def _is_triggered(self, run: ImportRun) -> ImportRun:
        from airflow_provider_moengage import metrics

        self._record.triggered(run)
        metrics.Metrics(self._task.moengage_conn_id).count(metrics.TRIGGERED)
        self._log.info(
            "Import %s is triggered; %d older files are left aside", run.import_id, len(run.baseline.ids)
        )
        return run

    def _cool_down(self, reply: TriggerReply, give_up_at: datetime, run: ImportRun | None) -> None:
        """Wait until the import may run again; defer for that, fail or skip where the task says so.

        :param run: of a call that may have triggered it after all.
        """
        from airflow_provider_moengage.hooks.file_imports import COOLDOWN, trigger_error
        from airflow_provider_moengage.tasks.wait_until import wait_until

        task = self._task
        error = trigger_error(self._import_id, reply)
        if run is None:
            self._record.forget()
        if task.on_cooldown == "fail":
            raise error
        if task.on_cooldown == "skip":
            raise AirflowSkipException(str(error))
        last = newest(self._history())
        latest = now() + COOLDOWN + COOLDOWN_MARGIN  # whatever MoEngage's clock says
        may_run_at = min(latest, max(now() + LEAST_WAIT, (last or _EPOCH) + COOLDOWN + COOLDOWN_MARGIN))
        if may_run_at > give_up_at:
            raise MoEngageRateLimitError(
                f"{error} It could not be triggered within the timeout of {task.timeout:g} s.",
                status_code=error.status_code,
                retry_after=error.retry_after,
            )
        self._log.info("%s Asking again at %s", error, may_run_at.isoformat(timespec="seconds"))
        if task.deferrable:
            limit = execution_timeout_at(task, self._context)
            wakes_at = may_run_at if limit is None else min(may_run_at, datetime.fromtimestamp(limit, UTC))
            task.defer(
                trigger=wait_until(wakes_at),
                method_name="resume_after_cooldown",
                kwargs={
                    "give_up_at": give_up_at.isoformat(),
                    "run": None if run is None else run.to_dict(),
                },
            )
        task.pause((may_run_at - now()).total_seconds())

    def _has_new_files(self, run: ImportRun) -> bool:
        return any(run.baseline.is_new(file) for file in self._history())

    def _history(self) -> list[FileRun]:
        """Return the files; none where MoEngage knows no such import, which the trigger's answer judges."""
        from airflow_provider_moengage.hooks.errors import translated
        from airflow_provider_moengage.hooks.file_imports import history

        for asked in range(1, THROTTLED_ASKS + 1):
            try:
                return history(self._client, {"import_id": self._import_id}, self._task.pause)
            except ApiError as error:
                if error.kind is ErrorKind.RATE_LIMIT and asked < THROTTLED_ASKS:
                    self._task.pause(error.retry_after or PAUSE)
                    continue
                so_far = "the run history could not be read, and the import was not triggered by this call"
                raise translated(error, self._task.moengage_conn_id, so_far) from None
        raise AssertionError("the last time returns or raises")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _was_cooling(run: ImportRun) -> bool:
    """Whether the import had run so shortly before the call that the call itself may have been refused."""
    from airflow_provider_moengage.hooks.file_imports import COOLDOWN

    return run.ran_at is not None and run.triggered_at - run.ran_at < COOLDOWN + COOLDOWN_MARGIN


def wait(stopped: threading.Event, seconds: float) -> bool:
    """Let ``seconds`` pass, or less where ``stopped`` is set before; say whether it is."""
    return CLOCK.wait(stopped, seconds)


def now() -> datetime:
    """Return the present, with time zone."""
    return datetime.fromtimestamp(CLOCK.time(), UTC)
