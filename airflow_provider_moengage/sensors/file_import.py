"""The sensor that waits for the files of an import: in a worker, or in the triggerer without holding a slot."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_moengage.api.file_imports import FileRun, ImportRef, as_moment
from airflow_provider_moengage.api.workspace import check_parsed_project, read_project_code
from airflow_provider_moengage.arguments import TemplatedArguments, boolean, is_unresolved, whole
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageImportFailedError,
    MoEngageImportNotFoundError,
    MoEngageRateLimitError,
)
from airflow_provider_moengage.links.dashboard import MoEngageDashboardLink
from airflow_provider_moengage.polling.poller import FAILED_POLLS
from airflow_provider_moengage.polling.selection import Baseline, Selection
from airflow_provider_moengage.polling.success_policy import PartialSuccess
from airflow_provider_moengage.tasks.file_import_state import read_baseline
from airflow_provider_moengage.tasks.file_import_wait import (
    LONGEST_TIMEOUT,
    FileWait,
    WaitTimeoutError,
    check_policy,
    files_of,
)
from airflow_provider_moengage.tasks.state import TaskState
from airflow_provider_moengage.tasks.wait_until import (
    GRACE,
    LEAST_DEFERRAL,
    execution_timeout_at,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg

_KEY = "moengage_file_import_polls"

LOOKS_EVERY = 1.0
"""Seconds after which a sensor that waits on a worker looks whether it was killed. Airflow 3 ends its process five
seconds after SIGTERM."""

MOST_FILES = 1_000_000
"""More than any import has."""


class _KilledError(MoEngageError):
    """The task was killed: this is not a failed poll."""


class FileImportRunSensor(TemplatedArguments, BaseSensorOperator):  # type: ignore[misc, unused-ignore]
    """Waits until MoEngage has finished with files of an import, and returns their results.

    Succeeds when all of the files are ``SUCCESSFUL``; fails with :class:`MoEngageImportFailedError` if one is
    ``FAILED``, or ``PARTIAL_SUCCESS`` and that is not accepted. Polls once before it defers. An import that does
    not exist fails at once, as does a rejected key; other failed polls fail the task after five in a row, and a
    throttled one only waits.

    :param import_id: the import; this, ``import_name``, or an XCom as ``since``. Templated, as all below.
    :param import_name: as the dashboard has it; ignored if ``import_id`` is given.
    :param file_name: an exact name, or a glob such as ``users_*.csv``. Of several files with one name, the newest.
    :param since: the XCom of :class:`TriggerFileImportOperator`: only files that did not exist before it. A
        list of these, such as the output of a mapped operator: the sensor waits for all of them. Or only files
        that were scheduled after this time (datetime, or ISO 8601 text; without a zone it is UTC). MoEngage's
        own times carry no zone: set ``import_time_zone`` of the connection.
    :param expected_files: how many files there must be, at least. Every file found must have ended.
    :param deferrable: wait in the triggerer; the default is ``[operators] default_deferrable`` of airflow.cfg.
    :param poke_interval: seconds between two polls. In the triggerer, all waits for an import share its polls.
    :param partial_success: ``fail`` or ``accept`` a file of which some rows failed.
    :param max_failed_rows: rows that may have failed, over all files that are accepted; None for any number.
    :param project_code: the project of a portfolio; None: the connection's ``project_code``, else the portfolio as
        a whole.
    :param moengage_conn_id: the workspace's connection.
    :raises ValueError: when the Dag is parsed, naming the argument that is wrong.

    ``timeout``, ``soft_fail``, ``mode``, ``exponential_backoff`` and the like are Airflow's own. With neither
    ``file_name`` nor ``since``, the sensor waits for the newest ``expected_files`` files of the import.
    """

    template_fields: Sequence[str] = (
        "import_id",
        "import_name",
        "file_name",
        "since",
        "expected_files",
        "partial_success",
        "max_failed_rows",
        "project_code",
        "moengage_conn_id",
    )
    ui_color = "#e6f4ea"
    operator_extra_links = (MoEngageDashboardLink(),)

    def __init__(  # noqa: PLR0913 (public signature)
        self,
        *,
        import_id: str | None = None,
        import_name: str | None = None,
        file_name: str | None = None,
        since: datetime | str | Mapping[str, Any] | Sequence[Mapping[str, Any]] | XComArg | None = None,
        expected_files: int | str = 1,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        partial_success: PartialSuccess = "fail",
        max_failed_rows: int | None = None,
        project_code: str | int | None = None,
        moengage_conn_id: str = "moengage_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.import_id = import_id
        self.import_name = import_name
        self.file_name = file_name
        self.since = since
        self._given = [name for name, value in (("file_name", file_name), ("since", since)) if value is not None]
        self.expected_files = expected_files
        self.deferrable = deferrable
        self.partial_success = partial_success
        self.max_failed_rows = max_failed_rows
        self.project_code = project_code
        self.moengage_conn_id = moengage_conn_id
        self._failed_polls = 0
        self._failure: MoEngageImportFailedError | None = None
        self._ended: dict[int, tuple[FileRun, ...]] = {}  # by the number of the wait
        self._is_killed = False
        self._check_arguments()

    def execute(self, context: Context) -> Any:
        """Wait for the files and return them: ``id``, ``file_name``, ``file_status``, times and row counts."""
        self._ended = {}  # of this try: dag.test() may run another one with the same object
        with self._soft():
            if self.deferrable:
                return self._look_then_defer(context)
            files = super().execute(context)
            if self._failure is not None:
                raise self._failure
            return files

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once."""
        from airflow_provider_moengage.hooks.moengage import MoEngageHook

        waits = self._waits()
        self._check_not_killed()
        try:
            hook = MoEngageHook(self.moengage_conn_id, project_code=waits[0].project_code)
            for number, wait in enumerate(waits):
                files = self._ended.get(number) or wait.poll(hook, self.log, self._pause)
                if files is not None:
                    self._ended[number] = files
        except (MoEngageAuthError, MoEngageImportNotFoundError, _KilledError):
            raise
        except MoEngageRateLimitError as error:
            self.log.info("%s", error)
            return PokeReturnValue(is_done=False)
        except MoEngageError as error:
            self._poll_failed(context, error)
            return PokeReturnValue(is_done=False)
        self._poll_succeeded(context)
        if len(self._ended) < len(waits):
            return PokeReturnValue(is_done=False)
        try:
            return PokeReturnValue(is_done=True, xcom_value=self._judged(waits))
        except MoEngageImportFailedError as error:
            if not self.silent_fail:
                raise
            self._failure = error  # silent_fail is about failed polls, not about failed files
            return PokeReturnValue(is_done=True)

    def on_kill(self) -> None:
        """Poll no more: the wait for the next poll ends within a second. MoEngage cannot cancel an import."""
        self._is_killed = True

    def _check_not_killed(self) -> None:
        if self._is_killed:
            raise _KilledError("The task was killed while it waited; MoEngage continues with the import")

    def _pause(self, seconds: float) -> None:
        """Wait, unless the task is killed.

        :raises _KilledError: if it is, at most a second later.
        """
        while seconds > 0 and not self._is_killed:
            time.sleep(min(seconds, LOOKS_EVERY))
            seconds -= LOOKS_EVERY
        self._check_not_killed()

    def _get_next_poke_interval(self, *args: Any, **kwargs: Any) -> float:
        """Return how long Airflow is to wait for the next poll. In poke mode, wait here: Airflow's own sleep would
        notice a kill only when it ends.
        """
        seconds: float = super()._get_next_poke_interval(*args, **kwargs)
        self._check_not_killed()
        if self.reschedule:
            return seconds
        self._pause(seconds)
        return 0

    def execute_complete(
        self,
        context: Context,
        event: Any = None,
        ended: Sequence[Any] = (),
        timeout_at: float | None = None,
    ) -> Any:
        """Continue with what the trigger found out.

        :param ended: of several imports: the number of each that has ended, and its files.
        :param timeout_at: of several imports: the end of the sensor's ``timeout``, in seconds since the epoch.
        """
        waits = self._waits()
        self._ended = {number: tuple(map(FileRun.from_dict, files)) for number, files in ended}
        pending = self._pending(waits)
        wait = waits[pending]
        with self._soft():
            try:
                self._ended[pending] = tuple(files_of(event, wait))
            except WaitTimeoutError:
                raise AirflowSensorTimeout(
                    f"The files of import {wait.ref.value!r} did not finish within the timeout of"
                    f" {self.timeout:g} s"
                ) from None
            if len(self._ended) == len(waits):
                return self._judged(waits)
            return self._look_then_defer(context, timeout_at)

    def _pending(self, waits: Sequence[FileWait]) -> int:
        """Return the first wait whose files have not ended."""
        return next(number for number in range(len(waits)) if number not in self._ended)

    def _judged(self, waits: Sequence[FileWait]) -> list[dict[str, Any]]:
        """Return the files of all waits, JSON-ready.

        :raises MoEngageImportFailedError: if those of any are not a success.
        """
        files: list[dict[str, Any]] = []
        failures = []
        for number, wait in enumerate(waits):
            try:
                files += wait.judged(self._ended[number], self.log)
            except MoEngageImportFailedError as error:
                failures.append(str(error))
                files += map(dict, error.files)
        if failures:
            raise MoEngageImportFailedError("; ".join(failures), files=files)
        return files

    def _look_then_defer(self, context: Context, timeout_at: float | None = None) -> Any:
        seen = self.poke(context)
        if self._failure is not None:
            raise self._failure
        if seen.is_done:
            return seen.xcom_value
        self._check_not_killed()
        now, waits = datetime.now(UTC), self._waits()
        end = now + timedelta(seconds=min(self.timeout, LONGEST_TIMEOUT))
        if timeout_at is not None:
            end = datetime.fromtimestamp(timeout_at, UTC)
        ended = [[number, [file.to_dict() for file in files]] for number, files in self._ended.items()]
        self.defer(
            trigger=waits[self._pending(waits)].trigger(
                poke_interval=self.poke_interval,
                timeout_at=end,
                execution_timeout_at=execution_timeout_at(self, context),
                is_patient=self.silent_fail,
                failed_polls=self._failed_polls,
                least_seconds=LEAST_DEFERRAL.total_seconds(),
            ),
            method_name="execute_complete",
            kwargs={"ended": ended, "timeout_at": end.timestamp()} if len(waits) > 1 else None,
            timeout=max(end - now, timedelta()) + GRACE,
        )
        return None  # not reached: deferring raises

    @contextmanager
    def _soft(self) -> Iterator[None]:
        """Skip instead of failing if soft_fail or never_fail is set: the same in every mode."""
        try:
            yield
        except _KilledError:
            raise
        except (MoEngageError, AirflowSensorTimeout, AirflowTaskTimeout) as error:
            if self.soft_fail or self.never_fail:
                flag = "soft_fail" if self.soft_fail else "never_fail"
                raise AirflowSkipException(f"Skipped because {flag} is set: {error}") from error
            raise

    def _poll_failed(self, context: Context, error: MoEngageError) -> None:
        self._failed_polls += 1
        if not self.deferrable and self.reschedule:
            # Each poll is a process of its own. Without a store, earlier ones are unknown.
            state, number = TaskState(context, _KEY), getattr(context.get("ti"), "try_number", None)
            kept = state.get() or {}
            before = kept.get("failed", 0) if kept.get("try_number") == number else 0
            self._failed_polls = before + 1 if state.is_kept else 1
            state.set({"failed": self._failed_polls, "try_number": number})
        if self._failed_polls >= FAILED_POLLS and not self.silent_fail:
            raise error
        self.log.warning(
            "Poll failed (%d in a row; %d fail the task): %s", self._failed_polls, FAILED_POLLS, error
        )

    def _poll_succeeded(self, context: Context) -> None:
        self._failed_polls = 0
        if not self.deferrable and self.reschedule:
            state = TaskState(context, _KEY)
            if state.get() is not None:
                state.forget()

    def _waits(self) -> list[FileWait]:
        """Return what to wait for, now that templates are rendered: of each import of a list, or one."""
        self._report_missing()
        several = _triggered_imports(self.since)
        return [self._wait(since) for since in ([self.since] if several is None else several)]

    def _wait(self, given: object) -> FileWait:
        since, triggered = _read_since(given)
        if triggered is not None:
            import_id, baseline = triggered
            if self.import_id is not None and self.import_id != import_id:
                raise ValueError(f"since: belongs to import {import_id!r}, and import_id is {self.import_id!r}")
            ref = ImportRef("import_id", import_id)
        else:
            baseline = None
            ref = ImportRef.of(self.import_id, self.import_name)
        _check_file_name(self.file_name)
        selection = Selection(
            self.file_name, since, baseline, whole("expected_files", self.expected_files, 1, MOST_FILES)
        )
        policy = check_policy(self.partial_success, self.max_failed_rows)
        return FileWait(
            self.moengage_conn_id,
            ref,
            selection,
            policy,
            may_be_absent=baseline is not None and not baseline.ids,
            project_code=read_project_code(self.project_code),
        )

    def _report_missing(self) -> None:
        """Report what was given but came out as None, such as the output of a task that was skipped.

        :raises ValueError: if that leaves no import to wait for.
        """
        missing = [name for name in self._given if getattr(self, name) is None]
        if "since" in missing and self.import_id is None and self.import_name is None:
            raise ValueError(
                "since: came out as None, because the task that returns it was skipped or failed, and no import_id"
                " is given. Give import_id as well: then the sensor waits for the newest files of the import"
            )
        if missing:
            self.log.info("%s came out as None and count(s) as not given", ", ".join(missing))

    def _check_arguments(self) -> None:
        if not _has_unresolved(self.since) and _triggered_imports(self.since) is None:
            _, triggered = _read_since(self.since)
            if triggered is None:
                ImportRef.of(self.import_id, self.import_name)
        if not is_unresolved(self.file_name):
            _check_file_name(self.file_name)
        if not is_unresolved(self.expected_files):
            whole("expected_files", self.expected_files, 1, MOST_FILES)
        boolean("deferrable", self.deferrable)
        check_parsed_project(self.project_code)
        partial = "fail" if is_unresolved(self.partial_success) else self.partial_success
        check_policy(partial, None if is_unresolved(self.max_failed_rows) else self.max_failed_rows)


