"""Times without a zone: what ids show about it, and how times are read around clock changes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_moengage.api.received.local_times import (
    IN_UTC,
    Hint,
    LocalTimes,
    agreed,
    named_zone,
)
from airflow_provider_moengage.api.received.scrub import Scrub
from airflow_provider_moengage.api.received.values import Received

KOLKATA, LOS_ANGELES = ZoneInfo("Asia/Kolkata"), ZoneInfo("America/Los_Angeles")
FALL = datetime(2025, 11, 2, 9, tzinfo=UTC)
"""In Los Angeles 02:00 becomes 01:00."""
SPRING = datetime(2026, 3, 8, 10, tzinfo=UTC)
"""In Los Angeles 02:00 becomes 03:00."""
ZONES = [KOLKATA, LOS_ANGELES, ZoneInfo("Asia/Kathmandu"), ZoneInfo("Pacific/Apia"), ZoneInfo("Pacific/Pago_Pago")]


def received(value: Any) -> Received:
    return Received(value, Scrub(()))


def object_id(moment: datetime) -> Received:
    return received(f"{int(moment.timestamp()):08x}a1b2c3d4e5f60718")


def local(moment: datetime, zone: ZoneInfo) -> Received:
    return received(moment.astimezone(zone).replace(tzinfo=None).isoformat())


def hints(moments: Iterable[datetime], zone: ZoneInfo) -> list[Hint]:
    found = [Hint.of(object_id(each), local(each, zone)) for each in moments]
    return [each for each in found if each is not None]


def around(moment: datetime, *minutes: float) -> list[datetime]:
    return [moment + timedelta(minutes=each) for each in minutes]


@pytest.mark.parametrize("name", ["Asia/Kolkata", "Asia/Calcutta", "America/Los_Angeles", "UTC"])
def test_a_zone_has_its_iana_name(name: str) -> None:
    assert str(named_zone(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "Asia",
        "Asia/",
        "/etc/passwd",
        "../zone",
        "+05:30",
        "Kolkata",
        "Mars/Base",
        "\0",
        "localtime",
        "é" * 40,
    ],
)
def test_what_names_no_zone_is_none(name: str | None) -> None:
    assert named_zone(name) is None


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize("delay", [-119, -1, 0, 0.7, 119])
def test_an_id_shows_the_offset_of_the_time_beside_it(zone: ZoneInfo, delay: float) -> None:
    created_at = datetime(2026, 1, 5, 3, tzinfo=UTC)

    hint = Hint.of(object_id(created_at), local(created_at + timedelta(seconds=delay), zone))

    assert hint == Hint(created_at, created_at.astimezone(zone).utcoffset())


@pytest.mark.parametrize("delay", [121, 420, 899 - 121, 16 * 3_600, -13 * 3_600, 14 * 86_400])
def test_a_difference_that_no_zone_has_shows_no_offset(delay: float) -> None:
    created_at = datetime(2026, 1, 5, 3, tzinfo=UTC)
    hint = Hint.of(object_id(created_at), received((created_at + timedelta(seconds=delay)).isoformat()[:19]))

    assert hint == Hint(created_at, None)


@pytest.mark.parametrize(
    "id_", ["i1", "", None, 7, "672561rr0abd2da34cf7f7df", "672561aa0abd2da34cf7f7d", "\uff16" * 24]
)
def test_an_id_of_another_kind_shows_nothing(id_: Any) -> None:
    assert Hint.of(received(id_), received("2026-01-05T03:00:00")) is None


@pytest.mark.parametrize("time", [None, "", "soon", "2026-01-05T03:00:00Z", "2026-01-05T03:00:00+05:30", 7, {}])
def test_a_time_with_a_zone_or_none_shows_nothing(time: Any) -> None:
    assert Hint.of(object_id(SPRING), received(time)) is None


def test_one_run_shows_nothing_however_many_files_it_has() -> None:
    assert agreed(hints(around(SPRING, 0, 0.1, 4.9), KOLKATA)) == ()
    assert len(agreed(hints(around(SPRING, 0, 5), KOLKATA))) == 2


def test_ids_that_disagree_show_nothing() -> None:
    mixed = [*hints(around(SPRING, 0, 60), KOLKATA), *hints(around(SPRING, 1, 61), ZoneInfo("UTC"))]

    assert agreed(mixed) == ()


def test_two_that_agree_by_chance_among_many_others_show_nothing() -> None:
    others = [Hint(SPRING + timedelta(days=n), None) for n in range(2)]

    assert agreed([*hints(around(SPRING, 0, 60), KOLKATA), *others]) == ()
    assert agreed([*hints(around(SPRING, 0, 60, 120), KOLKATA), *others]) != ()


def test_a_single_other_offset_counts_only_before_or_after_all_others() -> None:
    winter = around(SPRING, -180, -120, -60)
    summer = around(SPRING, 1)
    late = Hint(SPRING - timedelta(minutes=90), timedelta(hours=-7))  # was scheduled an hour later

    assert set(agreed(hints([*winter, *summer], LOS_ANGELES))) == set(hints([*winter, *summer], LOS_ANGELES))
    assert late not in agreed([*hints(winter, LOS_ANGELES), late])


def test_an_offset_that_no_clock_change_explains_does_not_count() -> None:
    stray = Hint(SPRING, timedelta(hours=-4))

    assert stray not in agreed([*hints(around(SPRING, -180, -120, -60), LOS_ANGELES), stray])


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize("change", [FALL, SPRING])
def test_ids_alone_date_each_run_around_a_clock_change(zone: ZoneInfo, change: datetime) -> None:
    moments = around(change, -120, -60, -30, -1, 1, 30, 59, 61, 120)
    times = LocalTimes(None, agreed(hints(moments, zone)))

    assert [times.read(local(each, zone), object_id(each)) for each in moments] == moments


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize("change", [FALL, SPRING])
def test_a_zone_dates_each_run_around_a_clock_change_ids_tell_the_repeated_hour(
    zone: ZoneInfo, change: datetime
) -> None:
    moments = around(change, -120, -61, -60, -30, -1, 0, 1, 30, 59, 60, 61, 120)

    assert [LocalTimes(zone).read(local(each, zone), object_id(each)) for each in moments] == moments


@pytest.mark.parametrize("first", [-30, -1])
def test_a_file_does_not_end_before_it_was_scheduled(first: float) -> None:
    scheduled_at, completed_at = around(FALL, first, 10)
    by_ids = LocalTimes(None, agreed(hints(around(FALL, -60, first), LOS_ANGELES)))

    for times in (LocalTimes(LOS_ANGELES), by_ids):
        assert times.read(local(completed_at, LOS_ANGELES), not_before=scheduled_at) == completed_at


def test_a_file_that_ended_a_moment_too_early_did_not_end_an_hour_later() -> None:
    scheduled_at = datetime(2026, 1, 5, 12, tzinfo=UTC)
    early = scheduled_at - timedelta(seconds=1)

    for times in (LocalTimes(KOLKATA), LocalTimes(None, agreed(hints(around(early, -60, 0), KOLKATA)))):
        assert times.read(local(early, KOLKATA), not_before=scheduled_at) == early


def test_a_time_that_the_clock_repeats_is_the_first_one_if_no_id_tells() -> None:
    read = LocalTimes(LOS_ANGELES).read(local(FALL + timedelta(minutes=30), LOS_ANGELES), received("i1"))

    assert read == FALL - timedelta(minutes=30)


def test_a_time_that_the_clock_skips_has_the_offset_of_before() -> None:
    assert LocalTimes(LOS_ANGELES).read(received("2026-03-08T02:30:00")) == SPRING + timedelta(minutes=30)


def test_offsets_hold_for_the_times_near_them() -> None:
    winter, summer = datetime(2026, 1, 5, 12, tzinfo=UTC), datetime(2026, 7, 5, 12, tzinfo=UTC)
    shown = hints([*around(winter, 0, 60), *around(summer, 0, 60)], LOS_ANGELES)
    times = LocalTimes(None, agreed(shown))

    for near in (winter + timedelta(days=10), summer - timedelta(days=10)):
        assert times.read(local(near, LOS_ANGELES)) == near


@pytest.mark.parametrize(
    "times", [IN_UTC, LocalTimes(KOLKATA), LocalTimes(None, (Hint(FALL, timedelta(hours=-7)),))]
)
def test_a_time_with_a_zone_is_that_time(times: LocalTimes) -> None:
    for said in ("2026-01-05T03:00:00Z", "2026-01-05T08:30:00+05:30"):
        assert times.read(received(said)) == datetime(2026, 1, 5, 3, tzinfo=UTC)


@pytest.mark.parametrize("said", ["0001-01-01T00:00:00", "9999-12-31T23:59:59", "", None, "soon", 7, [], {}])
@pytest.mark.parametrize("hours", [-12, 14])
def test_what_is_no_time_is_none(said: Any, hours: int) -> None:
    zone = LocalTimes(ZoneInfo("Pacific/Kiritimati" if hours > 0 else "Etc/GMT+12"))
    for times in (zone, LocalTimes(None, (Hint(FALL, timedelta(hours=hours)),))):
        read = times.read(received(said), object_id(FALL), not_before=FALL)
        assert read is None or read.utcoffset() == timedelta(0)


@given(
    zone=st.sampled_from(ZONES),
    runs=st.lists(st.integers(0, 400 * 24 * 12), min_size=2, max_size=40, unique=True),
)
def test_ids_date_all_runs_of_a_year(zone: ZoneInfo, runs: list[int]) -> None:
    moments = [datetime(2025, 6, 1, tzinfo=UTC) + timedelta(minutes=5 * run) for run in runs]
    relied = agreed(hints(moments, zone))
    read = (
        [LocalTimes(None, relied).read(local(each, zone), object_id(each)) for each in moments] if relied else []
    )

    relied_on = {hint.created_at for hint in relied}
    assert all(found == each for found, each in zip(read, moments, strict=False) if each in relied_on)
    if len({each.astimezone(zone).utcoffset() for each in moments}) == 1:
        assert read == moments


@pytest.mark.parametrize(
    ("times", "moment", "id_", "is_certain"),
    [
        (LocalTimes(KOLKATA), FALL, "f1", True),
        (LocalTimes(UTC, is_assumed=True), FALL, "f1", False),
        (LocalTimes(LOS_ANGELES), FALL - timedelta(hours=3), "f1", True),
        (LocalTimes(LOS_ANGELES), FALL - timedelta(minutes=30), "f1", False),
        (LocalTimes(LOS_ANGELES), FALL + timedelta(minutes=30), "f1", False),
        (LocalTimes(LOS_ANGELES), FALL - timedelta(minutes=30), FALL - timedelta(minutes=30), True),
        (LocalTimes(LOS_ANGELES), FALL + timedelta(minutes=30), FALL + timedelta(minutes=30), True),
        (LocalTimes(LOS_ANGELES), FALL + timedelta(minutes=30), FALL + timedelta(days=1), False),
    ],
)
def test_a_time_is_certain_unless_the_zone_is_assumed_or_the_clock_repeats_it(
    times: LocalTimes, moment: datetime, id_: Any, is_certain: bool
) -> None:
    shown = object_id(id_) if isinstance(id_, datetime) else received(id_)

    assert times.is_certain(local(moment, LOS_ANGELES), shown) is is_certain


@pytest.mark.parametrize("said", ["2026-01-05T10:00:00Z", "yesterday", None, "0001-01-01T00:00:00"])
def test_a_time_with_a_zone_or_none_needs_no_assumption(said: Any) -> None:
    assert LocalTimes(KOLKATA).is_certain(received(said), received("f1"))
