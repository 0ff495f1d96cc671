from __future__ import annotations

import errno
import json
import multiprocessing
import os
import stat
import traceback
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_moengage.sources.ndjson import NdjsonFiles
from airflow_provider_moengage.storage import (
    StorageError,
    check_file_to_write,
    file_to_write,
    is_local,
    named,
    open_private,
    private_folder,
    remove_leftovers,
    storage_path,
    write_whole,
)
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


def test_only_a_path_on_the_workers_disk_is_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attach("memory", monkeypatch)
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


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o277, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """The umask of the worker: one that allows everything, the usual one, and two that allow nothing."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_files_and_new_folders_are_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    file = file_to_write(f"{tmp_path}/a/b/state.json")

    write_whole(file, b"first")
    write_whole(file, b"{}")

    assert [mode(path) for path in (tmp_path / "a", tmp_path / "a/b")] == [0o700, 0o700]
    assert mode(tmp_path / "a/b/state.json") == 0o600


def test_an_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o775)

    write_whole(file_to_write(f"{tmp_path}/shared/mine/a.json"), b"{}")

    assert [mode(tmp_path / name) for name in ("shared", "shared/mine")] == [0o775, 0o700]


def test_a_new_folder_keeps_the_group_of_a_setgid_folder(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o2775)

    private_folder(tmp_path / "shared" / "mine")

    assert mode(tmp_path / "shared/mine") & 0o777 == 0o700
    assert (tmp_path / "shared/mine").stat().st_gid == (tmp_path / "shared").stat().st_gid


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(NotADirectoryError):
        private_folder(tmp_path / "file")


def test_a_file_that_others_could_read_becomes_private_when_it_is_replaced_or_continued(tmp_path: Path) -> None:
    for name in ("replaced", "continued"):
        (tmp_path / name).write_bytes(b"old")
        (tmp_path / name).chmod(0o664)

    write_whole(tmp_path / "replaced", b"new")
    with open_private(tmp_path / "continued", "r+b") as stream:
        stream.seek(0, os.SEEK_END)
        stream.write(b"er")

    assert {path.name: (path.read_bytes(), oct(mode(path))) for path in tmp_path.iterdir()} == {
        "replaced": (b"new", "0o600"),
        "continued": (b"older", "0o600"),
    }


def test_a_symbolic_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("of somebody else")
    (tmp_path / "link").symlink_to(victim)

    with pytest.raises(OSError, match="link"):
        open_private(tmp_path / "link", "wb")

    assert victim.read_text() == "of somebody else"


def _write_and_die(file: Path) -> None:
    """Write a file in a process that is killed before the file is complete."""

    with mock.patch("os.fsync", side_effect=lambda _descriptor: os._exit(9)):
        write_whole(file, b"half")


def test_a_killed_write_leaves_the_old_file_and_its_remains_are_removed(tmp_path: Path) -> None:
    file = tmp_path / "run.checkpoint.json"
    others = [
        tmp_path / name
        for name in (
            "run.checkpoint.json.abc.new",
            "run.checkpoint.json.abcdefgh.new.gz",
            "rerun.checkpoint.json.abcdefgh.new",
            "run.checkpoint.json.fence.abcdefgh.new",
            "run.checkpoint.json",
        )
    ]
    for path in others:
        path.write_bytes(b"complete")
    killed = multiprocessing.get_context("fork").Process(target=_write_and_die, args=(file,))
    killed.start()
    killed.join()
    remains = [path.read_bytes() for path in set(tmp_path.iterdir()) - set(others)]
    (tmp_path / "run.checkpoint.json.new").write_bytes(b"of version 0.1")

    remove_leftovers(file_to_write(str(file)))

    assert killed.exitcode == 9
    assert remains == [b"half"]
    assert set(tmp_path.iterdir()) == set(others)
    assert file.read_bytes() == b"complete"


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_whole(tmp_path / "a.json", b"{}")

    assert not list(tmp_path.iterdir())


def test_leftovers_on_an_object_store_are_none_because_an_object_appears_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = attach("memory", monkeypatch)
    store.pipe_file("/bucket/a.json.abcdefgh.new", b"of somebody else")

    remove_leftovers(file_to_write("memory://bucket/a.json"))

    assert store.cat_file("/bucket/a.json.abcdefgh.new") == b"of somebody else"


def test_a_pattern_finds_files_in_the_store_that_they_are_read_from(monkeypatch: pytest.MonkeyPatch) -> None:
    store = attach("memory", monkeypatch)
    for name in ("a/1.ndjson", "a/deep/2.ndjson", "a/3.txt", "b/4.ndjson"):
        store.pipe_file(f"/bucket/{name}", json.dumps({"name": name}).encode())
    store.makedirs("/bucket/a/folder.ndjson")

    found = {
        pattern: [element["name"] for element in NdjsonFiles.matching(f"memory://bucket/{pattern}")]
        for pattern in ("a/1.ndjson", "a/*.ndjson", "*/?.ndjson", "a/**/*.ndjson", "[ab]/[14].ndjson")
    }

    assert found == {
        "a/1.ndjson": ["a/1.ndjson"],
        "a/*.ndjson": ["a/1.ndjson"],
        "*/?.ndjson": ["a/1.ndjson", "b/4.ndjson"],
        "a/**/*.ndjson": ["a/1.ndjson", "a/deep/2.ndjson"],
        "[ab]/[14].ndjson": ["a/1.ndjson", "b/4.ndjson"],
    }
    for missing in ("a/9.ndjson", "c/*.ndjson", "a"):
        with pytest.raises(FileNotFoundError, match="no such file"):
            NdjsonFiles.matching(f"memory://bucket/{missing}")


ERRORS: list[tuple[Exception, str, bool]] = [
    (OSError(errno.ENOSPC, "secret"), "No space left on device", False),
    (OSError(errno.EIO, "secret"), "Input/output error", False),
    (OSError(errno.EMFILE, "secret"), "Too many open files", False),
    (OSError(errno.EDQUOT, "secret"), "Disk quota exceeded", False),
    (OSError("secret"), "OSError", False),
    (OSError(99_999, "secret"), "OSError", False),
    (ConnectionResetError("secret"), "ConnectionResetError", False),
    (TimeoutError("secret"), "TimeoutError", False),
    (RuntimeError("secret"), "RuntimeError", False),
    (json.JSONDecodeError("secret", "secret", 0), "JSONDecodeError", False),
    (OSError(errno.ENAMETOOLONG, "secret"), "File name too long", True),
    (OSError(errno.EROFS, "secret"), "Read-only file system", True),
    (NotADirectoryError(errno.ENOTDIR, "secret"), "Not a directory", True),
    (PermissionError("secret"), "PermissionError", True),
    (PermissionError(errno.EACCES, "secret"), "Permission denied", True),
    (FileNotFoundError("secret"), "FileNotFoundError", True),
    (ValueError("secret"), "ValueError", True),
    (ImportError("secret"), "ImportError", True),
    (NotImplementedError("secret"), "NotImplementedError", True),
    (AirflowNotFoundException("secret"), "AirflowNotFoundException", True),
    (FileExistsError(errno.EEXIST, "secret"), "File exists", False),
]


@pytest.mark.parametrize(("error", "cause", "is_permanent"), ERRORS, ids=repr)
def test_each_error_is_named_without_its_text_and_says_whether_a_retry_helps(
    error: Exception, cause: str, is_permanent: bool
) -> None:
    with pytest.raises(StorageError) as raised, named("checkpoint_path", "s3://me:secret@bucket/a", "written"):
        raise error

    assert str(raised.value) == f"checkpoint_path 's3://me:***@bucket/a': could not be written ({cause})"
    assert (raised.value.cause, raised.value.is_permanent) == (cause, is_permanent)
    assert raised.value.is_missing is isinstance(error, FileNotFoundError)
    shown = "".join(traceback.format_exception(raised.value))
    assert "secret" not in shown.replace('named("checkpoint_path", "s3://me:secret@bucket/a", "written")', "")


def test_an_error_that_has_a_name_keeps_it() -> None:
    with pytest.raises(StorageError, match=r"^inner"), named("outer", "a", "read"), named("inner", "b", "read"):
        raise OSError

    with pytest.raises(KeyError), named("outer", "a", "read", but=(KeyError,)):
        raise KeyError
    with pytest.raises(KeyboardInterrupt), named("outer", "a", "read"):
        raise KeyboardInterrupt


def test_a_check_leaves_nothing_and_creates_nothing(tmp_path: Path) -> None:
    check_file_to_write(f"{tmp_path}/a/b/m.json", "manifest_path")

    assert not list(tmp_path.iterdir())
