"""Sync customer tiers to MoEngage, then trigger a business event, so that campaigns use up-to-date profiles.

Needs two connections: `warehouse` (any database that Airflow has a hook for) with a table `customers`, and
`moengage_default` with a key for business events. MoEngage needs two business events: `Tiers updated` with an
attribute `customers` of type number, and `Sync failed` with an attribute `dag` of type string.
"""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import dag  # on Airflow 3 alone: from airflow.sdk import dag

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.notifications.business_event import MoEngageBusinessEventNotifier
from airflow_provider_moengage.operators.business_event import BusinessEventOperator
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["moengage"],
    render_template_as_native_obj=True,  # otherwise a template renders to a string, but MoEngage expects a number
    # On the Dag, so that it is sent once per run: each notification counts against MoEngage's trigger quota.
    on_failure_callback=MoEngageBusinessEventNotifier(
        event_name="Sync failed", event_attributes={"dag": "{{ dag.dag_id }}"}
    ),
)
def business_event_after_sync() -> None:
    """Send the profiles first, then start the campaigns."""
    tiers = SqlToMoEngageOperator(
        task_id="tiers",
        conn_id="warehouse",
        sql="SELECT user_id, tier FROM customers ORDER BY user_id",
        mapping=CustomerMapping(customer_id="user_id"),
    )
    start_campaigns = BusinessEventOperator(
        task_id="start_campaigns",
        event_name="Tiers updated",
        event_attributes={"customers": "{{ ti.xcom_pull('tiers')['accepted'] }}"},
        # Before Airflow 3.3, no state survives a killed worker, and a retry would trigger the event again.
        retries=0,
    )
    tiers >> start_campaigns


business_event_after_sync()
