"""Changed customers: send only the customers that differ from what MoEngage accepted last.

Needs two connections: `warehouse` (any database that Airflow has a hook for) with a table `customers`, and
`moengage_default`. The Airflow variable `moengage_folder` names a folder that all workers can reach, such as
`s3://aws_default@my-bucket/moengage`. MoEngage needs a business event `Sync failed` with an attribute `dag` of
type string. `make demo` runs this file twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import dag  # on Airflow 3 alone: from airflow.sdk import dag

from airflow_provider_moengage.bulk.changes import ChangedOnly
from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.notifications.business_event import MoEngageBusinessEventNotifier
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

FOLDER = "{{ var.value.moengage_folder }}"

GUIDE = """
Sends the customers that are new or have changed since the last run. The task's XCom counts them.

- **Rejected customers** are in the folder `rejects`, with their reasons. The next run sends them again.
- **More than 1 % rejected**: the task fails. Fix the rows, then clear the task.
- **Customers whose rows have left the query** stay in MoEngage.
"""


# Set a schedule, such as "@daily". Two concurrent runs would compare with the same state, so the second one fails.
@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["moengage"],
    doc_md=GUIDE,
    on_failure_callback=MoEngageBusinessEventNotifier(
        event_name="Sync failed", event_attributes={"dag": "{{ dag.dag_id }}"}
    ),
)
def changed_customers() -> None:
    """Compare all customers with the last run, and send those that differ."""
    SqlToMoEngageOperator(
        task_id="customers",
        conn_id="warehouse",
        sql="SELECT user_id, email, tier FROM customers",
        mapping=CustomerMapping(attributes={"u_em": "email", "tier": "tier"}),
        changed_only=ChangedOnly(path=f"{FOLDER}/changes"),
        rejects_path=f"{FOLDER}/rejects",
        max_rejects=0.01,
        retries=3,
        retry_delay=timedelta(minutes=5),
    )


changed_customers()
