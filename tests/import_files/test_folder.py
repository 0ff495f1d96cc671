"""Where files are until they appear, how they appear, and what remains after a failure."""

from __future__ import annotations

import logging
import multiprocessing
import os
import stat
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]  # has no stubs

from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.import_files.folder import (
    ImportFolder,
    check_folder,
    check_manifest_path,
)
from airflow_provider_moengage.import_files.splitting import FileNames
from airflow_provider_moengage.scratch import ScratchFolder
from airflow_provider_moengage.storage import StorageError

LOG = logging.getLogger("tests.import_folder")
NAMES = ("users_0001_20261122_0310.csv", "users_0002_20261122_0310.csv")
CONTENT = b"id\n" + b"u-7\n" * 5


class Store(MemoryFileSystem):  # type: ignore[misc]  # fsspec is untyped
    """A file system for one test, which records what is done to it."""

    protocol = "memory"
    store: dict[str, Any]
    pseudo_dirs: list[str]
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.store = {}
        self.pseudo_dirs = [""]
        self.acts: list[str] = []
        self.fails_at: str | None = None

    def names(self) -> list[str]:
        return sorted(path.removeprefix("/bucket/users/") for path in self.store)

    def act(self, *words: str) -> None:
        self.acts.append(" ".join(word.rpartition("/")[2] for word in words))
        if self.acts[-1] == self.fails_at:
            raise OSError("the store is gone")

    def put_file(self, lpath: Any, rpath: Any, *args: Any, **kwargs: Any) -> None:
        super().put_file(lpath, rpath, *args, **kwargs)
        self.act("put", rpath)

    def mv(self, path1: Any, path2: Any, *args: Any, **kwargs: Any) -> None:
        super().mv(path1, path2, *args, **kwargs)
        self.act("mv", path1, path2)


