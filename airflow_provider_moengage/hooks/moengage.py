"""The hook: an Airflow connection becomes a client of MoEngage's API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_moengage import connection_form
from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageRateLimitError,
    MoEngageRejectsError,
    MoEngageRequestError,
    MoEngageServerError,
)
from airflow_provider_moengage.hooks.connection import ConnectionSettings, read_connection

if TYPE_CHECKING:
    from airflow_provider_moengage.api.client import MoEngageClient
    from airflow_provider_moengage.bulk.delivery import Delivery
    from airflow_provider_moengage.bulk.report import DeliveryReport


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
        from airflow_provider_moengage.api.client import MoEngageClient, Workspace

        settings = self.settings
        return MoEngageClient(
            Workspace(
                workspace_id=settings.workspace_id,
                data_api_key=settings.data_api_key,
                campaign_api_key=settings.campaign_api_key,
                data_center=settings.data_center,
                base_url=settings.base_url,
                timeout=settings.timeout,
            )
        )

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

    def bulk_import(self, elements: Iterable[object], **delivery_options: Any) -> DeliveryReport:
        """Deliver users, events and devices; nothing is lost, and each user's elements arrive in order.

        :param elements: objects of MoEngage's bulk import API, ``{"type": "customer", ...}``; a list or a
            stream, read once.
        :param delivery_options: see :class:`~airflow_provider_moengage.bulk.options.DeliveryOptions`; here a
            ``rejects_path`` names a file and ends in ``.ndjson``.
        :return: the figures of the run.
        :raises ValueError: where an option is wrong.
        :raises MoEngageRejectsError: where more was rejected than ``max_rejects`` allows.
        :raises MoEngageAuthError: where MoEngage does not accept the key, the workspace or the caller.
        :raises MoEngageRequestError: where MoEngage will never take what is sent.
        :raises MoEngageServerError: where MoEngage could not be reached, or answered 5xx, until the attempts
            ran out.
        :raises MoEngageRateLimitError: where MoEngage did nothing but throttle for an hour.
        """
        from airflow_provider_moengage.bulk.delivery import Delivery, RejectsNotWrittenError
        from airflow_provider_moengage.bulk.pacing import StoppedError
        from airflow_provider_moengage.bulk.rejects import Rejects
        from airflow_provider_moengage.hooks.rejects_path import rejects_file

        if isinstance(elements, Mapping | str | bytes) or hasattr(elements, "iterrows"):
            name = type(elements).__name__
            raise ValueError(f"elements: expected a list or a stream of elements, not {name}")
        options = DeliveryOptions(**delivery_options)
        path = options.rejects_path
        file = None if path is None else rejects_file(path, dry_run=options.dry_run)
        client = self.get_conn()
        self._delivery = delivery = Delivery(client, options, self.settings.limits, Rejects(file), self.log)
        try:
            report = delivery.run(elements)
        except ApiError as error:
            so_far = f"{delivery.accepted:,} elements were accepted before"
            raise _translated(error, self.moengage_conn_id, so_far) from None
        except RejectsNotWrittenError as error:
            raise MoEngageRejectsError(
                f"Everything else was delivered, but the {error.report.rejected:,} rejects could not be written to"
                f" {options.rejects_path} ({error.cause}); the log has their codes and positions",
                report=error.report,
            ) from error
        except StoppedError:
            raise MoEngageError(
                f"The run was stopped; {delivery.accepted:,} elements were accepted before"
            ) from None
        finally:
            self._delivery = None
            client.close()
        if not options.allows(report.rejected, report.accepted + report.rejected):
            raise MoEngageRejectsError(_too_many(report, options), report=report)
        return report

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
        from airflow_provider_moengage.hooks.business_events import trigger, trigger_body

        body = trigger_body(event_name, event_attributes, triggered_by, api_version)
        client = self.get_conn()
        try:
            return trigger(client, body, api_version)
        finally:
            client.close()

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
            raise _translated(error, self.moengage_conn_id, so_far) from None
        finally:
            client.close()
        if schema is None:
            raise MoEngageRequestError(f"Business event {event_name!r}: MoEngage has none of this name")
        if misfits := schema.misfits(attributes):
            raise MoEngageRequestError(
                f"Business event {event_name!r}: {'; '.join(misfits)}. Nothing was triggered"
            )

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
            kind = IntegerField if schema["type"][0] in ("integer", "number") else StringField
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


_BY_KIND: dict[ErrorKind, type[MoEngageError]] = {
    ErrorKind.AUTHENTICATION: MoEngageAuthError,
    ErrorKind.REQUEST: MoEngageRequestError,
    ErrorKind.RATE_LIMIT: MoEngageRateLimitError,
    ErrorKind.SERVER: MoEngageServerError,
}


def _translated(error: ApiError, conn_id: str, so_far: str) -> MoEngageError:
    return _BY_KIND[error.kind](
        f"Connection {conn_id!r}: {error.message}; {so_far}",
        status_code=error.status_code,
        request_id=error.request_id,
        retry_after=error.retry_after,
    )


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
