"""A datetime in UTC is what ``replace`` and ``astimezone`` make of it, however it is computed."""

from __future__ import annotations

import datetime as dt
from importlib import resources
from itertools import product
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.bulk.elements.encoding import Encoder, NotEncodableError, to_utc
from airflow_provider_moengage.bulk.elements.row_codegen import row_preparer
from airflow_provider_moengage.bulk.mapping import CustomerMapping, compile_mappings

OFFSETS = st.timedeltas(dt.timedelta(hours=-23, minutes=-59), dt.timedelta(hours=23, minutes=59))
ZONES = st.none() | st.just(dt.UTC) | st.sampled_from(sorted(available_timezones())).map(ZoneInfo)
MOMENTS = st.datetimes(timezones=ZONES | OFFSETS.map(dt.timezone)) | st.sampled_from(
    [
        edge.replace(tzinfo=zone, fold=fold)
        for edge in (dt.datetime.min, dt.datetime.max, dt.datetime(1970, 1, 1), dt.datetime(2020, 10, 25, 2, 30))
        for zone in (None, dt.UTC, ZoneInfo("UTC"), ZoneInfo("Etc/GMT+12"), ZoneInfo("Europe/Berlin"))
        for fold in (0, 1)
    ]
)


def by_the_calendar(moment: dt.datetime) -> dt.datetime | None:
    """Convert in the plainest way; None if the result is outside the years 1 to 9999."""
    try:
        return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    except OverflowError:
        return None


def converted(moment: dt.datetime) -> dt.datetime | None:
    try:
        return to_utc(moment)
    except NotEncodableError:
        return None


def row_of(moment: dt.datetime) -> bytes | None:
    """Return a row that holds it as JSON; None if the row is rejected."""
    [recipe] = compile_mappings([CustomerMapping()], ("user_id", "seen"), {})
    result = row_preparer([recipe])([("ann", moment)], True)
    return None if result.flawed else line_of(result.elements[0])


def line_of(value: object) -> bytes:
    return Encoder().lines([value]).rstrip(b"\n")


@settings(deadline=None, max_examples=400)
@given(MOMENTS)
def test_it_is_what_the_calendar_says(moment: dt.datetime) -> None:
    expected, found = by_the_calendar(moment), converted(moment)

    assert found == expected
    if found is not None and expected is not None:
        assert found.tzinfo is dt.UTC
        assert found.isoformat() == expected.isoformat()


@settings(deadline=None, max_examples=200)
@given(MOMENTS)
def test_a_row_holds_what_the_calendar_says(moment: dt.datetime) -> None:
    expected = by_the_calendar(moment)

    line = row_of(moment)

    if expected is None:
        assert line is None
    else:
        time = line_of(expected)
        assert line == b'{"type":"customer","customer_id":"ann","attributes":{"seen":%b}}' % time


def test_every_zone_is_converted_by_its_own_rules() -> None:
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        for year, month in product((1850, 1945, 2026), (1, 7)):
            moment = dt.datetime(year, month, 1, 12, tzinfo=zone)
            assert to_utc(moment).isoformat() == moment.astimezone(dt.UTC).isoformat(), name


def test_what_a_zone_says_counts_and_not_its_name() -> None:
    with resources.files("tzdata").joinpath("zoneinfo", "Asia", "Kolkata").open("rb") as file:
        misnamed = ZoneInfo.from_file(file, key="UTC")

    assert to_utc(dt.datetime(2026, 1, 1, 12, tzinfo=misnamed)).isoformat() == "2026-01-01T06:30:00+00:00"
