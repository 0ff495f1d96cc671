"""The hook: an Airflow connection becomes a client of MoEngage's API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_moengage import connection_form, metrics
from airflow_provider_moengage.api.business_events import ApiVersion
from airflow_provider_moengage.api.workspace import read_project_code
from airflow_provider_moengage.arguments import is_non_empty, non_empty
from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.bulk.sources import Source, Stream
from airflow_provider_moengage.exceptions import MoEngageImportNotFoundError, MoEngageRequestError
from airflow_provider_moengage.hooks import business_events, campaigns, file_imports, user_deletion, user_reading
from airflow_provider_moengage.hooks.connection import ConnectionSettings, read_connection
from airflow_provider_moengage.hooks.errors import storage_failures

if TYPE_CHECKING:
    from airflow_provider_moengage.api.campaigns.client import CampaignsClient
    from airflow_provider_moengage.api.campaigns.models import AttributionType, Campaign, CampaignStats, MetricType
    from airflow_provider_moengage.api.campaigns.pace import Timing
    from airflow_provider_moengage.api.client import MoEngageClient
    from airflow_provider_moengage.api.file_imports import FileRun, ImportDetails
    from airflow_provider_moengage.api.file_imports_client import FileImportsClient
    from airflow_provider_moengage.api.users.cohorts import CohortSync
    from airflow_provider_moengage.api.users.reading import User
    from airflow_provider_moengage.bulk.changed.sync_run import Changes
    from airflow_provider_moengage.bulk.report import DeliveryReport
    from airflow_provider_moengage.bulk.resume.reject_spool import RejectSpool
    from airflow_provider_moengage.bulk.resume.saved_run import SavedRun
    from airflow_provider_moengage.hooks.bulk_import import BulkImport

Row = TypeVar("Row")


class MoEngageHook(BaseHook):  # type: ignore[misc, unused-ignore]
    """Talks to the MoEngage workspace of an Airflow connection.

    :param moengage_conn_id: ID of a connection of type ``moengage``.
    :param project_code: the project of a portfolio that all requests are about; None: the connection's
        ``project_code``, else the portfolio as a whole.
    :raises ValueError: if the ID is empty or None, as a template may render to, or the code is not one.
    """

    conn_name_attr = "moengage_conn_id"
    default_conn_name = "moengage_default"
    conn_type = connection_form.CONNECTION_TYPE
    hook_name = connection_form.HOOK_NAME

    def __init__(
        self, moengage_conn_id: str = default_conn_name, *, project_code: str | int | None = None
    ) -> None:
        super().__init__()
        self.moengage_conn_id = non_empty("moengage_conn_id", moengage_conn_id, "the ID of a connection")
        self.project_code = read_project_code(project_code)
        self._bulk_import: BulkImport | None = None
        self._is_stop_requested = False
        self.last_report: DeliveryReport | None = None
        """The counts of the last :meth:`bulk_import`, even if it failed."""

    @cached_property
    def settings(self) -> ConnectionSettings:
        """The settings of the connection.

        :raises MoEngageRequestError: if a field is missing or wrong; the message names connection and field.
        """
        from airflow.providers.common.compat.sdk import mask_secret

        settings = read_connection(self.get_connection(self.moengage_conn_id))
        mask_secret(settings.data_api_key)
        mask_secret(settings.campaign_api_key)
        return settings if self.project_code is None else replace(settings, project_code=self.project_code)

    @property
    def dashboard_url(self) -> str:
        """URL of the workspace's dashboard."""
        return self.settings.dashboard_url

    def get_conn(self) -> MoEngageClient:
        """Return a client of the workspace; close it after use."""
        from airflow_provider_moengage.api.client import MoEngageClient

        return MoEngageClient(self.settings.workspace)

    def test_connection(self) -> tuple[bool, str]:
        """Check with MoEngage that workspace ID and Data API key match: one try, 5 seconds.

        :return: whether they do, and a sentence for the form. Never raises, never shows a key.
        """
        from airflow_provider_moengage.hooks.connection_test import run_connection_test

        return run_connection_test(self.get_conn)

    def bulk_import(
        self,
        elements: Iterable[object] | Source,
        *,
        memory: SavedRun | None = None,
        changes: Changes | None = None,
        reject_spool: RejectSpool | None = None,
        cohort: CohortSync | None = None,
        **delivery_options: Any,
    ) -> DeliveryReport:
        """Deliver users, events and devices; nothing is lost, and each user's elements arrive in order.

        :param elements: objects of MoEngage's bulk import API, ``{"type": "customer", ...}``; a list or a
            stream, read once.
        :param memory: what earlier tries of the same task left, and where this one stores its progress; None
            stores nothing. The operators pass it.
        :param changes: the state of a sync that sends only what changed. The operators pass it.
        :param reject_spool: also gets the rejects of this call. The operators pass it.
        :param cohort: the segment whose members the elements are; None: they are imported. The operators pass it.
        :param delivery_options: see :class:`~airflow_provider_moengage.bulk.options.DeliveryOptions`; here a
            ``rejects_path`` names a file and ends in ``.ndjson``.
        :return: the counts of the run.
        :raises ValueError: if an option is invalid.
        :raises MoEngageRejectsError: if more elements were rejected than ``max_rejects`` allows, or the rejects
            could not be written.
        :raises MoEngageRemovalError: if users whose rows have left the query are to be removed, and were not.
        :raises MoEngageOutcomeUnknownError: with ``at_most_once``, if an earlier try may have sent elements that
            this one would send, and did not record which.
        :raises MoEngageAuthError: if MoEngage does not accept the key, the workspace or the caller.
        :raises MoEngageRequestError: if MoEngage will never accept the request, or ``rejects_path`` is wrong.
        :raises MoEngageServerError: if MoEngage could not be reached, or answered 5xx, until the attempts ran
            out.
        :raises MoEngageRateLimitError: if MoEngage throttled every request for an hour.
        :raises MoEngageError: if the run was stopped, its progress could not be stored, or a disk was full.
        """
        from airflow_provider_moengage.hooks.bulk_import import BulkImport, check_rejects

        if isinstance(elements, Mapping | str | bytes) or hasattr(elements, "iterrows"):
            name = type(elements).__name__
            raise ValueError(f"elements: expected a list or a stream of elements, not {name}")
        source: Any = elements if hasattr(elements, "is_resumable") else Stream(elements)
        options = DeliveryOptions(**delivery_options)
        if options.identifiers is None:
            options = replace(options, identifiers=self.settings.identifiers)
        workspace = (self.moengage_conn_id, self.project_code)
        if memory is not None and (report := memory.report) is not None:
            self.log.info("An earlier try of this task has delivered everything; nothing is sent again")
            self.last_report = report
            return check_rejects(report, options, *workspace, are_members=cohort is not None)
        given = (self.moengage_conn_id, source, options, memory, changes, reject_spool)
        with storage_failures("nothing was sent"):
            self._bulk_import = run = BulkImport(*given)
        if self._is_stop_requested:
            run.stop()
        try:
            with closing(self.get_conn()) as client:
                report = run.run(client, self.settings.limits, self.log, cohort)
        finally:
            self._bulk_import = None
            self._is_stop_requested = False
            self.last_report = run.report
        return check_rejects(report, options, *workspace, are_members=cohort is not None)

    def stop_bulk_import(self) -> None:
        """Stop a :meth:`bulk_import` at once, or the next one if none is running.

        Another thread or a signal handler may call it.
        """
        self._is_stop_requested = True
        if self._bulk_import is not None:
            self._bulk_import.stop()

    def delete_user(self, customer_id: str) -> bool:
        """Delete a user. **This cannot be undone.**

        One request, which is not repeated. MoEngage accepts it at once and deletes the profile within 24 hours.

        :param customer_id: the user's ID in MoEngage.
        :return: whether MoEngage had this user; False if not, or not any more.
        :raises ValueError: if the ID is empty; nothing was sent.
        :raises MoEngageServerError: if MoEngage could not be reached or answered 5xx. The user may have been
            deleted; a second deletion is harmless.
        :raises MoEngageRateLimitError: if more than 5,000 users a minute are deleted; nobody was deleted.
        :raises MoEngageRequestError: if MoEngage refuses the request; nobody was deleted.
        :raises MoEngageAuthError: if MoEngage does not accept the key, the workspace or the caller.
        """
        if not is_non_empty(customer_id):
            raise ValueError("customer_id: expected the ID of a user")
        with closing(self.get_conn()) as client:
            return user_deletion.delete(client, self.moengage_conn_id, customer_id)

    def iter_users(self, customer_ids: Iterable[str], *, fields: Iterable[str] | None = None) -> Iterator[User]:
        """Yield a user for each ID, in that order: with the attributes, or with None if MoEngage has no such user.

        MoEngage has to switch Get User on for the workspace. 20 users are read by a request, and at most 1,000 a
        minute. A request that MoEngage throttles, or does not answer, is sent again. An answer that does not say
        clearly whether a user exists is an error, never a user who was not found.

        .. code-block:: python

            missing = sum(not user.is_found for user in hook.iter_users(ids))

        :param customer_ids: the users' IDs in MoEngage, a list or a stream.
        :param fields: names of the attributes to return; None: all that MoEngage returns.
        :raises ValueError: if ``customer_ids`` is text, or an ID is empty.
        :raises MoEngageAuthError: if MoEngage does not accept the key, or Get User is not enabled.
        :raises MoEngageRequestError: if MoEngage refuses the request.
        :raises MoEngageRateLimitError: if MoEngage throttled a request 30 times.
        :raises MoEngageServerError: if MoEngage could not be reached or answered 5xx, three times for a request;
            or if a user is missing from an answer.
        """
        if isinstance(customer_ids, str | bytes | Mapping):
            raise ValueError("customer_ids: expected a list or a stream of IDs")
        wanted = user_reading.field_names(fields)
        return self._read_users(iter(customer_ids), wanted)

    def _read_users(self, customer_ids: Iterator[str], fields: tuple[str, ...] | None) -> Iterator[User]:
        with closing(self.get_conn()) as client:
            yield from user_reading.users(client, self.moengage_conn_id, customer_ids, fields)

    def trigger_business_event(
        self,
        event_name: str,
        event_attributes: Mapping[str, Any] | None = None,
        *,
        triggered_by: str | None = None,
        api_version: ApiVersion = "v1",
    ) -> dict[str, Any]:
        """Trigger a business event, which starts campaigns. The request is sent once and never repeated.

        :param event_name: the event's name in MoEngage.
        :param event_attributes: attribute to value; encoded like those of elements.
        :param triggered_by: email address of the person who triggers the event; ``v5`` requires one.
        :param api_version: ``v1`` or ``v5``.
        :return: ``event_name``, ``api_version``, ``status`` (``SUCCESS`` or, on v5, ``PARTIAL_SUCCESS``),
            ``message``, ``request_id``, ``dry_run`` and, on v5, ``triggered_campaign_ids``,
            ``failed_campaign_ids``, ``triggered_flow_ids`` and ``failed_flow_ids`` (skipped because of a quota).
        :raises ValueError: if an argument is invalid; the message names it.
        :raises MoEngageOutcomeUnknownError: if the request may have been sent and no response rules out that
            campaigns have started: a timeout, a cut connection, any 5xx.
        :raises MoEngageRateLimitError: if the quota is used up; nothing was started.
        :raises MoEngageAuthError: if the key is not accepted; nothing was started.
        :raises MoEngageRequestError: if MoEngage does not accept the event, or no campaign uses it.
        :raises MoEngageServerError: if no connection could be made; nothing was started.
        """
        request = business_events.trigger_request(event_name, event_attributes, triggered_by, api_version)
        with closing(self.get_conn()) as client:
            return business_events.trigger(client, self.moengage_conn_id, request)

    def check_business_event(self, event_name: str, event_attributes: Mapping[str, Any] | None = None) -> None:
        """Check that MoEngage has this business event, with these attributes and types; nothing is triggered.

        :param event_attributes: attribute to value.
        :raises ValueError: if an argument is invalid; the message names it.
        :raises MoEngageRequestError: if the event, an attribute or a type does not match.
        :raises MoEngageError: if MoEngage does not answer the question.
        """
        request = business_events.trigger_request(event_name, event_attributes)
        with closing(self.get_conn()) as client:
            business_events.check(client, self.moengage_conn_id, request)

    def get_file_imports_conn(self) -> FileImportsClient:
        """Return a client of the workspace's file imports; close it after use."""
        from airflow_provider_moengage.api.file_imports_client import FileImportsClient

        return FileImportsClient(self.settings.workspace)

    def trigger_file_import(self, import_id: str) -> None:
        """Trigger a file import now; its schedule in the dashboard does not change.

        MoEngage returns no ID of the run. To follow the run, read the IDs of :meth:`iter_file_runs` first, as
        :class:`~airflow_provider_moengage.operators.file_import.TriggerFileImportOperator` does. Unlike the
        operator, this treats the cooldown refusal after a lost response as success.

        :param import_id: ID of a periodic import (MoEngage also calls it schedule ID).
        :raises MoEngageRateLimitError: if the import has run in the last five minutes, and was not triggered; or
            if MoEngage throttles the request.
        :raises MoEngageRequestError: if the import is deleted, expired, or not in this workspace.
        :raises MoEngageAuthError: if MoEngage does not accept the key, the workspace or the caller.
        :raises MoEngageServerError: if MoEngage could not be reached or answered 5xx. The import may have been
            triggered; a second call is refused for five minutes, so it is safe to try again.
        """
        with closing(self.get_file_imports_conn()) as client:
            file_imports.trigger(client, import_id)
        metrics.Metrics(self.moengage_conn_id).count(metrics.TRIGGERED)

    def iter_file_runs(
        self,
        import_id: str | None = None,
        import_name: str | None = None,
        *,
        file_status: str | Iterable[str] | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
    ) -> Iterator[FileRun]:
        """Yield the files that an import has read, is reading or is about to read: all pages, each file once.

        The order is MoEngage's, which it does not document. An invalid response is requested again, up to three
        times in total; MoEngage throttles more than 50 requests a minute in one workspace.

        :param import_id: the import; this or ``import_name``.
        :param import_name: its name in the dashboard; ignored if ``import_id`` is given.
        :param file_status: one or several of SUCCESSFUL, FAILED, PARTIAL_SUCCESS, PROCESSING, QUEUED, WAITING.
        :param start: only files scheduled at this time or later (without a zone: UTC). MoEngage answers for 30
            days at a time; a longer period takes several requests. Its own times carry no zone: see
            ``import_time_zone`` of the connection.
        :param end: only files scheduled at this time or earlier.
        :raises ValueError: if an argument is invalid; the message names it.
        :raises MoEngageRequestError: if there is no such import.
        :raises MoEngageRateLimitError: if MoEngage throttles; with ``retry_after`` if it reports one.
        :raises MoEngageAuthError: if MoEngage does not accept the key, the workspace or the caller.
        :raises MoEngageServerError: if MoEngage could not be reached or answered 5xx.
        """
        query = file_imports.runs_query(import_id, import_name, file_status=file_status, start=start, end=end)
        return self._read(partial(file_imports.file_runs, conn_id=self.moengage_conn_id, query=query))

    def iter_imports(
        self,
        import_name: str | None = None,
        *,
        import_type: str | None = None,
        schedule_type: str | None = None,
        file_source: str | None = None,
        schedule_status: str | Iterable[str] | None = None,
    ) -> Iterator[ImportDetails]:
        """Yield the imports of the workspace: all pages, each import once.

        :param import_name: MoEngage's own filter by name; :meth:`find_import` returns one import by exact name.
        :param import_type: ``USERS``, ``EVENTS`` or ``AUX_DATA``.
        :param schedule_type: ``PERIODIC`` or ``ONETIME``.
        :param file_source: ``SFTP``, ``S3`` or ``CSV``.
        :param schedule_status: one or several of SUCCESSFUL, FAILED, PARTIAL_SUCCESS, SCHEDULED, PROCESSING,
            QUEUED, ARCHIVED.
        :raises ValueError: if an argument is invalid; the message names it.
        :raises MoEngageError: see :meth:`iter_file_runs`.
        """
        filters = {"import_type": import_type, "schedule_type": schedule_type, "file_source": file_source}
        query = file_imports.imports_query(import_name, schedule_status=schedule_status, **filters)
        return self._read(partial(file_imports.imports, conn_id=self.moengage_conn_id, query=query))

    def find_import(self, import_name: str) -> ImportDetails:
        """Return the import with exactly this name.

        :raises MoEngageImportNotFoundError: if there is none.
        :raises MoEngageRequestError: if there are several.
        :raises MoEngageError: see :meth:`iter_file_runs`.
        """
        found = [details for details in self.iter_imports(import_name) if details.import_name == import_name]
        if not found:
            raise MoEngageImportNotFoundError(f"Import {import_name!r}: MoEngage has no import with this name")
        if len(found) > 1:
            have = ", ".join(details.import_id for details in found)
            raise MoEngageRequestError(
                f"Import {import_name!r}: MoEngage has several imports with this name ({have}); use import_id"
            )
        return found[0]

    def get_campaigns_conn(self, timing: Timing | None = None) -> CampaignsClient:
        """Return a client of the workspace's campaigns; close it after use.

        :param timing: the time; None: this machine's.
        """
        from airflow_provider_moengage.api.campaigns.client import CampaignsClient

        return CampaignsClient(self.settings.workspace, timing or campaigns.timing())

    def iter_campaigns(
        self,
        campaign_ids: str | Iterable[str] | None = None,
        *,
        channels: str | Iterable[str] | None = None,
        status: str | Iterable[str] | None = None,
    ) -> Iterator[Campaign]:
        """Yield the campaigns of the workspace, also executions of periodic ones: all pages, each campaign once.

        MoEngage leaves drafts out, unless ``status`` names ``DRAFT``. At most 100 requests a minute are sent. A
        page that MoEngage throttles, or does not answer, is requested again.

        :param campaign_ids: only these; None: all.
        :param channels: one or several of PUSH, EMAIL, SMS, ...
        :param status: one or several of ACTIVE, COMPLETED, STOPPED, ...
        :raises ValueError: if an argument is invalid; the message names it.
        :raises MoEngageError: see :meth:`iter_campaign_stats`.
        """
        queries = campaigns.search_filters(campaign_ids, channels, status)
        return self._read_campaigns(partial(campaigns.campaigns, queries=queries))

    def iter_campaign_stats(
        self,
        start: date | str,
        end: date | str,
        *,
        campaign_ids: str | Iterable[str] | None = None,
        attribution_type: AttributionType = "VIEW_THROUGH",
        metric_type: MetricType = "TOTAL",
    ) -> Iterator[CampaignStats]:
        """Yield the statistics of campaigns over a window of at most 30 days: all pages, each campaign once.

        There is one record for each campaign, platform, locale and variation. For counts by day, ask for each day.
        At most 100 requests a minute are sent (ten campaigns each). A page that MoEngage throttles, or does not
        answer, is requested again, and no page before it.

        :param start: first day, in the workspace's time zone: a date, or ISO 8601 text.
        :param end: last day.
        :param campaign_ids: only these campaigns; None: all that ran.
        :param attribution_type: which conversions count: ``VIEW_THROUGH``, ``CLICK_THROUGH``, ``IN_SESSION``,
            ``TOTAL_CONVERSIONS`` or ``CLICK_CONVERSIONS``.
        :param metric_type: ``TOTAL``, or ``UNIQUE`` to count each user once in the window.
        :raises ValueError: if an argument is invalid; the message names it.
        :raises MoEngageRequestError: if MoEngage refuses the request.
        :raises MoEngageRateLimitError: if MoEngage throttled a page 30 times.
        :raises MoEngageAuthError: if MoEngage does not accept the key, or the key does not cover campaigns.
        :raises MoEngageServerError: if MoEngage could not be reached or answered 5xx, three times for a page; or
            if it returned fewer campaigns than it reports, or some that cannot be read.
        """
        days = campaigns.window(start, end)
        query = campaigns.StatsFilter.of(attribution_type, metric_type, campaign_ids)
        records = self._read_campaigns(partial(campaigns.stats, days=days, query=query))
        return (record for of_campaign in records for record in of_campaign)

    def _read_campaigns(self, read: Callable[..., Iterator[Row]]) -> Iterator[Row]:
        clock = campaigns.timing()
        with closing(self.get_campaigns_conn(clock)) as client:
            yield from read(client, self.moengage_conn_id, patience=campaigns.retries(clock))

    def _read(self, read: Callable[[FileImportsClient], Iterator[Row]]) -> Iterator[Row]:
        with closing(self.get_file_imports_conn()) as client:
            yield from read(client)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return labels and hidden fields of the form, for Airflow before 3.3."""
        return {
            "hidden_fields": connection_form.HIDDEN_FIELDS,
            "relabeling": connection_form.LABELS,
            "placeholders": connection_form.PLACEHOLDERS,
        }

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's own fields, for Airflow before 3.3."""
        from airflow_provider_moengage.hooks.form_widgets import form_widgets

        return form_widgets()
