"""An erasure whose proof asks after three seconds, and then every three seconds."""

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_moengage.sensors.users_erased import UsersErasedSensor
from airflow_provider_moengage.transfers.sql_to_moengage_erasure import SqlToMoEngageErasureOperator

with DAG("erasure_with_proof", schedule=None):
    erase = SqlToMoEngageErasureOperator(
        task_id="erase",
        conn_id="warehouse",
        sql="SELECT user_id FROM erasure_requests",
        max_users=3,
        ledger_table="ledger_with_proof",
    )
    # Airflow fails a task that resumes before a busy scheduler has heard of its deferral: hence retries.
    UsersErasedSensor(
        task_id="prove",
        erasure=erase.output,
        wait=3,
        poke_interval=3,
        deferrable=True,
        timeout=600,
        retries=5,
        retry_delay=timedelta(seconds=1),
    )
