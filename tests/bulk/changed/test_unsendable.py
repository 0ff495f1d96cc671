"""Elements that no request can hold, and parts that are not as they were written."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from airflow_provider_moengage.bulk.changed.folder import StateFolder
from airflow_provider_moengage.bulk.changed.new_columns import NewColumns
from airflow_provider_moengage.bulk.changed.part import DamagedError, Part, PartWriter
from airflow_provider_moengage.bulk.changed.records import RECORD_BYTES
from airflow_provider_moengage.bulk.changed.sync_run import Changes, SyncRun
from airflow_provider_moengage.bulk.report import DeliveryReport
from tests.delivering import MoEngage, customer

CANNOT_BE_SENT = [
    customer("large", **{f"a{number}": "x" * 500 for number in range(250)}),
    customer("half a surrogate pair", text="\ud800"),
]


def sync(moengage: MoEngage, folder: Path, number: int) -> DeliveryReport:
    run = SyncRun(f"run {number}", f"run {number}", None, "w", "m", 1)
    changes = Changes(StateFolder(folder), run, NewColumns("send", moengage.log), may_repeat=False)
    elements = [customer("ann", plan=1), *CANNOT_BE_SENT, customer("bob", plan=2)]
    return moengage.deliver(elements, changes=changes, max_rejects=10)


def test_an_element_that_no_request_can_hold_is_rejected_in_each_run(moengage: MoEngage, tmp_path: Path) -> None:
    first, second = (sync(moengage, tmp_path / "state", number) for number in range(2))

    assert (first.accepted, first.unchanged, first.rejects) == (2, 0, second.rejects)
    assert (second.accepted, second.unchanged, second.rejected) == (0, 2, 2)
    assert second.rejects["element_too_large"] == 1


@pytest.mark.parametrize("compares", [False, True])
def test_rejects_of_a_chunk_are_in_the_order_of_the_source(
    moengage: MoEngage, tmp_path: Path, compares: bool
) -> None:
    elements = [element for number in range(40) for element in (customer(f"user-{number}"), *CANNOT_BE_SENT[::-1])]
    changes = None
    if compares:
        run = SyncRun("run", "run", None, "w", "m", 1)
        changes = Changes(StateFolder(tmp_path / "state"), run, NewColumns("send", moengage.log), may_repeat=True)
    path = tmp_path / "rejects.ndjson"

    report = moengage.deliver(elements, changes=changes, rejects=path, max_rejects=100, concurrency=1)

    assert (report.accepted, report.rejected) == (40, 80)
    positions = [json.loads(line)["position"] for line in path.read_text().splitlines()]
    assert positions == [position for position in range(120) if position % 3]


class _Kept(io.BytesIO):
    """A stream whose content can be read when it is closed."""

    def close(self) -> None:
        pass


def written() -> bytes:
    stream = _Kept()
    writer = PartWriter(stream)
    writer.add(bytes(range(RECORD_BYTES)))
    writer.close({})
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"", written()[:20], b"x" + written()[1:], written()[:-1], written()[:30] + written()[50:], b"\0" * 200],
    ids=["empty", "short", "no header", "no footer", "too few records", "zeros"],
)
def test_a_part_that_is_not_as_it_was_written_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedError):
        list(Part(io.BytesIO(data)).blocks())
