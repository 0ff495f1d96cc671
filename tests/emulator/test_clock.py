"""The accelerated clock."""

from __future__ import annotations

import time

import pytest

from airflow_provider_moengage.emulator import AcceleratedClock


def test_an_accelerated_clock_starts_now_and_runs_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"time": 1000.0, "monotonic": 50.0}
    monkeypatch.setattr(time, "time", lambda: now["time"])
    monkeypatch.setattr(time, "monotonic", lambda: now["monotonic"])
    clock = AcceleratedClock(60)

    assert clock() == 1000
    now["monotonic"] += 2
    assert clock() == 1120


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_the_speed_of_a_clock_must_be_positive(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        AcceleratedClock(speed)
