"""The operator that triggers a business event: campaigns start once, or the task fails and reports why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_moengage import metrics
from airflow_provider_moengage.api.business_events import (
    SHORTEST_WINDOW,
    UNKNOWN_ADVICE,
    ApiVersion,
    TriggerRequest,
)
from airflow_provider_moengage.api.workspace import check_parsed_project
from airflow_provider_moengage.arguments import TemplatedArguments, boolean, flag, is_unresolved, one_of
from airflow_provider_moengage.exceptions import (
    MoEngageError,
    MoEngageOutcomeUnknownError,
    MoEngageRateLimitError,
    MoEngageRequestError,
    MoEngageServerError,
)
from airflow_provider_moengage.hooks import business_events
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.links.dashboard import MoEngageDashboardLink
from airflow_provider_moengage.tasks.business_event_state import TriggerRecord
from airflow_provider_moengage.tasks.wait_until import airflow_timeout, resume, started_at, wait_until, wakes_at

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


OnQuota = Literal["defer", "fail"]
ON_QUOTA: tuple[OnQuota, ...] = get_args(OnQuota)


class BusinessEventOperator(TemplatedArguments, BaseOperator):  # type: ignore[misc, unused-ignore]
    """Triggers a business event, which starts the campaigns and flows attached to it.

    Campaigns reach people, so an event is never triggered twice unless you ask for it. If the request may have
    been sent and no response rules out that campaigns have started, the task fails without retry and explains how
    to check. On Airflow 3.3 and later this includes a killed worker: the next try sees that the earlier one was
    about to send. There, a retry after the event was triggered does not trigger it again, but a Clear of the ended
    task does.

    :param event_name: the event's name in MoEngage. Templated.
    :param event_attributes: attribute to value, templated at any depth; datetimes, Decimals and the like are
        encoded as in bulk import.
    :param triggered_by: email address of the person who triggers the event; ``v5`` requires one. Templated.
    :param api_version: ``v1`` or ``v5``. Templated.
    :param on_quota: ``defer`` frees the worker slot until MoEngage's quota may have opened, and then tries again;
        ``fail`` fails with :class:`MoEngageRateLimitError`, which Airflow may retry.
    :param quota_timeout: how long to keep deferring; the task's ``execution_timeout`` counts as well. Nothing is
        triggered after either of them.
    :param fail_on_partial: fail if v5 skipped some of the campaigns or flows because of a quota. The others have
        started, so no retry triggers them again.
    :param retry_unknown: let Airflow retry after an unknown outcome: campaigns may start twice.
    :param check_event: check first that MoEngage has this event, with these attributes and, for
        v5, types (v1 has types of its own, which no list of MoEngage has).
    :param dry_run: check everything, also the event if ``check_event`` is set, and trigger nothing. Templated.
    :param project_code: the project of a portfolio; None: the connection's ``project_code``, else the portfolio as
        a whole. Templated.
    :param moengage_conn_id: the workspace's connection. Templated.
    :raises ValueError: when the Dag is parsed, if an argument is invalid; the message names it.
    """

    template_fields: Sequence[str] = (
        "event_name",
        "event_attributes",
        "triggered_by",
        "api_version",
        "is_dry_run",
        "project_code",
        "moengage_conn_id",
    )
    template_fields_renderers = {"event_attributes": "json"}  # noqa: RUF012 (Airflow's own form)
    ui_color = "#fce8e6"
    operator_extra_links = (MoEngageDashboardLink(),)

    def __init__(  # noqa: PLR0913 (public signature)
        self,
        *,
        event_name: str,
        event_attributes: Mapping[str, Any] | None = None,
        triggered_by: str | None = None,
        api_version: ApiVersion = "v1",
        on_quota: OnQuota = "defer",
        quota_timeout: timedelta = timedelta(hours=24),
        fail_on_partial: bool = True,
        retry_unknown: bool = False,
        check_event: bool = False,
        dry_run: bool = False,
        project_code: str | int | None = None,
        moengage_conn_id: str = "moengage_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.event_name = event_name
        self.event_attributes = event_attributes
        self.triggered_by = triggered_by
        self.api_version = api_version
        self.on_quota = on_quota
        self.quota_timeout = quota_timeout
        self.fail_on_partial = fail_on_partial
        self.retry_unknown = retry_unknown
        self.check_event = check_event
        self.is_dry_run = dry_run  # `dry_run` is a method of every operator
        self.project_code = project_code
        self.moengage_conn_id = moengage_conn_id
        self._is_killed = False
        self._check_arguments()

    def execute(self, context: Context) -> dict[str, Any]:
        """Trigger the event and return MoEngage's response.

        :raises MoEngageError: see :meth:`MoEngageHook.trigger_business_event`.
        """
        return self._run(context, datetime.now(UTC) + self.quota_timeout)

    def execute_complete(
        self,
        context: Context,
        event: Any = None,  # noqa: ARG002 (Airflow's signature)
        give_up_at: str | None = None,
    ) -> dict[str, Any]:
        """Resume when the quota may have opened. The deferred task only waited; the event is triggered here."""
        now = datetime.now(UTC)
        resume(self, context, now)
        until = datetime.fromisoformat(give_up_at) if give_up_at else started_at(context) + self.quota_timeout
        if now > until:
            raise MoEngageRateLimitError(
                f"Business event {self.event_name!r}: the quota did not reopen within quota_timeout"
                f" ({self.quota_timeout}); nothing was started"
            )
        return self._run(context, until)

    def on_kill(self) -> None:
        """Send nothing from now on. A request in flight continues."""
        self._is_killed = True

    def _check_not_killed(self) -> None:
        if self._is_killed:
            raise MoEngageError(f"Business event {self.event_name!r}: the task was killed before it was triggered")

    def _run(self, context: Context, give_up_at: datetime) -> dict[str, Any]:
        hook = MoEngageHook(self.moengage_conn_id, project_code=self.project_code)
        if flag("dry_run", self.is_dry_run):
            self._checked_request(hook)
            self.log.info("Dry run: business event %r would be triggered", self.event_name)
            return {"event_name": self.event_name, "api_version": self.api_version, "dry_run": True}
        record = TriggerRecord(context, self.log)
        if not record.is_kept and self.retries:
            self.log.warning(
                "Before Airflow 3.3, a retry does not know what an earlier try did: if the worker is killed while"
                " it sends the request, the retry triggers the event again. Set retries=0 to prevent that"
            )
        answer = record.answer_of_earlier_try(self.event_name, may_repeat=self.retry_unknown)
        if answer is None:
            answer = self._trigger(context, hook, self._checked_request(hook), record, give_up_at)
        else:
            self.log.info("An earlier try triggered business event %r; not triggering it again", self.event_name)
        if answer["status"] == "PARTIAL_SUCCESS":
            self._report_partial(answer, record, context)
        record.reported(answer)
        return answer

    def _trigger(
        self,
        context: Context,
        hook: MoEngageHook,
        request: TriggerRequest,
        record: TriggerRecord,
        give_up_at: datetime,
    ) -> dict[str, Any]:
        _ = hook.settings  # raises if the connection is wrong, before the record says that a request may be sent
        self._check_not_killed()
        record.about_to_send(self.event_name)
        try:
            with closing(hook.get_conn()) as client:
                answer = business_events.trigger(client, self.moengage_conn_id, request, self._check_not_killed)
        except MoEngageOutcomeUnknownError as error:
            raise self._unknown_outcome(error, record) from None
        except MoEngageRateLimitError as error:
            record.nothing_started()
            if self.on_quota == "fail":
                raise
            self._defer(context, error, give_up_at)
            raise  # not reached: deferring raises
        except MoEngageError:
            record.nothing_started()  # after each of them
            raise
        except BaseException as error:  # noqa: BLE001 (a timeout or a kill while waiting for the response)
            name = type(error).__name__
            message = f"Business event {self.event_name!r}: {name} during the request. {UNKNOWN_ADVICE}."
            raise self._unknown_outcome(MoEngageOutcomeUnknownError(message), record) from None
        self.log.info("Triggered business event %r (%s)", self.event_name, answer["status"])
        record.triggered(answer)
        return answer

    def _checked_request(self, hook: MoEngageHook) -> TriggerRequest:
        request = business_events.trigger_request(
            self.event_name, self.event_attributes, self.triggered_by, self.api_version
        )
        if self.check_event:
            with closing(hook.get_conn()) as client:
                business_events.check(client, self.moengage_conn_id, request)
        return request

    def _unknown_outcome(self, error: MoEngageOutcomeUnknownError, record: TriggerRecord) -> MoEngageError:
        """Return the error with which the task fails if campaigns may have started."""
        if not self.retry_unknown or isinstance(error, business_events.CampaignsStartedError):
            record.unknown()
            return error
        record.nothing_started()
        return MoEngageServerError(
            f"{error.message} retry_unknown is set: a retry may trigger the event a second time.",
            status_code=error.status_code,
            request_id=error.request_id,
        )

    def _defer(self, context: Context, error: MoEngageRateLimitError, give_up_at: datetime) -> None:
        now = datetime.now(UTC)
        opens_at = now + timedelta(seconds=error.retry_after or SHORTEST_WINDOW)
        if opens_at > give_up_at:
            raise MoEngageRateLimitError(
                f"{error.message} The quota does not reopen within quota_timeout ({self.quota_timeout}).",
                status_code=error.status_code,
                request_id=error.request_id,
                retry_after=error.retry_after,
            )
        self._check_not_killed()
        self.log.info("%s Trying again at %s", error.message, opens_at.isoformat(timespec="seconds"))
        metrics.Metrics(self.moengage_conn_id).count(metrics.QUOTA_DEFERRALS)
        self.defer(
            trigger=wait_until(wakes_at(opens_at, self, context, now)),
            method_name="execute_complete",
            kwargs={"give_up_at": give_up_at.isoformat()},
            timeout=airflow_timeout(give_up_at, self, context, now),
        )

    def _report_partial(self, answer: dict[str, Any], record: TriggerRecord, context: Context) -> None:
        skipped = f"campaigns {answer['failed_campaign_ids']}, flows {answer['failed_flow_ids']}"
        message = f"Business event {self.event_name!r} was partly triggered; skipped because of a quota: {skipped}"
        if self.fail_on_partial:
            context["ti"].xcom_push(key="return_value", value=answer)
            record.reported(answer)
            raise MoEngageRequestError(
                f"{message}. The others have started, so the event is not triggered again; set"
                " fail_on_partial=False to accept this.",
                request_id=answer["request_id"],
            )
        self.log.warning("%s", message)

    def _check_arguments(self) -> None:
        business_events.check_parsed_trigger(
            self.event_name, self.event_attributes, self.triggered_by, self.api_version
        )
        one_of("on_quota", self.on_quota, ON_QUOTA)
        if not isinstance(self.quota_timeout, timedelta) or self.quota_timeout < timedelta(0):
            raise ValueError(f"quota_timeout {self.quota_timeout!r}: expected a timedelta of 0 or more")
        for name in ("fail_on_partial", "retry_unknown", "check_event"):
            boolean(name, getattr(self, name))
        check_parsed_project(self.project_code)
        if not is_unresolved(self.is_dry_run):
            flag("dry_run", self.is_dry_run)
