"""Alerts: say in Slack, by mail or in PagerDuty what a sync rejected, below `max_rejects` and above it.

Needs two connections: `warehouse` (any database that Airflow has a hook for) with a table `customers`, and
`moengage_default`. An alert needs the connection and the provider of its channel:

- `slack`: `slack_default` (Slack Incoming Webhook), `apache-airflow-providers-slack`
- `mail`: `smtp_default`, `apache-airflow-providers-smtp`
- `pagerduty`: `pagerduty_events_default`, `apache-airflow-providers-pagerduty`

Name the channels in `CHANNELS`. Until then the task's log has the alert.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import dag  # on Airflow 3 alone: from airflow.sdk import dag

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

MAIL_TO = "data-team@example.com"
MOST_REJECTED = 0.01
"""Share of rejected elements above which the task fails."""


def judge(report: dict[str, Any]) -> list[str]:
    """Return what is worth an alert in the counts of a run. They hold no customer data."""
    found = []
    if not report["accepted"] and not report.get("unchanged"):
        found.append("nothing was accepted")
    if report["rejected"]:
        codes = ", ".join(f"{count} {code}" for code, count in report["rejects"].items())
        found.append(f"{report['rejected']} rejected ({codes}), see {report['rejects_path'] or 'the log'}")
    if report["throttled_seconds"] > report["elapsed_seconds"] / 2:
        found.append("more than half of the time was spent waiting for the rate limit")
    return found


def alert_success(context: dict[str, Any]) -> None:
    """Send an alert if the counts of a try that succeeded are worth one."""
    task = context["ti"]
    report = task.xcom_pull(task_ids=task.task_id, map_indexes=task.map_index)
    found = judge(report) if report else []
    if found:
        alert(context, found, is_failure=False)


def alert_failure(context: dict[str, Any]) -> None:
    """Send an alert for a try that failed, with the counts where the error has them."""
    error = context.get("exception")  # a worker that was killed has none, nor has `airflow dags test` before 3.3
    report = getattr(error, "report", None)  # of a MoEngageRejectsError: what became of the rows
    found = judge(report) if report else []
    name = f": {type(error).__name__}" if isinstance(error, BaseException) else ""
    alert(context, found or [f"failed{name}"], is_failure=True)


def alert(context: dict[str, Any], found: list[str], *, is_failure: bool) -> None:
    """Send what was found to each channel."""
    task = context["ti"]
    text = f"{task.dag_id}.{task.task_id} ({context['run_id']}): {'; '.join(found)}"
    for send in CHANNELS:
        send(text, is_failure=is_failure)


def log(text: str, *, is_failure: bool) -> None:
    """Write the alert to the task's log."""
    logging.getLogger(__name__).log(logging.ERROR if is_failure else logging.WARNING, "Alert: %s", text)


def slack(text: str, *, is_failure: bool) -> None:
    """Post the alert to a Slack channel."""
    from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

    sign = ":red_circle:" if is_failure else ":large_yellow_circle:"
    SlackWebhookHook(slack_webhook_conn_id="slack_default").send_text(f"{sign} {text}")


def mail(text: str, *, is_failure: bool) -> None:
    """Send the alert by mail."""
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    subject = "MoEngage sync failed" if is_failure else "MoEngage sync needs a look"
    with SmtpHook(smtp_conn_id="smtp_default") as hook:
        hook.send_email_smtp(to=MAIL_TO, subject=subject, html_content=text)


def pagerduty(text: str, *, is_failure: bool) -> None:
    """Open an incident, or give a warning."""
    from airflow.providers.pagerduty.hooks.pagerduty_events import PagerdutyEventsHook

    hook = PagerdutyEventsHook(pagerduty_events_conn_id="pagerduty_events_default")
    hook.send_event(summary=text[:1024], severity="error" if is_failure else "warning", source="airflow")


CHANNELS: list[Callable[..., None]] = [log]
"""Add `slack`, `mail` and `pagerduty` here."""


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["moengage"],
    doc_md=__doc__,
)
def sync_alerts() -> None:
    """Send all customers, and judge each run."""
    SqlToMoEngageOperator(
        task_id="customers",
        conn_id="warehouse",
        sql="SELECT user_id, email, tier FROM customers",
        key_columns=["user_id"],
        mapping=CustomerMapping(attributes={"u_em": "email", "tier": "tier"}),
        max_rejects=MOST_REJECTED,
        retries=2,
        retry_delay=timedelta(minutes=5),
        on_success_callback=alert_success,
        on_failure_callback=alert_failure,
    )


sync_alerts()
