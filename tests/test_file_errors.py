"""Each path of a task by what can be wrong with it: a package error, early, that names argument, path and cause.

Disks are real: a file in the way, a name of 300 characters, a folder, a user without permissions, a full disk.
Stores are fsspec file systems that fail with a text of their own, which nobody must see.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import sqlite3
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_moengage.bulk.changes import ChangedOnly
from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.exceptions import (
    MoEngageError,
    MoEngageFileNotFoundError,
    MoEngageRejectsError,
    MoEngageRequestError,
)
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.sources.ndjson import NdjsonFiles
from airflow_provider_moengage.storage import storage_path
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from airflow_provider_moengage.transfers.sql_to_moengage_file import SqlToMoEngageFileOperator
from tests.delivering import MoEngage, customer
from tests.import_files.test_folder import Store, attach
from tests.task import Task

SECRET = "AKIAIOSFODNN7EXAMPLE"


@pytest.fixture(autouse=True)
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE users AS SELECT value AS id FROM json_each('[11, 12, 13, 14, 15, 16]')")
    database.close()


def executed(operator: Any, task: Task | None = None) -> dict[str, Any]:
    context = (task or Task(has_store=False)).context
    context["dag"] = SimpleNamespace(start_date=None)
    context["dag_run"].run_type, context["dag_run"].run_id = "scheduled", "a_run"
    context["dag_run"].logical_date = datetime(2026, 1, 1, tzinfo=UTC)
    operator.render_template_fields(context)
    return dict(operator.execute(context))


def send(task: Task | None = None, **options: Any) -> dict[str, Any]:
    return executed(BulkImportOperator(task_id="send", **{"elements": [customer("ann")], **options}), task)


def export(folder: str, **options: Any) -> dict[str, Any]:
    return executed(
        SqlToMoEngageFileOperator(
            task_id="export",
            conn_id="warehouse",
            sql="SELECT id FROM users",
            id_column="id",
            folder=folder,
            **options,
        )
    )


def sync(path: str) -> dict[str, Any]:
    return executed(
        SqlToMoEngageOperator(
            task_id="sync",
            conn_id="warehouse",
            sql="SELECT id FROM users",
            mapping=CustomerMapping(customer_id="id"),
            key_columns=["id"],
            changed_only=ChangedOnly(path=path),
        )
    )


WRITTEN: dict[str, Callable[[str], Any]] = {
    "rejects_path": lambda folder: send(rejects_path=folder),
    "rejects_path, a file": lambda folder: send(rejects_path=f"{folder}/r.ndjson"),
    "rejects_path, dry run": lambda folder: send(rejects_path=folder, dry_run=True),
    "rejects_path, hook": lambda folder: MoEngageHook().bulk_import(
        [customer("ann")], rejects_path=f"{folder}/r.ndjson"
    ),
    "checkpoint_path": lambda folder: send(checkpoint_path=folder),
    "changed_only.path": sync,
    "folder": export,
    "manifest_path": lambda folder: export("memory://bucket/incoming", manifest_path=f"{folder}/m.json"),
}
"""What a task writes, by the argument that says where. Each gets a folder."""


@contextmanager
def as_nobody() -> Iterator[None]:
    """Act as a user without permissions, also if root runs the tests."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """The test's folder, where everybody may read. Other tests run in the folders above: these stay open."""
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(folder.stat().st_mode | 0o011)
    return tmp_path


@pytest.fixture
def wrong(tmp_path: Path) -> Callable[[str], str]:
    def folder(problem: str) -> str:
        (tmp_path / "file").write_text("in the way")
        (tmp_path / "locked").mkdir(mode=0o500)
        return f"{tmp_path}/{PROBLEMS[problem][0]}"

    return folder


PROBLEMS = {
    "a file": ("file", "Not a directory"),
    "below a file": ("file/deep/er", "Not a directory"),
    "a long name": (f"new/{'n' * 300}", "File name too long"),
    "no permission": ("locked", "Permission denied"),
    "no permission above": ("locked/new", "Permission denied"),
}
"""A folder, and what the message says of it."""


