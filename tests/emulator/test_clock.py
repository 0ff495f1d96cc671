"""The clock that makes waiting short."""

from __future__ import annotations

import pytest

from airflow_provider_moengage.emulator import AcceleratedClock
from airflow_provider_moengage.emulator import clock as clock_module


def test_an_accelerated_clock_starts_now_and_runs_faster(monkeypatch):
    now = {"time": 1000.0, "monotonic": 50.0}
    monkeypatch.setattr(clock_module.time, "time", lambda: now["time"])
    monkeypatch.setattr(clock_module.time, "monotonic", lambda: now["monotonic"])
    clock = AcceleratedClock(60)

    assert clock() == 1000
    now["monotonic"] += 2
    assert clock() == 1120


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_a_clock_that_does_not_run_forward_is_an_error(speed):
    with pytest.raises(ValueError, match="speed"):
        AcceleratedClock(speed)
