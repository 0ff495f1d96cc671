"""Writes the rows of a day to a file of its own, instead of the one that was there: NDJSON or Parquet.

The file appears when it is complete. On a disk it is renamed, which replaces the earlier one at once; on an object
store it is uploaded as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

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

FILE_FORMATS = ("ndjson", "parquet")

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
            new = place.with_name(f".{name}.part")
        else:
            new = self._scratch / name
        try:
            (self._write_parquet if self._format == "parquet" else self._write_ndjson)(new, rows)
            self._before_replacing()
            if is_local(place):
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
        hidden = f"{folder}/.{name}.part"
        place.fs.put_file(os.fspath(file), hidden)
        remove_file(place)
        place.fs.mv(hidden, place.path)
