from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_moengage.bulk.changed.records import CONTENT_BYTES, KEY_BYTES
from airflow_provider_moengage.bulk.changed.removed.leavers import Leavers
from airflow_provider_moengage.storage import StorageError


def test_a_disk_that_loses_the_ids_of_leavers_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    key, content = b"k" * KEY_BYTES, b"c" * CONTENT_BYTES
    left = Leavers([(key, content)], [["ann"]], lambda users: [key for _ in users])
    for file in tmp_path.rglob("ids"):
        file.unlink()

    with pytest.raises(StorageError, match=r"temporary folder '.*could not be written \(No such file"):
        list(left)
    left.close()
