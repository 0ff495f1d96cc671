"""Campaign statistics into a table or files: each day once or as it was before, whatever happens."""

from __future__ import annotations

import json
import sqlite3
import tracemalloc
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pendulum
import pytest

from airflow_provider_moengage.campaign_stats.rows import COLUMNS
from airflow_provider_moengage.campaign_stats.table import StatsTable
from airflow_provider_moengage.emulator import Campaign, Fault
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageRateLimitError,
    MoEngageRequestError,
    MoEngageServerError,
)
from airflow_provider_moengage.transfers.moengage_campaign_stats import MoEngageCampaignStatsOperator
from tests.api.loopback import Act, answer, loopback
from tests.delivering import MoEngage
from tests.import_files.test_folder import attach
from tests.task import Task

DAY = date(2026, 11, 1)


@pytest.fixture
def campaigns(connected: MoEngage, monkeypatch: pytest.MonkeyPatch) -> Iterator[MoEngage]:
    workspace = connected.emulator.workspace
    workspace.clear_campaigns()
    monkeypatch.setattr("airflow_provider_moengage.hooks.campaigns.SystemClock", lambda: connected.clock)
    yield connected
    workspace.clear_campaigns()


class Warehouse:
    """A SQLite database, as connection ``warehouse``."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def select(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.file)) as connection:
            return connection.execute(sql).fetchall()

    def columns(self, table: str = "stats") -> list[str]:
        return [name for _, name, *_ in self.select(f"PRAGMA table_info({table})")]


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    file = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    return Warehouse(file)


def seed(place: MoEngage, *names: str, **fields: Any) -> None:
    for name in names:
        place.emulator.workspace.add_campaign(Campaign(name, **fields))


def operator(**arguments: Any) -> MoEngageCampaignStatsOperator:
    given = {"table": "stats", "conn_id": "warehouse", **arguments}
    return MoEngageCampaignStatsOperator(task_id="statistics", **given)


def interval(start: str, end: str, zone: str = "UTC", **more: Any) -> Any:
    """Return the context of a run with this data interval, given in the Dag's time zone."""
    info = ZoneInfo(zone)
    given = [datetime.fromisoformat(moment) for moment in (start, end)]
    moments = [(moment if moment.tzinfo else moment.replace(tzinfo=info)).astimezone(UTC) for moment in given]
    moments = [pendulum.instance(moment) for moment in moments]  # as Airflow has them
    dag = SimpleNamespace(timezone=pendulum.timezone(zone))
    return {
        **Task().context,
        "data_interval_start": moments[0],
        "data_interval_end": moments[1],
        "dag": dag,
        **more,
    }


def load(context: Any = None, **arguments: Any) -> dict[str, Any]:
    context = context or interval("2026-11-01", "2026-11-02")
    return operator(**arguments).execute(context)


def test_each_variation_of_a_day_is_a_row_with_the_campaigns_name(
    campaigns: MoEngage, warehouse: Warehouse
) -> None:
    seed(campaigns, "Sale", channel="EMAIL", status="ACTIVE", locales=("en", "de"), control_groups=True)

    result = load()

    assert result["days"] == ["2026-11-01"]
    assert (result["campaigns"], result["rows"], result["requests"]) == (1, 2 * 2 * 3, 2)
    rows = warehouse.select(
        "SELECT day, campaign_name, channel, campaign_status, platform, locale, variation FROM stats"
    )
    assert len(set(rows)) == 12
    assert {row[:4] for row in rows} == {("2026-11-01", "Sale", "EMAIL", "ACTIVE")}
    [(sent,)] = warehouse.select("SELECT DISTINCT performance_sent FROM stats WHERE variation = 'all_variations'")
    assert sent > 900


def test_an_id_is_the_same_each_time_and_differs_from_row_to_row(
    campaigns: MoEngage, warehouse: Warehouse
) -> None:
    seed(campaigns, "A", "B", variations=("one", "two"))
    load()
    before = warehouse.select("SELECT id, campaign_id, platform, variation FROM stats ORDER BY id")
    load()

    assert warehouse.select("SELECT id, campaign_id, platform, variation FROM stats ORDER BY id") == before
    assert len({row[0] for row in before}) == 8


