"""Waiting for files of an import, for operator and sensor alike: polls, deferral, events and success policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_moengage import metrics
from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.file_imports import FileRun, ImportRef
from airflow_provider_moengage.api.paging import Retries
from airflow_provider_moengage.arguments import one_of, whole
from airflow_provider_moengage.bulk.clock import Log
from airflow_provider_moengage.exceptions import MoEngageError, MoEngageImportFailedError
from airflow_provider_moengage.hooks.errors import translated
from airflow_provider_moengage.hooks.file_imports import no_such_import
from airflow_provider_moengage.polling.selection import Selection
from airflow_provider_moengage.polling.success_policy import PARTIAL_POLICIES, Policy, summary

if TYPE_CHECKING:
    from airflow_provider_moengage.hooks.moengage import MoEngageHook
    from airflow_provider_moengage.triggers.file_import import FileImportRunTrigger

LONGEST_TIMEOUT = 10 * 366 * 86_400.0
"""Seconds: longer than any wait, and short enough for date arithmetic."""


MOST_ROWS = 1_000_000_000
"""More rows than any file has."""


class WaitTimeoutError(Exception):
    """The files did not finish in time."""


@dataclass(frozen=True, slots=True)
class FileWait:
    """A wait for files.

    :param conn_id: the workspace's connection.
    :param ref: the import.
    :param may_be_absent: an import that MoEngage does not know has no files yet; it exists, as it was triggered.
    :param project_code: the project of a portfolio; None: the connection's.
    """

    conn_id: str
    ref: ImportRef
    selection: Selection
    policy: Policy
    may_be_absent: bool = False
    project_code: str | None = None

    def poll(
        self, hook: MoEngageHook, log: Log, pause: Callable[[float], None] | None = None
    ) -> tuple[FileRun, ...] | None:
        """Poll once, all pages. Return the files once they have ended, None until then.

        :param pause: waits for a number of seconds while MoEngage throttles; None: sleeps.

        :raises MoEngageImportNotFoundError: if there is no such import.
        :raises MoEngageError: if MoEngage does not answer.
        """
        retries = Retries(server_errors=1) if pause is None else Retries(server_errors=1, pause=pause)
        try:
            with closing(hook.get_file_imports_conn()) as client:
                client.needs_times = self.selection.needs_times
                runs = client.all_file_runs(self.ref, retries)
        except ApiError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise translated(error, self.conn_id, "the run history could not be read") from None
            if not self.may_be_absent:
                raise no_such_import(self.ref, self.conn_id, error) from None
            runs = []
        chosen = self.selection.choose(runs)
        is_over = self.selection.are_over(chosen)
        if not is_over:
            report = log.info if all(run.is_known for run in chosen) else log.warning
            report("Import %s: %s", self.ref.value, self.selection.describe(chosen))
        return chosen if is_over else None

    def judged(self, files: Sequence[FileRun], log: Log) -> list[dict[str, Any]]:
        """Return files that have ended, JSON-ready.

        :raises MoEngageImportFailedError: if they are not a success.
        """
        self._count(files)
        plain = [file.to_dict() for file in files]
        complaint = self.policy.complaint(files)
        if complaint is not None:
            raise MoEngageImportFailedError(f"Import {self.ref.value!r}: {complaint}", files=plain)
        log.info("Import %s: %s", self.ref.value, summary(files))
        if (warning := self.policy.warning(files)) is not None:
            log.warning("Import %s: %s", self.ref.value, warning)
        return plain

    def _count(self, files: Sequence[FileRun]) -> None:
        send = metrics.Metrics(self.conn_id)
        for status, metric in metrics.RUNS.items():
            if number := sum(file.result == status for file in files):
                send.count(metric, number)
        if rows := sum(file.rows_failed or 0 for file in files):
            send.count(metrics.FAILED_ROWS, rows)

    def trigger(self, *, poke_interval: float, timeout_at: datetime, **options: Any) -> FileImportRunTrigger:
        """Return the trigger that continues the wait."""
        from airflow_provider_moengage.triggers.file_import import FileImportRunTrigger

        return FileImportRunTrigger(
            moengage_conn_id=self.conn_id,
            what=[self.ref.field, self.ref.value],
            selection=self.selection.to_dict(),
            poke_interval=poke_interval,
            timeout_at=timeout_at.timestamp(),
            may_be_absent=self.may_be_absent,
            project_code=self.project_code,
            **options,
        )


def files_of(event: Mapping[str, Any] | None, wait: FileWait) -> list[FileRun]:
    """Return the files of a trigger's event.

    :raises WaitTimeoutError: if the time was up.
    :raises AirflowTaskTimeout: if the task's execution_timeout was reached.
    :raises MoEngageError: if the trigger could not continue.
    """
    facts = event if isinstance(event, Mapping) else {}
    status = facts.get("status")
    if status == "finished":
        return [FileRun.from_dict(plain) for plain in facts["files"]]
    if status == "timeout":
        if facts.get("limit") == "execution_timeout":
            raise AirflowTaskTimeout("The task has reached its execution_timeout while it was deferred")
        raise WaitTimeoutError
    if status != "error":
        raise MoEngageError(
            f"Import {wait.ref.value!r}: the trigger's event has status {status!r}, which this worker does not"
            " know"
        )
    kind = facts.get("kind")
    if kind not in {each.value for each in ErrorKind}:
        raise MoEngageError(
            f"Import {wait.ref.value!r}: {facts.get('message') or 'the trigger reported no reason'}"
        )
    error = ApiError(ErrorKind(kind), str(facts.get("message")), status_code=facts.get("status_code"))
    if facts.get("is_absence"):
        raise no_such_import(wait.ref, wait.conn_id, error)
    raise translated(error, wait.conn_id, "the run history could not be read")


def check_policy(partial_success: object, max_failed_rows: object) -> Policy:
    """Return the success policy, checked.

    :raises ValueError: naming the argument that is wrong.
    """
    rows = None if max_failed_rows is None else whole("max_failed_rows", max_failed_rows, 0, MOST_ROWS)
    return Policy(one_of("partial_success", partial_success, PARTIAL_POLICIES), rows)
