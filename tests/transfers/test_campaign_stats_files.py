# ruff: noqa: F811 (fixtures of another module)
"""Files of campaign statistics: two tries of the same day at once, and what a killed one has left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.campaign_stats.files import StatsFiles
from airflow_provider_moengage.exceptions import MoEngageError
from tests.delivering import MoEngage
from tests.import_files.test_folder import attach
from tests.transfers.test_campaign_stats import campaigns, load, seed  # noqa: F401 (a fixture)


class HeldUp:
    """Rows that stop in the middle, until another try has done its work."""

    def __init__(self, rows: Any, meanwhile: Callable[[], Any]) -> None:
        self._rows, self._meanwhile = rows, meanwhile

    def __iter__(self) -> Iterator[Any]:
        for number, row in enumerate(self._rows):
            if number == 1:
                self._meanwhile()
            yield row


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_a_try_that_was_taken_for_dead_spoils_no_file(
    campaigns: MoEngage, tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on after the next try has written the file."""
    folder = f"file://{tmp_path}" if scheme == "file" else "memory://bucket/stats"
    store = attach("memory", monkeypatch) if scheme == "memory" else None
    seed(campaigns, "A", "B", "C")
    given = {"table": None, "conn_id": None, "path": folder}
    written: list[bytes] = []
    step = "_write_ndjson" if store is None else "_upload"
    done = getattr(StatsFiles, step)

    def content() -> list[bytes]:
        if store is not None:
            return [store.cat_file(path) for path in store.find("bucket")]
        return [path.read_bytes() for path in tmp_path.iterdir()]

    def next_try() -> None:
        monkeypatch.setattr(StatsFiles, step, done)
        load(**given)
        written.extend(content())

    def held_up(files: StatsFiles, first: Any, second: Any) -> None:
        if store is None:
            done(files, first, HeldUp(second, next_try))
            return
        put = store.put_file

        def slow(source: str, target: str) -> None:
            put(source, target)
            monkeypatch.setattr(store, "put_file", put)
            next_try()

        monkeypatch.setattr(store, "put_file", slow)
        done(files, first, second)

    monkeypatch.setattr(StatsFiles, step, held_up)
    with pytest.raises(MoEngageError, match="Another try has begun to write the same file"):
        load(**given)

    assert content() == written
    assert [len(each.splitlines()) for each in written] == [6]


@pytest.mark.parametrize("left", [".{}.part", ".{}.0a1b2c3d.part"])
def test_what_a_killed_try_left_is_removed(campaigns: MoEngage, tmp_path: Path, left: str) -> None:
    seed(campaigns, "A")
    given = {"table": None, "conn_id": None, "path": str(tmp_path)}
    [file] = load(**given)["files"]
    (tmp_path / left.format(Path(file).name)).write_text("half a fi")
    (tmp_path / ".mine.part").write_text("somebody else's")
    load(**given)

    assert {path.name for path in tmp_path.iterdir()} == {Path(file).name, ".mine.part"}


def test_what_a_killed_try_left_in_a_store_is_removed(
    campaigns: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = attach("memory", monkeypatch)
    seed(campaigns, "A")
    given = {"table": None, "conn_id": None, "path": "memory://bucket/stats"}
    load(**given)
    [path] = store.find("bucket")
    folder, name = path.rpartition("/")[::2]
    store.pipe_file(f"{folder}/.{name}.0a1b2c3d.part", b"half a fi")
    load(**given)

    assert store.find("bucket") == [path]


def test_an_upload_that_fails_leaves_the_earlier_file_and_nothing_else(
    campaigns: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = attach("memory", monkeypatch)
    seed(campaigns, "A")
    given = {"table": None, "conn_id": None, "path": "memory://bucket/stats"}
    load(**given)
    [path] = store.find("bucket")
    before = store.cat_file(path)
    put = store.put_file

    def half(source: str, target: str) -> None:
        put(source, target)
        raise OSError("connection lost")

    monkeypatch.setattr(store, "put_file", half)
    with pytest.raises(MoEngageError, match="is as it was before"):
        load(**given)

    assert store.find("bucket") == [path]
    assert store.cat_file(path) == before