def test_a_day_is_replaced_and_other_days_stay(campaigns: MoEngage, warehouse: Warehouse) -> None:
    seed(campaigns, "A", "B")
    load(interval("2026-11-01", "2026-11-03"))
    campaigns.emulator.workspace.remove_campaign(Campaign("B").id)

    load(interval("2026-11-02", "2026-11-03"))

    assert warehouse.select("SELECT day, count(DISTINCT campaign_id) FROM stats GROUP BY day ORDER BY day") == [
        ("2026-11-01", 2),
        ("2026-11-02", 1),
    ]


def test_other_kinds_of_counting_stay(campaigns: MoEngage, warehouse: Warehouse) -> None:
    seed(campaigns, "A")
    for kind in ({}, {"metric_type": "UNIQUE"}, {"attribution_type": "IN_SESSION"}):
        for _ in range(2):
            load(**kind)

    assert warehouse.select("SELECT count(*), count(DISTINCT id) FROM stats") == [(6, 6)]


def test_only_the_campaigns_that_are_named_are_replaced(campaigns: MoEngage, warehouse: Warehouse) -> None:
    seed(campaigns, *(f"Campaign {number}" for number in range(25)))
    load()
    ids = [Campaign(f"Campaign {number}").id for number in range(12)]

    result = load(campaign_ids=ids)

    assert result["campaigns"] == 12
    assert warehouse.select("SELECT count(*), count(DISTINCT campaign_id) FROM stats") == [(50, 25)]


def test_a_day_without_campaigns_is_empty_afterwards(campaigns: MoEngage, warehouse: Warehouse) -> None:
    seed(campaigns, "A")
    load()
    campaigns.emulator.workspace.clear_campaigns()

    assert load()["rows"] == 0
    assert warehouse.select("SELECT * FROM stats") == []


def test_a_metric_that_is_new_becomes_a_column(campaigns: MoEngage, warehouse: Warehouse) -> None:
    seed(campaigns, "A")
    load()
    seed(campaigns, "B", goals=("Größter Kauf",), metrics={"read": 7})

    result = load(interval("2026-11-02", "2026-11-03"))

    assert "performance_read" in result["new_columns"]
    [goal] = [name for name in result["new_columns"] if name.startswith("goal_") and "conversions" in name]
    columns = f"campaign_name, performance_read, {goal} > 0"
    assert warehouse.select(f"SELECT {columns} FROM stats WHERE day > '2026-11-01' ORDER BY 1") == [
        ("A", None, None), ("A", None, None), ("B", 7.0, 1), ("B", 7.0, 1),
    ]  # fmt: skip


def test_a_table_that_somebody_made_keeps_its_columns(campaigns: MoEngage, warehouse: Warehouse) -> None:
    seed(campaigns, "A")
    with closing(sqlite3.connect(warehouse.file)) as connection:
        connection.execute("CREATE TABLE stats (ID text, DAY text, note text DEFAULT 'mine')")

    load()
    load()

    assert warehouse.select("SELECT count(*), min(note) FROM stats") == [(2, "mine")]
    assert warehouse.columns()[:3] == ["ID", "DAY", "note"]


@pytest.mark.parametrize("table", ['odd "name"; DROP TABLE x', "select", "100%", "a%sb"])
def test_the_name_of_a_table_is_a_name_whatever_it_holds(
    campaigns: MoEngage, warehouse: Warehouse, table: str
) -> None:
    seed(campaigns, "A")
    load(table=table)
    load(table=table)

    quoted = table.replace('"', '""')
    assert warehouse.select(f'SELECT count(*) FROM "{quoted}"') == [(2,)]


@pytest.mark.parametrize(
    ("start", "end", "zone", "days"),
    [
        ("2026-11-01", "2026-11-02", "UTC", ["2026-11-01"]),
        ("2026-11-01", "2026-11-02", "Asia/Kolkata", ["2026-11-01"]),
        ("2026-11-01T06:00", "2026-11-02T06:00", "UTC", ["2026-11-01"]),
        ("2026-11-02", "2026-11-09", "UTC", [f"2026-11-0{day}" for day in range(2, 9)]),
        ("2026-11-01T22:00", "2026-11-01T23:00", "UTC", []),
        ("2026-11-01T23:00", "2026-11-02T00:00", "UTC", ["2026-11-01"]),
        ("2026-11-02T00:00", "2026-11-02T01:00", "UTC", []),
        ("2026-11-02", "2026-11-02", "UTC", ["2026-11-01"]),
        ("2026-11-02T06:00", "2026-11-02T06:00", "UTC", ["2026-11-01"]),
        ("2026-10-25", "2026-10-26", "Europe/Vienna", ["2026-10-25"]),
    ],
)
def test_the_days_that_end_in_the_interval_are_loaded(
    campaigns: MoEngage, warehouse: Warehouse, start: str, end: str, zone: str, days: list[str]
) -> None:
    assert load(interval(start, end, zone))["days"] == days


