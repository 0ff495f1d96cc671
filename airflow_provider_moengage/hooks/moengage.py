"""The hook: an Airflow connection becomes a client of MoEngage's API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_moengage import connection_form
from airflow_provider_moengage.api.errors import ApiError
from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.exceptions import (
    MoEngageError,
    MoEngageImportNotFoundError,
    MoEngageOutcomeUnknownError,
    MoEngageRateLimitError,
    MoEngageRejectsError,
    MoEngageRequestError,
)
from airflow_provider_moengage.hooks.connection import ConnectionSettings, read_connection
from airflow_provider_moengage.hooks.errors import translated

if TYPE_CHECKING:
    from airflow_provider_moengage.api.client import MoEngageClient
    from airflow_provider_moengage.api.file_imports import FileRun, ImportDetails
    from airflow_provider_moengage.api.file_imports_client import FileImportsClient
    from airflow_provider_moengage.bulk.report import DeliveryReport
    from airflow_provider_moengage.bulk.resume.saved_run import SavedRun
    from airflow_provider_moengage.bulk.run.delivery import Delivery
    from airflow_provider_moengage.bulk.sources import Source


class MoEngageHook(BaseHook):  # type: ignore[misc, unused-ignore]
    """Talks to the MoEngage workspace of an Airflow connection.

    :param moengage_conn_id: id of a connection of type ``moengage``.
    """

    conn_name_attr = "moengage_conn_id"
    default_conn_name = "moengage_default"
    conn_type = connection_form.CONNECTION_TYPE
    hook_name = connection_form.HOOK_NAME

    def __init__(self, moengage_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.moengage_conn_id = moengage_conn_id
        self._delivery: Delivery | None = None
        self.last_report: DeliveryReport | None = None
        """The figures of the last :meth:`bulk_import`, also of one that has failed."""

    @cached_property
    def settings(self) -> ConnectionSettings:
        """What the connection says.

        :raises MoEngageRequestError: naming the connection and the field that is missing or wrong.
        """
        from airflow.providers.common.compat.sdk import mask_secret

        settings = read_connection(self.get_connection(self.moengage_conn_id))
        mask_secret(settings.data_api_key)
        mask_secret(settings.campaign_api_key)
        return settings

    @property
    def dashboard_url(self) -> str:
        """URL of the workspace's dashboard."""
        return self.settings.dashboard_url

    def get_conn(self) -> MoEngageClient:
        """Return a client of the workspace; close it after use."""
        from airflow_provider_moengage.api.client import MoEngageClient

        return MoEngageClient(self.settings.workspace)

    def test_connection(self) -> tuple[bool, str]:
        """Ask MoEngage whether workspace id and Data API key fit together: one try, 5 seconds.

        :return: whether they do, and a sentence for the form. Never raises, never shows a key.
        """
        import queue
        import threading

        from airflow_provider_moengage.api import client as api

        try:
            client = self.get_conn()
        except MoEngageError as error:
            return False, str(error)
        except Exception as error:
            return False, _untested(error)
        answers: queue.SimpleQueue[tuple[bool, str]] = queue.SimpleQueue()
        # In a thread of its own, for a server that sends a byte now and then holds up a request for ever.
        threading.Thread(target=lambda: answers.put(_tested(client)), name="moengage-test", daemon=True).start()
        try:
            return answers.get(timeout=api.TEST_TIMEOUT)
        except queue.Empty:
            url = client.workspace.data_url
            return False, f"{url} could not be reached: no answer within the time allowed"

    def bulk_import(
        self, elements: Iterable[object] | Source, *, memory: SavedRun | None = None, **delivery_options: Any
    ) -> DeliveryReport:
        """Deliver users, events and devices; nothing is lost, and each user's elements arrive in order.

        :param elements: objects of MoEngage's bulk import API, ``{"type": "customer", ...}``; a list or a
            stream, read once.
        :param memory: what earlier tries of the same work have left, and where this one leaves what it has done;
            None keeps nothing. The operators give it.
        :param delivery_options: see :class:`~airflow_provider_moengage.bulk.options.DeliveryOptions`; here a
            ``rejects_path`` names a file and ends in ``.ndjson``.
        :return: the figures of the run.
        :raises ValueError: where an option is wrong.
        :raises MoEngageRejectsError: where more was rejected than ``max_rejects`` allows, or the rejects could not
            be written.
        :raises MoEngageOutcomeUnknownError: with ``at_most_once``, where an earlier try may have sent what this
            one would send, and has not left what.
        :raises MoEngageAuthError: where MoEngage does not accept the key, the workspace or the caller.
        :raises MoEngageRequestError: where MoEngage will never take what is sent.
        :raises MoEngageServerError: where MoEngage could not be reached, or answered 5xx, until the attempts
            ran out.
        :raises MoEngageRateLimitError: where MoEngage did nothing but throttle for an hour.
        :raises MoEngageError: where the run was stopped, or what it has done could not be kept.
        """
        from airflow_provider_moengage.bulk.clock import StoppedError
        from airflow_provider_moengage.bulk.resume.rejects import Rejects
        from airflow_provider_moengage.bulk.resume.saved_run import UnknownOutcomeError
        from airflow_provider_moengage.bulk.resume.writer import NotStoredError
        from airflow_provider_moengage.bulk.run.context import RunContext
        from airflow_provider_moengage.bulk.run.delivery import Delivery, RejectsNotWrittenError
        from airflow_provider_moengage.bulk.sources import Stream
        from airflow_provider_moengage.metrics import BulkMetrics
        from airflow_provider_moengage.storage import rejects_file

        if isinstance(elements, Mapping | str | bytes) or hasattr(elements, "iterrows"):
            name = type(elements).__name__
            raise ValueError(f"elements: expected a list or a stream of elements, not {name}")
        source: Any = elements if hasattr(elements, "is_resumable") else Stream(elements)
        options = DeliveryOptions(**delivery_options)
        if memory is not None and (report := memory.report) is not None:
            self.log.info("An earlier try of this task has delivered everything; nothing is sent again")
            self.last_report = report
            return _judged(report, options)
        path = options.rejects_path
        if memory is not None and source.is_resumable:
            path = memory.rejects_path or path  # what the earlier try has rejected is there
        file = None if path is None else rejects_file(path, dry_run=options.dry_run)
        client = self.get_conn()
        metrics = BulkMetrics(self.moengage_conn_id)
        try:
            context = RunContext.create(options, self.settings.limits, self.log)
            self._delivery = delivery = Delivery(
                context, source, client, Rejects(file), saved_run=memory, observe=metrics
            )
            report = delivery.run()
        except UnknownOutcomeError as error:
            raise MoEngageOutcomeUnknownError(
                f"Nothing was sent, for delivery='at_most_once' never sends twice: {error}. See in MoEngage what"
                " has arrived; clear the task to send everything, or send the rest yourself"
            ) from None
        except ApiError as error:
            so_far = f"{delivery.accepted:,} elements were accepted before"
            raise translated(error, self.moengage_conn_id, so_far) from None
        except RejectsNotWrittenError as error:
            raise MoEngageRejectsError(
                f"Everything else was delivered, but the {error.report.rejected:,} rejects could not be written to"
                f" {options.rejects_path} ({error.cause}); the log has their codes and positions",
                report=error.report,
            ) from error
        except NotStoredError as error:
            raise MoEngageError(
                f"The checkpoint could not be stored ({error}); {delivery.accepted:,} elements were accepted"
                " before"
            ) from error
        except StoppedError:
            raise MoEngageError(
                f"The run was stopped; {delivery.accepted:,} elements were accepted before"
            ) from None
        finally:
            self._delivery = None
            client.close()
            metrics.end()
            self.last_report = metrics.report
        return _judged(report, options)

    def stop_bulk_import(self) -> None:
        """Make a :meth:`bulk_import` that runs in another thread, or was interrupted by a signal, end at once."""
        if self._delivery is not None:
            self._delivery.stop()

    def trigger_business_event(
        self,
        event_name: str,
        event_attributes: Mapping[str, Any] | None = None,
        *,
        triggered_by: str | None = None,
        api_version: str = "v1",
    ) -> dict[str, Any]:
        """Trigger a business event, which starts campaigns: once, and never again by itself.

        :param event_name: as it is called in MoEngage.
        :param event_attributes: attribute to value; encoded as elements are.
        :param triggered_by: email address of who triggers it; ``v5`` requires one.
        :param api_version: ``v1`` or ``v5``.
        :return: ``event_name``, ``api_version``, ``status`` (``SUCCESS`` or, on v5, ``PARTIAL_SUCCESS``),
            ``message``, ``request_id``, ``dry_run`` and, on v5, ``triggered_campaign_ids``,
            ``failed_campaign_ids``, ``triggered_flow_ids`` and ``failed_flow_ids`` (skipped by quota).
        :raises ValueError: naming the argument that is wrong.
        :raises MoEngageOutcomeUnknownError: where the request may have left and no answer says that nothing has
            started: a timeout, a cut connection, any 5xx.
        :raises MoEngageRateLimitError: where the quota is used up; nothing has started.
        :raises MoEngageAuthError: where the key is not accepted; nothing has started.
        :raises MoEngageRequestError: where MoEngage does not take the event, or nothing is attached to it.
        :raises MoEngageServerError: where no connection could be made; nothing has started.
        """
        from airflow_provider_moengage import metrics
        from airflow_provider_moengage.hooks.business_events import trigger, trigger_body

        body = trigger_body(event_name, event_attributes, triggered_by, api_version)
        client = self.get_conn()
        count = metrics.Metrics(self.moengage_conn_id).count
        try:
            answer = trigger(client, body, api_version)
        except MoEngageRateLimitError:
            count(metrics.OVER_QUOTA)
            raise
        except BaseException as error:
            if isinstance(error, MoEngageOutcomeUnknownError) or not isinstance(error, MoEngageError):
                count(metrics.UNKNOWN)  # each other error of ours says that nothing has started
            raise
        finally:
            client.close()
        count(metrics.FIRED)
        if answer["status"] == "PARTIAL_SUCCESS":
            count(metrics.PARTIAL)
        return answer

    def check_business_event(self, event_name: str, event_attributes: Mapping[str, Any] | None = None) -> None:
        """Ask MoEngage whether it has this business event with these attributes and types; nothing is triggered.

        :param event_attributes: attribute to value.
        :raises MoEngageRequestError: saying what does not fit.
        :raises MoEngageError: where MoEngage does not say.
        """
        from airflow_provider_moengage.hooks.business_events import plain_attributes

        attributes = plain_attributes(event_attributes)
        client = self.get_conn()
        try:
            schema = client.find_business_event(event_name)
        except ApiError as error:
            so_far = "the business event could not be checked, and nothing was triggered"
            raise translated(error, self.moengage_conn_id, so_far) from None
        finally:
            client.close()
        if schema is None:
            raise MoEngageRequestError(f"Business event {event_name!r}: MoEngage has none of this name")
        if misfits := schema.misfits(attributes):
            raise MoEngageRequestError(
                f"Business event {event_name!r}: {'; '.join(misfits)}. Nothing was triggered"
            )

    def get_file_imports_conn(self) -> FileImportsClient:
        """Return a client of the workspace's file imports; close it after use."""
        from airflow_provider_moengage.api.file_imports_client import FileImportsClient

        return FileImportsClient(self.settings.workspace)

    def trigger_file_import(self, import_id: str) -> None:
        """Trigger a file import now; the schedule it has in the dashboard stays as it is.

        MoEngage gives a run no id. To follow the one that this makes, take the ids of :meth:`iter_file_runs`
        before, as :class:`~airflow_provider_moengage.operators.file_import.TriggerFileImportOperator` does. The
        operator can also tell a lost answer's run from one that somebody else has made shortly before; this takes
        the refusal that follows a lost answer for a success.

        :param import_id: id of a periodic import (MoEngage calls it schedule id as well).
        :raises MoEngageRateLimitError: where the import has run in the last five minutes, and was not triggered;
            or where MoEngage throttles.
        :raises MoEngageRequestError: where the import is deleted, expired, or not one of this workspace.
        :raises MoEngageAuthError: where MoEngage does not accept the key, the workspace or the caller.
        :raises MoEngageServerError: where MoEngage could not be reached or answered 5xx. It may have been
            triggered; a second call is refused for five minutes, so it is safe to try again.
        """
        from airflow_provider_moengage import metrics
        from airflow_provider_moengage.hooks.file_imports import trigger

        client = self.get_file_imports_conn()
        try:
            trigger(client, import_id)
        finally:
            client.close()
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
        """Yield the files that an import has read, reads or is about to read: all pages, each file once.

        The order is MoEngage's, which it does not document. An answer that is no answer is asked for again, three
        times in all; more than 50 requests a minute in one workspace are throttled.

        :param import_id: the import; this or ``import_name``.
        :param import_name: as the dashboard has it; ignored where ``import_id`` is given.
        :param file_status: one or several of SUCCESSFUL, FAILED, PARTIAL_SUCCESS, PROCESSING, QUEUED, WAITING.
        :param start: no file that was scheduled before (without a zone: UTC). A longer time than the 30 days that
            MoEngage answers at once takes several questions.
        :param end: no file that was scheduled after.
        :raises ValueError: naming the argument that is wrong.
        :raises MoEngageRequestError: where there is no such import.
        :raises MoEngageRateLimitError: where MoEngage throttles, with ``retry_after`` where it says so.
        :raises MoEngageAuthError: where MoEngage does not accept the key, the workspace or the caller.
        :raises MoEngageServerError: where MoEngage could not be reached or answered 5xx.
        """
        from airflow_provider_moengage.hooks.file_imports import file_runs, runs_query

        query = runs_query(import_id, import_name, file_status=file_status, start=start, end=end)
        return file_runs(self, query)

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

        :param import_name: MoEngage's own filter by name; :meth:`find_import` finds exactly one.
        :param import_type: ``USERS``, ``EVENTS`` or ``AUX_DATA``.
        :param schedule_type: ``PERIODIC`` or ``ONETIME``.
        :param file_source: ``SFTP``, ``S3`` or ``CSV``.
        :param schedule_status: one or several of SUCCESSFUL, FAILED, PARTIAL_SUCCESS, SCHEDULED, PROCESSING,
            QUEUED, ARCHIVED.
        :raises ValueError: naming the argument that is wrong.
        :raises MoEngageError: see :meth:`iter_file_runs`.
        """
        from airflow_provider_moengage.hooks.file_imports import imports, imports_query

        filters = {"import_type": import_type, "schedule_type": schedule_type, "file_source": file_source}
        return imports(self, imports_query(import_name, schedule_status=schedule_status, **filters))

    def find_import(self, import_name: str) -> ImportDetails:
        """Return the import of exactly this name.

        :raises MoEngageImportNotFoundError: where there is none.
        :raises MoEngageRequestError: where there is more than one.
        :raises MoEngageError: see :meth:`iter_file_runs`.
        """
        found = [details for details in self.iter_imports(import_name) if details.import_name == import_name]
        if not found:
            raise MoEngageImportNotFoundError(f"Import {import_name!r}: MoEngage has none of this name")
        if len(found) > 1:
            have = ", ".join(details.import_id for details in found)
            raise MoEngageRequestError(
                f"Import {import_name!r}: MoEngage has several of this name ({have}); use import_id"
            )
        return found[0]

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
        from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
        from wtforms import IntegerField, PasswordField, StringField
        from wtforms.validators import Optional, any_of

        widgets: dict[str, Any] = {}
        for name, field in connection_form.EXTRA_FIELDS.items():
            schema = field["schema"]
            widget = BS3TextFieldWidget()
            # Airflow takes no field for fractions: a number is a text there, and the hook reads it.
            kind = IntegerField if schema["type"][0] == "integer" else StringField
            if schema.get("format") == "password":
                kind, widget = PasswordField, BS3PasswordFieldWidget()
            validators = [Optional()]
            if "enum" in schema:
                validators.append(any_of(schema["enum"]))  # a list to choose from on Airflow 3
            widgets[name] = kind(
                field["label"], widget=widget, description=field["description"], validators=validators
            )
        return widgets


def _untested(error: Exception) -> str:
    return f"The connection could not be tested ({type(error).__name__})"


def _tested(client: MoEngageClient) -> tuple[bool, str]:
    try:
        name = client.test_connection()
    except ApiError as error:
        return False, error.message
    except Exception as error:
        return False, _untested(error)
    finally:
        client.close()
    return True, f"MoEngage knows the workspace {name!r} and accepts the Data API key"


def _judged(report: DeliveryReport, options: DeliveryOptions) -> DeliveryReport:
    """Return the report, or raise where it has too many rejects."""
    if not options.allows(report.rejected, report.accepted + report.rejected):
        raise MoEngageRejectsError(_too_many(report, options), report=report)
    return report


def _too_many(report: DeliveryReport, options: DeliveryOptions) -> str:
    from airflow_provider_moengage.bulk.report import counted

    by_code = ", ".join(f"{count:,} {code}" for code, count in report.rejects.items())
    others = "would have been sent (dry run)" if report.dry_run else "were accepted"
    where = (
        f"They are in {report.rejects_path}: mend them and replay that file with BulkImportOperator(path=...)"
        if report.rejects_path
        else "Set rejects_path to keep them"
    )
    return (
        f"{counted(report.rejected, 'element')} rejected ({by_code}), more than"
        f" max_rejects={options.max_rejects:g} allows; the other {report.accepted:,} {others}. {where}"
    )