def assert_is_package_error(error: MoEngageError, argument: str, *causes: str, retried: bool) -> None:
    assert str(error).startswith(f"{argument} '")
    assert any(f"({cause})" in str(error) for cause in causes)
    assert isinstance(error, AirflowFailException) is not retried
    assert isinstance(error, MoEngageRequestError) is not retried
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert SECRET not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("place", WRITTEN)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_wrong_folder_fails_by_name_without_retry_before_anything_is_sent(
    connected: MoEngage, public: Path, wrong: Callable[[str], str], place: str, problem: str
) -> None:
    folder = wrong(problem)
    who = as_nobody() if "permission" in problem else nullcontext()
    with pytest.raises(MoEngageError) as raised, who:
        WRITTEN[place](folder)

    assert_is_package_error(raised.value, place.partition(",")[0], PROBLEMS[problem][1], retried=False)
    assert Path(folder).name in str(raised.value)
    assert connected.emulator.workspace.counts.requests == 0
    assert "Correct the path" in str(raised.value)


def test_a_folder_in_place_of_the_rejects_file_is_refused_before_anything_is_sent(
    connected: MoEngage, tmp_path: Path
) -> None:
    (tmp_path / "r.ndjson").mkdir()

    with pytest.raises(MoEngageError) as raised:
        send(rejects_path=f"{tmp_path}/r.ndjson")

    assert_is_package_error(raised.value, "rejects_path", "Is a directory", retried=False)
    assert connected.emulator.workspace.counts.requests == 0


def test_a_folder_in_place_of_the_manifest_is_refused_before_the_query_runs(tmp_path: Path) -> None:
    (tmp_path / "m.json").mkdir()

    with pytest.raises(MoEngageError) as raised:
        export(f"{tmp_path}/incoming", manifest_path=f"{tmp_path}/m.json")

    assert_is_package_error(raised.value, "manifest_path", "Is a directory", retried=False)
    assert not (tmp_path / "incoming").exists()


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("argument", ["folder", "manifest_path"])
def test_a_wrong_folder_is_found_before_the_query_runs(
    public: Path, wrong: Callable[[str], str], argument: str, problem: str
) -> None:
    paths: dict[str, Any] = {"folder": f"{public}/incoming", "manifest_path": f"{public}/m/m.json"}
    paths[argument] = wrong(problem) + ("/m.json" if argument == "manifest_path" else "")
    public.chmod(0o777)
    before = sorted(public.rglob("*"))
    operator = SqlToMoEngageFileOperator(
        task_id="export", conn_id="no_such_connection", sql="SELECT 1", id_column="id", **paths
    )

    who = as_nobody() if "permission" in problem else nullcontext()
    with pytest.raises(MoEngageRequestError, match=rf"^{argument} '"), who:
        executed(operator)

    assert sorted(public.rglob("*")) == before


@pytest.mark.parametrize("place", WRITTEN)
def test_an_unknown_scheme_is_refused(connected: MoEngage, place: str) -> None:
    with pytest.raises(MoEngageError) as raised:
        WRITTEN[place](f"unknown://user:{SECRET}@bucket/place")

    assert_is_package_error(raised.value, place.partition(",")[0], "ValueError", retried=False)
    assert connected.emulator.workspace.counts.requests == 0


