"""A notifier that triggers a business event when a task or a Dag has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseNotifier

from airflow_provider_moengage.api.business_events import ApiVersion
from airflow_provider_moengage.api.workspace import check_parsed_project
from airflow_provider_moengage.arguments import TemplatedArguments, is_unresolved
from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.hooks.business_events import check_parsed_trigger
from airflow_provider_moengage.hooks.moengage import MoEngageHook

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class MoEngageBusinessEventNotifier(TemplatedArguments, BaseNotifier):  # type: ignore[misc, unused-ignore]
    """Triggers a business event from ``on_success_callback``, ``on_failure_callback`` and the like.

    The request is sent once. Errors are only logged; they never fail the task that the notifier reports on. In a
    deadline alert they are raised as well, because Airflow would record the callback as a success.

    :param event_name: the event's name in MoEngage. Templated, like all parameters.
    :param event_attributes: attribute to value, templated at any depth.
    :param triggered_by: email address of the person who triggers the event; ``v5`` requires one.
    :param api_version: ``v1`` or ``v5``.
    :param project_code: the project of a portfolio; None: the connection's ``project_code``, else the portfolio as
        a whole.
    :param moengage_conn_id: the workspace's connection.
    :raises ValueError: when the Dag is parsed, if an argument is invalid; the message names it.
    """

    template_fields: Sequence[str] = (
        "event_name",
        "event_attributes",
        "triggered_by",
        "api_version",
        "project_code",
        "moengage_conn_id",
    )

    def __init__(
        self,
        *,
        event_name: str,
        event_attributes: Mapping[str, Any] | None = None,
        triggered_by: str | None = None,
        api_version: ApiVersion = "v1",
        project_code: str | int | None = None,
        moengage_conn_id: str = "moengage_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.event_name = event_name
        self.event_attributes = event_attributes
        self.triggered_by = triggered_by
        self.api_version = api_version
        self.project_code = project_code
        self.moengage_conn_id = moengage_conn_id
        check_parsed_trigger(event_name, event_attributes, triggered_by, api_version)
        check_parsed_project(project_code)

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        for name in template_fields:  # Airflow 2 leaves a notifier's template if it renders to None
            value = getattr(parent, name)
            if isinstance(value, str) and is_unresolved(value):
                setattr(parent, name, self.render_template(value, context, jinja_env))

    def __call__(self, *args: Any) -> None:
        """Render the templates and notify; an error is only logged."""
        try:
            super().__call__(*args)
        except Exception as error:
            name = type(error).__name__
            # A traceback could show the context.
            if isinstance(error, MoEngageError):
                raise  # of `notify`, in a deadline
            self.log.error("MoEngage was not notified: %s while rendering templates", name)  # noqa: TRY400
            if _is_deadline(args[0] if args else None):
                raise

    def notify(self, context: Context) -> None:
        """Trigger the event and log the outcome."""
        try:
            MoEngageHook(self.moengage_conn_id, project_code=self.project_code).trigger_business_event(
                self.event_name,
                self.event_attributes,
                triggered_by=self.triggered_by,
                api_version=self.api_version,
            )
        except Exception as error:  # noqa: BLE001 (a notifier must not fail the task that it reports on)
            self.log.error("MoEngage was not notified: %s", error)  # noqa: TRY400 (a sentence, no stack trace)
            if _is_deadline(context):
                raise error if isinstance(error, MoEngageError) else MoEngageError(str(error)) from None
        else:
            self.log.info("MoEngage was notified: business event %r was triggered", self.event_name)

    async def async_notify(self, context: Context) -> None:
        """Do the same in the triggerer, without blocking its event loop."""
        await asyncio.to_thread(self.notify, context)


def _is_deadline(context: object) -> bool:
    """Return whether Airflow runs a deadline's callback: nothing but its outcome reports an error there."""
    return isinstance(context, Mapping) and "deadline" in context
