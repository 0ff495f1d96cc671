"""Writes the rows of a day to a file of its own, instead of the one that was there: NDJSON or Parquet.

The file appears when it is complete. On a disk it is renamed, which replaces the earlier one at once; on an object
store it is uploaded as a whole. Each try writes to a file of its own until then, because one taken for dead may
still be writing. A try removes what earlier tries of the same file have left; one of them that goes on fails.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from airflow_provider_moengage.arguments import non_empty
from airflow_provider_moengage.campaign_stats.rows import COLUMNS, DAY, VERSION, DayRows
from airflow_provider_moengage.exceptions import MoEngageError, MoEngageRequestError
from airflow_provider_moengage.hooks.errors import storage_failures
from airflow_provider_moengage.storage import (
    APPEAR_WHOLE,
    is_local,
    local_or_remote,
    named,
    open_private,
    private_folder,
    remove_file,
)

FileFormat = Literal["ndjson", "parquet"]
FILE_FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)

ROWS_AT_ONCE = 5_000
"""Rows of one row group of Parquet, and of what is held in memory."""


def check_path(path: object) -> str:
    """Return the URI of a folder.

    :raises ValueError: naming the argument.
    """
    return non_empty("path", path, "a folder (ObjectStoragePath URI: file, s3, gs, ...)").rstrip("/") or "/"


def check_format(file_format: str) -> None:
    """Check that files of a format can be written.

    :raises MoEngageRequestError: if a library is missing.
    """
    if file_format == "parquet" and find_spec("pyarrow") is None:
        raise MoEngageRequestError(
            "file_format 'parquet': needs pyarrow, which is not installed; install"
            " 'airflow-provider-moengage[parquet]', or set file_format='ndjson'"
        )


class StatsFiles:
    """A folder of files, one for each day and kind of counting.

    :param folder: URI of any ObjectStoragePath; a missing one on a disk is created.
    :param file_format: ``ndjson`` or ``parquet``.
    :param scratch: a folder on the worker's disk.
    :param before_replacing: called before a file is replaced; an exception of it leaves the earlier one.
    """

    def __init__(
        self, folder: str, file_format: str, scratch: Path, before_replacing: Callable[[], None] = lambda: None
    ) -> None:
        check_format(file_format)
        self._folder = folder
        self._format = file_format
        self._scratch = scratch
        self._before_replacing = before_replacing
        self.written: list[str] = []
        """The files that were written."""

    def replace(self, rows: DayRows) -> None:
        """Replace the file of a day. Without rows it is written as well, so that the day is known to be loaded.

        :raises MoEngageError: if it cannot be written; without retry if the path or its permissions are wrong.
        """
        scope = rows.scope
        kind = f"{scope.attribution_type}_{scope.metric_type}_{scope.digest}"
        name = f"campaign_stats_{rows.day}_{kind}.{self._format}"
        uri = f"{self._folder.rstrip('/')}/{name}"
        unchanged = f"the file of {rows.day} is as it was before"
        with storage_failures(unchanged), named("path", self._folder, "written", but=(MoEngageError,)):
            self._replace(uri, name, rows)
        self.written.append(uri)

    def _replace(self, uri: str, name: str, rows: DayRows) -> None:
        place = local_or_remote(uri)
        if is_local(place):
            private_folder(place.parent)
            new = place.with_name(_part_name(name))
            _remove_parts(place.parent, name)
        else:
            new = self._scratch / name
        try:
            (self._write_parquet if self._format == "parquet" else self._write_ndjson)(new, rows)
            self._before_replacing()
            if is_local(place):
                _check_there(new.exists())
                new.replace(place)
            else:
                self._upload(new, place)
        finally:
            with suppress(OSError):  # the folder may be gone, or a file
                new.unlink(missing_ok=True)

    def _write_ndjson(self, file: Path, rows: DayRows) -> None:
        encoder = msgspec.json.Encoder()
        with open_private(file, "wb") as stream:
            for row in rows:
                stream.write(encoder.encode(row) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _write_parquet(self, file: Path, rows: DayRows) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        kinds: dict[str, Any] = {DAY.name: pa.date32(), VERSION.name: pa.int64()}
        fields = [(column.name, kinds.get(column.name, pa.string())) for column in COLUMNS]
        schema = pa.schema([*fields, *((name, pa.float64()) for name in rows.metrics)])
        metrics = rows.metrics
        with open_private(file, "wb") as stream:
            with parquet.ParquetWriter(stream, schema) as writer:
                left = iter(rows)
                while chunk := list(islice(left, ROWS_AT_ONCE)):
                    for row in chunk:
                        row[DAY.name] = date.fromisoformat(row[DAY.name])
                        row.update((name, float(row[name])) for name in metrics if name in row)
                    writer.write_table(pa.Table.from_pylist(chunk, schema=schema))
            stream.flush()
            os.fsync(stream.fileno())

    def _upload(self, file: Path, place: Any) -> None:
        if place.protocol in APPEAR_WHOLE:
            place.fs.put_file(os.fspath(file), place.path)
            return
        # Elsewhere a file appears while it is written. A rename is short, but does not replace everywhere.
        folder, name = place.path.rpartition("/")[::2]
        place.fs.makedirs(folder, exist_ok=True)
        _remove_remote_parts(place.fs, folder, name)
        hidden = f"{folder}/{_part_name(name)}"
        try:
            place.fs.put_file(os.fspath(file), hidden)
            place.fs.invalidate_cache(folder)
            _check_there(place.fs.exists(hidden))
            remove_file(place)
            place.fs.mv(hidden, place.path)
        except BaseException:
            with suppress(Exception):  # not there, or the connection is lost
                place.fs.rm_file(hidden)
            raise


def _part_name(name: str) -> str:
    return f".{name}.{secrets.token_hex(4)}.part"


def _is_part(found: str, name: str) -> bool:
    return re.fullmatch(rf"\.{re.escape(name)}(\.[0-9a-f]{{8}})?\.part", found) is not None


def _remove_parts(folder: Path, name: str) -> None:
    for path in folder.iterdir():
        if _is_part(path.name, name):
            with suppress(OSError):  # of another user, or already gone
                path.unlink()


def _remove_remote_parts(fs: Any, folder: str, name: str) -> None:
    with suppress(Exception):  # a folder that cannot be listed; what matters fails later
        fs.invalidate_cache(folder)
        for path in fs.ls(folder, detail=False):
            if _is_part(str(path).rpartition("/")[2], name):
                with suppress(Exception):  # of another user, or already gone
                    fs.rm_file(path)


def _check_there(is_there: bool) -> None:
    if not is_there:
        raise MoEngageError(
            "Another try has begun to write the same file and removed this one's; nothing was replaced. If two"
            " tasks write it, give them different folders"
        )
