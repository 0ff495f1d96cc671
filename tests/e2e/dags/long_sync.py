"""A sync of 16 requests: 400 customers of 4,000 bytes, 25 a body. It has 20 seconds, and a retry."""

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

NAMES = [f"padding_{number}" for number in range(8)]
PADDING = ", ".join(f"hex(zeroblob(240)) AS {name}" for name in NAMES)

with DAG("long_sync", schedule=None):
    SqlToMoEngageOperator(
        task_id="sync",
        conn_id="warehouse",
        sql=f"""
            WITH RECURSIVE numbers(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM numbers WHERE id < 400)
            SELECT id, 'household-' || id AS user_id, 'household-' || id || '@example.com' AS email,
                   {PADDING}
            FROM numbers
        """,
        key_columns=["id"],
        mapping=CustomerMapping(attributes={"number": "id", "u_em": "email", **{name: name for name in NAMES}}),
        concurrency=2,
        execution_timeout=timedelta(seconds=20),
        retries=1,
        retry_delay=timedelta(seconds=1),
    )
