from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_moengage.sources.ndjson import NdjsonFiles
from airflow_provider_moengage.storage import file_to_write, is_local, storage_path, write_whole
from tests.import_files.test_folder import attach


@pytest.mark.parametrize(
    ("given", "path"),
    [("rejects", "{here}/rejects"), ("./a/*.ndjson", "{here}/a/*.ndjson"), ("/rejects", "/rejects")],
)
def test_a_path_without_a_scheme_is_on_the_workers_disk_and_may_be_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, path: str
) -> None:
    monkeypatch.chdir(tmp_path)

    assert storage_path(given).path == path.format(here=tmp_path)


def test_a_uri_stays_as_it_is() -> None:
    path = storage_path("memory://bucket/rejects")

    assert (path.protocol, path.name) == ("memory", "rejects")


def test_relative_files_are_written_and_found_in_the_workers_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_whole(file_to_write("rejects/run.ndjson"), json.dumps({"type": "customer"}).encode() + b"\n")

    assert (tmp_path / "rejects" / "run.ndjson").exists()
    assert list(NdjsonFiles.matching("rejects/*.ndjson")) == [{"type": "customer"}]


def test_only_a_path_on_the_workers_disk_is_local(tmp_path: Path) -> None:
    assert is_local(file_to_write(f"{tmp_path}/a.json"))
    assert is_local(file_to_write(f"file://{tmp_path}/a.json"))
    assert not is_local(file_to_write("memory://bucket/a.json"))
    assert not is_local(storage_path(f"{tmp_path}/a.json"))


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = file_to_write(f"{tmp_path}/new/a.json")

    write_whole(file, b"first")
    write_whole(file, b"{}")

    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == {"a.json": b"{}"}


def test_an_object_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    store = attach("memory", monkeypatch)

    write_whole(file_to_write("memory://bucket/a.json"), b"first")
    write_whole(file_to_write("memory://bucket/a.json"), b"{}")

    assert store.cat_file("/bucket/a.json") == b"{}"
