"""Tests what the benchmarks depend on; `make bench` runs the benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import requests

from airflow_provider_moengage.api.users.deletion import PER_MINUTE
from airflow_provider_moengage.bulk.run.lane import DELETING_LANES
from benchmarks import campaigns, erasing, plot
from benchmarks.data import KINDS, Kind
from benchmarks.loopback import loopback
from benchmarks.pipeline import bodies, source_of_elements, source_of_rows
from benchmarks.simulated import WINDOW
from benchmarks.table import Row, as_markdown, as_text, rate_row

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("validation", ["off", "warn", "strict"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_rows_and_dicts_become_the_same_bodies(kind: Kind, validation: str) -> None:
    rows = kind.rows(2_000)
    by_mapping = _elements(list(bodies(source_of_rows(kind, rows), validation)))
    without_mapping = _elements(list(bodies(source_of_elements([kind.element(row) for row in rows]), validation)))

    assert len(by_mapping) == 2_000
    assert by_mapping == without_mapping


@pytest.mark.parametrize(("kind", "size"), [*zip(KINDS, (263, 368), strict=True)], ids=("customers", "events"))
def test_elements_have_the_stated_size(kind: Kind, size: int) -> None:
    sent = list(bodies(source_of_rows(kind, kind.rows(20_000)), "off"))

    assert sum(map(len, sent)) / 20_000 == pytest.approx(size, abs=3)


def test_the_loopback_server_counts_what_it_receives() -> None:
    body = b'{"elements":[{"customer_id":"a"},' + b" " * 300_000 + b'{"customer_id":"b"}]}'

    with loopback(latency=0.01) as server, requests.Session() as session:
        began = time.monotonic()
        for _ in range(3):
            assert session.post(server.url, data=body, timeout=10).json()["status"] == "success"
        counts = server.counts()
        assert (again := server.counts()).requests == 0

    assert again.first_at == 0 < began < counts.first_at < time.monotonic()
    assert (counts.requests, counts.bytes, counts.elements) == (3, 3 * len(body), 6)


def test_deletions_keep_the_limit_without_a_429_and_eight_lanes_would_not() -> None:
    users = 20_000
    seconds, refused = erasing.simulate(DELETING_LANES, users=users)
    of_eight, _ = erasing.simulate(8, users=users)

    assert refused == 0
    assert users / seconds * WINDOW >= erasing.TARGET * PER_MINUTE
    assert users / of_eight * WINDOW < 0.8 * PER_MINUTE


def test_campaign_statistics_take_hardly_longer_than_their_limit_allows() -> None:
    seconds, refused = campaigns.simulate(1_000, days=20)

    assert refused == 0
    assert seconds <= campaigns.TARGET * campaigns.shortest(1_000, days=20)


def test_the_table_of_the_docs_leaves_out_repeats_but_no_missed_target() -> None:
    compared = ("100,000 users", "3 s", "loop", "6 s", "2.0 x", "at least 3 x", False)
    rows = [
        Row("Speed", *compared),
        Row("Speed", *compared[:2], "pool", "4 s", "1.3 x", "at least 3 x", False),
        Row("Speed", "MariaDB", "skipped: no driver"),
        Row("Speed", "SQLite to HTTP: 4 lanes", "1 s"),
        Row("Speed", "SQLite to HTTP: 16 lanes", "9 s", is_met=False),
    ]

    table = [line for line in as_markdown(rows, "Measured.").splitlines() if line.startswith("|")]

    assert table[2:] == [
        "| 100,000 users | 3 s | loop | 6 s | 2.0 x | at least 3 x | not met |",
        "|  |  | pool | 4 s | 1.3 x |  |  |",
        "| SQLite to HTTP: 16 lanes | 9 s |  |  |  |  | not met |",
    ]


def test_the_table_shows_each_row_with_its_status() -> None:
    rows = [
        rate_row("Speed", "users", 300.0, "loop", 100.0, "rows/s", at_least=3.5),
        Row("Memory", "a million", "10 MB", is_met=True, value=10.0),
    ]

    [line] = [line for line in as_text(rows).splitlines() if line.startswith("users")]
    assert line.split() == "users 300 rows/s loop 100 rows/s 3.00 x at least 3.5 x not met".split()
    assert "| a million | 10 MB |  |  |  |  | met |" in as_markdown(rows, "Measured.")
    picture = ET.fromstring(plot.as_svg(rows, ("Speed", "Memory", "None such")))
    assert len(picture.findall("{http://www.w3.org/2000/svg}rect")) == 3


def _elements(all_bodies: list[bytes]) -> list[str]:
    """Return the elements as text, in an order that does not depend on lanes."""
    found = [element for body in all_bodies for element in json.loads(body)["elements"]]
    return sorted(json.dumps(element, sort_keys=True) for element in found)


CHANGED_ROWS = """
from benchmarks import changed

rows = changed.rows((500,), count=2_000, rounds=1)
assert [row.what.split(",")[0] for row in rows[:3]] == ["2", "2", "2"], rows
assert len(rows) == 3 + 4, rows
assert all(row.ours for row in rows), rows
"""


def test_syncs_of_changed_rows_are_measured_on_the_same_runs() -> None:
    """In a process of its own, because the benchmarks set Airflow's environment."""
    done = subprocess.run(
        [sys.executable, "-c", CHANGED_ROWS], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
