"""Column readers that several databases share."""

from __future__ import annotations

import datetime as dt

import pytest

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.sources.column_readers import read_json, read_time


@pytest.mark.parametrize("text", ["[" * 100_000, "{", '{"a": 1} 2'])
def test_text_that_is_not_readable_json_rejects_its_row(text: str) -> None:
    assert isinstance(read_json(text), Unreadable)


def test_a_time_is_written_as_the_database_writes_it() -> None:
    assert read_time(-dt.timedelta(hours=838, minutes=59, seconds=59)) == "-838:59:59"
    assert read_time(dt.timedelta(seconds=1, microseconds=5)) == "00:00:01.000005"