@pytest.mark.parametrize("place", WRITTEN)
def test_a_scheme_without_a_client_is_refused_before_anything_is_sent(
    connected: MoEngage, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    store = attach("s3", monkeypatch)

    def no_client(_self: object) -> Any:
        raise ImportError(f"install it with {SECRET}")

    attach("memory", monkeypatch)
    monkeypatch.setattr(type(storage_path("s3://bucket/a")), "fs", property(no_client))
    with pytest.raises(MoEngageError) as raised:
        WRITTEN[place]("s3://bucket/place")

    assert_is_package_error(raised.value, place.partition(",")[0], "ImportError", retried=False)
    assert connected.emulator.workspace.counts.requests == 0
    assert store.store == {}


# A full disk.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Use up all space; return the file that uses it."""
    file = disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        file.write_bytes(bytes(1 << 20))
    return file


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow further, as on a full disk, which not every user can make."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("place", ["checkpoint_path", "changed_only.path", "folder"])
def test_a_full_disk_fails_by_name_before_anything_is_sent_and_is_retried(
    connected: MoEngage, small_disk: Path, place: str
) -> None:
    fill(small_disk)

    with pytest.raises(MoEngageError) as raised:
        WRITTEN[place](f"{small_disk}/new")

    assert_is_package_error(raised.value, place, "No space left on device", retried=True)
    assert connected.emulator.workspace.counts.requests == 0


def people(count: int, *, every: int = 20) -> list[dict[str, Any]]:
    """Customers of 500 bytes; each ``every``-th is a reject."""
    return [
        customer("null" if number % every == 0 else f"user {number}", number=number, text="x" * 400)
        for number in range(count)
    ]


def numbers(moengage: MoEngage) -> list[int]:
    return sorted(element["attributes"]["number"] for element in moengage.arrived)


def rejected(folder: Path) -> list[int]:
    return sorted(
        json.loads(line)["position"] for file in folder.glob("*.ndjson") for line in file.read_text().splitlines()
    )


def good(count: int) -> list[int]:
    return [number for number in range(count) if number % 20]


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
@pytest.mark.parametrize(
    ("count", "said"), [(4_000, "These are recorded: the next try sends the others"), (40, "nothing was sent")]
)
def test_a_disk_that_fills_up_with_rejects_loses_none_and_repeats_nothing(
    in_small_batches: MoEngage, small_disk: Path, caplog: Any, capsys: Any, count: int, said: str, delivery: str
) -> None:
    task = Task()
    options: dict[str, Any] = {"elements": people(count), "max_rejects": 0.5, "delivery": delivery}
    options["rejects_path"] = f"{small_disk}/r"
    filler = fill(small_disk)
    if count > 40:
        filler.write_bytes(bytes(20_000))

    with pytest.raises(MoEngageError) as raised:
        send(task, **options)

    assert_is_package_error(raised.value, "rejects_path", "No space left on device", retried=True)
    assert said in str(raised.value)
    assert "The checkpoint could not be written" not in f"{caplog.text}{''.join(capsys.readouterr())}"
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    task.retry()
    report = send(task, **options)

    assert report["resumed"]
    assert (report["accepted"], report["rejected"]) == (count * 19 // 20, count // 20)
    assert report["rejects"] == {"customer_id_refused": count // 20}
    assert numbers(in_small_batches) == good(count)
    assert rejected(small_disk / "r") == list(range(0, count, 20))


def test_a_file_that_cannot_grow_is_a_package_error(in_small_batches: MoEngage, tmp_path: Path) -> None:
    task = Task()
    options = {"elements": people(4_000), "rejects_path": str(tmp_path), "max_rejects": 0.5}

    with files_of_at_most(30_000), pytest.raises(MoEngageError) as raised:
        send(task, **options)

    assert_is_package_error(raised.value, "rejects_path", "File too large", retried=True)
    task.retry()
    assert send(task, **options)["resumed"]
    assert numbers(in_small_batches) == good(4_000)
    assert rejected(tmp_path) == list(range(0, 4_000, 20))


def test_without_a_checkpoint_a_full_disk_says_that_the_next_try_sends_everything(
    in_small_batches: MoEngage, tmp_path: Path
) -> None:
    with files_of_at_most(30_000), pytest.raises(MoEngageError, match="it sends everything again") as raised:
        send(elements=people(4_000), rejects_path=str(tmp_path), max_rejects=0.5)

    assert_is_package_error(raised.value, "rejects_path", "File too large", retried=True)


def test_rejects_that_do_not_fit_at_the_end_are_no_retry_without_a_checkpoint(
    in_small_batches: MoEngage, tmp_path: Path
) -> None:
    with files_of_at_most(2_000), pytest.raises(MoEngageRejectsError, match=r"\(File too large\); the log has"):
        send(elements=people(90), rejects_path=str(tmp_path), max_rejects=0.5)

    assert numbers(in_small_batches) == good(90)


def test_a_file_for_an_import_that_does_not_fit_is_a_package_error(small_disk: Path) -> None:
    filler = fill(small_disk)
    filler.write_bytes(bytes(60_000))
    sql = "SELECT a.id AS id, hex(zeroblob(5000)) AS text FROM users a, users b"

    with pytest.raises(MoEngageError) as raised:
        executed(
            SqlToMoEngageFileOperator(
                task_id="export", conn_id="warehouse", sql=sql, id_column="id", folder=f"{small_disk}/incoming"
            )
        )

    assert_is_package_error(raised.value, "folder", "No space left on device", retried=True)
    assert list((small_disk / "incoming").iterdir()) == []


def test_a_full_temporary_folder_is_named(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, connected: MoEngage
) -> None:
    attach("s3", monkeypatch)
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    sql = "SELECT a.id AS id, hex(zeroblob(5000)) AS text FROM users a, users b"
    operator = SqlToMoEngageFileOperator(
        task_id="export", conn_id="warehouse", sql=sql, id_column="id", folder="s3://bucket/incoming"
    )

    with pytest.raises(MoEngageError) as raised:
        executed(operator)
    assert_is_package_error(raised.value, "temporary folder", "No space left on device", retried=True)
    with pytest.raises(MoEngageError) as raised:
        send(elements=people(2_000, every=2), rejects_path="s3://bucket/rejects", max_rejects=0.5)
    assert_is_package_error(raised.value, "temporary folder", "No space left on device", retried=True)


# Stores.


class StoreError(Exception):
    """An error of a store's client: no OSError."""


STORES: dict[str, tuple[Exception, str, bool]] = {
    "an outage": (StoreError(f"signed by {SECRET}"), "StoreError", True),
    "an outage with a number": (OSError(5, f"signed by {SECRET}"), "Input/output error", True),
    "a timeout": (TimeoutError(f"signed by {SECRET}"), "TimeoutError", True),
    "no access": (PermissionError(f"signed by {SECRET}"), "PermissionError", False),
    "no bucket": (FileNotFoundError(f"signed by {SECRET}"), "FileNotFoundError", False),
}


class FailingStore(Store):
    """A store whose every write fails while :attr:`error` is set."""

    error: Exception | None = None

    def pipe_file(self, *given: Any, **named: Any) -> Any:
        self._fail()
        return super().pipe_file(*given, **named)

    def put_file(self, *given: Any, **named: Any) -> Any:
        self._fail()
        return super().put_file(*given, **named)

    def open(self, path: Any, mode: str = "rb", *given: Any, **named: Any) -> Any:
        if "w" in mode:
            self._fail()
        return super().open(path, mode, *given, **named)

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> FailingStore:
    store = FailingStore()
    monkeypatch.setattr("tests.import_files.test_folder.Store", lambda: store)
    attach("memory", monkeypatch)
    return store


@pytest.mark.parametrize("place", ["checkpoint_path", "changed_only.path", "folder", "manifest_path"])
@pytest.mark.parametrize("problem", STORES)
def test_an_error_of_a_store_is_named_without_its_text(
    connected: MoEngage, failing: FailingStore, problem: str, place: str
) -> None:
    failing.error, cause, is_retried = STORES[problem]
    with pytest.raises(MoEngageError) as raised:
        WRITTEN[place]("memory://bucket/place")

    assert_is_package_error(raised.value, place, cause, retried=is_retried)
    assert connected.emulator.workspace.counts.requests == 0
    assert failing.store == {}


READ: dict[str, Callable[[str], Any]] = {
    "checkpoint_path": WRITTEN["checkpoint_path"],
    "changed_only.path": sync,
    "path": lambda folder: send(elements=None, path=f"{folder}/*.ndjson"),
}


@pytest.mark.parametrize("place", READ)
@pytest.mark.parametrize("problem", ["an outage", "an outage with a number", "a timeout", "no access"])
def test_a_store_that_cannot_be_read_is_named_without_its_text(
    connected: MoEngage, monkeypatch: pytest.MonkeyPatch, problem: str, place: str
) -> None:
    error, cause, is_retried = STORES[problem]

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    store = attach("memory", monkeypatch)
    store.pipe_file("/bucket/place/a.ndjson", json.dumps(customer("ann")).encode())
    for name in ("ls", "open", "cat_file", "info", "isfile"):
        monkeypatch.setattr(store, name, fail)

    with pytest.raises(MoEngageError) as raised:
        READ[place]("memory://bucket/place")

    assert_is_package_error(raised.value, place, cause, retried=is_retried)
    assert connected.emulator.workspace.counts.requests == 0


@pytest.mark.parametrize("path", ["/tmp/a\0b", "/tmp/a\ud800b"])
@pytest.mark.parametrize("place", WRITTEN)
def test_a_name_that_no_file_can_have_is_refused(connected: MoEngage, path: str, place: str) -> None:
    with pytest.raises(MoEngageRequestError) as raised:
        WRITTEN[place](path)

    assert str(raised.value).startswith(f"{place.partition(',')[0]} '/tmp/a\\")
    assert connected.emulator.workspace.counts.requests == 0


@pytest.mark.parametrize("problem", STORES)
def test_rejects_that_a_store_does_not_take_are_written_by_a_retry_if_it_may_take_them_then(
    in_small_batches: MoEngage, failing: FailingStore, problem: str
) -> None:
    failing.error, cause, is_retried = STORES[problem]
    task = Task()
    options: dict[str, Any] = {"elements": people(20), "rejects_path": "memory://bucket/r", "max_rejects": 0.5}

    with pytest.raises(MoEngageError, match=r"[Ee]verything else was delivered") as raised:
        send(task, **options)

    assert isinstance(raised.value, MoEngageRejectsError) is not is_retried
    assert isinstance(raised.value, AirflowFailException) is not is_retried
    assert f"({cause})" in str(raised.value)
    assert SECRET not in "".join(traceback.format_exception(raised.value))

    failing.error = None
    task.retry() if is_retried else task.clear()
    assert send(task, **options)["rejected"] == 1
    assert numbers(in_small_batches) == good(20)
    [written] = failing.store.values()
    assert [json.loads(line)["position"] for line in written.getvalue().splitlines()] == [0]


def assert_warns_of_useless_files(caplog: Any, capsys: Any) -> None:
    logged = f"{caplog.text}{''.join(capsys.readouterr())}"
    assert "could not be removed (Permission denied); it is of no use any more: remove it yourself" in logged
    assert SECRET not in logged


def test_objects_that_cannot_be_removed_are_a_warning(
    connected: MoEngage, monkeypatch: pytest.MonkeyPatch, caplog: Any, capsys: Any
) -> None:
    def denied(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, f"signed by {SECRET}")

    attach("memory", monkeypatch)
    monkeypatch.setattr("tests.import_files.test_folder.Store.rm_file", denied)

    assert send(rejects_path="memory://bucket/r.ndjson")["accepted"] == 1
    assert_warns_of_useless_files(caplog, capsys)


def test_files_that_cannot_be_removed_are_a_warning(
    connected: MoEngage, public: Path, caplog: Any, capsys: Any
) -> None:
    folder = public / "r"
    folder.mkdir()
    folder.chmod(0o777)
    if os.geteuid() == 0:
        os.chown(folder, 65534, -1)

    def made() -> Iterator[Any]:
        folder.chmod(0o555)
        yield customer("ann")

    operator = BulkImportOperator(task_id="send", elements=made, rejects_path=str(folder))

    with as_nobody():
        assert executed(operator)["accepted"] == 1
    assert_warns_of_useless_files(caplog, capsys)


def test_the_state_store_of_airflow_fails_by_name(connected: MoEngage) -> None:
    class Broken(dict[str, Any]):
        def get(self, *_: Any) -> Any:
            raise ConnectionError(f"signed by {SECRET}")

    task = Task()
    task.store = Broken()  # type: ignore[assignment]

    with pytest.raises(MoEngageError) as raised:
        send(task)

    assert_is_package_error(raised.value, "Airflow's state store, key", "ConnectionError", retried=True)
    assert connected.emulator.workspace.counts.requests == 0


# Files that are read.


def test_a_missing_file_is_a_package_error_and_a_file_not_found_error(connected: MoEngage, tmp_path: Path) -> None:
    for path in (f"{tmp_path}/no.ndjson", f"{tmp_path}/no/*.ndjson", f"{tmp_path}/warehouse.db/a.ndjson"):
        with pytest.raises(MoEngageFileNotFoundError, match=r"path '.*': no such file") as raised:
            send(elements=None, path=path)

        assert isinstance(raised.value, FileNotFoundError)
        assert not isinstance(raised.value, AirflowFailException)
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_a_folder_in_place_of_a_file_to_read_is_named(connected: MoEngage, tmp_path: Path) -> None:
    with pytest.raises(MoEngageFileNotFoundError, match="but a folder; add which files"):
        send(elements=None, path=str(tmp_path))


@pytest.mark.parametrize("path", ["locked/a.ndjson", "locked/*.ndjson", "unreadable.ndjson"])
def test_a_file_that_may_not_be_read_is_no_missing_file(connected: MoEngage, public: Path, path: str) -> None:
    for file in (public / "locked" / "a.ndjson", public / "unreadable.ndjson"):
        file.parent.mkdir(exist_ok=True)
        file.write_text("{}")
    (public / "locked").chmod(0)
    (public / "unreadable.ndjson").chmod(0)

    with pytest.raises(MoEngageError) as raised, as_nobody():
        send(elements=None, path=f"{public}/{path}")

    assert_is_package_error(raised.value, "path", "Permission denied", retried=False)


def test_a_name_that_is_too_long_to_read_is_named(connected: MoEngage, tmp_path: Path) -> None:
    with pytest.raises(MoEngageError) as raised:
        send(elements=None, path=f"{tmp_path}/{'n' * 300}.ndjson")

    assert_is_package_error(raised.value, "path", "File name too long", retried=False)


def test_a_file_that_vanishes_before_it_is_read_is_a_missing_file(connected: MoEngage, tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    file.write_text(json.dumps(customer("ann")))

    class Hook(MoEngageHook):
        def get_conn(self) -> Any:
            file.unlink()
            return super().get_conn()

    with pytest.raises(MoEngageFileNotFoundError, match="no such file"):
        Hook().bulk_import(NdjsonFiles.matching(str(file)))
