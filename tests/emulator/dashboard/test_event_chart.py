from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_moengage.emulator.dashboard import event_chart
from airflow_provider_moengage.emulator.dashboard.event_chart import MAX_BARS, EventChart, draw

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.dashboard.event_chart import Days


def days(first: str, *after: int) -> dict[tuple[str, str], int]:
    """Return one event on each day that is the given number of days after the first."""
    return {("Buy", (date.fromisoformat(first) + timedelta(days=number)).isoformat()): 1 for number in after}


@pytest.mark.parametrize(
    ("first", "span", "unit", "beginning", "bars"),
    [
        ("2026-01-28", 0, "day", "2026-01-28", 1),
        ("2026-01-28", 59, "day", "2026-01-28", 60),
        ("2026-01-28", 60, "week", "2026-01-26", 9),
        ("2026-01-26", 60 * 7 - 1, "week", "2026-01-26", 60),
        ("2026-01-26", 60 * 7, "month", "2026-01", 15),
        ("2021-12-31", 4 * 365, "month", "2021-12", 49),
        ("1970-01-01", 20_000, "year", "1970", 55),
        ("0001-01-01", (date.max - date.min).days, "year", "0001\N{EN DASH}0167", 60),
    ],
)
def test_the_unit_of_the_bars_keeps_them_at_60_or_fewer(
    first: str, span: int, unit: str, beginning: str, bars: int
) -> None:
    drawn = draw(days(first, 0, span))
    (series,) = drawn["series"]

    assert (drawn["unit"], drawn["bars"][0], len(drawn["bars"])) == (unit, beginning, bars)
    assert bars <= MAX_BARS
    assert series["counts"][0] >= 1
    assert series["counts"][-1] >= 1
    assert (sum(series["counts"]), series["total"]) == (len({0, span}), len({0, span}))


def test_days_without_events_have_bars_too() -> None:
    drawn = draw(days("2026-02-27", 0, 3))
    assert drawn["bars"] == ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]
    assert drawn["series"][0]["counts"] == [1, 0, 0, 1]


def test_each_month_has_its_own_bar() -> None:
    drawn = draw({("Buy", "2024-12-31"): 1, ("Buy", "2025-01-01"): 2, ("Buy", "2026-03-31"): 4})
    assert drawn["bars"][:2] == ["2024-12", "2025-01"]
    assert (drawn["series"][0]["counts"][:2], drawn["series"][0]["counts"][-1]) == ([1, 2], 4)


def test_a_bar_of_several_years_is_labelled_with_the_first_and_last() -> None:
    drawn = draw({("Buy", "1900-01-01"): 1, ("Buy", "1901-12-31"): 2, ("Buy", "2026-01-01"): 4})
    assert (drawn["unit"], drawn["step"]) == ("year", 3)
    assert drawn["bars"][:2] == ["1900\N{EN DASH}1902", "1903\N{EN DASH}1905"]
    assert (drawn["bars"][-2:], len(drawn["bars"])) == (["2023\N{EN DASH}2025", "2026"], 43)
    assert (drawn["series"][0]["counts"][0], drawn["series"][0]["counts"][-1]) == (3, 4)


def test_a_bar_of_one_year_is_labelled_with_it() -> None:
    drawn = draw({("Buy", "1967-01-01"): 1, ("Buy", "2026-01-01"): 2})
    assert (drawn["step"], drawn["bars"][0], drawn["bars"][-1], len(drawn["bars"])) == (1, "1967", "2026", 60)


def test_only_the_most_frequent_names_are_counted_separately() -> None:
    counts = {(f"name {number}", "2026-01-01"): number + 1 for number in range(9)}
    drawn = draw(counts)
    assert [series["name"] for series in drawn["series"]] == [f"name {number}" for number in range(3, 9)]
    assert drawn["others"] == {"names": 3, "total": 6, "counts": [6]}


def test_events_without_a_day_have_separate_bars() -> None:
    drawn = draw({("Buy", "arrival"): 3, ("View", "unreadable"): 2, ("(other)", "(other)"): 1})
    assert (drawn["bars"], drawn["words"]) == ([], ["arrival", "unreadable", "(other)"])
    assert [series["counts"] for series in drawn["series"]] == [[3, 0, 0], [0, 2, 0], [0, 0, 1]]


def test_a_chart_of_few_days_is_always_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_chart, "ALWAYS_FRESH", 1)
    chart, counts = EventChart(timer=lambda: 0.0), {("Buy", "2026-01-01"): 1}
    assert chart.current(counts)["series"][0]["total"] == 1
    counts["Buy", "2026-01-01"] = 2
    assert chart.current(counts)["series"][0]["total"] == 2


def test_a_chart_of_very_many_days_is_redrawn_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_chart, "ALWAYS_FRESH", 1)
    now = 0.0

    def draw_slowly(counts: Days) -> dict[str, Any]:
        nonlocal now
        now += 0.1
        return draw(counts)

    monkeypatch.setattr(event_chart, "draw", draw_slowly)
    chart = EventChart(timer=lambda: now)
    counts = days("2026-01-01", 0, 1)
    drawn = []
    while now < 60:
        now += 0.5
        counts["Buy", "2026-01-01"] += 1
        drawn.append(chart.current(counts)["series"][0]["total"])
    assert 10 <= len(set(drawn)) <= 12  # each is used for 5 seconds
    assert drawn == sorted(drawn)
