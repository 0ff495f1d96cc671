"""The operator that triggers a file import and optionally waits for the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast, get_args

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_moengage.api.file_imports import ImportRef
from airflow_provider_moengage.api.workspace import check_parsed_project, read_project_code
from airflow_provider_moengage.arguments import (
    TemplatedArguments,
    boolean,
    is_unresolved,
    non_empty,
    one_of,
    seconds,
)
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageImportFailedError,
    MoEngageImportNotFoundError,
    MoEngageRateLimitError,
)
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.links.dashboard import MoEngageDashboardLink
from airflow_provider_moengage.polling.poller import FAILED_POLLS
from airflow_provider_moengage.polling.selection import Selection
from airflow_provider_moengage.polling.success_policy import PartialSuccess
from airflow_provider_moengage.tasks.file_import_start import CooldownError, ImportCall, StartPolicy, now, wait
from airflow_provider_moengage.tasks.file_import_state import ImportRecord, ImportRun
from airflow_provider_moengage.tasks.file_import_wait import (
    LONGEST_TIMEOUT,
    FileWait,
    WaitTimeoutError,
    check_policy,
    files_of,
)
from airflow_provider_moengage.tasks.wait_until import (
    LEAST_DEFERRAL,
    airflow_timeout,
    execution_timeout_at,
    resume,
    started_at,
    wait_until,
    wakes_at,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg

    from airflow_provider_moengage.api.file_imports import FileRun

OnCooldown = Literal["wait", "fail", "skip"]
ON_COOLDOWN: tuple[OnCooldown, ...] = get_args(OnCooldown)

LEAST_INTERVAL = 1.0
"""Seconds between two polls on a worker, at least."""


class TriggerFileImportOperator(TemplatedArguments, BaseOperator):  # type: ignore[misc, unused-ignore]
    """Triggers a file import now, in addition to its schedule in the dashboard.

    Returns ``import_id``, ``triggered_at`` and ``baseline`` (the IDs of the files that existed before), which
    :class:`FileImportRunSensor` accepts as ``since``. With ``wait_for_completion`` also ``files``, as the sensor
    returns them.

    It never triggers twice. A call without a response is repeated, because MoEngage refuses a second trigger for
    five minutes. A retry after a crash resumes with the run that the earlier try triggered: Airflow 3.3 and later
    store it; before, the newest run since the Dag run began is assumed to be it (not with
    ``on_cooldown="fail"``, whose retries trigger). A retry after the run failed triggers again, as does a Clear.

    :param import_id: id of a periodic import (MoEngage calls it schedule id as well). Templated.
    :param wait_for_completion: wait until every file of the run that MoEngage lists has ended. If a run lists its
        files one after the other, use the sensor, which has ``expected_files``.
    :param deferrable: wait in the triggerer, without holding a slot; the default is ``[operators]
        default_deferrable`` of airflow.cfg.
    :param poke_interval: seconds between two polls, or a timedelta.
    :param timeout: seconds, or a timedelta, for everything: the cooldown and the run.
    :param on_cooldown: if the import ran in the last five minutes: ``wait`` until it may run again,
        ``fail`` (Airflow may retry), or ``skip`` the task.
    :param partial_success: ``fail`` or ``accept`` a file of which some rows failed.
    :param max_failed_rows: rows that may have failed, over all files that are accepted; None for any number.
    :param project_code: the project of a portfolio; None: the connection's ``project_code``, else the portfolio as
        a whole. Templated.
    :param moengage_conn_id: the workspace's connection. Templated.
    :raises ValueError: when the Dag is parsed, naming the argument that is wrong.
    """

    template_fields: Sequence[str] = (
        "import_id",
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
        import_id: str | XComArg,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: float | timedelta = 60,
        timeout: float | timedelta = timedelta(hours=24),
        on_cooldown: OnCooldown = "wait",
        partial_success: PartialSuccess = "fail",
        max_failed_rows: int | None = None,
        project_code: str | int | None = None,
        moengage_conn_id: str = "moengage_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.import_id = cast("str", import_id)  # once it is rendered
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poke_interval = seconds("poke_interval", poke_interval)
        self.timeout = seconds("timeout", timeout)
        if self.timeout > LONGEST_TIMEOUT:
            raise ValueError(f"timeout {timeout!r}: expected at most ten years")
        self.on_cooldown = on_cooldown
        self.partial_success = partial_success
        self.max_failed_rows = max_failed_rows
        self.project_code = project_code
        self.moengage_conn_id = moengage_conn_id
        self._is_killed = False
        self._check_arguments()

    def execute(self, context: Context) -> dict[str, Any]:
        """Trigger the import, optionally wait for it, and return what a sensor needs.

        :raises MoEngageImportFailedError: if the run was waited for and did not succeed.
        :raises MoEngageRateLimitError: if the import ran in the last five minutes and ``on_cooldown`` is ``fail``.
        :raises MoEngageError: see :meth:`MoEngageHook.trigger_file_import` and
            :meth:`MoEngageHook.iter_file_runs`.
        """
        non_empty("import_id", self.import_id, "the ID of an import")
        check_policy(self.partial_success, self.max_failed_rows)
        give_up_at = now() + timedelta(seconds=self.timeout)
        try:
            with self._call(context) as call:
                earlier = call.earlier(self._has_failed)
                if earlier is None:
                    run = call.trigger(give_up_at)
                else:
                    run, is_sure = earlier
                    self.log.info("An earlier try triggered import %s; resuming with its run", self.import_id)
                    if not is_sure:
                        run = call.trigger(give_up_at, run=run)
        except CooldownError as cooldown:
            self._defer_cooldown(context, cooldown, give_up_at)
        return self._triggered(context, run, give_up_at)

    def resume_after_cooldown(
        self,
        context: Context,
        event: Any = None,  # noqa: ARG002 (Airflow's signature)
        give_up_at: str | None = None,
        run: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Trigger the import, now that it may run again."""
        resume(self, context, now(), "it waited for the cooldown")
        until = (
            datetime.fromisoformat(give_up_at)
            if give_up_at
            else started_at(context) + timedelta(seconds=self.timeout)
        )
        if now() > until:
            raise MoEngageRateLimitError(
                f"Import {self.import_id!r}: the cooldown did not end within the timeout of {self.timeout:g} s;"
                " it was not triggered"
            )
        try:
            with self._call(context) as call:
                triggered = call.trigger(until, run=None if run is None else ImportRun.from_dict(run))
        except CooldownError as cooldown:
            self._defer_cooldown(context, cooldown, until)
        return self._triggered(context, triggered, until)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Continue with what the trigger found out about the run."""
        run = ImportRun.from_dict(event["run"])
        watch = self._watch(run)
        try:
            files = files_of(event, watch)
        except WaitTimeoutError:
            raise self._timed_out() from None
        return self._ended(context, run, watch, files)

    def on_kill(self) -> None:
        """Stop waiting, and trigger nothing more. MoEngage cannot cancel an import."""
        self._is_killed = True  # a signal handler: it must not take a lock

    def pause(self, seconds: float) -> None:
        """Wait, unless the task is killed.

        :raises MoEngageError: if it is.
        """
        if wait(lambda: self._is_killed, seconds):
            raise MoEngageError(
                f"Import {self.import_id!r}: the task was ended; MoEngage cannot cancel an import, so a run"
                " that has started continues"
            )

    def _call(self, context: Context) -> ImportCall:
        policy = StartPolicy(
            self.import_id,
            self.moengage_conn_id,
            self.on_cooldown,
            self.timeout,
            bool(self.deferrable),
            self.project_code,
        )
        return ImportCall(policy, context, self.log, self.pause)

    def _defer_cooldown(self, context: Context, cooldown: CooldownError, give_up_at: datetime) -> NoReturn:
        self.pause(0)
        self.defer(
            trigger=wait_until(wakes_at(cooldown.may_run_at, self, context, now())),
            method_name="resume_after_cooldown",
            kwargs={
                "give_up_at": give_up_at.isoformat(),
                "run": None if cooldown.run is None else cooldown.run.to_dict(),
            },
            timeout=airflow_timeout(give_up_at, self, context, now()),
        )
        raise RuntimeError("a task that defers does not return")

    def _has_failed(self, run: ImportRun, files: list[FileRun]) -> bool:
        """Return whether a run that this task waits for has ended without success."""
        watch = self._watch(run)
        chosen = watch.selection.choose(files)
        is_over = self.wait_for_completion and watch.selection.are_over(chosen)
        return is_over and watch.policy.complaint(chosen) is not None

    def _triggered(self, context: Context, run: ImportRun, give_up_at: datetime) -> dict[str, Any]:
        record = ImportRecord(context)
        if not self.wait_for_completion:
            record.done(run)
            return run.to_xcom()
        watch = self._watch(run)
        files, failed_polls = self._look(watch, 0)
        if files is None and self.deferrable:
            self.pause(0)
            self.defer(
                trigger=watch.trigger(
                    poke_interval=self.poke_interval,
                    timeout_at=give_up_at,
                    execution_timeout_at=execution_timeout_at(self, context),
                    failed_polls=failed_polls,
                    run=run.facts(),
                    least_seconds=LEAST_DEFERRAL.total_seconds(),
                ),
                method_name="execute_complete",
                timeout=airflow_timeout(give_up_at, self, context, now()),
            )
        while files is None:
            if now() >= give_up_at:
                raise self._timed_out()
            self.pause(max(self.poke_interval, LEAST_INTERVAL))
            files, failed_polls = self._look(watch, failed_polls)
        return self._ended(context, run, watch, files)

    def _look(self, watch: FileWait, failed_polls: int) -> tuple[Sequence[FileRun] | None, int]:
        try:
            return watch.poll(
                MoEngageHook(self.moengage_conn_id, project_code=self.project_code), self.log, self.pause
            ), 0
        except (MoEngageAuthError, MoEngageImportNotFoundError):
            raise
        except MoEngageRateLimitError as error:
            self.log.info("%s", error)
            return None, failed_polls
        except MoEngageError as error:
            failed_polls += 1
            if failed_polls >= FAILED_POLLS:
                raise
            self.log.warning("Poll failed (%d in a row; %d fail the task): %s", failed_polls, FAILED_POLLS, error)
            return None, failed_polls

    def _ended(
        self, context: Context, run: ImportRun, watch: FileWait, files: Sequence[FileRun]
    ) -> dict[str, Any]:
        record = ImportRecord(context)
        try:
            plain = watch.judged(files, self.log)
        except MoEngageImportFailedError:
            record.forget()
            raise
        record.done(run)
        return {**run.to_xcom(), "files": plain}

    def _watch(self, run: ImportRun) -> FileWait:
        return FileWait(
            self.moengage_conn_id,
            ImportRef("import_id", run.import_id),
            Selection(baseline=run.baseline),
            check_policy(self.partial_success, self.max_failed_rows),
            may_be_absent=not run.baseline.ids,
            project_code=read_project_code(self.project_code),
        )

    def _timed_out(self) -> MoEngageError:
        return MoEngageError(
            f"Import {self.import_id!r} was triggered, but its files did not finish within the timeout of"
            f" {self.timeout:g} s; a retry continues to wait for its run"
        )

    def _check_arguments(self) -> None:
        if not is_unresolved(self.import_id):
            ImportRef.of(self.import_id if self.import_id is not None else "", None)
        one_of("on_cooldown", self.on_cooldown, ON_COOLDOWN)
        for name in ("wait_for_completion", "deferrable"):
            boolean(name, getattr(self, name))
        check_parsed_project(self.project_code)
        partial = "fail" if is_unresolved(self.partial_success) else self.partial_success
        check_policy(partial, None if is_unresolved(self.max_failed_rows) else self.max_failed_rows)
