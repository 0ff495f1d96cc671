"""Incremental syncs: which window a run sends, and where the watermark is afterwards."""

from __future__ import annotations

import itertools
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset

from airflow_provider_moengage.bulk.mapping import EventMapping
from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.exceptions import MoEngageAuthError, MoEngageError, MoEngageRejectsError
from airflow_provider_moengage.tasks.watermark import (
    LONGEST_KEY,
    Run,
    Watermark,
    Window,
    _move_key,
    check_moments,
    window_after,
    window_without_watermark,
)
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from devtools.postgres import postgres_server
from tests.delivering import MoEngage
from tests.import_files.test_folder import attach
from tests.task import Baton, Store

SOURCE = Asset("purchases")
SQL = """
SELECT id, user_id, at FROM purchases
WHERE at >= '{{ since.replace(tzinfo=None) }}' AND at < '{{ until.replace(tzinfo=None) }}'
"""
PURCHASE = EventMapping(action="Purchase", customer_id="user_id", time="at", attributes=["id"])


def at(hour: float, day: int = 2) -> datetime:
    return datetime(2026, 1, day, tzinfo=UTC) + timedelta(hours=hour)


def hours(since: float, until: float) -> Window:
    return Window(at(since), at(until))


@pytest.mark.parametrize(
    ("watermark", "run", "expected"),
    [
        pytest.param(at(3), Run("r", interval=hours(3, 4), run_after=at(4)), hours(3, 4), id="runs in a row"),
        pytest.param(at(1), Run("r", interval=hours(3, 4), run_after=at(4)), hours(1, 4), id="missed runs"),
        pytest.param(at(3.5), Run("r", interval=hours(3, 4), run_after=at(4)), hours(3.5, 4), id="after a manual"),
        pytest.param(at(3), Run("r", run_after=at(3.7), dag_start=at(0)), hours(3, 3.7), id="no interval"),
        pytest.param(at(3), Run("r", interval=hours(3, 4), run_after=at(9)), hours(3, 4), id="not its run_after"),
        pytest.param(None, Run("r", interval=hours(3, 4), dag_start=at(0)), hours(3, 4), id="the first, interval"),
        pytest.param(None, Run("r", run_after=at(4), dag_start=at(0)), hours(0, 4), id="the first, start_date"),
        pytest.param(at(5), Run("r", interval=hours(3, 4)), hours(5, 4), id="older than the watermark"),
    ],
)
def test_a_run_continues_from_the_watermark(watermark: datetime | None, run: Run, expected: Window) -> None:
    assert window_after(watermark, run) == expected


def test_a_first_run_without_a_known_start_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"watermark: manual__1 is the first run .*Give the Dag a start_date"):
        window_after(None, Run("manual__1", run_after=at(4)))


@pytest.mark.parametrize("is_backfill", [True, False])
def test_a_run_without_watermark_has_its_own_data_interval(is_backfill: bool) -> None:
    run = Run("r", is_backfill, interval=hours(3, 4), run_after=at(20), dag_start=at(0))

    assert window_without_watermark(run) == hours(3, 4)


