"""Group commit: which threads write, which wait, and what a failing store does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_moengage.bulk.resume.writer import NotStoredError, Writer

_WITHIN = 10.0
"""Seconds that a thread may take to get somewhere."""


class Slow:
    """A store whose writes end when a test lets them."""

    def __init__(self) -> None:
        self.stored: list[int] = []
        self.is_writing = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)

    def save(self, state: dict[str, Any]) -> None:
        self.is_writing.release()
        assert self.may_end.acquire(timeout=_WITHIN)
        self.stored.append(state["changes"])


class Run:
    """A writer and the changes that it stores."""

    def __init__(self, save: Callable[[dict[str, Any]], None], *, is_required: bool = False) -> None:
        self.changes = 0
        log = logging.getLogger("tests.writer")
        self.writer = Writer(
            save, lambda is_last: None, lambda: {"changes": self.changes}, log, is_required=is_required
        )

    def change(self) -> None:
        with self.writer.lock:
            self.changes += 1
            self.writer.note_change()

    def change_and_flush(self) -> None:
        self.change()
        self.writer.flush()


def started(act: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def test_threads_that_wait_share_the_next_write() -> None:
    store = Slow()
    run = Run(store.save)
    threads = [started(run.change_and_flush)]
    assert store.is_writing.acquire(timeout=_WITHIN)
    for _ in range(4):
        run.change()
        threads.append(started(run.writer.flush))
    store.may_end.release(2)
    for thread in threads:
        thread.join(_WITHIN)

    assert store.stored == [1, 5]
    assert not any(thread.is_alive() for thread in threads)


def test_no_lock_is_held_while_the_store_is_written() -> None:
    store = Slow()
    run = Run(store.save)
    thread = started(run.change_and_flush)
    assert store.is_writing.acquire(timeout=_WITHIN)

    run.change()

    store.may_end.release()
    thread.join(_WITHIN)
    assert store.stored == [1]


def test_a_flush_without_a_change_writes_nothing() -> None:
    stored: list[Any] = []
    run = Run(stored.append)
    run.change_and_flush()
    run.writer.flush()

    assert stored == [{"changes": 1}]


def test_closing_waits_for_the_write_that_is_running_and_allows_no_other() -> None:
    store = Slow()
    run = Run(store.save)
    threads = [started(run.change_and_flush)]
    assert store.is_writing.acquire(timeout=_WITHIN)
    threads.append(started(run.writer.close))
    threads[1].join(0.05)
    was_waiting = threads[1].is_alive()
    store.may_end.release(2)
    for thread in threads:
        thread.join(_WITHIN)

    run.change_and_flush()

    assert (was_waiting, store.stored) == (True, [1])


def failing(state: dict[str, Any]) -> None:
    if state["changes"] > 1:
        raise ConnectionError("the store is gone")


def test_a_store_that_fails_later_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    run = Run(failing)
    for _ in range(3):
        run.change_and_flush()

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "The checkpoint could not be stored (ConnectionError)" in caplog.text


def test_a_store_that_is_required_raises() -> None:
    run = Run(failing, is_required=True)
    run.change_and_flush()

    with pytest.raises(NotStoredError, match="ConnectionError"):
        run.change_and_flush()


def test_the_first_state_is_always_required() -> None:
    run = Run(failing)
    run.changes = 1

    with pytest.raises(NotStoredError):
        run.change_and_flush()
