"""Sends customers with reverse-ETL tools that a user might take instead, set up for batches as they document it.

drt-core (docs/connectors/rest-api.md, "Batch request bodies"): a REST destination with ``body_mode: batch``, a
hundred records a request, and a template that writes the elements. dlt ("Custom destination: Reverse ETL"): a
function in ``dlt.destination(batch_size=100)``, which posts with dlt's own requests and their retries, and
``sql_table`` for the rows. Both tools run in this process, as they do in a task.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.data import CUSTOMERS, Element
from benchmarks.data import Row as SqlRow
from benchmarks.rivals import USUAL_BATCH

NAMES = tuple(f"{name} {version(name)}" for name in ("drt-core", "dlt"))

_AUTH = ("EMULATOR", "emulator-data-key")
_CREDENTIALS = dict(zip(("MOENGAGE_WORKSPACE_ID", "MOENGAGE_KEY"), _AUTH, strict=True))
_NO_TELEMETRY = {"DO_NOT_TRACK": "1", "RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL"}


@dataclass(frozen=True)
class Database:
    """Where the table ``customers`` is."""

    profile: dict[str, Any]
    """A profile of drt."""
    url: str
    """For SQLAlchemy, which dlt uses."""
    fetched: Callable[[SqlRow], Element]
    """Builds an element from a row."""


@dataclass(frozen=True)
class Sent:
    """What a tool says about its run."""

    is_success: bool
    rows: int | None = None
    """How many rows it says it has sent."""


def sqlite(path: str, fetched: Callable[[SqlRow], Element]) -> Database:
    """Return the database of a SQLite file."""
    return Database({"type": "sqlite", "database": path}, f"sqlite:///{path}", fetched)


def postgres(port: int, fetched: Callable[[SqlRow], Element]) -> Database:
    """Return the database of a PostgreSQL server on loopback."""
    profile = {"type": "postgres", "host": "127.0.0.1", "port": port, "dbname": "postgres", "user": "postgres"}
    return Database(profile, f"postgresql+psycopg2://postgres@127.0.0.1:{port}/postgres", fetched)


def send_with_drt(url: str, database: Database, rows: int, requests_per_second: float = 0) -> Sent:
    """Run a sync of drt.

    :param requests_per_second: 0 lifts its limit, which is 10 by default.
    """
    from drt.integrations.airflow import run_drt_sync

    sync = {
        "name": "customers",
        "model": f"SELECT * FROM customers LIMIT {rows}",
        "destination": {
            "type": "rest_api",
            "url": f"{url}/v1/transition/EMULATOR",
            "headers": {"Content-Type": "application/json"},
            "auth": {
                "type": "basic",
                "username_env": "MOENGAGE_WORKSPACE_ID",
                "password_env": "MOENGAGE_KEY",
            },
            "body_mode": "batch",
            "max_records_per_request": USUAL_BATCH,
            "batch_template": _TEMPLATE,
        },
        "sync": {
            "batch_size": 1_000,
            "rate_limit": {"requests_per_second": requests_per_second},
            "on_error": "skip",
        },
    }
    with _project(database.profile, sync) as folder:
        result = run_drt_sync("customers", folder)
    return Sent(result["status"] == "success", result["rows_synced"])


def send_with_dlt(url: str, database: Database, rows: int) -> Sent:
    """Run a pipeline of dlt."""
    with _environment(_NO_TELEMETRY), tempfile.TemporaryDirectory() as folder:
        import dlt
        from dlt.pipeline.exceptions import PipelineStepFailed
        from dlt.sources.helpers import requests
        from dlt.sources.sql_database import sql_table
        from sqlalchemy import create_engine

        columns = CUSTOMERS.columns

        def moengage(items: Any, _table: Any, /) -> None:
            elements = [database.fetched(tuple(item.get(name) for name in columns)) for item in items]
            requests.post(
                f"{url}/v1/transition/EMULATOR",
                json={"type": "transition", "elements": elements},
                auth=_AUTH,
                timeout=60,
            )

        destination: Any = dlt.destination(moengage, batch_size=USUAL_BATCH, name="moengage")
        engine = create_engine(database.url)
        table = sql_table(engine, "customers", query_adapter_callback=lambda query, _: query.limit(rows))
        pipeline = dlt.pipeline(f"customers_{next(_NUMBERS)}", destination=destination, pipelines_dir=folder)
        try:
            pipeline.run(table)
        except PipelineStepFailed:
            return Sent(is_success=False)
        finally:
            engine.dispose()
    return Sent(is_success=True)


_NUMBERS = count()


@contextmanager
def _project(profile: dict[str, Any], sync: dict[str, Any]) -> Iterator[str]:
    """Write a project of drt. Its files are YAML, and JSON is YAML too."""
    with tempfile.TemporaryDirectory() as folder:
        files = {
            ".drt/profiles.yml": {"warehouse": profile},
            "drt_project.yml": {"name": "bench", "version": "0.1", "profile": "warehouse"},
            "syncs/customers.yml": sync,
        }
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content))
        with _environment({"HOME": folder, **_CREDENTIALS, **_NO_TELEMETRY}):
            yield folder


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ |= variables
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _attribute(name: str, column: str) -> str:
    return f'"{name}": {{{{ row.{column} | tojson_safe }}}}'


_ALWAYS = {
    "u_em": "email",
    **{name: name for name in ("city", "tier", "spent", "last", "since", "orders", "fit", "vip")},
}
_ATTRIBUTES = ", ".join(_attribute(name, column) for name, column in _ALWAYS.items())
_CARD = "{% if row.card is not none %}, " + _attribute("card", "card") + "{% endif %}"
"""The one column with values that is sometimes NULL. Without the condition it would go out as null."""

_TEMPLATE = (
    '{"type": "transition", "elements": [{% for row in rows %}'
    '{"type": "customer", "customer_id": {{ row.user_id | tojson_safe }}, "attributes": {'
    f'{_ATTRIBUTES}{_CARD}}}}}{{{{ "," if not loop.last }}}}'
    "{% endfor %}]}"
)
