"""Erase customers in MoEngage who have asked for it. THIS CANNOT BE UNDONE: MoEngage keeps no copy.

A run counts whom the query would erase, and stops. To erase them, somebody checks the count and starts another run
with it:

    airflow dags trigger erase_customers --conf '{"approved_users": 12}'

Needs two connections: `warehouse` (any database that Airflow has a hook for) with a table `erasure_requests`, and
`moengage_default`. MoEngage has to switch on Get User for the workspace. The table `moengage_erasures` is created;
it is the proof of what was asked for, and personal data.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task  # on Airflow 3 alone: from airflow.sdk import ...

from airflow_provider_moengage.sensors.users_erased import UsersErasedSensor
from airflow_provider_moengage.transfers.sql_to_moengage_erasure import SqlToMoEngageErasureOperator

GUIDE = """
**Erases customers in MoEngage. This cannot be undone.**

1. Run it as it is: `count` reports how many customers the query has (its XCom, `users`). Nobody is erased.
2. Check that this is how many you expect.
3. Run it again with `approved_users` set to this number. If the query has more by then, nobody is erased.

`prove` waits for 24 hours, and then until MoEngage has none of them. The table `moengage_erasures` has what was
asked for, when, and what MoEngage answered.
"""

REQUESTS: dict[str, Any] = {
    "conn_id": "warehouse",
    # Leave out whom an earlier run has erased: another run asks again.
    "sql": "SELECT user_id FROM erasure_requests WHERE erased_at IS NULL",
    "ledger_table": "moengage_erasures",
}


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    params={"approved_users": Param(0, type="integer", minimum=0, description="0: only count, erase nobody")},
    tags=["moengage"],
    doc_md=GUIDE,
)
def erase_customers() -> None:
    """Count the customers; erase them if their number was approved; prove it."""
    count = SqlToMoEngageErasureOperator(task_id="count", **REQUESTS, max_users=100_000, dry_run=True)

    @task.short_circuit
    def is_approved(params: Any = None) -> bool:
        """Continue only if somebody has approved a number of customers."""
        return bool(params["approved_users"])

    erase = SqlToMoEngageErasureOperator(
        task_id="erase",
        **REQUESTS,
        max_users="{{ params.approved_users }}",
        retries=3,
        retry_delay=timedelta(minutes=5),
    )
    prove = UsersErasedSensor(task_id="prove", erasure=erase.output, deferrable=True, retries=3)
    count >> is_approved() >> erase >> prove


erase_customers()
