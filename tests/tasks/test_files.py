"""Names of a task's files: short enough for any storage, and different for different tasks."""

from __future__ import annotations

import string
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_moengage.bulk.resume.fence import Fence
from airflow_provider_moengage.tasks.checkpoint_stores import FileStore
from airflow_provider_moengage.tasks.files import checkpoint_path_of_task, rejects_path_of_task
from airflow_provider_moengage.tasks.watermark import LONGEST_KEY, watermark_key

LONGEST_FILE_NAME = 255
"""Bytes, on ext4, XFS, APFS and NTFS."""

LONGEST_SUFFIX = len(".checkpoint.json.fence.new")


def context(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
    return {"ti": SimpleNamespace(dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)}


def name(*identity: Any) -> str:
    return Path(rejects_path_of_task("/rejects", context(*identity))).name


LONG = {
    "just too long": ("d" * 63, "r" * 63, "t" * 64),
    "the longest that Airflow accepts": ("d" * 250, "r" * 250, "t" * 250),
    "four bytes a character": ("\N{GRINNING FACE}" * 250, "r" * 250, "\N{GRINNING FACE}" * 250),
    "three bytes a letter": ("数" * 250, "据" * 250, "同" * 250),
    "a combining character at the cut": ("a" * 39 + "e\u0301" * 100, "r" * 250, "t" * 250),
}


@pytest.mark.parametrize("identity", LONG.values(), ids=LONG)
def test_long_ids_make_names_that_a_disk_can_hold(identity: tuple[str, str, str], tmp_path: Path) -> None:
    path = checkpoint_path_of_task(str(tmp_path), context(*identity, 1_000_000))
    store = FileStore(path)
    store.save({"a": 1})
    Fence(FileStore(f"{path}.fence"))

    assert store.load() == {"a": 1}
    assert len(Path(path).name.encode()) + LONGEST_SUFFIX <= LONGEST_FILE_NAME + len(".checkpoint.json")
    rejects = tmp_path / f"{name(*identity)}.dry_run.ndjson.part"
    rejects.write_bytes(b"")


def test_long_ids_that_differ_only_at_the_end_have_different_names() -> None:
    names = [name("d" * 249 + end, "r" * 250, "t" * 250) for end in string.ascii_lowercase]
    names += [name("d" * 250, "r" * 250, "t" * 249 + end) for end in string.ascii_lowercase[:-1] if end != "t"]
    names += [name("d" * 250, "r" * 250, "t" * 250, index) for index in range(3)]

    assert all(first != second for first, second in combinations(names, 2))


def test_short_ids_keep_their_name_so_that_a_retry_after_an_upgrade_finds_its_checkpoint() -> None:
    assert name("dag", "manual__2026-01-01T00:00:00+00:00", "task", 3) == (
        "dag__manual__2026-01-01T00-00-00-00-00__task__3__dc6996a8.ndjson"
    )


@given(st.tuples(*[st.text(min_size=1, max_size=250)] * 3))
def test_any_ids_make_a_safe_name(identity: tuple[str, str, str]) -> None:
    made = name(*identity)

    assert len(made.encode()) <= LONGEST_FILE_NAME - LONGEST_SUFFIX
    assert not set(made) & set('/\\:*?"<>|\0 \n#%{}^~[]`')
    assert made == name(*identity)


def test_the_key_of_a_watermark_fits_into_airflows_column() -> None:
    keys = {watermark_key("d" * 250, "t" * 249 + end, 12) for end in "ab"}

    assert len(keys) == 2
    assert all(len(key) <= LONGEST_KEY for key in keys)
    assert watermark_key("dag", "task", None) == "moengage:dag:task"
