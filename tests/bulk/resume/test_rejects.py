from __future__ import annotations

import datetime as dt
import json
import os
import stat
import threading
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any
from uuid import UUID

import pytest

from airflow_provider_moengage.bulk.elements.findings import Finding
from airflow_provider_moengage.bulk.elements.rules import Code
from airflow_provider_moengage.bulk.resume.fence import FencedError
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.storage import StorageError, is_local, storage_path
from tests.import_files.test_folder import attach
from tests.names import name_of

FINDING = Finding(Code.CUSTOMER_ID_REFUSED, "customer_id: dropped")
NAN = Finding(Code.VALUE_NOT_FINITE, "a: NaN")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rejects.ndjson"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def written(path: Path, element: object) -> Any:
    """Return what the file has of an element."""
    rejects = Rejects(path)
    rejects.add(0, element, [FINDING])
    rejects.close()
    [line] = lines(path)
    return line["element"]


def test_a_reject_is_one_line_with_position_codes_messages_and_element(path: Path) -> None:
    rejects = Rejects(path)
    rejects.add(7, {"type": "customer", "customer_id": "guest\n"}, [FINDING, NAN, NAN])
    rejects.add(9, "no element", [FINDING])
    rejects.close()

    assert lines(path) == [
        {
            "position": 7,
            "codes": ["customer_id_refused", "value_not_finite"],
            "messages": ["customer_id: dropped", "a: NaN", "a: NaN"],
            "element": {"type": "customer", "customer_id": "guest\n"},
        },
        {
            "position": 9,
            "codes": ["customer_id_refused"],
            "messages": ["customer_id: dropped"],
            "element": "no element",
        },
    ]


def test_rejects_are_counted_once_an_element_and_once_a_code(path: Path) -> None:
    rejects = Rejects(path)
    rejects.add(0, {}, [FINDING, NAN, NAN])
    rejects.add(1, {}, [NAN])

    assert (rejects.count, dict(rejects.by_code)) == (2, {"customer_id_refused": 1, "value_not_finite": 2})


def test_without_a_path_rejects_are_only_counted() -> None:
    rejects = Rejects(None)
    rejects.add(0, {}, [FINDING])
    rejects.close()

    assert (rejects.path, rejects.count) == (None, 1)


class Person:
    def __str__(self) -> str:
        return "a person"


UUID_TEXT = "12345678-1234-5678-1234-567812345678"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (5, 5),
        (1.5, 1.5),
        ("日本", "日本"),
        ("\ud83d", "\ud83d"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (Decimal("NaN"), "NaN"),
        (b"text", "text"),
        (b"jane\xff", "jane\\xff"),
        (memoryview(b"text"), "text"),
        (Person(), "a person"),
        (1j, "1j"),
        (10**100, 10**100),
        (2**20_000, hex(2**20_000)),
        ({5: {None: 1}}, {"5": {"None": 1}}),
        ((1, {2}), [1, [2]]),
        (MappingProxyType({"a": 1}), {"a": 1}),
    ],
    ids=lambda value: hex(value)[:20] if isinstance(value, int) else name_of(value)[:20],
)
def test_any_element_can_be_written(path: Path, value: object, expected: object) -> None:
    assert written(path, {"value": value}) == {"value": expected}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (dt.datetime(2020, 5, 31, 16, 33, 35), "2020-05-31T16:33:35Z"),
        (dt.datetime(2020, 5, 31, tzinfo=dt.timezone(dt.timedelta(hours=2))), "2020-05-30T22:00:00Z"),
        (dt.date(2020, 5, 31), "2020-05-31"),
        (Decimal("12.50"), 12.5),
        (Decimal(2**53 + 1), 2**53 + 1),
        (UUID(UUID_TEXT), UUID_TEXT),
        (Code.TYPE_INVALID, "type_invalid"),
    ],
    ids=name_of,
)
def test_values_are_written_as_they_would_be_sent_so_the_file_can_be_replayed(
    path: Path, value: object, expected: object
) -> None:
    assert written(path, {"value": value}) == {"value": expected}


