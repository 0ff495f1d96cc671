"""Segment members: make the customers of a query the members of a segment, and remove those who have left it.

Needs two connections: `warehouse` (any database that Airflow has a hook for) with a table `customers`, and
`moengage_default`. The Airflow variable `moengage_folder` names a folder that all workers can reach, such as
`s3://aws_default@my-bucket/moengage`. Users have to exist in MoEngage to become members.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import dag  # on Airflow 3 alone: from airflow.sdk import dag

from airflow_provider_moengage.bulk.changes import ChangedOnly
from airflow_provider_moengage.transfers.sql_to_moengage_cohort import SqlToMoEngageCohortOperator

FOLDER = "{{ var.value.moengage_folder }}"

GUIDE = """
Keeps the segment `gold-tier` equal to a query. The task's XCom counts who was added and removed.

- **More than a tenth has left the query**: the task fails without retry and removes nobody. Check the query; if
  they have left, raise `max_removed` for one run.
- **The query returns nobody**: the task fails as well.
"""


# Set a schedule, such as "@daily". Two concurrent runs would compare with the same state, so the second one fails.
@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["moengage"],
    doc_md=GUIDE,
)
def segment_members() -> None:
    """Add who is new in the query, and remove who has left it."""
    SqlToMoEngageCohortOperator(
        task_id="gold_tier",
        conn_id="warehouse",
        sql="SELECT user_id FROM customers WHERE tier = 'gold' ORDER BY user_id",
        cohort_id="gold-tier",
        cohort_name="Gold tier",
        cohort_description="Customers of the gold tier, from the warehouse",
        changed_only=ChangedOnly(path=f"{FOLDER}/changes"),
        max_removed=0.1,
        rejects_path=f"{FOLDER}/rejects",
        retries=3,
        retry_delay=timedelta(minutes=5),
    )


segment_members()