def test_consecutive_runs_load_each_day_once(campaigns: MoEngage, warehouse: Warehouse) -> None:
    begins = [datetime(2026, 11, 1, 5, tzinfo=UTC) + timedelta(hours=7 * number) for number in range(25)]
    days: list[str] = []
    for start, end in pairwise(begins):
        days += load(interval(start.isoformat(), end.isoformat()))["days"]

    assert days == [f"2026-11-{day:02}" for day in range(1, 8)]


def test_a_run_without_an_interval_loads_the_last_day_that_was_over(
    campaigns: MoEngage, warehouse: Warehouse
) -> None:
    run = SimpleNamespace(run_after=datetime(2026, 11, 2, 0, 30, tzinfo=UTC), start_date=None)

    assert load({**Task().context, "dag_run": run})["days"] == ["2026-11-01"]
    assert load({**Task().context, "dag_run": run}, time_zone="America/New_York")["days"] == ["2026-10-31"]


def test_a_window_is_loaded_by_day(campaigns: MoEngage, warehouse: Warehouse) -> None:
    seed(campaigns, "A")

    result = load(start="2026-11-01", end=date(2026, 12, 15))

    assert len(result["days"]) == 45
    assert warehouse.select("SELECT count(DISTINCT day), count(*) FROM stats") == [(45, 90)]
    assert result["requests"] == 45 + 1


def test_a_throttled_or_failed_page_is_asked_again_and_no_row_comes_twice(
    campaigns: MoEngage, warehouse: Warehouse
) -> None:
    seed(campaigns, *(f"Campaign {number:02}" for number in range(30)))
    workspace = campaigns.emulator.workspace
    workspace.add_fault(Fault("status", status=429, after=1, times=4))
    workspace.add_fault(Fault("cut_after", times=2))

    result = load(campaign_details=False)

    assert (result["rows"], result["requests"], workspace.counts.faulted) == (60, 3 + 4 + 2, 6)
    assert warehouse.select("SELECT count(*), count(DISTINCT id) FROM stats") == [(60, 60)]


def test_a_failure_leaves_the_day_as_it_was_and_the_days_before_it_loaded(
    campaigns: MoEngage, warehouse: Warehouse
) -> None:
    seed(campaigns, *(f"Campaign {number:02}" for number in range(20)))
    load(interval("2026-11-01", "2026-11-03"))
    campaigns.emulator.workspace.clear_campaigns()
    seed(campaigns, *(f"New {number:02}" for number in range(20)))
    campaigns.emulator.workspace.add_fault(
        Fault("status", status=500, after=3, times=None, path="/core-services/v1/campaign-stats")
    )

    with pytest.raises(MoEngageServerError):
        load(interval("2026-11-01", "2026-11-03"))

    assert warehouse.select("SELECT day, min(campaign_name), count(*) FROM stats GROUP BY day") == [
        ("2026-11-01", "New 00", 40),
        ("2026-11-02", "Campaign 00", 40),
    ]


def test_a_limit_that_stays_used_up_ends_the_task(campaigns: MoEngage, warehouse: Warehouse) -> None:
    campaigns.emulator.workspace.add_fault(Fault("status", status=429, times=None))

    with pytest.raises(MoEngageRateLimitError):
        load()

    assert campaigns.emulator.workspace.counts.requests == 30


