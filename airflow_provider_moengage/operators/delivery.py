"""What the bulk operators share: the delivery options, their checks, and the run itself.

Airflow imports the modules of operators whenever it parses a Dag, so whatever takes time to import (requests, SQL,
storage) is imported when a task runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_moengage import lineage
from airflow_provider_moengage.api.workspace import check_parsed_project
from airflow_provider_moengage.arguments import TemplatedArguments, flag, is_unresolved, non_empty, path_text
from airflow_provider_moengage.bulk.options import (
    OPTION_NAMES,
    Delivery,
    DeliveryOptions,
    Validation,
    check_parsed_options,
)
from airflow_provider_moengage.bulk.results import ResultsTable
from airflow_provider_moengage.bulk.resume.fingerprint import fingerprint
from airflow_provider_moengage.exceptions import MoEngageError, MoEngageOutcomeUnknownError
from airflow_provider_moengage.hooks.errors import storage_failures
from airflow_provider_moengage.links.dashboard import MoEngageDashboardLink
from airflow_provider_moengage.storage import rejects_files
from airflow_provider_moengage.tasks.files import checkpoint_path_of_task, rejects_path_of_task
from airflow_provider_moengage.tasks.outlets import COUNTS, add_to_asset_events
from airflow_provider_moengage.tasks.state import ClearEpoch

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_moengage.api.users.cohorts import CohortSync
    from airflow_provider_moengage.api.workspace import Workspace
    from airflow_provider_moengage.bulk.changed.sync_run import Changes
    from airflow_provider_moengage.bulk.mapping import ElementMapping
    from airflow_provider_moengage.bulk.report import DeliveryReport
    from airflow_provider_moengage.bulk.resume.reject_spool import RejectSpool
    from airflow_provider_moengage.bulk.resume.saved_run import SavedRun
    from airflow_provider_moengage.bulk.sources import Source
    from airflow_provider_moengage.hooks.moengage import MoEngageHook
    from airflow_provider_moengage.lineage import Lineage


_OPTION_FIELDS = tuple("is_dry_run" if name == "dry_run" else name for name in OPTION_NAMES)

DELIVERY_FIELDS = ("moengage_conn_id", "project_code", *_OPTION_FIELDS, "checkpoint_path")
"""The template fields that all these operators have."""


class DeliveryOperator(TemplatedArguments, BaseOperator):  # type: ignore[misc, unused-ignore]
    """Delivers elements to MoEngage. Subclasses provide the elements. All of these parameters are templated.

    :param concurrency: requests in flight at once, 1 to 64; None: as many as MoEngage's response time makes
        useful, up to 16. A user's elements stay in order in any case.
    :param delivery: ``at_least_once`` sends an element again if it may not have arrived. ``at_most_once`` never
        sends an element again that may have arrived, in a retry either; it becomes a reject with the code
        ``outcome_unknown``.
    :param validation: ``warn`` counts what MoEngage would cut or ignore; ``strict`` rejects it; ``off`` checks
        only what cannot be sent at all.
    :param max_rejects: rejects up to which the task succeeds: a count, or a fraction of the elements below 1. If
        there are more, everything valid is still sent, and then the task fails without retry.
    :param rejects_path: where rejects are written (ObjectStoragePath URI): a path that ends in ``.ndjson`` is
        the file, any other a folder in which the run gets a file of its own. None: ``[moengage] rejects_path`` of
        airflow.cfg; if that is not set either, rejects are counted in the log and not written.
    :param checkpoint_path: folder for what a retry needs to resume where this try ends (ObjectStoragePath URI).
        None: ``[moengage] checkpoint_path`` of airflow.cfg, else Airflow's state store (3.3 and later). On an
        earlier Airflow without a path, a retry starts from the beginning.
    :param dry_run: check, encode, pack and report, but send nothing.
    :param identifiers: attributes that identify a user without a customer id (Identity Resolution), at most five;
        None: the connection's ``identifiers``, else ``moe_mobile``, ``u_em``, ``u_mb`` and ``uid``.
    :param project_code: the project of a portfolio that the data belongs to; None: the connection's
        ``project_code``, else the portfolio as a whole. A retry with another project starts from the beginning.
    :param results: write what becomes of each run, and its rejects, into tables of a database, see
        :class:`~airflow_provider_moengage.bulk.results.ResultsTable`.
    :param moengage_conn_id: the workspace's connection.
    """

    ui_color = "#e8f0fe"
    operator_extra_links = (MoEngageDashboardLink(),)

    def __init__(  # noqa: PLR0913 (public signature)
        self,
        *,
        concurrency: int | None = None,
        delivery: Delivery = "at_least_once",
        validation: Validation = "warn",
        max_rejects: float = 0,
        rejects_path: str | PathLike[str] | None = None,
        checkpoint_path: str | PathLike[str] | None = None,
        dry_run: bool = False,
        identifiers: Sequence[str] | str | None = None,
        project_code: str | int | None = None,
        results: ResultsTable | None = None,
        moengage_conn_id: str = "moengage_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.concurrency = concurrency
        self.delivery = delivery
        self.validation = validation
        self.max_rejects = max_rejects
        self.rejects_path = path_text(rejects_path)
        self.checkpoint_path = path_text(checkpoint_path)
        self.is_dry_run = dry_run  # `dry_run` is a method of every operator
        self.identifiers = identifiers
        self.project_code = project_code
        self.results = results
        self.moengage_conn_id = moengage_conn_id
        self.reject_spool: RejectSpool | None = None
        self._hook: MoEngageHook | None = None
        self._is_killed = False
        check_parsed_options(self._options())
        check_parsed_project(project_code)
        if not (checkpoint_path is None or is_unresolved(checkpoint_path)):
            self._folder("checkpoint_path", self.checkpoint_path)
        if not (results is None or isinstance(results, ResultsTable)):
            raise ValueError(f"results: expected ResultsTable(...), not {type(results).__name__}")

    def deliver(
        self,
        source: Iterable[object] | Source,
        inputs: Callable[[], Sequence[object]],
        context: Context,
        changes: Callable[[Workspace], Changes] | None = None,
        cohort: CohortSync | None = None,
    ) -> dict[str, Any]:
        """Deliver the elements and return the report, which becomes the task's XCom.

        :param inputs: returns what the elements are made of: a retry with the same inputs resumes where this try
            ends.
        :param changes: returns what the elements are compared with, which takes the place of a checkpoint.
        :param cohort: the segment whose members the elements are; None: they are imported.
        :raises MoEngageError: see :meth:`MoEngageHook.bulk_import`.
        """
        from airflow_provider_moengage.hooks.moengage import MoEngageHook

        options = self.delivery_options(context)
        self._hook = hook = MoEngageHook(self.moengage_conn_id, project_code=self.project_code)
        self.check_not_killed()
        has_checkpoint = not options.dry_run and changes is None
        with storage_failures("nothing was sent"):
            saved_run = self._saved_run(hook, inputs, options, context) if has_checkpoint else None
            compared = None if changes is None else changes(hook.settings.workspace)
        given = {name: getattr(options, name) for name in OPTION_NAMES}
        report = hook.bulk_import(
            source, memory=saved_run, changes=compared, reject_spool=self.reject_spool, cohort=cohort, **given
        ).to_dict()
        counts = {name: report[name] for name in COUNTS}
        add_to_asset_events(cast("Mapping[str, Any]", context), self.outlets, counts, self.log)
        return report

    def source_to_preview(self, context: Context) -> Source:
        """Return the elements that :meth:`execute` would deliver; nothing is sent."""
        raise NotImplementedError

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Lineage | None:  # noqa: ARG002
        """Return what was read and written, for OpenLineage; for a failed task as well."""
        if not lineage.is_installed():
            return None
        inputs = self._inputs_of_lineage()
        hook = self._hook
        if hook is None or flag("dry_run", self.is_dry_run):
            return inputs
        try:
            workspace_id = hook.settings.workspace_id
        except Exception:  # noqa: BLE001 (the connection is the reason why the task failed)
            return inputs
        return lineage.with_outputs(inputs, workspace_id, hook.last_report, self._outputs_of_lineage())

    @property
    def is_certainly_dry(self) -> bool:
        """Whether this is a dry run, which is not recorded."""
        try:
            return flag("dry_run", self.is_dry_run)
        except ValueError:  # the run fails by that
            return False

    @property
    def report_of_run(self) -> DeliveryReport | None:
        """The counts so far; None if nothing was read."""
        return None if self._hook is None else self._hook.last_report

    @property
    def key_columns_of_rejects(self) -> Sequence[str]:
        """The columns that identify a row of the source."""
        return ()

    def forget_earlier_run(self) -> None:
        """Forget what another call of :meth:`execute` has left."""
        self._hook, self.reject_spool = None, None

    def facts_of_run(self) -> dict[str, Any]:
        """Return what the table of runs has besides the report."""
        facts: dict[str, Any] = {"operator": type(self).__name__, "moengage_conn_id": self.moengage_conn_id}
        facts["checkpoint_path"] = self.checkpoint_path
        if self._hook is not None:
            with suppress(Exception):  # the connection may be the reason why the task failed
                facts["workspace_id"] = self._hook.settings.workspace_id
        report = self.report_of_run
        if report is not None:
            read = report.accepted + report.rejected + report.unchanged
            facts["source_rows"] = read // self._elements_per_row()
        return facts

    def may_resume(self, context: Mapping[str, Any]) -> bool:
        """Return whether this is a retry, which may resume an earlier try."""
        return ClearEpoch(context).is_retry

    def _elements_per_row(self) -> int:
        return 1

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: Any,
        seen_oids: set[int],
    ) -> None:
        # For a mapped task Airflow calls only this method, not `render_template_fields`.
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        if self.results is not None:
            self.results = self.results.rendered(lambda value: self.render_template(value, context, jinja_env))

    def _inputs_of_lineage(self) -> Lineage:
        return lineage.files_of([])

    def _outputs_of_lineage(self) -> list[ElementMapping] | None:
        return None

    def on_kill(self) -> None:
        """Send nothing from now on, whether the delivery has begun or not. A request in flight continues."""
        self._is_killed = True
        if self._hook is not None:
            self._hook.stop_bulk_import()

    def check_not_killed(self) -> None:
        """Check that the task may still begin to send.

        :raises MoEngageError: if it was killed.
        """
        if self._is_killed:
            raise MoEngageError("The task was killed before it sent anything")

    def delivery_options(self, context: Context) -> DeliveryOptions:
        """Return the options, now that templates are rendered.

        :raises ValueError: naming the option that is wrong.
        """
        given = self._options()
        path = given["rejects_path"] or self._folder_of_deployment("rejects_path")
        given["rejects_path"] = None if path is None else rejects_path_of_task(str(path), context)
        return DeliveryOptions(**given)

    def _saved_run(
        self,
        hook: MoEngageHook,
        inputs: Callable[[], Sequence[object]],
        options: DeliveryOptions,
        context: Context,
    ) -> SavedRun | None:
        from airflow_provider_moengage.tasks.checkpoint_stores import saved_run_of_task

        folder = self._checkpoint_folder()

        def fingerprint_of_run() -> str:
            workspace = hook.settings.workspace
            place: list[object] = [workspace.data_url, workspace.workspace_id]
            if workspace.project_code is not None:  # without one, checkpoints of earlier versions still match
                place.append(("project_code", workspace.project_code))
            return fingerprint(type(self).__name__, *place, *inputs())

        saved_run = saved_run_of_task(cast("Mapping[str, Any]", context), folder, fingerprint_of_run)
        if saved_run is None and options.delivery == "at_most_once" and ClearEpoch(context).is_retry:
            raise MoEngageOutcomeUnknownError(
                "Nothing was sent because delivery='at_most_once' never sends an element twice: an earlier try may"
                " have sent some of them, and this version of Airflow stores no progress. Set checkpoint_path;"
                " clear the task to send everything"
            )
        return saved_run

    def files_to_write(self, context: Context) -> Iterator[tuple[str, str]]:
        """Yield each file that a run writes, its argument first.

        :raises ValueError: naming the option that is wrong.
        """
        options = self.delivery_options(context)
        folder = None if options.dry_run else self._checkpoint_folder()
        if options.rejects_path is not None:
            yield "rejects_path", options.rejects_path
            for file in rejects_files(options.rejects_path, dry_run=options.dry_run):
                yield "rejects_path", file
        if folder is not None:
            checkpoint = checkpoint_path_of_task(folder, cast("Mapping[str, Any]", context))
            yield "checkpoint_path", checkpoint
            yield "checkpoint_path", f"{checkpoint}.fence"

    def _checkpoint_folder(self) -> str | None:
        given = self.checkpoint_path
        return self._folder("checkpoint_path", given) if given else self._folder_of_deployment("checkpoint_path")

    def _folder_of_deployment(self, option: str) -> str | None:
        from airflow.providers.common.compat.sdk import conf

        path = conf.get("moengage", option, fallback="") or None
        return None if path is None else self._folder(f"[moengage] {option} of airflow.cfg:", path)

    @staticmethod
    def _folder(name: str, path: Any) -> str:
        folder = non_empty(name, path, "a folder, or None")
        if folder.endswith((".ndjson", ".json")):
            raise ValueError(f"{name} {folder!r}: expected a folder, not a file")
        return folder

    def _options(self) -> dict[str, Any]:
        return {option: getattr(self, field) for option, field in zip(OPTION_NAMES, _OPTION_FIELDS, strict=True)}
