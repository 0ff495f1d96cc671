# ruff: noqa: F811 (fixtures of another module)
"""The echoing server of test_echoes.py, asked by the clients of campaigns and segments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.transfers.sql_to_moengage_cohort import SqlToMoEngageCohortOperator
from airflow_provider_moengage.transfers.sql_to_moengage_erasure import SqlToMoEngageErasureOperator
from devtools.fake_clock import FakeClock
from tests.api.received.echoes import leaks
from tests.hooks.test_echoes import (  # noqa: F401 (fixtures)
    KEYS,
    SHAPES,
    STATUSES,
    VALUES,
    Echo,
    Shown,
    each,
    echo,
    shown,
)
from tests.task import Task

HOOK: dict[str, Callable[[MoEngageHook], object]] = {
    "campaigns": lambda hook: list(hook.iter_campaigns(["0123456789abcdef01234567"])),
    "campaign statistics": lambda hook: list(hook.iter_campaign_stats("2026-11-01", "2026-11-02")),
}


@pytest.mark.parametrize("endpoint", HOOK)
def test_the_hook_shows_nothing_of_an_echo(echo: Echo, shown: Shown, endpoint: str) -> None:
    call = HOOK[endpoint]

    assert each(echo, shown, lambda: call(MoEngageHook())) >= len(STATUSES) * len(SHAPES)


def test_the_members_of_a_segment_show_no_key_and_only_its_rejects_may_quote_a_value(
    echo: Echo, shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_moengage.bulk.run.context.SystemClock", FakeClock)
    warehouse = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(warehouse))
    users = " UNION ALL ".join("SELECT '{}' AS user_id".format(value.replace("'", "''")) for value in VALUES)

    def call() -> object:
        path = tmp_path / "rejects.ndjson"
        path.unlink(missing_ok=True)
        operator = SqlToMoEngageCohortOperator(
            task_id="s",
            conn_id="warehouse",
            sql=users,
            cohort_id="c1",
            mode="add",
            concurrency=1,
            max_rejects=3,
            rejects_path=str(path),
        )
        try:
            return operator.execute(Task().context)
        finally:
            if path.exists():
                lines = path.read_text()
                assert [leaks(lines, key) for key in KEYS] == [[], []], (echo.status, echo.shape, echo.key)

    statuses = (200, 400, 401, 413, 429, 500)
    assert each(echo, shown, call, statuses=statuses) >= len(statuses) * len(SHAPES)


@pytest.mark.parametrize("method", ["delete", "opengdpr"])
def test_an_erasure_shows_nothing_and_its_ledger_has_no_key(
    echo: Echo, shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Any
) -> None:
    monkeypatch.setattr("airflow_provider_moengage.bulk.run.context.SystemClock", FakeClock)
    monkeypatch.setattr("airflow_provider_moengage.erasure.run._TICK", 0.01)
    warehouse = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(warehouse))
    users = " UNION ALL ".join("SELECT '{}' AS user_id".format(value.replace("'", "''")) for value in VALUES)
    ledger = tmp_path / "ledger.ndjson"
    lines: list[str] = []

    def call() -> object:
        ledger.unlink(missing_ok=True)
        task = Task()
        operator = SqlToMoEngageErasureOperator(
            task_id="e", conn_id="warehouse", sql=users, max_users=3, method=method, ledger_path=str(ledger)
        )
        try:
            return operator.execute(task.context)
        finally:
            shown.result(task.xcom)
            lines.append(ledger.read_text())
            assert [leaks(lines[-1], key) for key in KEYS] == [[], []], (echo.status, echo.shape, echo.key)

    statuses = (200, 400, 500)
    assert each(echo, shown, call, statuses=statuses) >= len(statuses) * len(SHAPES)
    assert all(lines)
