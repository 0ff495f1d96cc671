"""The columns of the two tables of results."""

from __future__ import annotations

from airflow_provider_moengage.tables.dialect import Kind
from airflow_provider_moengage.tables.sql_table import TableColumn, TableLayout

_RUN = (
    TableColumn("dag_id", Kind.NAME, is_key=True),
    TableColumn("run_id", Kind.NAME, is_key=True),
    TableColumn("task_id", Kind.NAME, is_key=True),
    TableColumn("map_index", Kind.COUNT, is_key=True),
    TableColumn("try_number", Kind.COUNT),
)

COUNTS = (
    *("accepted", "rejected", "unchanged", "changed", "removed", "customers", "events", "devices", "actions"),
    *("requests", "bytes", "retries"),
)
"""Counts of the report that have a column of the same name."""

SECONDS = ("throttled_seconds", "elapsed_seconds")
"""Durations of the report."""

CODES = ("warnings", "rejects")
"""Counts by code in the report; a column has them as JSON."""

RUNS = TableLayout(
    (
        *_RUN,
        TableColumn("operator", Kind.NAME),
        TableColumn("moengage_conn_id", Kind.NAME),
        TableColumn("workspace_id", Kind.NAME),
        TableColumn("state", Kind.NAME),
        TableColumn("error", Kind.NAME),
        TableColumn("started_at", Kind.TIME),
        TableColumn("ended_at", Kind.TIME),
        TableColumn("window_since", Kind.TIME),
        TableColumn("window_until", Kind.TIME),
        TableColumn("source_rows", Kind.COUNT),
        TableColumn("new_elements", Kind.COUNT),
        *(TableColumn(name, Kind.COUNT) for name in COUNTS),
        *(TableColumn(name, Kind.SECONDS) for name in SECONDS),
        *(TableColumn(name, Kind.TEXT) for name in CODES),
        TableColumn("rejects_path", Kind.TEXT),
        TableColumn("checkpoint_path", Kind.TEXT),
        TableColumn("resumed", Kind.FLAG),
    )
)
"""One row for each task of a Dag run."""

REJECTS = TableLayout(
    (
        *_RUN,
        TableColumn("position", Kind.COUNT),
        TableColumn("row_key", Kind.TEXT),
        TableColumn("codes", Kind.TEXT),
        TableColumn("messages", Kind.TEXT),
        TableColumn("element", Kind.TEXT),
        TableColumn("written_at", Kind.TIME),
    ),
    is_unique=False,
)
"""One row for each reject of a run."""
