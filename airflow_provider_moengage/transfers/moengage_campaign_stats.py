"""The operator that loads statistics of campaigns into a table or files, by day."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import date
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_moengage import lineage, metrics
from airflow_provider_moengage.api.campaigns.models import (
    ATTRIBUTION_TYPES,
    METRIC_TYPES,
    STATS_PAGE_SIZE,
    AttributionType,
    MetricType,
)
from airflow_provider_moengage.api.workspace import check_parsed_project
from airflow_provider_moengage.arguments import (
    TemplatedArguments,
    boolean,
    is_unresolved,
    non_empty,
    one_of,
    path_text,
)
from airflow_provider_moengage.campaign_stats.days import check_time_zone, check_window, days_of_run
from airflow_provider_moengage.campaign_stats.files import (
    FILE_FORMATS,
    FileFormat,
    StatsFiles,
    check_format,
    check_path,
)
from airflow_provider_moengage.campaign_stats.names import CampaignNames
from airflow_provider_moengage.campaign_stats.rows import DayRows, Scope
from airflow_provider_moengage.campaign_stats.table import StatsTable, check_table
from airflow_provider_moengage.exceptions import MoEngageAuthError, MoEngageError
from airflow_provider_moengage.hooks import campaigns
from airflow_provider_moengage.hooks.errors import storage_failures
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.links.dashboard import MoEngageDashboardLink
from airflow_provider_moengage.scratch import ScratchFolder
from airflow_provider_moengage.sources.sql_stream import database_hook
from airflow_provider_moengage.tasks.outlets import add_to_asset_events

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_moengage.api.campaigns.client import CampaignsClient
    from airflow_provider_moengage.api.campaigns.models import Campaign
    from airflow_provider_moengage.api.paging import Retries
    from airflow_provider_moengage.lineage import Lineage


class _Destination(Protocol):
    def replace(self, rows: DayRows) -> None: ...


class MoEngageCampaignStatsOperator(TemplatedArguments, BaseOperator):  # type: ignore[misc, unused-ignore]
    """Loads the statistics of campaigns into a table or files: a row for each day, campaign, platform, locale and
    variation. Memory use does not grow with the number of campaigns.

    .. code-block:: python

        MoEngageCampaignStatsOperator(task_id="statistics", conn_id="warehouse", table="campaign_stats")

    A run loads the days that end in its data interval, so a schedule and its backfills load each day once, when it
    is over. A run without an interval loads yesterday. MoEngage counts over a window as a whole, so each day is
    asked for on its own: a request for every ten campaigns that ran, and one for the names of those that are not
    known yet, each at most 100 a minute. A page that MoEngage throttles, or does not answer, is requested again,
    and no page before it.

    A day is replaced as a whole, after its last page was read, so that it is there once or as it was before,
    whenever the worker is killed: in a table in one transaction; a file appears when it is complete. Only rows of
    the same workspace, project, attribution and kind of metrics are replaced, and with ``campaign_ids`` only those
    campaigns, and those that MoEngage returns for them.

    :param table: a table of ``conn_id``, with its schema if needed: ``analytics.campaign_stats``. It is created if
        it is missing, and a metric that is new becomes a column of type double. Templated.
    :param conn_id: a connection of any DbApiHook (PostgreSQL, Snowflake, SQLite, ...). Templated.
    :param path: instead of a table: a folder (ObjectStoragePath URI: file, s3, gs, sftp, ...), which gets a file
        for each day. Templated.
    :param file_format: ``ndjson``, or ``parquet``, which needs the extra ``parquet``. Templated.
    :param start: first day to load (a date or ISO 8601 text, in the workspace's time zone) instead of those of the
        data interval; with ``end``, at most 366 days. A time with a zone, such as
        ``{{ data_interval_start }}``, is the day that it is in the workspace's. Templated.
    :param end: last day to load. Templated.
    :param campaign_ids: only these campaigns; None: all that ran. Templated.
    :param attribution_type: which conversions count: ``VIEW_THROUGH``, ``CLICK_THROUGH``, ``IN_SESSION``,
        ``TOTAL_CONVERSIONS`` or ``CLICK_CONVERSIONS``. Templated.
    :param metric_type: ``TOTAL``, or ``UNIQUE`` to count each user once a day. Templated.
    :param campaign_details: add name, channel, status and delivery type of each campaign, which needs a key that
        covers the search of campaigns. If not, these columns are NULL.
    :param time_zone: the workspace's, by which MoEngage cuts days: ``Asia/Kolkata``. None: the Dag's, which is UTC
        unless its ``start_date`` has another. Templated.
    :param project_code: the project of a portfolio; None: the connection's ``project_code``, else the portfolio as
        a whole. Templated.
    :param moengage_conn_id: the workspace's connection. Templated.
    :raises ValueError: when the Dag is parsed, if an argument is invalid; the message names it.

    Returns (XCom) ``days`` (ISO 8601), ``campaigns`` and ``rows`` (sums over the days), ``requests``, and
    ``table`` with ``new_columns``, or ``files``.
    """

    template_fields: Sequence[str] = (
        *("table", "conn_id", "path", "file_format"),
        *("start", "end", "campaign_ids", "attribution_type", "metric_type", "time_zone"),
        *("project_code", "moengage_conn_id"),
    )
    ui_color = "#e6f4ea"
    operator_extra_links = (MoEngageDashboardLink(),)

    def __init__(  # noqa: PLR0913 (public signature)
        self,
        *,
        table: str | None = None,
        conn_id: str | None = None,
        path: str | PathLike[str] | None = None,
        file_format: FileFormat = "ndjson",
        start: date | str | None = None,
        end: date | str | None = None,
        campaign_ids: str | Sequence[str] | None = None,
        attribution_type: AttributionType = "VIEW_THROUGH",
        metric_type: MetricType = "TOTAL",
        campaign_details: bool = True,
        time_zone: str | None = None,
        project_code: str | int | None = None,
        moengage_conn_id: str = "moengage_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.table = table
        self.conn_id = conn_id
        self.path = path_text(path)
        self.file_format = file_format
        self.start = start
        self.end = end
        self.campaign_ids = campaign_ids
        self.attribution_type = attribution_type
        self.metric_type = metric_type
        self.campaign_details = boolean("campaign_details", campaign_details)
        self.time_zone = time_zone
        self.project_code = project_code
        self.moengage_conn_id = moengage_conn_id
        self._is_killed = False
        self._workspace_id: str | None = None
        self._loaded = {"campaigns": 0, "rows": 0}
        self._files: list[str] = []
        check_parsed_project(project_code)
        self._check(are_rendered=False)

    def execute(self, context: Context) -> dict[str, Any]:
        """Load the days and return what was loaded.

        :raises ValueError: if a template rendered to a wrong argument.
        :raises MoEngageError: see :meth:`MoEngageHook.iter_campaign_stats`; or if a day could not be written. Days
            before it are loaded; a retry loads all of them again.
        """
        self._check(are_rendered=True)
        given: Any = context
        days = days_of_run(given, self.start, self.end, self.time_zone)
        query = campaigns.StatsFilter.of(self.attribution_type, self.metric_type, self.campaign_ids)
        if not days:
            self.log.info("No day has ended in the data interval, so there is nothing to load")
        hook = MoEngageHook(self.moengage_conn_id, project_code=self.project_code)
        workspace = hook.settings.workspace
        scope = Scope(
            workspace.workspace_id,
            workspace.project_code or "",
            query.attribution_type,
            query.metric_type,
            query.campaign_ids,
        )
        clock = campaigns.timing(self._check_not_killed)
        patience = campaigns.retries(clock)
        totals = self._loaded = {"campaigns": 0, "rows": 0}
        self._workspace_id, self._files = workspace.workspace_id, []
        with (
            storage_failures("days that were not finished are as they were before"),
            ScratchFolder() as scratch,
            closing(hook.get_campaigns_conn(clock)) as client,
        ):
            destination = self._destination(scratch)
            self._files = getattr(destination, "written", [])
            names = CampaignNames(self._search(client, patience)) if self.campaign_details else None
            try:
                for day in days:
                    with closing(DayRows(scratch / "rows", day, scope)) as rows:
                        self._read(
                            rows,
                            campaigns.stats(client, self.moengage_conn_id, (day, day), query, patience),
                            names,
                        )
                        self._check_not_killed()
                        rows.flush()
                        destination.replace(rows)
                        totals["campaigns"] += rows.campaigns
                        totals["rows"] += rows.count
                        self._count(rows)
            finally:
                self._count_requests(client)
            result = {"days": [day.isoformat() for day in days], **totals, "requests": client.requests}
        add_to_asset_events(given, self.outlets, {"days": len(days), **totals}, self.log)
        return {**result, **self._written(destination)}

    def on_kill(self) -> None:
        """Replace no day from now on; :meth:`execute` raises before its next wait, or before it commits."""
        self._is_killed = True

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Lineage | None:  # noqa: ARG002
        """Return the campaigns that were read and the table or files that were written, for OpenLineage; for a
        failed task as well.
        """
        if not lineage.is_installed() or self._workspace_id is None:
            return None
        rows = self._loaded["rows"]
        if self.path is not None:
            return lineage.from_campaigns(self._workspace_id, lineage.files_of(self._files).inputs)
        tables = lineage.table_of(database_hook(str(self.conn_id)), str(self.table), str(self.conn_id))
        return lineage.from_campaigns(self._workspace_id, tables, rows)

    def _check_not_killed(self) -> None:
        if self._is_killed:
            raise MoEngageError("The task was killed; days that it had not finished are as they were before")

    def _destination(self, scratch: Path) -> _Destination:
        if self.path is not None:
            return StatsFiles(self.path, self.file_format, scratch, self._check_not_killed)
        return StatsTable(database_hook(str(self.conn_id)), str(self.table), self._check_not_killed)

    def _written(self, destination: _Destination) -> dict[str, Any]:
        if isinstance(destination, StatsFiles):
            return {"files": destination.written}
        return {"table": self.table, "new_columns": getattr(destination, "new_columns", [])}

    def _read(self, rows: DayRows, found: Iterator[tuple[Any, ...]], names: CampaignNames | None) -> None:
        """Add the statistics of a day, ten campaigns at a time, with their names."""
        with_rows = (records for records in found if records)
        while page := list(islice(with_rows, STATS_PAGE_SIZE)):
            self._check_not_killed()
            details: Iterable[Campaign | None] = (
                [None] * len(page) if names is None else names.of([records[0].campaign_id for records in page])
            )
            for records, campaign in zip(page, details, strict=True):
                rows.add(records, campaign)

    def _search(self, client: CampaignsClient, patience: Retries) -> Callable[[Sequence[str]], Iterable[Campaign]]:
        def search(campaign_ids: Sequence[str]) -> Iterable[Campaign]:
            queries = campaigns.search_filters(campaign_ids, None, None)
            try:
                yield from campaigns.campaigns(client, self.moengage_conn_id, queries, patience)
            except MoEngageAuthError as error:
                raise MoEngageAuthError(
                    f"{error.message}. Their names come from MoEngage's search of campaigns: set"
                    " campaign_details=False to load the statistics without",
                    status_code=error.status_code,
                    request_id=error.request_id,
                ) from None

        return search

    def _count(self, rows: DayRows) -> None:
        self.log.info("%s: %d rows of %d campaigns", rows.day, rows.count, rows.campaigns)
        send = metrics.Metrics(self.moengage_conn_id)
        send.count(metrics.STATS_DAYS)
        send.count(metrics.STATS_ROWS, rows.count)

    def _count_requests(self, client: CampaignsClient) -> None:
        send = metrics.Metrics(self.moengage_conn_id)
        send.count(metrics.STATS_REQUESTS, client.requests)
        send.count(metrics.STATS_THROTTLED, client.throttled)

    def _check(self, *, are_rendered: bool) -> None:
        def is_known(*values: object) -> bool:
            return are_rendered or not any(is_unresolved(value) for value in values)

        if is_known(self.table, self.conn_id, self.path):
            self._check_destination()
        if is_known(self.file_format):
            one_of("file_format", self.file_format, FILE_FORMATS)
            if are_rendered and self.path is not None:
                check_format(self.file_format)
        if is_known(self.start, self.end) and (self.start is not None or self.end is not None):
            self._check_window()
        if is_known(self.attribution_type):
            one_of("attribution_type", self.attribution_type, ATTRIBUTION_TYPES)
        if is_known(self.metric_type):
            one_of("metric_type", self.metric_type, METRIC_TYPES)
        if self.time_zone is not None and is_known(self.time_zone):
            check_time_zone(self.time_zone)
        if is_known(self.campaign_ids):
            _check_ids(self.campaign_ids)

    def _check_window(self) -> None:
        has_zone = self.time_zone is not None and not is_unresolved(self.time_zone)
        check_window(self.start, self.end, check_time_zone(self.time_zone) if has_zone else None)

    def _check_destination(self) -> None:
        if self.path is not None:
            if self.table is not None or self.conn_id is not None:
                raise ValueError("path: expected either path, or table and conn_id")
            check_path(self.path)
            return
        if self.table is None:
            raise ValueError("table, path: expected one of them")
        check_table(self.table)
        non_empty("conn_id", self.conn_id, "the ID of a database connection for table")


def _check_ids(campaign_ids: object) -> None:
    if not isinstance(campaign_ids, str) and any(is_unresolved(each) for each in _list(campaign_ids)):
        return
    if isinstance(campaign_ids, str) and any(character in campaign_ids for character in "[]{}(),'\""):
        raise ValueError(
            "campaign_ids: expected a list of IDs, but got its text; a template becomes a list only if the Dag has"
            " render_template_as_native_obj=True"
        )
    campaigns.names("campaign_ids", campaign_ids)


def _list(campaign_ids: object) -> Sequence[object]:
    return campaign_ids if isinstance(campaign_ids, Sequence) else ()
