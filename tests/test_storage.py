from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_moengage.sources.ndjson import NdjsonFiles
from airflow_provider_moengage.storage import storage_path
from airflow_provider_moengage.tasks.files import file_to_write


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
    file_to_write("rejects/run.ndjson").write_text(json.dumps({"type": "customer"}) + "\n")

    assert (tmp_path / "rejects" / "run.ndjson").exists()
    assert list(NdjsonFiles.matching("rejects/*.ndjson")) == [{"type": "customer"}]
