"""Campaign statistics in the warehouse: each day's counts, by campaign, platform, locale and variation.

Needs two connections: `warehouse` (any database that Airflow has a hook for) and `moengage_default`, whose
`campaign_api_key` covers campaigns. The table is created by the first run. Set the timezone to that of the
MoEngage workspace, by which it cuts days; a backfill in Airflow's UI loads the days before.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import dag  # on Airflow 3 alone: from airflow.sdk import dag
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_moengage.transfers.moengage_campaign_stats import MoEngageCampaignStatsOperator


# A backfill needs a schedule with data intervals. Runs share MoEngage's limit, so one at a time is as fast.
@dag(
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["moengage"],
)
def campaign_statistics() -> None:
    """Load the day that has ended."""
    MoEngageCampaignStatsOperator(
        task_id="statistics",
        conn_id="warehouse",
        table="moengage_campaign_stats",
        retries=3,
        retry_delay=timedelta(minutes=5),
    )


campaign_statistics()
