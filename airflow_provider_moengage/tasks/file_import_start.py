"""Triggers an import exactly once: baseline, call, cooldown, and calls without a response.

MoEngage API reference, "Trigger File Import": an import runs once in five minutes, and a trigger within them is
refused (400 ``ALREADY_EXISTS``). That makes the call safe to repeat.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_moengage import metrics
from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.file_imports import ImportRef, Triggering
from airflow_provider_moengage.api.paging import MOST_PASSES, Retries
from airflow_provider_moengage.api.responses import clock_difference, is_clock_known
from airflow_provider_moengage.bulk.clock import Log, SystemClock
from airflow_provider_moengage.exceptions import MoEngageRateLimitError
from airflow_provider_moengage.hooks.errors import translated
from airflow_provider_moengage.hooks.file_imports import ATTEMPTS, COOLDOWN, trigger_error
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.tasks.file_import_state import ImportRecord, ImportRun, newest

if TYPE_CHECKING:
    from airflow_provider_moengage.api.file_imports import FileRun, TriggerReply

LEAST_WAIT = timedelta(seconds=30)
"""Wait at least this long after a refusal for the cooldown, whatever the run history says."""

COOLDOWN_MARGIN = timedelta(seconds=2)
"""Added because clocks differ."""

PAUSE = 5.0
"""Seconds before a call without a response, or one throttled for an unknown time, is repeated."""

THROTTLED_ASKS = 30
"""Requests for a run history while MoEngage throttles: several minutes, for a limit per minute."""

LOOKS_EVERY = 1.0
"""Seconds after which a task that waits looks whether it was killed. Airflow 3 ends its process five seconds after
SIGTERM."""

CLOCK = SystemClock()
"""The clock of the operator and the call."""


@dataclass(frozen=True, slots=True)
class StartPolicy:
    """How an import is to be started.

    :param conn_id: the workspace's connection.
    :param on_cooldown: ``wait``, ``fail`` or ``skip`` if the import has run in the last five minutes.
    :param timeout: seconds for everything, for messages.
    :param is_deferrable: the caller defers while it waits for the cooldown.
    :param project_code: the project of a portfolio; None: the connection's.
    """

    import_id: str
    conn_id: str
    on_cooldown: str
    timeout: float
    is_deferrable: bool
    project_code: str | int | None = None


class CooldownError(Exception):
    """The import may not run yet, and the caller defers until it may.

    :param may_run_at: when to ask again.
    :param run: of a call that may have triggered it after all.
    """

    def __init__(self, may_run_at: datetime, run: ImportRun | None) -> None:
        super().__init__("the import may not run yet")
        self.may_run_at = may_run_at
        self.run = run


class _TriggeredByAnotherTryError(Exception):
    """Another try of this task, which runs at the same time, has triggered the import."""

    def __init__(self, run: ImportRun) -> None:
        super().__init__("another try has triggered the import")
        self.run = run


class ImportCall:
    """Triggers an import, once.

    :param context: the task's context.
    :param log: the task's log.
    :param pause: waits for a number of seconds; raises if the task is ended.
    """

    def __init__(
        self,
        policy: StartPolicy,
        context: Mapping[str, Any],
        log: Log,
        pause: Callable[[float], None],
    ) -> None:
        self._policy = policy
        self._import_id = policy.import_id
        self._log = log
        self._pause = pause
        self._record = ImportRecord(context)
        hook = MoEngageHook(policy.conn_id, project_code=policy.project_code)
        self._client = hook.get_file_imports_conn()

    def __enter__(self) -> ImportCall:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def earlier(self, has_failed: Callable[[ImportRun, list[FileRun]], bool]) -> tuple[ImportRun, bool] | None:
        """Return the run that an earlier try triggered, and whether it certainly did.

        :param has_failed: whether a run has ended without success, so that a retry triggers another one.
        """
        known = self._record.earlier(self._import_id)
        if known is not None or self._record.is_kept:
            return known
        if self._policy.on_cooldown == "fail":
            return None  # the newest run may be the one because of which an earlier try was refused
        self._client.needs_times = True
        files = self._history()
        self._client.needs_times = False
        run = self._record.earlier_in(files, self._import_id)
        if run is None or has_failed(run, files):
            return None
        if self._client.times_are_assumed:
            self._log.warning(
                "Before Airflow 3.3, the run of an earlier try is recognised by its time, and the time zone of"
                " import %s is not known; triggering it again. Set import_time_zone of the connection",
                self._import_id,
            )
            return None
        self._log.warning(
            "Before Airflow 3.3, nothing is stored of an earlier try. The run of %s, the newest since the Dag run"
            " began, is assumed to be the one it triggered; clear the task to trigger the import again",
            run.triggered_at.isoformat(timespec="seconds"),
        )
        return run, True

    def trigger(self, give_up_at: datetime, *, run: ImportRun | None = None) -> ImportRun:
        """Trigger the import and return its run.

        :param run: of a call that may have triggered it.
        """
        try:
            return self._trigger(give_up_at, run)
        except _TriggeredByAnotherTryError as other:
            self._log.info("Another try of this task has triggered import %s; using its run", self._import_id)
            return other.run

    def _trigger(self, give_up_at: datetime, run: ImportRun | None) -> ImportRun:
        may_have_run = run is not None
        failed = 0
        while True:
            if run is None:
                files = self._history()
                is_own_clock = not is_clock_known(self._client.served_at, now=now().timestamp())
                run = ImportRun.before(self._import_id, files, self._served_now(), is_own_clock=is_own_clock)
                run, may_have_run = self._agreed(run, may_have_run, self._record.calling(run))
            else:
                run, may_have_run = self._agreed(run, may_have_run, self._by_another_try())
            if may_have_run and self._has_new_files(run):
                return self._is_triggered(run)
            self._pause(0)
            reply = self._client.trigger(self._import_id)
            if reply.triggering is Triggering.TRIGGERED:
                return self._is_triggered(run)
            if reply.triggering is Triggering.RAN_RECENTLY:
                run, may_have_run = self._agreed(run, may_have_run, self._by_another_try())
                if may_have_run and (self._has_new_files(run) or not self._may_be_cooling(run)):
                    return self._is_triggered(run)
                self._cool_down(reply, give_up_at, run if may_have_run else None)
                run = run if may_have_run else None
                continue
            may_have_run = may_have_run or reply.triggering is Triggering.UNKNOWN
            error = trigger_error(self._import_id, reply)
            if reply.triggering not in (Triggering.UNKNOWN, Triggering.NOT_SENT, Triggering.THROTTLED):
                self._record.not_triggered()
                raise error
            failed += 1
            if failed >= ATTEMPTS:
                if not may_have_run:
                    self._record.not_triggered()
                raise error
            self._log.warning("%s Retrying", error)
            self._pause(min(reply.retry_after or PAUSE, max(0.0, (give_up_at - now()).total_seconds())))

    def _may_be_cooling(self, run: ImportRun) -> bool:
        """Return whether the import ran so shortly before the call that the call itself may have been refused."""
        if run.ran_at is None:
            return False
        is_unsure = self._client.times_are_assumed  # it may have run hours before or after that time
        return is_unsure or run.triggered_at - run.ran_at < COOLDOWN + COOLDOWN_MARGIN

    def _is_triggered(self, run: ImportRun) -> ImportRun:
        self._record.triggered(run)
        metrics.Metrics(self._policy.conn_id).count(metrics.TRIGGERED)
        self._log.info("Import %s triggered; ignoring %d older files", run.import_id, len(run.baseline.ids))
        return run

    def _by_another_try(self) -> tuple[ImportRun, bool] | None:
        return self._record.by_another_try(self._import_id)

    def _agreed(
        self, run: ImportRun, may_have_run: bool, other: tuple[ImportRun, bool] | None
    ) -> tuple[ImportRun, bool]:
        """Return the run that this try and the other one wait for, and whether it may have been triggered.

        :param other: what the record has of another try.
        :raises _TriggeredByAnotherTryError: if that has certainly triggered it.
        """
        if other is None:
            return run, may_have_run
        if other[1]:
            raise _TriggeredByAnotherTryError(other[0])
        return other[0], True

    def _cool_down(self, reply: TriggerReply, give_up_at: datetime, run: ImportRun | None) -> None:
        """Wait until the import may run again, or fail or skip, as the policy says.

        :param run: of a call that may have triggered it after all.
        """
        error = trigger_error(self._import_id, reply)
        if run is None:
            self._record.not_triggered()
        if self._policy.on_cooldown == "fail":
            raise error
        if self._policy.on_cooldown == "skip":
            raise AirflowSkipException(str(error))
        last = newest(self._history())
        remaining = (last or _EPOCH) + COOLDOWN + COOLDOWN_MARGIN - self._served_now()
        may_run_at = now() + min(COOLDOWN + COOLDOWN_MARGIN, max(LEAST_WAIT, remaining))
        if may_run_at > give_up_at:
            raise MoEngageRateLimitError(
                f"{error} It could not be triggered within the timeout of {self._policy.timeout:g} s.",
                status_code=error.status_code,
                retry_after=error.retry_after,
            )
        self._log.info("%s Retrying at %s", error, may_run_at.isoformat(timespec="seconds"))
        if self._policy.is_deferrable:
            raise CooldownError(may_run_at, run)
        self._pause((may_run_at - now()).total_seconds())

    def _served_now(self) -> datetime:
        """Return the current time by the clock of MoEngage, which the times of its run history are from. The
        worker's may be wrong, and a lost call that seems to be long after the last run would count as triggered.
        """
        ours = now()
        return ours + timedelta(seconds=clock_difference(self._client.served_at, now=ours.timestamp()))

    def _has_new_files(self, run: ImportRun) -> bool:
        self._client.needs_times = run.baseline.needs_times
        files = self._history()
        self._client.needs_times = False
        return any(run.baseline.is_new(file) for file in files)

    def _history(self) -> list[FileRun]:
        """Return the files; none if MoEngage knows no such import, which the trigger's response decides."""
        retries = Retries(throttled_first=THROTTLED_ASKS, throttled_pause=PAUSE, pause=self._pause)
        try:
            ref = ImportRef("import_id", self._import_id)
            return self._client.all_file_runs(ref, retries, passes=MOST_PASSES)
        except ApiError as error:
            if error.kind is ErrorKind.NOT_FOUND:
                return []
            so_far = "the run history could not be read, and the import was not triggered by this call"
            raise translated(error, self._policy.conn_id, so_far) from None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def wait(is_killed: Callable[[], bool], seconds: float) -> bool:
    """Wait for ``seconds``, or until the task is killed; return whether it is.

    It looks at a flag every second. An event would wake it at once, but a signal handler that sets one waits for
    ever if the signal has interrupted the wait in the moment in which that holds the event's lock.
    """
    while seconds > 0 and not is_killed():
        CLOCK.wait(threading.Event(), min(seconds, LOOKS_EVERY))
        seconds -= LOOKS_EVERY
    return is_killed()


def now() -> datetime:
    """Return the current time, with its zone."""
    return datetime.fromtimestamp(CLOCK.time(), UTC)