def attach(protocol: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Make Airflow use a store of the test for a protocol."""
    try:
        stores = import_module("airflow.sdk.io.store")
    except ImportError:  # Airflow 2
        stores = import_module("airflow.io.store")
    files = Store()
    monkeypatch.setitem(stores._STORE_CACHE, protocol, stores.ObjectStore(protocol, None, fs=files))
    return files


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The worker's temporary folder, which has to be empty afterwards."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


def write(folder: ImportFolder) -> None:
    for name in NAMES:
        with folder.create(name) as stream:
            stream.write(CONTENT)


def publish(path: Path | str) -> None:
    with ImportFolder(str(path), LOG) as folder:
        write(folder)
        folder.publish()


def leave_early(path: Path | str) -> None:
    with ImportFolder(str(path), LOG) as folder:
        write(folder)
        folder.create("users_0003_20261122_0310.csv").write(b"half")
        raise ZeroDivisionError


def test_on_a_disk_files_are_hidden_until_all_of_them_appear(tmp_path: Path) -> None:
    path = tmp_path / "not" / "there"

    with ImportFolder(str(path), LOG) as folder:
        write(folder)
        hidden = sorted(file.name for file in path.iterdir())
        folder.publish()

    assert hidden == [f".{name}.part" for name in NAMES]
    assert {file.name: file.read_bytes() for file in path.iterdir()} == dict.fromkeys(NAMES, CONTENT)


def test_a_file_uri_is_a_disk_too(tmp_path: Path) -> None:
    publish(f"file://{tmp_path}/users")

    assert sorted(file.name for file in (tmp_path / "users").iterdir()) == list(NAMES)


def test_nothing_is_left_of_files_that_were_not_published(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        leave_early(tmp_path)

    assert not list(tmp_path.iterdir())


def test_an_existing_name_is_not_overwritten_and_nothing_appears(tmp_path: Path) -> None:
    (tmp_path / NAMES[1]).write_text("what MoEngage has seen")

    with pytest.raises(MoEngageError, match=NAMES[1]):
        publish(tmp_path)

    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(NAMES[1], "what MoEngage has seen")]


def test_on_a_disk_all_files_appear_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def fails_at_the_second(self: Path, target: Any) -> Path:
        if Path(target).name == NAMES[1]:
            raise KeyboardInterrupt  # a stop is no Exception
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path)

    assert not list(tmp_path.iterdir())


def test_an_object_store_gets_complete_files_under_their_names(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = attach("s3", monkeypatch)

    with ImportFolder("s3://bucket/users", LOG) as folder:
        write(folder)
        before = store.names()
        folder.publish()

    assert before == []
    assert store.names() == list(NAMES)
    assert store.acts == [f"put {name}" for name in NAMES]
    assert store.cat_file(f"/bucket/users/{NAMES[0]}") == CONTENT


def test_storage_that_shows_incomplete_files_gets_them_under_hidden_names_first(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = attach("memory", monkeypatch)

    publish("memory://bucket/users/")

    assert store.names() == list(NAMES)
    assert store.acts == [f"put .{name}.part" for name in NAMES] + [f"mv .{name}.part {name}" for name in NAMES]


FAILURES = {
    "the second upload": ("s3", f"put {NAMES[1]}"),
    "a hidden upload": ("memory", f"put .{NAMES[1]}.part"),
    "a move": ("memory", f"mv .{NAMES[1]}.part {NAMES[1]}"),
}


@pytest.mark.parametrize(("protocol", "fails_at"), FAILURES.values(), ids=FAILURES)
def test_if_publishing_fails_nothing_remains(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, protocol: str, fails_at: str
) -> None:
    store = attach(protocol, monkeypatch)
    store.fails_at = fails_at

    with pytest.raises(StorageError, match=r"could not be written \(OSError\)$"):
        publish(f"{protocol}://bucket/users")

    assert store.acts[-1] == fails_at
    assert store.names() == []


def test_a_store_is_not_touched_before_everything_is_written(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = attach("memory", monkeypatch)

    with pytest.raises(ZeroDivisionError):
        leave_early("memory://bucket/users")

    assert (store.acts, store.names()) == ([], [])


def test_a_name_in_a_store_is_not_overwritten(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = attach("s3", monkeypatch)
    store.pipe_file(f"/bucket/users/{NAMES[0]}", b"seen")

    with pytest.raises(MoEngageError, match=NAMES[0]):
        publish("s3://bucket/users")

    assert store.cat_file(f"/bucket/users/{NAMES[0]}") == b"seen"
    assert store.names() == [NAMES[0]]


def test_publishing_needs_write_access_only(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = attach("s3", monkeypatch)

    def forbidden(*args: Any, **kwargs: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(store, "exists", forbidden)
    publish("s3://bucket/users")

    assert store.names() == list(NAMES)


def test_a_file_that_cannot_be_removed_is_named_in_the_log(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = attach("s3", monkeypatch)
    store.fails_at = f"put {NAMES[1]}"

    def forbidden(*args: Any, **kwargs: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(store, "rm_file", forbidden)
    with pytest.raises(StorageError, match=r"could not be written \(OSError\)$"):
        publish("s3://bucket/users")

    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        f"{name} could not be removed (PermissionError)" for name in NAMES
    ]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_on_a_disk_nobody_else_can_read_the_files_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "not" / "there"

    with ImportFolder(str(path), LOG) as folder:
        write(folder)
        hidden = {mode(file) for file in path.iterdir()}
        folder.publish()

    assert hidden == {0o600}
    assert {mode(file) for file in path.iterdir()} == {0o600}
    assert {mode(path), mode(path.parent)} == {0o700}


def test_an_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o775)

    publish(tmp_path)

    assert mode(tmp_path) == 0o775
    assert {mode(file) for file in tmp_path.iterdir()} == {0o600}


def test_a_setgid_folder_shares_the_files_with_its_group_once_they_appear(tmp_path: Path) -> None:
    tmp_path.chmod(0o2750)

    with ImportFolder(str(tmp_path), LOG) as folder:
        write(folder)
        hidden = {mode(file) for file in tmp_path.iterdir()}
        folder.publish()

    assert hidden == {0o600}
    assert {mode(file) for file in tmp_path.iterdir()} == {0o640}
    assert {file.stat().st_gid for file in tmp_path.iterdir()} == {tmp_path.stat().st_gid}


def test_a_symbolic_link_in_the_place_of_a_hidden_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("of somebody else")
    folder = tmp_path / "users"
    folder.mkdir()
    (folder / f".{NAMES[0]}.part").symlink_to(victim)

    publish(folder)

    assert victim.read_text() == "of somebody else"
    assert (folder / NAMES[0]).read_bytes() == CONTENT


def test_the_workers_temporary_files_are_private(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attach("s3", monkeypatch)

    with ImportFolder("s3://bucket/users", LOG) as folder:
        write(folder)
        [scratch] = temporary.iterdir()
        modes = mode(scratch), {mode(file) for file in scratch.iterdir()}

    assert modes == (0o700, {0o600})


def try_number(number: int, dag_id: str = "nightly") -> FileNames:
    """The names of one try's files."""
    task = SimpleNamespace(dag_id=dag_id, run_id="r", task_id="t", map_index=-1, try_number=number)
    return FileNames.of_try({"ti": task}, prefix="users", extension="csv")


def hidden_of(names: FileNames, part: int = 1) -> str:
    return f".{names.of_part(part)}.part"


OTHERS = [
    hidden_of(try_number(3)),
    hidden_of(try_number(1, dag_id="weekly")),
    try_number(1).of_part(1),
    f"{try_number(1).of_part(1)}.part",
    f".{try_number(1).of_part(1)}",
    ".notes.part",
]
"""Files of a later try, of another task, that MoEngage reads, and of somebody else."""


@pytest.mark.parametrize("place", ["disk", "memory://bucket/users"])
def test_a_try_removes_what_earlier_ones_have_left_and_nothing_else(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    store = attach("memory", monkeypatch)
    left = [hidden_of(try_number(1)), hidden_of(try_number(2), part=2), *OTHERS]
    folder = tmp_path / "users"
    folder.mkdir()
    for name in left:
        (folder / name).write_bytes(b"half")
        store.pipe_file(f"/bucket/users/{name}", b"half")

    with ImportFolder(str(folder) if place == "disk" else place, LOG, try_number(3).is_of_earlier_try):
        pass

    found = [path.name for path in folder.iterdir()] if place == "disk" else store.names()
    assert sorted(found) == sorted(OTHERS)


def test_a_store_that_cannot_be_listed_is_written_all_the_same(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = attach("memory", monkeypatch)
    store.pipe_file(f"/bucket/users/{hidden_of(try_number(1))}", b"half")

    def forbidden(*args: Any, **kwargs: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(store, "ls", forbidden)
    with ImportFolder("memory://bucket/users", LOG, try_number(2).is_of_earlier_try) as folder:
        write(folder)
        folder.publish()

    assert set(NAMES) <= set(store.names())


def _write_and_die(folder: str) -> None:
    """Write files in a process that is killed before it publishes them."""
    with ImportFolder(folder, LOG) as import_folder:
        write(import_folder)
        os._exit(9)


def test_the_next_try_removes_the_temporary_files_of_a_killed_one_and_not_those_of_a_live_one(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach("s3", monkeypatch)
    of_somebody_else = temporary / "moengage-files"
    of_somebody_else.mkdir()
    with ImportFolder("s3://bucket/users", LOG) as live:
        write(live)
        alive = set(temporary.iterdir())
        killed = multiprocessing.get_context("fork").Process(target=_write_and_die, args=("s3://bucket/users",))
        killed.start()
        killed.join()
        left = set(temporary.iterdir()) - alive
        files_left = [len(list(path.iterdir())) for path in left]

        with ImportFolder("s3://bucket/users", LOG):
            remaining = set(temporary.iterdir())

        assert killed.exitcode == 9
        assert files_left == [len(NAMES)]
        assert remaining > alive
        assert not remaining & left
    of_somebody_else.rmdir()


def test_a_folder_that_is_taken_for_abandoned_before_it_is_locked_is_created_again(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    flock = fcntl.flock

    def too_late(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        [path] = temporary.iterdir()
        path.rmdir()

    monkeypatch.setattr(fcntl, "flock", too_late)
    scratch = ScratchFolder()
    exists = scratch.path.exists()
    scratch.close()
    scratch.close()

    assert exists


def test_without_locks_no_folder_is_taken_for_abandoned(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError("locks are not supported")

    monkeypatch.setattr("fcntl.flock", no_locks)
    first, second = ScratchFolder(), ScratchFolder()
    remaining = set(temporary.iterdir())
    for folder in (first, second):
        folder.close()

    assert remaining == {first.path, second.path}


FOLDERS = [
    "/data/users",
    "users",
    "file:///data/users",
    "/with space/users",
    "s3://bucket/users",
    "s3://aws_default@bucket/a/users/",
    "gs://bucket/users",
    "sftp://host/users",
    "memory://users",
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_is_accepted(folder: str) -> None:
    assert check_folder(folder) == folder


@pytest.mark.parametrize(
    "folder",
    ["", "/", "file:///", "s3://bucket", "s3://bucket/", "/data/my users", "s3://b/a b/", "/a/b\tc", None, 7],
)
def test_a_folder_that_moengage_does_not_read_is_an_error(folder: Any) -> None:
    with pytest.raises(ValueError, match=r"^folder "):
        check_folder(folder)


@pytest.mark.parametrize("path", ["/data/users/manifest/a.json", "/data/a.json", "s3://bucket/a.json", "a.json"])
def test_a_manifest_may_be_anywhere_else(path: str) -> None:
    assert check_manifest_path(path, "/data/users/") == path


@pytest.mark.parametrize("path", ["/data/users/a.json", "/data/users//a.json", "/data/a.csv", "", None])
def test_a_manifest_that_would_be_taken_for_data_is_an_error(path: Any) -> None:
    with pytest.raises(ValueError, match=r"^manifest_path "):
        check_manifest_path(path, "/data/users/")