@pytest.mark.parametrize("when", ["after the deletion", "in the insertion", "before the commit"])
def test_a_kill_in_the_transaction_leaves_the_day_as_it_was(
    campaigns: MoEngage, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    class KilledError(BaseException):
        pass

    seed(campaigns, *(f"Campaign {number}" for number in range(9)))
    load()
    before = warehouse.select("SELECT * FROM stats ORDER BY id")
    seed(campaigns, "Another")
    delete, insert = StatsTable._delete, StatsTable._insert

    def kill(*_: Any) -> Any:
        raise KilledError

    if when == "after the deletion":
        monkeypatch.setattr(StatsTable, "_insert", kill)
    elif when == "in the insertion":
        monkeypatch.setattr(StatsTable, "_insert", lambda *given: (insert(*given), kill()))
    else:
        monkeypatch.setattr(StatsTable, "_delete", lambda *given: (delete(*given), kill()))
    with pytest.raises(KilledError):
        load()
    assert warehouse.select("SELECT * FROM stats ORDER BY id") == before

    monkeypatch.undo()


def test_of_two_tries_that_replace_a_day_at_once_one_fails(campaigns: MoEngage, warehouse: Warehouse) -> None:
    """The rows that the other try has inserted are invisible to this one's deletion, as on PostgreSQL."""
    seed(campaigns, "A")
    load()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StatsTable, "_delete", lambda *_: None)
        with pytest.raises(MoEngageError, match=r"2026-11-01 could not be written \(IntegrityError"):
            load()

    assert warehouse.select("SELECT count(*), count(DISTINCT id) FROM stats") == [(2, 2)]


def test_a_killed_task_replaces_nothing(campaigns: MoEngage, warehouse: Warehouse) -> None:
    seed(campaigns, "A")
    load()
    task = operator()
    campaigns.emulator.workspace.clear_campaigns()
    task.on_kill()

    with pytest.raises(MoEngageError, match="The task was killed"):
        task.execute(interval("2026-11-01", "2026-11-02"))

    assert warehouse.select("SELECT count(*) FROM stats") == [(2,)]


def test_an_error_of_the_database_shows_no_value(campaigns: MoEngage, warehouse: Warehouse) -> None:
    seed(campaigns, "Secret plan")
    with closing(sqlite3.connect(warehouse.file)) as connection:
        connection.execute("CREATE TABLE stats (id text, campaign_name text CHECK (campaign_name = 'x'))")

    with pytest.raises(MoEngageError, match=r"could not be written \(IntegrityError") as caught:
        load()

    assert "Secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_without_the_search_says_how_to_load_without_names(
    campaigns: MoEngage, warehouse: Warehouse
) -> None:
    seed(campaigns, "A")
    campaigns.emulator.workspace.add_fault(Fault("status", status=403, times=None, path="/v5/campaigns"))

    with pytest.raises(MoEngageAuthError, match="campaign_details=False"):
        load()
    load(campaign_details=False)

    assert warehouse.select("SELECT DISTINCT campaign_name, channel FROM stats") == [(None, None)]


def test_a_campaign_that_the_search_does_not_have_is_loaded_without_a_name(
    campaigns: MoEngage, warehouse: Warehouse
) -> None:
    seed(campaigns, "A")
    campaigns.emulator.workspace.add_fault(
        Fault("status", status=200, body='{"response_id": "r", "data": {"campaigns": []}}', path="/v5/campaigns")
    )
    load()

    assert warehouse.select("SELECT DISTINCT campaign_name FROM stats") == [(None,)]


def test_names_are_asked_for_once_in_a_run(campaigns: MoEngage, warehouse: Warehouse) -> None:
    seed(campaigns, *(f"Campaign {number}" for number in range(10)))

    assert load(start="2026-11-01", end="2026-11-05")["requests"] == 5 + 1


