"""Where checkpoints are stored, and what of them remains."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.tasks.checkpoint_stores import (
    LARGEST_VALUE,
    FileStore,
    StateStore,
    saved_run_of_task,
)
from tests.task import Task

SMALL = {"status": "complete"}
LARGE = {"keys": ["u-7" * 1_000] * 40}


def test_checkpoint_and_fence_are_private_files(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        saved_run = saved_run_of_task(Task(has_store=False).context, str(tmp_path / "a" / "b"), lambda: "inputs")
        assert saved_run is not None
        saved_run.save(LARGE)
    finally:
        os.umask(umask)

    files = list((tmp_path / "a" / "b").iterdir())
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 2
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (tmp_path / "a", tmp_path / "a/b")} == {0o700}


def test_the_next_try_removes_what_a_killed_one_left_of_a_checkpoint(tmp_path: Path) -> None:
    for name in ("t.checkpoint.json", "t.checkpoint.json.abcd1234.new", "u.checkpoint.json.abcd1234.new"):
        (tmp_path / name).write_text("{}")

    assert FileStore(f"{tmp_path}/t.checkpoint.json").load() == {}
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "t.checkpoint.json",
        "u.checkpoint.json.abcd1234.new",
    ]


def values(task: Task) -> list[str]:
    """The values of the state store with parts of a checkpoint."""
    assert task.store is not None
    return sorted(key for key in task.store if key.startswith("moengage_checkpoint."))


def test_a_small_checkpoint_removes_the_values_of_a_large_one() -> None:
    task = Task()
    store = StateStore(task.context)
    store.save(LARGE)
    store.save(LARGE)
    before = values(task)

    store.save(SMALL)

    parts = -(-len(str(LARGE).replace("'", '"')) // LARGEST_VALUE)
    assert len(before) == 2 * parts
    assert (values(task), StateStore(task.context).load()) == ([], SMALL)


@pytest.mark.parametrize(("saved", "remaining"), [(SMALL, []), (LARGE, ["1"])])
def test_the_next_try_removes_values_that_a_killed_one_left(
    monkeypatch: pytest.MonkeyPatch, saved: dict[str, Any], remaining: list[str]
) -> None:
    task = Task()
    killed = StateStore(task.context)
    killed.save(saved)
    half = StateStore(task.context)
    half._slot = 1  # writes to slot 0 next, while the head lists slot 1, or nothing

    def killed_before_the_head(state: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(half._head, "set", killed_before_the_head)
    with pytest.raises(KeyboardInterrupt):
        half.save(LARGE)
    assert any(key.split(".")[1] == "0" for key in values(task))

    assert StateStore(task.context).load() == saved
    assert sorted({key.split(".")[1] for key in values(task)}) == remaining
