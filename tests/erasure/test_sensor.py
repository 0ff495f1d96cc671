"""Waiting until everybody is gone: when it asks, whom, and what Airflow gets to see."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)

from airflow_provider_moengage.exceptions import MoEngageAuthError, MoEngageError, MoEngageRequestError
from airflow_provider_moengage.sensors import users_erased
from airflow_provider_moengage.sensors.users_erased import UsersErasedSensor
from devtools.fake_clock import FakeClock
from tests.delivering import connection_to
from tests.erasure.conftest import Place

DAY = 86_400.0


@pytest.fixture
def clock(place: Place, monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    monkeypatch.setattr(users_erased, "CLOCK", place.moengage.clock)
    monkeypatch.setattr("airflow_provider_moengage.hooks.campaigns.SystemClock", lambda: place.moengage.clock)
    place.task.start_date = datetime.fromtimestamp(place.moengage.clock.time(), UTC)
    return place.moengage.clock


def advance(clock: FakeClock, seconds: float) -> None:
    import threading

    clock.wait(threading.Event(), seconds)


def erased(place: Place, *users: str, **arguments: Any) -> dict[str, Any]:
    place.have(*users)
    place.request(*users)
    return place.erase(**arguments)


def sensor(erasure: Any, **arguments: Any) -> UsersErasedSensor:
    return UsersErasedSensor(task_id="prove", erasure=erasure, **{"deferrable": True, **arguments})


def deferred(place: Place, task: UsersErasedSensor, resumed: TaskDeferred | None = None) -> TaskDeferred:
    """Run a sensor until it defers."""
    with pytest.raises(TaskDeferred) as raised:
        _run(place, task, resumed)
    return raised.value


def _run(place: Place, task: UsersErasedSensor, resumed: TaskDeferred | None) -> Any:
    if resumed is None:
        return task.execute(place.task.context)
    return getattr(task, resumed.method_name)(place.task.context, event=None, **(resumed.kwargs or {}))


def test_it_waits_a_day_asks_and_records_who_is_gone(place: Place, clock: FakeClock) -> None:
    users = [f"user-{number}" for number in range(45)]
    result = erased(place, *users)
    task = sensor(result)

    first = deferred(place, task)
    requests = place.moengage.emulator.workspace.counts.requests
    assert first.trigger.moment == datetime.fromisoformat(result["finished_at"]) + timedelta(hours=24)
    advance(clock, DAY + 1)
    found = _run(place, task, first)

    assert found == {"users": 45, "gone": 45, "remaining": 0}
    assert place.moengage.emulator.workspace.counts.requests == requests + 3  # 20 users each
    assert sorted(identity for identity, event in place.ledger() if event == "gone") == sorted(users)


def test_what_airflow_stores_of_the_wait_has_times_only(place: Place, clock: FakeClock) -> None:
    result = erased(place, "jane@example.com")
    wait = deferred(place, sensor(result))

    path, arguments = wait.trigger.serialize()
    assert path.startswith("airflow.")
    assert "jane" not in str(arguments) + str(wait.kwargs) + json.dumps(result)
    assert set(wait.kwargs or {}) == {"give_up_at"}


def test_only_those_who_remain_are_asked_for_again(
    place: Place, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    result = erased(place, *(f"user-{number}" for number in range(25)))
    task = sensor(result)
    first = deferred(place, task)
    advance(clock, DAY + 1)
    place.have("user-3")  # again

    second = deferred(place, task, first)

    now = datetime.fromtimestamp(clock.time(), UTC)
    assert second.trigger.moment == now + timedelta(hours=1)
    assert "24 of 25 users are gone, 1 still exist" in capsys.readouterr().out
    requests = place.moengage.emulator.workspace.counts.requests
    place.execute("DELETE FROM requests")
    place.moengage.emulator.workspace.reset()
    advance(clock, 3_601)

    assert _run(place, task, second) == {"users": 25, "gone": 25, "remaining": 0}
    assert place.moengage.emulator.workspace.counts.requests == 1
    assert requests > 1


def test_a_proof_that_is_repeated_finds_who_came_back(place: Place, clock: FakeClock) -> None:
    result = erased(place, "ann", "bob")
    advance(clock, DAY + 1)
    assert sensor(result).execute(place.task.context)["gone"] == 2
    requests = place.moengage.emulator.workspace.counts.requests

    assert sensor(result).execute(place.task.context)["gone"] == 2
    assert place.moengage.emulator.workspace.counts.requests == requests + 1
    place.have("ann")  # sent by a sync
    again = sensor(result, deferrable=False).poke(place.task.context)

    assert (again.is_done, again.xcom_value) == (False, {"users": 2, "gone": 1, "remaining": 1})
    assert [event for _, event in place.ledger()].count("gone") == 2


def test_at_the_timeout_it_says_how_many_remain_and_not_who(place: Place, clock: FakeClock) -> None:
    result = erased(place, "jane", "john")
    task = sensor(result, timeout=2 * DAY, poke_interval=1.5 * DAY)
    first = deferred(place, task)
    advance(clock, DAY + 1)
    place.have("jane", "john")
    second = deferred(place, task, first)
    assert second.trigger.moment == datetime.fromisoformat((second.kwargs or {})["give_up_at"])
    advance(clock, DAY)

    with pytest.raises(
        AirflowSensorTimeout, match="2 of 2 users still exist in MoEngage after the timeout"
    ) as raised:
        _run(place, task, second)
    assert "jane" not in str(raised.value)


def test_a_timeout_before_the_first_look_is_an_error_too(place: Place, clock: FakeClock) -> None:
    task = sensor(erased(place, "jane"), timeout=2 * DAY)
    first = deferred(place, task)
    first.kwargs = {"give_up_at": datetime.fromtimestamp(clock.time() - 1, UTC).isoformat()}

    with pytest.raises(AirflowSensorTimeout, match="before the users were asked for"):
        _run(place, task, first)


def test_soft_fail_skips(place: Place, clock: FakeClock) -> None:
    task = sensor(erased(place, "jane"), timeout=2 * DAY, soft_fail=True)
    first = deferred(place, task)
    first.kwargs = {"give_up_at": datetime.fromtimestamp(clock.time() - 1, UTC).isoformat()}

    with pytest.raises(AirflowSkipException, match="Skipped because soft_fail"):
        _run(place, task, first)


def test_the_execution_timeout_counts_over_the_whole_try(place: Place, clock: FakeClock) -> None:
    task = sensor(erased(place, "jane"), execution_timeout=timedelta(hours=30))
    first = deferred(place, task)
    advance(clock, 31 * 3_600)

    with pytest.raises(AirflowTaskTimeout, match="has reached its execution_timeout"):
        _run(place, task, first)


def test_without_deferring_it_pokes(place: Place, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    bases = sys.modules.get("airflow.sensors.base")
    if hasattr(bases, "_orig_start_date"):  # Airflow 2 looks in its database for the first of the reschedules
        monkeypatch.setattr(bases, "_orig_start_date", lambda **_: None)
    task = sensor(erased(place, "jane"), deferrable=False)
    assert task.mode == "reschedule"
    assert not task.poke(place.task.context).is_done
    advance(clock, DAY + 1)

    seen = task.poke(place.task.context)

    assert seen.is_done
    assert seen.xcom_value == {"users": 1, "gone": 1, "remaining": 0}
    assert task.execute(place.task.context) == {"users": 1, "gone": 1, "remaining": 0}


def test_the_ledger_may_be_a_file_and_the_xcom_text(place: Place, clock: FakeClock, tmp_path: Path) -> None:
    result = erased(place, "jane", ledger_path=tmp_path)
    advance(clock, DAY + 1)

    assert sensor(str(result), wait=0).execute(place.task.context)["gone"] == 1
    lines = Path(result["ledger"]["path"]).read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["asked", "accepted", "gone"]


def test_users_of_a_shared_address_are_proved_one_by_one(place: Place, clock: FakeClock) -> None:
    place.have("a", "b", u_em="we@example.com")
    place.request(("a", "we@example.com"), ("b", "we@example.com"))
    result = place.erase(method="opengdpr", identity_type="email", identity="email")
    advance(clock, DAY + 1)

    assert sensor(result).execute(place.task.context) == {"users": 2, "gone": 2, "remaining": 0}


def test_an_erasure_whose_outcome_was_unknown_is_done_when_it_is_proved(place: Place, clock: FakeClock) -> None:
    from airflow_provider_moengage.emulator import Fault
    from airflow_provider_moengage.exceptions import MoEngageOutcomeUnknownError

    place.have("a")
    place.request("a")
    place.moengage.emulator.workspace.add_fault(Fault("cut_after"))
    with pytest.raises(MoEngageOutcomeUnknownError):
        place.erase(method="opengdpr")
    advance(clock, DAY + 1)
    sensor(place.task.xcom["return_value"]).execute(place.task.context)

    place.task.clear()
    assert place.erase(method="opengdpr")["done_before"] == 1


def test_a_dry_run_is_nothing_to_prove(place: Place, clock: FakeClock) -> None:
    with pytest.raises(AirflowSkipException, match="was a dry run"):
        sensor(erased(place, "a", dry_run=True)).execute(place.task.context)


@pytest.mark.parametrize("wrong", [None, {}, "{", "{'users': 1}", "text", {"run": {}, "users": "x"}])
def test_something_else_than_the_xcom_is_refused(place: Place, clock: FakeClock, wrong: Any) -> None:
    with pytest.raises(ValueError, match="erasure: expected the XCom of SqlToMoEngageErasureOperator"):
        sensor(wrong).execute(place.task.context)


def test_another_workspace_proves_nothing(place: Place, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    result = erased(place, "a")
    advance(clock, DAY + 1)
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", connection_to(place.moengage, login="OTHER"))

    with pytest.raises(MoEngageRequestError, match="is of another workspace than the erasure"):
        sensor(result, moengage_conn_id="other").execute(place.task.context)


def test_a_ledger_without_everybody_proves_nothing(place: Place, clock: FakeClock, tmp_path: Path) -> None:
    result = erased(place, "a", "b", ledger_path=tmp_path)
    advance(clock, DAY + 1)
    Path(result["ledger"]["path"]).write_text("")

    with pytest.raises(MoEngageRequestError, match="has 0 of the 2 users of the erasure, so it proves nothing"):
        sensor(result).execute(place.task.context)


def test_a_ledger_without_ids_proves_nothing(place: Place, clock: FakeClock) -> None:
    place.request(("a", "a@example.com"))
    result = place.erase(method="opengdpr", identity_type="email", identity="email", user_id=None)
    advance(clock, DAY + 1)

    with pytest.raises(MoEngageRequestError, match="has no IDs of the users"):
        sensor(result).execute(place.task.context)


def test_get_user_that_is_not_enabled_fails_the_task(place: Place, clock: FakeClock) -> None:
    result = erased(place, "a")
    advance(clock, DAY + 1)
    place.moengage.emulator.workspace.configure(export_enabled=False)

    with pytest.raises(MoEngageAuthError):
        sensor(result).execute(place.task.context)


def test_a_killed_sensor_keeps_what_it_has_proved(
    place: Place, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_moengage.erasure.proof.RECORDED_AT_ONCE", 2)
    task = sensor(erased(place, "a", "b", "c"), soft_fail=True)
    advance(clock, DAY + 1)
    task.on_kill()

    with pytest.raises(MoEngageError, match="The task was killed; what was proved before is in the ledger"):
        task.execute(place.task.context)
    assert [event for _, event in place.ledger()].count("gone") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"wait": -1}, "wait -1"),
        ({"wait": "long"}, "wait 'long'"),
        ({"deferrable": 1}, "deferrable 1"),
        ({"timeout": 3_600}, "timeout 3600: expected more seconds than wait"),
    ],
)
def test_a_wrong_argument_is_named_when_the_dag_is_parsed(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sensor({}, **arguments)