def pages_of(campaigns: int) -> Act:
    """A server of so many campaigns, whose pages cost it no memory."""
    variation = {"performance_stats": {"sent": 1}}
    stats = [{"platforms": {"WEB": {"locales": {"en": {"variations": {"A": variation}}}}}}]
    number = 0

    def act(connection: Any) -> None:
        nonlocal number
        number += 10
        data = {f"{each:024x}": stats for each in range(number - 10, min(number, campaigns))}
        total = {"total_campaigns": campaigns, "total_pages": -(-campaigns // 10), "current_page": number // 10}
        answer(200, json.dumps({"response_id": "r", **total, "data": data}).encode())(connection)

    return act


def peak_of(campaigns: int, monkeypatch: pytest.MonkeyPatch) -> int:
    with loopback(pages_of(campaigns)) as server:
        connection = {"conn_type": "moengage", "login": "WS", "password": "k", "host": server.url}
        monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", json.dumps(connection))
        server.requests = cast("Any", deque(maxlen=1))
        tracemalloc.start()
        try:
            assert load(campaign_details=False)["rows"] == campaigns
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


@pytest.mark.usefixtures("campaigns", "warehouse")
def test_memory_does_not_grow_with_the_number_of_campaigns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the campaigns' IDs are kept while a day is read: less than 400 bytes each."""
    peak_of(100, monkeypatch)  # what is loaded once
    few, many = (peak_of(campaigns, monkeypatch) for campaigns in (600, 1_600))

    assert many - few < 1_000 * 400


def test_each_day_becomes_a_file_that_replaces_the_earlier_one(campaigns: MoEngage, tmp_path: Path) -> None:
    seed(campaigns, "A", "B")
    given = {"table": None, "conn_id": None, "path": tmp_path / "stats"}
    first = load(interval("2026-11-01", "2026-11-03"), **given)
    campaigns.emulator.workspace.remove_campaign(Campaign("B").id)
    again = load(interval("2026-11-02", "2026-11-03"), **given)

    assert first["files"][1:] == again["files"]
    assert sorted(path.name for path in (tmp_path / "stats").iterdir()) == [
        Path(name).name for name in first["files"]
    ]
    counts = [len(Path(name).read_text().splitlines()) for name in first["files"]]
    assert counts == [4, 2]
    row = json.loads(Path(first["files"][0]).read_text().splitlines()[0])
    assert list(row)[: len(COLUMNS)] == [column.name for column in COLUMNS]
    assert (row["day"], row["campaign_name"], row["performance_sent"] > 900) == ("2026-11-01", "A", True)


def test_files_are_private_and_of_different_tasks_differ(campaigns: MoEngage, tmp_path: Path) -> None:
    seed(campaigns, "A")
    given = {"table": None, "conn_id": None, "path": str(tmp_path)}
    kinds: list[dict[str, Any]] = [{}, {"metric_type": "UNIQUE"}, {"campaign_ids": [Campaign("A").id]}]
    files = [load(**given, **kind)["files"][0] for kind in kinds]

    assert len(set(files)) == 3
    assert {Path(file).stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_kill_before_a_file_is_replaced_leaves_the_earlier_one(campaigns: MoEngage, tmp_path: Path) -> None:
    seed(campaigns, "A")
    given = {"table": None, "conn_id": None, "path": str(tmp_path)}
    [file] = load(**given)["files"]
    before = Path(file).read_bytes()
    seed(campaigns, "B")
    task = operator(**given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_provider_moengage.campaign_stats.files.os.fsync", lambda _: task.on_kill())
        with pytest.raises(MoEngageError, match="The task was killed"):
            task.execute(interval("2026-11-01", "2026-11-02"))

    assert Path(file).read_bytes() == before
    assert list(tmp_path.iterdir()) == [Path(file)]


def test_a_folder_that_cannot_be_written_is_named_and_not_tried_again(campaigns: MoEngage, tmp_path: Path) -> None:
    seed(campaigns, "A")
    (tmp_path / "stats").write_text("a file")

    with pytest.raises(
        MoEngageRequestError, match=r"^path '.*/stats': could not be written \(.*2026-11-01 is as it"
    ):
        load(table=None, conn_id=None, path=str(tmp_path / "stats"))


@pytest.mark.parametrize("scheme", ["s3", "memory"])
def test_files_go_to_any_storage(campaigns: MoEngage, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = attach(scheme, monkeypatch)
    seed(campaigns, "A")
    given = {"table": None, "conn_id": None, "path": f"{scheme}://bucket/stats"}
    [file] = load(**given)["files"]
    seed(campaigns, "B")
    load(**given)

    [path] = store.store
    assert file == f"{scheme}://bucket/stats/{path.rpartition('/')[2]}"
    assert len(store.cat_file(path).splitlines()) == 4


def test_parquet_has_a_column_for_each_metric(campaigns: MoEngage, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    seed(campaigns, "A", metrics={"read": 7})
    seed(campaigns, "B")

    [file] = load(table=None, conn_id=None, path=str(tmp_path), file_format="parquet")["files"]

    rows = parquet.read_table(file).to_pylist()
    assert file.endswith(".parquet")
    assert [(row["day"], row["campaign_name"], row["performance_read"]) for row in rows] == [
        (DAY, "A", 7.0), (DAY, "A", 7.0), (DAY, "B", None), (DAY, "B", None),
    ]  # fmt: skip


def test_parquet_of_a_day_without_campaigns_can_be_read(campaigns: MoEngage, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    [file] = load(table=None, conn_id=None, path=str(tmp_path), file_format="parquet")["files"]

    assert parquet.read_table(file).to_pylist() == []


def test_parquet_without_its_library_says_what_to_install(
    campaigns: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_moengage.campaign_stats.files.find_spec", lambda _: None)

    with pytest.raises(MoEngageRequestError, match=r"needs pyarrow.*airflow-provider-moengage\[parquet\]"):
        load(table=None, conn_id=None, path=str(tmp_path), file_format="parquet")

    assert campaigns.emulator.workspace.counts.requests == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"table": None, "conn_id": None}, "table, path: expected one of them"),
        ({"conn_id": None}, "conn_id None"),
        ({"path": "/data"}, "path: expected either path, or table and conn_id"),
        ({"table": "a..b"}, "table 'a..b'"),
        ({"table": None, "conn_id": None, "path": " "}, "path ' '"),
        ({"file_format": "csv"}, "file_format 'csv'"),
        ({"start": "2026-11-01"}, "start, end: expected both"),
        ({"start": "2026-11-02", "end": "2026-11-01"}, "is after end"),
        ({"start": "2020-01-01", "end": "2026-11-01"}, "expected at most 366"),
        ({"start": "soon", "end": "2026-11-01"}, "start 'soon'"),
        ({"attribution_type": "LAST"}, "attribution_type 'LAST'"),
        ({"metric_type": "BOTH"}, "metric_type 'BOTH'"),
        ({"time_zone": "Mars/Base"}, "time_zone 'Mars/Base'"),
        ({"time_zone": "../etc"}, "time_zone"),
        ({"campaign_ids": "['a', 'b']"}, "campaign_ids: expected a list of IDs, but got its text"),
        ({"campaign_ids": [3]}, "campaign_ids"),
        ({"campaign_details": "yes"}, "campaign_details 'yes'"),
        ({"project_code": ["a"]}, "project_code"),
    ],
)
def test_a_wrong_argument_is_named_when_the_dag_is_parsed(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared below)
        operator(**arguments)

    assert said in str(caught.value)


def test_templates_are_checked_when_they_are_rendered(campaigns: MoEngage, warehouse: Warehouse) -> None:
    task = operator(start="{{ ds }}", end="{{ ds }}", attribution_type="{{ params.kind }}", table="{{ params.t }}")
    task.attribution_type, task.table = "LAST", "stats"  # type: ignore[assignment]
    task.start = task.end = "2026-11-01"

    with pytest.raises(ValueError, match="attribution_type 'LAST'"):
        task.execute(interval("2026-11-01", "2026-11-02"))


def test_a_start_that_renders_to_none_is_not_taken_for_the_interval(
    campaigns: MoEngage, warehouse: Warehouse
) -> None:
    task = operator(start="{{ params.start }}", end="{{ ds }}")
    task.start, task.end = None, "2026-11-01"

    with pytest.raises(ValueError, match="start, end: expected both"):
        task.execute(interval("2026-11-01", "2026-11-02"))


def test_a_project_of_a_portfolio_has_rows_of_its_own(campaigns: MoEngage, warehouse: Warehouse) -> None:
    seed(campaigns, "A")
    load()
    load(project_code="shop")

    assert warehouse.select("SELECT project_code, count(DISTINCT id) FROM stats GROUP BY 1 ORDER BY 1") == [
        ("", 2),
        ("shop", 2),
    ]


def test_a_variation_that_comes_twice_replaces_nothing(campaigns: MoEngage, warehouse: Warehouse) -> None:
    seed(campaigns, "A")
    load()
    variations: Any = {"A": {}, "A ": {}}
    data = {"c1": [{"platforms": {"WEB": {"locales": {"en": {"variations": variations}}}}}]}
    page = {"response_id": "r", "total_campaigns": 1, "current_page": 1, "total_pages": 1, "data": data}
    campaigns.emulator.workspace.add_fault(
        Fault("status", status=200, body=json.dumps(page), path="/core-services")
    )

    with pytest.raises(MoEngageServerError, match="the same variation of a campaign twice"):
        load()

    assert warehouse.select("SELECT count(*) FROM stats") == [(2,)]