@pytest.mark.parametrize(
    ("is_backfill", "message"),
    [
        (True, r"backfill run r has no data interval.*CronDataIntervalTimetable"),
        (False, r"Airflow before 3\.3 stores no watermark.*CronDataIntervalTimetable.*logical date"),
    ],
)
def test_without_watermark_and_interval_an_error_says_what_to_do(is_backfill: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        window_without_watermark(Run("r", is_backfill, run_after=at(4), dag_start=at(0)))


@pytest.mark.parametrize(
    ("sql", "parameters", "missing"),
    [
        (SQL, None, None),
        ("{{- since.date() -}} {% if until %}{% endif %}", None, None),
        ("a >= :since AND a < :until", {"since": "{{ since }}", "until": "{{ until }}"}, None),
        ("a >= ? AND a < ?", ["{{ since }}", "{{ until }}"], None),
        ("changed.sql", None, None),
        ("a >= :since AND a < :until", None, "{{ since }} and {{ until }}"),
        ("a >= '{{ since }}'", None, "{{ until }}"),
        ("a < '{{ until }}' AND since", None, "{{ since }}"),
        ("{{ data_interval_start }} since until", {}, "{{ since }} and {{ until }}"),
    ],
)
def test_a_query_that_visibly_does_not_use_both_times_is_an_error(
    sql: str, parameters: Any, missing: str | None
) -> None:
    if missing is None:
        check_moments(sql, parameters)
        return
    with pytest.raises(ValueError, match="watermark: expected") as error:
        check_moments(sql, parameters)
    assert f"expected {missing} in sql or parameters" in str(error.value)


class Closed:
    """Stores as in `airflow tasks render`."""

    def get(self, key: str, default: Any = None) -> Any:
        raise ImportError("SUPERVISOR_COMMS")


class Source:
    """An asset's state and the purchases, over the runs of a Dag."""

    def __init__(self, database: sqlite3.Connection, moengage: MoEngage) -> None:
        self.state = Store()
        self._database = database
        self._moengage = moengage

    def buys(self, *moments: datetime, user: str = "ann") -> None:
        rows = [(user, f"{moment:%Y-%m-%d %H:%M:%S}") for moment in moments]
        with self._database:
            self._database.executemany("INSERT INTO purchases (user_id, at) VALUES (?, ?)", rows)

    def run(self, run_after: datetime | None = None, **facts: Any) -> Try:
        return Try(self.state, run_after, **facts)

    @property
    def arrived(self) -> Counter[str]:
        """Hour and minute of the purchases, and how often each arrived."""
        return Counter(event["actions"][0]["current_time"][11:16] for event in self._moengage.arrived)

    @property
    def watermark(self) -> str | None:
        return self.state.get("moengage:a_dag:sync")


class Try:
    """The task of a run over its tries, as in a worker."""

    def __init__(
        self,
        state: Any,
        run_after: datetime | None,
        *,
        interval: Window | None = None,
        run_type: str = "scheduled",
        dag_start: datetime | None = datetime(2026, 1, 2, tzinfo=UTC),
        has_store: bool = True,
        task_id: str = "sync",
        map_index: int = -1,
        inlets: tuple[Any, ...] = (SOURCE,),
    ) -> None:
        ti = SimpleNamespace(
            dag_id="a_dag", run_id="a_run", task_id=task_id, map_index=map_index, max_tries=3, try_number=1
        )
        run = SimpleNamespace(run_id="a_run", run_type=run_type)
        if run_after is not None:
            run.run_after = run_after
        self.ti = ti
        self.context: Any = {
            "ti": ti,
            "task": SimpleNamespace(retries=3),
            "dag": SimpleNamespace(start_date=dag_start),
            "dag_run": run,
            "params": {},
        }
        if interval is not None:
            self.context |= {"data_interval_start": interval.since, "data_interval_end": interval.until}
        if has_store:
            self.context["task_state_store"] = Store()
            if inlets:
                self.context["asset_state_store"] = States({_name(asset): state for asset in inlets})

    def render(self, **options: Any) -> SqlToMoEngageOperator:
        arguments = {"sql": SQL, "mapping": PURCHASE, "watermark": SOURCE, **options}
        operator = SqlToMoEngageOperator(task_id=self.ti.task_id, conn_id="warehouse", **arguments)
        operator.render_template_fields(self.context)
        return operator

    def sync(self, **options: Any) -> dict[str, Any]:
        return self.render(**options).execute(self.context)

    def clear(self) -> None:
        self.ti.max_tries = self.ti.try_number + 3
        self.ti.try_number += 1


class States:
    """The states of a task's assets, by asset."""

    def __init__(self, states: dict[str, Any]) -> None:
        self._states = states

    def __getitem__(self, asset: Any) -> Any:
        return self._states[_name(asset)]


def _name(asset: Any) -> str:
    return str(getattr(asset, "name", asset.uri))


@pytest.fixture
def source(connected: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE purchases (id INTEGER PRIMARY KEY, user_id TEXT, at TEXT)")
    yield Source(database, connected)
    database.close()


def hourly(hour: float) -> dict[str, Any]:
    return {"run_after": at(hour + 1), "interval": hours(hour, hour + 1)}


def test_sqlite_is_warned_of_bounds_with_an_offset(source: Source, caplog: Any, capsys: Any) -> None:
    source.run(**hourly(0)).sync()
    assert "SQLite compares" not in capsys.readouterr().out + caplog.text

    source.run(**hourly(1)).sync(sql=SQL.replace(".replace(tzinfo=None)", ""))
    assert "SQLite compares" in capsys.readouterr().out + caplog.text


def test_runs_that_follow_each_other_send_each_row_once(source: Source) -> None:
    source.buys(*[at(minutes / 60) for minutes in range(0, 180, 20)])

    reports = [source.run(**hourly(hour)).sync() for hour in range(3)]

    assert sum(report["events"] for report in reports) == 9
    assert set(source.arrived.values()) == {1}
    assert source.watermark == "2026-01-02T03:00:00+00:00"


def test_a_run_sends_what_missed_runs_would_have(source: Source) -> None:
    source.buys(at(0.5), at(1.5), at(5.5))
    source.run(**hourly(0)).sync()

    report = source.run(**hourly(5)).sync()

    assert report["events"] == 2
    assert source.watermark == at(6).isoformat()


def test_a_run_without_an_interval_sends_up_to_its_run_after(source: Source) -> None:
    source.buys(at(0.5), at(1.2), at(1.8))
    source.run(**hourly(0)).sync()

    source.run(at(1.5), run_type="manual").sync()
    assert source.arrived == {"00:30": 1, "01:12": 1}
    source.run(**hourly(1)).sync()

    assert source.arrived == {"00:30": 1, "01:12": 1, "01:48": 1}


def test_a_first_run_without_an_interval_begins_at_the_dags_start(source: Source) -> None:
    source.buys(at(0.5), at(1.5))

    report = source.run(at(2), dag_start=datetime(2026, 1, 2, 1), interval=hours(2, 2)).sync()

    assert report["events"] == 1, "an empty interval is ignored, and a time without a zone is UTC"


def test_the_next_run_sends_the_rows_of_a_failed_one_even_of_the_first(
    source: Source, connected: MoEngage
) -> None:
    source.buys(at(0.5), at(1.5))
    connected.emulator.workspace.add_fault(Fault("status", status=401))

    with pytest.raises(MoEngageAuthError):
        source.run(**hourly(0)).sync()
    source.run(**hourly(1)).sync()

    assert source.arrived == {"00:30": 1, "01:30": 1}


def test_at_most_once_only_a_clear_sends_the_rows_of_a_failed_run(source: Source, connected: MoEngage) -> None:
    source.buys(at(0.5), at(1.5))
    connected.emulator.workspace.add_fault(Fault("status", status=401))
    failed = source.run(**hourly(0))

    with pytest.raises(MoEngageAuthError):
        failed.sync(delivery="at_most_once")
    source.run(**hourly(1)).sync(delivery="at_most_once")
    assert source.arrived == {"01:30": 1}
    failed.clear()
    failed.sync(delivery="at_most_once")

    assert source.arrived == {"00:30": 1, "01:30": 1}
    assert source.watermark == at(2).isoformat()


def test_after_a_run_that_failed_for_rejects_the_next_one_sends_nothing_twice(source: Source) -> None:
    source.buys(at(0.5))
    source.buys(at(0.6), user="null")
    source.buys(at(1.5))

    with pytest.raises(MoEngageRejectsError):
        source.run(**hourly(0)).sync()
    report = source.run(**hourly(1)).sync()

    assert (report["events"], report["rejected"]) == (1, 0)
    assert source.arrived == {"00:30": 1, "01:30": 1}


def test_rejects_that_a_store_does_not_take_are_written_by_the_retry_and_the_next_run_sends_nothing_twice(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = attach("memory", monkeypatch)
    source.buys(at(0.5))
    source.buys(at(0.6), user="null")
    source.buys(at(1.5))
    options = {"key_columns": ["id"], "rejects_path": "memory://bucket/r", "max_rejects": 1}
    first = source.run(**hourly(0))

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "open", _fail)
        with pytest.raises(MoEngageError, match="the next try writes the 1 rejects"):
            first.sync(**options)
    report = source.run(**hourly(1)).sync(**options)
    first.ti.try_number += 1
    again = first.sync(**options)

    assert (report["events"], report["rejected"]) == (1, 0)
    assert (again["events"], again["rejected"]) == (1, 1)
    assert len(store.store) == 1
    assert source.arrived == {"00:30": 1, "01:30": 1}
    assert source.watermark == at(2).isoformat()


def _fail(*_: object, **__: object) -> Any:
    raise ConnectionError


@pytest.mark.parametrize("dry_run", [True, "True", "{{ True }}"])
def test_a_dry_run_sends_nothing_and_leaves_the_watermark(source: Source, dry_run: Any) -> None:
    source.buys(at(0.5), at(1.5))
    source.buys(at(1.6), user="null")
    source.run(**hourly(0)).sync()

    with pytest.raises(MoEngageRejectsError):
        source.run(**hourly(1)).sync(dry_run=dry_run)
    report = source.run(**hourly(1)).sync(dry_run=dry_run, max_rejects=1)

    assert report["dry_run"]
    assert source.watermark == at(1).isoformat()
    assert source.arrived == {"00:30": 1}


def test_a_retry_sends_the_same_rows_even_if_the_watermark_has_moved(source: Source) -> None:
    source.buys(at(0.5), at(1.5))
    source.run(**hourly(0)).sync()
    run = source.run(**hourly(1))
    first = run.render()

    source.run(at(1.7), run_type="manual").sync()
    run.ti.try_number += 1
    second = run.render()

    assert second.sql == first.sql


def test_a_retry_of_a_finished_run_moves_and_sends_nothing(source: Source) -> None:
    source.buys(at(0.5), at(1.5))
    run = source.run(**hourly(0))
    run.sync()

    run.ti.try_number += 1
    report = run.sync()

    assert report["events"] == 1, "the report of the first try"
    assert source.arrived == {"00:30": 1}
    assert source.watermark == at(1).isoformat()


def test_a_clear_of_an_old_run_sends_its_rows_again_and_leaves_the_watermark(source: Source) -> None:
    source.buys(at(0.5), at(1.5), at(2.5))
    runs = [source.run(**hourly(hour)) for hour in range(3)]
    for run in runs:
        run.sync()

    runs[1].clear()
    report = runs[1].sync()

    assert report["events"] == 1
    assert source.arrived == {"00:30": 1, "01:30": 2, "02:30": 1}
    assert source.watermark == at(3).isoformat()


def test_an_old_run_whose_window_is_empty_sends_nothing_and_succeeds(
    source: Source, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    source.buys(at(0.5), at(1.5))
    run = source.run(**hourly(0))
    run.sync()
    source.run(**hourly(1)).sync()

    run.context["task_state_store"].clear()
    run.clear()
    with caplog.at_level("INFO"):
        report = run.sync(sql=SQL.replace("AND", "OR"))

    assert (report["accepted"], report["rejected"], report["requests"]) == (0, 0, 0)
    assert source.watermark == at(2).isoformat()
    said = capsys.readouterr().out + caplog.text
    assert (
        "watermark is at 2026-01-02 02:00:00+00:00, past the end of this run at 2026-01-02 01:00:00+00:00" in said
    )


def test_a_backfill_sends_its_own_interval_and_ignores_the_watermark(source: Source) -> None:
    source.buys(at(0.5), at(5.5))
    backfill = Try(None, at(1), interval=hours(0, 1), run_type="backfill", inlets=())

    report = backfill.sync()

    assert report["events"] == 1
    assert "moengage_window" not in backfill.context["task_state_store"]


def test_a_run_that_a_backfill_takes_over_sends_its_own_interval(source: Source) -> None:
    source.buys(at(0.5), at(1.5))
    run = source.run(**hourly(1))
    source.state.set("moengage:a_dag:sync", at(0).isoformat())
    run.sync()
    assert source.arrived == {"00:30": 1, "01:30": 1}

    run.context["dag_run"].run_type = "backfill"
    run.clear()
    run.sync()

    assert source.arrived == {"00:30": 1, "01:30": 2}


def test_before_airflow_3_3_a_run_sends_its_data_interval(source: Source) -> None:
    source.buys(at(0.5), at(1.5))

    report = source.run(interval=hours(1, 2), has_store=False).sync()

    assert report["events"] == 1
    assert source.state == {}


@pytest.mark.parametrize("interval", [None, hours(1, 1)])
def test_before_airflow_3_3_a_run_without_an_interval_is_an_error(source: Source, interval: Any) -> None:
    with pytest.raises(ValueError, match=r"Airflow before 3\.3"):
        source.run(at(1), interval=interval, has_store=False, run_type="manual").sync()


def test_each_task_and_map_index_has_its_own_watermark_on_an_asset(source: Source) -> None:
    source.buys(at(0.5))

    for facts in ({}, {"task_id": "group.other"}, {"map_index": 0}, {"map_index": 1}):
        assert source.run(**hourly(0), **facts).sync()["events"] == 1

    watermarks = {
        "moengage:a_dag:sync",
        "moengage:a_dag:group.other",
        "moengage:a_dag:sync:0",
        "moengage:a_dag:sync:1",
    }
    assert set(source.state) == watermarks | {f"{key}:move" for key in watermarks}
    assert all(len(_move_key("x" * length)) <= LONGEST_KEY for length in (LONGEST_KEY - 5, LONGEST_KEY))
    assert len({_move_key("x" * length) for length in range(LONGEST_KEY - 9, LONGEST_KEY)}) == 9


def test_the_stores_contain_only_times(source: Source) -> None:
    run = source.run(**hourly(0))
    run.sync(dry_run=True)

    assert source.state == {"moengage:a_dag:sync": "2026-01-02T00:00:00+00:00"}
    window = {"since": "2026-01-02T00:00:00+00:00", "until": "2026-01-02T01:00:00+00:00"}
    assert run.context["task_state_store"] == {"moengage_window": window}


def test_a_slow_run_does_not_move_the_watermark_back(source: Source) -> None:
    slow, quick = source.run(**hourly(0)), source.run(**hourly(1))
    operator = slow.render()
    quick.sync()

    operator.execute(slow.context)

    assert source.watermark == at(2).isoformat()


class Interrupted:
    """An asset's state, with another run that moves the watermark between two of this run's calls.

    :param at: the number of the call before which the other run does it.
    """

    def __init__(self, state: Any, at: int, other: Callable[[], object]) -> None:
        self._state = state
        self._left = at
        self._other = other

    def _tick(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._other()

    def get(self, key: str, default: Any = None) -> Any:
        self._tick()
        return self._state.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self._tick()
        self._state.set(key, value)


@pytest.mark.parametrize("call", [1, 3])
@pytest.mark.parametrize("hour", [3, 4])
def test_a_watermark_that_another_run_writes_over_is_written_again(source: Source, call: int, hour: int) -> None:
    source.state.set("moengage:a_dag:sync", at(0).isoformat())

    def moved(state: Any, moment: datetime) -> None:
        run = source.run(**hourly(0))
        run.context["asset_state_store"] = States({_name(SOURCE): state})
        Watermark(SOURCE, run.context).advance(moment)

    late = lambda: source.state.set("moengage:a_dag:sync", at(2).isoformat())  # noqa: E731
    moved(Interrupted(source.state, call, late), at(hour))

    assert source.watermark == at(hour).isoformat()


@pytest.mark.parametrize("before", [None, 0])
def test_two_runs_that_move_the_watermark_at_once_leave_it_at_the_later_moment_in_every_order_of_their_steps(
    source: Source, before: int | None
) -> None:
    steps = 6
    moments = {"a": at(2), "b": at(4)}
    for mine in itertools.combinations(range(2 * steps), steps):
        order = "".join("a" if n in mine else "b" for n in range(2 * steps))
        state = Baton(order)
        if before is not None:
            dict.__setitem__(state, "moengage:a_dag:sync", at(before).isoformat())
        run = source.run(**hourly(0))
        run.context["asset_state_store"] = States({_name(SOURCE): state})

        def move() -> None:
            Watermark(SOURCE, run.context).advance(moments[threading.current_thread().name])  # noqa: B023
            state.leave()  # noqa: B023

        threads = [threading.Thread(target=move, name=name) for name in moments]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

        assert dict.get(state, "moengage:a_dag:sync") == at(4).isoformat(), order


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
def test_of_two_runs_at_once_at_most_once_only_one_sends_the_rows(
    source: Source, connected: MoEngage, delivery: str
) -> None:
    source.buys(at(0.5), at(1.5))
    source.state.set("moengage:a_dag:sync", at(0).isoformat())
    first, second = source.run(**hourly(0)), source.run(**hourly(1))
    slow = second.render(delivery=delivery)
    first.sync(delivery=delivery)

    if delivery == "at_least_once":
        slow.execute(second.context)
        assert connected.emulator.workspace.counts.events == 3, "the row of the first run twice, none lost"
        return
    with pytest.raises(MoEngageError, match="Another run of this task has moved the watermark"):
        slow.execute(second.context)
    second.sync(delivery=delivery)

    assert connected.emulator.workspace.counts.events == 2


def test_a_development_run_beside_a_real_one_sends_its_rows_twice_and_leaves_the_watermark(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_runner = pytest.importorskip("airflow.sdk.execution_time.task_runner")
    source.buys(at(0.5), at(1.5))
    source.state.set("moengage:a_dag:sync", at(0).isoformat())
    real, development = source.run(**hourly(0)), source.run(**hourly(1), run_type="manual")
    operator = real.render()

    class InProcessSupervisorComms:
        """What such a run has instead of a supervisor in another process."""

    with monkeypatch.context() as developing:
        developing.setattr(task_runner, "SUPERVISOR_COMMS", InProcessSupervisorComms(), raising=False)
        assert development.sync()["events"] == 2
    assert source.watermark == at(0).isoformat()
    operator.execute(real.context)
    assert source.watermark == at(1).isoformat()
    source.run(**hourly(1)).sync()

    assert source.arrived == {"00:30": 2, "01:30": 2}
    assert source.watermark == at(2).isoformat()


@pytest.mark.parametrize(
    ("by_hand", "since"),
    [("2026-01-02T01:30:00+02:00", "2026-01-01 23:30:00+00:00"), ("2026-01-01", "2026-01-01 00:00:00+00:00")],
)
def test_the_watermark_can_be_set_manually(source: Source, by_hand: str, since: str) -> None:
    source.state.set("moengage:a_dag:sync", by_hand)

    assert source.run(**hourly(0)).render(sql="{{ since }}|{{ until }}").sql.startswith(since)


@pytest.mark.parametrize("by_hand", ["yesterday", 5, {"since": "2026-01-01"}])
def test_a_watermark_that_is_not_a_time_is_an_error_that_names_it(source: Source, by_hand: Any) -> None:
    source.state.set("moengage:a_dag:sync", by_hand)

    with pytest.raises(
        ValueError, match=r"watermark: the asset's state 'moengage:a_dag:sync' is .*expected a time"
    ):
        source.run(**hourly(0)).render()


def test_times_render_in_utc_with_their_offset(source: Source) -> None:
    plus_two = timezone(timedelta(hours=2))
    interval = Window(datetime(2026, 1, 2, 3, tzinfo=plus_two), datetime(2026, 1, 2, 4, 0, 0, 5, tzinfo=plus_two))
    forms = (
        "since",
        "until",
        "since.date()",
        "since | ts",
        "since.replace(tzinfo=None)",
        "since - (until - since)",
    )
    operator = source.run(at(2), interval=interval).render(sql="|".join(f"{{{{ {form} }}}}" for form in forms))

    assert operator.sql.split("|") == [
        "2026-01-02 01:00:00+00:00",
        "2026-01-02 02:00:00.000005+00:00",
        "2026-01-02",
        "2026-01-02T01:00:00+00:00",
        "2026-01-02 01:00:00",
        "2026-01-01 23:59:59.999995+00:00",
    ]


def test_only_templated_fields_have_since_and_until(source: Source, tmp_path: Path) -> None:
    run = source.run(**hourly(0))
    operator = run.render(
        sql="SELECT :since, :until",
        parameters={"since": "{{ since }}", "until": "{{ until }}"},
        rejects_path=f"{tmp_path}/{{{{ until.date() }}}}",
    )

    assert operator.parameters == {"since": str(at(0)), "until": str(at(1))}
    assert operator.rejects_path == f"{tmp_path}/2026-01-02"
    assert not {"since", "until"} & set(run.context)


def test_a_sql_file_is_checked_once_it_is_read(source: Source) -> None:
    run = source.run(**hourly(0))
    operator = SqlToMoEngageOperator(
        task_id="sync", sql="all.sql", conn_id="warehouse", mapping=PURCHASE, watermark=SOURCE
    )
    operator.sql = "SELECT * FROM purchases"  # as Airflow does when it has read the Dag

    with pytest.raises(ValueError, match=r"expected {{ since }} and {{ until }}"):
        operator.render_template_fields(run.context)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"watermark": "purchases"}, "watermark 'purchases': expected an Asset"),
        ({"key_columns": ["id"], "key_range": {}}, "watermark: cannot be combined with key_range"),
        ({"sql": "SELECT * FROM purchases"}, "watermark: expected {{ since }} and {{ until }}"),
    ],
)
def test_wrong_arguments_are_errors_when_the_dag_is_parsed(wrong: dict[str, Any], message: str) -> None:
    arguments = {"sql": SQL, "watermark": SOURCE, **wrong}

    with pytest.raises(ValueError, match=message):
        SqlToMoEngageOperator(task_id="sync", conn_id="warehouse", mapping=PURCHASE, **arguments)


def test_the_asset_is_an_inlet_once() -> None:
    def inlets(**options: Any) -> list[Any]:
        operator = SqlToMoEngageOperator(
            task_id="sync", sql=SQL, conn_id="warehouse", mapping=PURCHASE, watermark=SOURCE, **options
        )
        return operator.inlets

    other = Asset("other")
    assert inlets() == [SOURCE]
    assert inlets(inlets=[SOURCE, other]) == [SOURCE, other]
    assert inlets(inlets=[other]) == [other, SOURCE]
    assert inlets(outlets=[SOURCE]) == []


@pytest.mark.parametrize("inlets", [(), (Asset("other"),)])
def test_a_mapped_task_whose_asset_is_not_an_inlet_is_an_error(source: Source, inlets: Any) -> None:
    with pytest.raises(ValueError, match=r"\.partial\(watermark=asset, inlets=\[asset\]\)"):
        source.run(**hourly(0), map_index=1, inlets=inlets).render()


def test_without_an_open_store_the_window_of_a_first_run_is_rendered() -> None:
    run = Try(Closed(), **hourly(3))
    run.context["task_state_store"] = Closed()

    assert run.render(sql="{{ since }}|{{ until }}").sql == f"{at(3)}|{at(4)}"


def test_without_the_watermark_argument_all_rows_are_sent(source: Source) -> None:
    source.buys(at(0.5))
    run = source.run(**hourly(0))

    report = run.sync(watermark=None, sql="SELECT id, user_id, at FROM purchases")

    assert report["events"] == 1
    assert (source.state, run.render(watermark=None, sql="SELECT 1").inlets) == ({}, [])


def test_postgresql_reads_the_times_correctly_in_any_time_zone() -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    sql = f"SELECT moment >= '{at(0)}', stamp >= '{at(0)}', day >= '{at(0).date()}' FROM moments"
    with postgres_server() as port:
        database = psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres")
        with database, database.cursor() as cursor:
            cursor.execute(
                "SET TIME ZONE 'Asia/Kolkata';CREATE TABLE moments (moment timestamptz, stamp timestamp, day date)"
            )
            for moment in (at(0), at(0) - timedelta(microseconds=1)):
                cursor.execute(
                    "INSERT INTO moments VALUES (%s, %s, %s)",
                    [moment, moment.replace(tzinfo=None), date(2026, 1, 2)],
                )
            cursor.execute(sql)
            rows = cursor.fetchall()
        database.close()

    assert rows == [(True, True, True), (False, False, True)]