def test_numpy_values_are_written_as_they_would_be_sent(path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    element = {
        "number": numpy.int64(7),
        "numbers": numpy.array([1, 2]),
        "at": numpy.datetime64("2020-05-31T16:33:35", "ns"),
        "nan": numpy.float64("nan"),
        "never": numpy.datetime64("NaT"),
    }

    assert written(path, element) == {
        "number": 7,
        "numbers": [1, 2],
        "at": "2020-05-31T16:33:35Z",
        "nan": "nan",
        "never": "NaT",
    }


def test_an_element_that_contains_itself_is_cut_at_the_repetition(path: Path) -> None:
    endless: dict[str, Any] = {"type": "customer"}
    endless["friends"] = [endless, endless]

    assert written(path, endless) == {"type": "customer", "friends": ["...", "..."]}


def test_an_object_in_two_places_is_written_in_both(path: Path) -> None:
    shared = {"a": 1}

    assert written(path, [shared, shared]) == [shared, shared]


def test_a_very_deep_element_is_cut(path: Path) -> None:
    element: Mapping[str, Any] = {}
    for _ in range(2_000):
        element = {"a": element}

    assert "..." in json.dumps(written(path, element))


def test_the_first_reject_creates_the_file(path: Path) -> None:
    rejects = Rejects(path)
    before = path.exists()
    rejects.add(0, {}, [FINDING])
    rejects.close()

    assert (before, path.exists(), rejects.path) == (False, True, str(path))


def test_a_file_of_an_earlier_try_is_replaced(path: Path) -> None:
    path.write_text("an earlier try\n" * 10)

    assert written(path, {"a": 1}) == {"a": 1}


def test_a_file_of_an_earlier_try_is_removed_if_nothing_is_rejected(path: Path) -> None:
    path.write_text("an earlier try\n")
    Rejects(path).close()

    assert not path.exists()


def test_closing_twice_does_not_remove_the_file(path: Path) -> None:
    rejects = Rejects(path)
    rejects.add(0, {}, [FINDING])
    rejects.close()
    rejects.close()

    assert len(lines(path)) == 1


def test_a_reject_after_the_close_is_counted_and_does_not_replace_the_file(path: Path) -> None:
    rejects = Rejects(path)
    rejects.add(0, {"a": 1}, [FINDING])
    rejects.close()
    rejects.add(1, {"b": 2}, [FINDING])

    assert (rejects.count, len(lines(path))) == (2, 1)


def test_lanes_and_reader_may_add_concurrently(path: Path) -> None:
    rejects = Rejects(path)

    def add(lane: int) -> None:
        for number in range(200):
            rejects.add(lane * 200 + number, {"a": "x" * 100}, [FINDING])

    lanes = [threading.Thread(target=add, args=(lane,)) for lane in range(4)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    rejects.close()

    assert sorted(line["position"] for line in lines(path)) == list(range(800))
    assert rejects.count == 800


def test_the_log_gets_codes_and_positions_and_nothing_of_an_element(path: Path) -> None:
    rejects = Rejects(path)
    rejects.add(12, {"u_em": "jane@example.com"}, [Finding(Code.REFUSED_BY_SERVER, "jane@example.com")])
    rejects.add(3, {"u_em": "jane@example.com"}, [FINDING, Finding(Code.REFUSED_BY_SERVER, "jane")])
    rejects.close()

    assert rejects.describe() == [
        "1 rejected as customer_id_refused, at position 3",
        "2 rejected as refused_by_server, at positions 3, 12",
    ]


@pytest.mark.parametrize(("count", "ending"), [(20, "18, 19"), (21, "18, 19, ..."), (1_500, "18, 19, ...")])
def test_the_log_names_the_first_twenty_positions(count: int, ending: str) -> None:
    rejects = Rejects(None)
    for position in range(count):
        rejects.add(position, {}, [FINDING])

    [sentence] = rejects.describe()

    assert sentence.startswith(f"{count:,} rejected as customer_id_refused, at positions 0, 1, 2,")
    assert sentence.endswith(ending)


def test_without_rejects_nothing_is_logged() -> None:
    assert Rejects(None).describe() == []


class HalfWritten:
    """A stream whose next write is interrupted by a signal handler that raises."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, data: bytes) -> None:
        self._stream.write(data[: len(data) // 2])
        raise KeyboardInterrupt


class Interrupted(Rejects):
    is_interrupted = False

    def _open(self, *collected: Any) -> Any:
        stream = super()._open(*collected)
        return HalfWritten(stream) if self.is_interrupted else stream


def test_a_line_that_was_written_but_not_counted_is_removed(path: Path) -> None:
    rejects = Interrupted(path)
    rejects.track()
    rejects.begin()
    rejects.add(0, {"a": 1}, [FINDING])
    rejects.is_interrupted = True
    with pytest.raises(KeyboardInterrupt):
        rejects.add(1, {"a": 2}, [FINDING])
    rejects.is_interrupted = False
    assert rejects.flush() == [(0, ["customer_id_refused"])]
    rejects.add(2, {"a": 3}, [FINDING])
    rejects.flush()
    rejects.close()

    assert [line["position"] for line in lines(path)] == [0, 2]


def test_complete_lines_of_a_truncated_earlier_file_are_kept(path: Path) -> None:
    first = Rejects(path)
    first.track()
    first.begin()
    for position in range(10):
        first.add(position, {}, [FINDING])
    first.flush()
    part = path.with_name("rejects.ndjson.part")
    size = part.stat().st_size
    part.write_bytes(part.read_bytes()[: size - 5])

    second = Rejects(path)
    second.restore(10, {"customer_id_refused": 10}, size)
    assert second.begin() is False
    second.add(10, {}, [FINDING])
    second.close()

    assert [line["position"] for line in lines(path)] == [*range(9), 10]


def test_nothing_is_flushed_after_publishing_has_failed(path: Path) -> None:
    rejects = Rejects(path)
    rejects.track()
    rejects.begin()
    rejects.add(0, {}, [FINDING])
    path.mkdir()
    with pytest.raises(StorageError, match=r"rejects_path .* could not be written \(Is a directory\)"):
        rejects.close()

    assert rejects.flush(is_last=True) == []


def test_earlier_rejects_without_a_file_are_reported_missing(path: Path) -> None:
    rejects = Rejects(path)
    rejects.restore(3, {"customer_id_refused": 3}, 0)

    assert rejects.begin() is False
    assert not rejects.holds_lines


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277], ids=oct)
def test_only_the_workers_user_can_read_rejects_whatever_the_umask(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        rejects = Rejects(path)
        rejects.add(0, {"customer_id": "jane"}, [FINDING])
        collected = mode(path.with_name(f"{path.name}.part"))
        rejects.close()
    finally:
        os.umask(before)

    assert (collected, mode(path)) == ("0o600", "0o600")


@pytest.mark.parametrize("is_resumed", [True, False])
def test_what_an_earlier_try_left_readable_becomes_private(path: Path, is_resumed: bool) -> None:
    part = path.with_name(f"{path.name}.part")
    for file in (path, part):
        file.write_bytes(b"{}\n")
        file.chmod(0o664)

    rejects = Rejects(path)
    if is_resumed:
        rejects.restore(1, {"customer_id_refused": 1}, 3)
    rejects.add(0, {"customer_id": "jane"}, [FINDING])
    collected = mode(part)
    rejects.close()

    assert (collected, mode(path)) == ("0o600", "0o600")
    assert len(lines(path)) == 1 + is_resumed


def test_a_symbolic_link_in_the_place_of_the_collected_rejects_is_replaced_and_not_followed(path: Path) -> None:
    victim = path.with_name("victim")
    victim.write_text("of somebody else")
    path.with_name(f"{path.name}.part").symlink_to(victim)

    written(path, {"customer_id": "jane"})

    assert victim.read_text() == "of somebody else"


def exists(file: Any) -> bool:
    return bool(file.exists() if is_local(file) else file.fs.exists(file.path))


@pytest.mark.parametrize("is_remote", [True, False])
def test_the_next_try_removes_the_collected_rejects_of_a_killed_one_even_without_rejects_of_its_own(
    path: Path, monkeypatch: pytest.MonkeyPatch, is_remote: bool
) -> None:
    attach("memory", monkeypatch)
    file: Any = storage_path("memory://bucket/rejects.ndjson") if is_remote else path
    part, other = file.parent / f"{file.name}.part", file.parent / "other.ndjson.part"
    with other.open("wb") as stream:
        stream.write(b"of somebody else")
    killed = Rejects(file)
    killed.track()
    killed.add(0, {"customer_id": "jane"}, [FINDING])
    killed.flush(is_last=True)
    was_left = exists(part)

    rejects = Rejects(file)
    rejects.begin()
    rejects.close()

    assert was_left
    assert not exists(part)
    assert exists(other)


def flushed(rejects: Rejects, *positions: int) -> tuple[int, int]:
    """Add rejects, make them safe, and return what a checkpoint remembers of them."""
    for position in positions:
        rejects.add(position, {}, [FINDING])
    rejects.flush(is_last=True)
    return rejects.count, rejects.flushed_bytes


@pytest.mark.parametrize("ends", ["dies", "ends"])
def test_a_try_that_is_still_alive_does_not_change_the_lines_of_the_one_after_it(path: Path, ends: str) -> None:
    suspended = Rejects(path)
    suspended.track()
    suspended.begin()
    count, size = flushed(suspended, 0, 1)
    later = Rejects(path)
    later.restore(count, {"customer_id_refused": count}, size)
    later.track()
    later.begin()
    count, size = flushed(later, 20, 21)

    flushed(suspended, *range(100, 150))
    suspended.abandon()
    if ends == "dies":
        later = Rejects(path)
        later.restore(count, {"customer_id_refused": count}, size)
        assert later.begin() is True
    later.add(30, {}, [FINDING])
    later.close()

    assert [line["position"] for line in lines(path)] == [0, 1, 20, 21, 30]
    assert list(path.parent.iterdir()) == [path]


def test_a_kill_while_the_lines_of_an_earlier_try_are_copied_loses_none(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    first = Rejects(path)
    first.track()
    first.begin()
    count, size = flushed(first, 0, 1)
    with monkeypatch.context() as during:
        during.setattr("shutil.copyfileobj", killed)
        second = Rejects(path)
        second.restore(count, {"customer_id_refused": count}, size)
        with pytest.raises(KeyboardInterrupt):
            second.begin()

    third = Rejects(path)
    third.restore(count, {"customer_id_refused": count}, size)
    assert third.begin() is True
    third.add(2, {}, [FINDING])
    third.close()

    assert [line["position"] for line in lines(path)] == [0, 1, 2]
    assert list(path.parent.iterdir()) == [path]


def test_a_try_that_was_taken_over_uploads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    store = attach("memory", monkeypatch)

    def taken_over() -> None:
        raise FencedError

    rejects = Rejects(storage_path("memory://bucket/rejects.ndjson"))
    rejects.track()
    rejects.begin()
    rejects.add(0, {}, [FINDING])
    with pytest.raises(FencedError):
        rejects.flush(is_last=True, before_upload=taken_over)

    assert store.store == {}


def test_a_file_on_another_storage_is_removed_if_nothing_is_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = attach("memory", monkeypatch)
    store.pipe_file("/bucket/rejects.ndjson", b"{}\n")

    rejects = Rejects(storage_path("memory://bucket/rejects.ndjson"))
    rejects.begin()
    rejects.close()

    assert not store.exists("/bucket/rejects.ndjson")