def _check_file_name(name: object) -> None:
    if name is not None and (not isinstance(name, str) or name.strip() in ("", "None")):
        raise ValueError(f"file_name {name!r}: expected a name, a glob, or None")


def _has_unresolved(since: object) -> bool:
    """Return whether an argument, or a part of it, is known only when the task runs."""
    parts = since if isinstance(since, list | tuple) else (since,)
    return any(map(is_unresolved, parts))


def _triggered_imports(since: object) -> list[Any] | None:
    """Return the XComs of a mapped operator; None if ``since`` is something else.

    Instances that were skipped have no XCom.

    :raises ValueError: if there is none, or one of them is no XCom of the operator.
    """
    if isinstance(since, str) and since.lstrip().startswith("["):
        since = _literal(since)
    if isinstance(since, str | bytes | Mapping) or not isinstance(since, Sequence):
        return None
    triggered = [each for each in since if each is not None]
    if not triggered:
        raise ValueError(
            "since: the list is empty, because every instance of the mapped task was skipped or failed, so there"
            " is no import to wait for"
        )
    if not all(isinstance(each, Mapping) for each in triggered):
        raise ValueError(
            "since: expected a list of what TriggerFileImportOperator returns (import_id and baseline)"
        )
    return triggered


def _read_since(since: object) -> tuple[datetime | None, tuple[str, Baseline] | None]:
    """Return a time, or the import and the baseline of an operator's XCom."""
    if isinstance(since, str) and since.lstrip().startswith("{"):
        since = _literal(since)  # a rendered XCom, if the Dag does not render native objects
    if isinstance(since, Mapping):
        import_id, ids = since.get("import_id"), since.get("baseline")
        if not isinstance(import_id, str) or isinstance(ids, str) or not isinstance(ids, Sequence):
            raise ValueError(
                "since: expected a datetime, ISO 8601 text, or what TriggerFileImportOperator returns (import_id"
                " and baseline)"
            )
        return None, (import_id, read_baseline(since, map(str, ids)))
    if since is not None and not isinstance(since, str | date):
        raise ValueError(f"since: expected a datetime, ISO 8601 text or an XCom, not {type(since).__name__}")
    return as_moment("since", since), None


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
