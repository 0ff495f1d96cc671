"""A sync that takes a while: 400 customers of 4,000 bytes."""

from airflow.sdk import DAG

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

with DAG("long_sync", schedule=None):
    SqlToMoEngageOperator(
        task_id="sync",
        conn_id="generated",
        sql="""
            WITH RECURSIVE numbers(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM numbers WHERE id < 400)
            SELECT id, 'user ' || id AS user_id, hex(zeroblob(2000)) AS padding FROM numbers
        """,
        key_columns=["id"],
        mapping=CustomerMapping(attributes={"number": "id", "padding": "padding"}),
        concurrency=2,
    )
