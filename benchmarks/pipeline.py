"""The one place of the benchmarks that knows the pipeline's inner modules: from a source to request bodies.

What :class:`~airflow_provider_moengage.bulk.run.delivery.Delivery` does in the caller's thread, without lanes and
network. Whoever changes those modules adapts :func:`bodies`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from airflow_provider_moengage.bulk.elements.encoding import Encoder
from airflow_provider_moengage.bulk.rate_limit.pacer import Limits
from airflow_provider_moengage.bulk.resume.checkpoint import Checkpoint
from airflow_provider_moengage.bulk.resume.counters import Counters
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.run.packer import Packer
from airflow_provider_moengage.bulk.run.reader import Reader
from airflow_provider_moengage.bulk.sources import Source, Stream
from airflow_provider_moengage.sources.sql_rows import Query, Rows
from benchmarks.data import Element, Kind, Row

_LIFTED = Limits(600_000_000, 600_000_000)


def source_of_elements(elements: Sequence[Element]) -> Source:
    """Return the source of ``BulkImportOperator(elements=...)`` and ``MoEngageHook.bulk_import``."""
    return Stream(elements)


def source_of_rows(kind: Kind, rows: Sequence[Row]) -> Source:
    """Return the source of ``SqlToMoEngageOperator``, over a database that returns its rows at almost no cost."""
    return Rows(Query(_Table(kind.columns, rows), "SELECT", None, [kind.mapping], 5_000))


def bodies(source: Source, validation: str) -> Iterator[bytes]:
    """Yield the request bodies of a source, as :meth:`Delivery.run` with one lane builds them.

    :param validation: ``off``, ``warn`` or ``strict``.
    :raises RuntimeError: if an element was rejected; all elements of the benchmarks are valid.
    """
    rejects, counters, encoder = Rejects(None), Counters(lambda: 0.0, lambda: 0.0), Encoder()
    checkpoint = Checkpoint(source, counters, rejects, logging.getLogger(__name__), None)
    reader = Reader(validation, rejects, checkpoint, encoder)
    packer = Packer(_LIFTED.max_users_per_request, _LIFTED.max_events_per_request, encoder, reader.refuse)
    for elements in reader.elements(lambda: None):
        for full in packer.add(elements):
            yield full.body
    if (last := packer.take()) is not None:
        yield last.body
    if rejects.count:
        raise RuntimeError(f"{rejects.count} elements rejected: {dict(rejects.by_code)}")


class _Table:
    """A database hook, its connection and its cursor, over rows in memory."""

    arraysize = 1

    def __init__(self, columns: Sequence[str], rows: Sequence[Row]) -> None:
        self.description = [(name,) for name in columns]
        self._rows = rows
        self._at = 0

    def get_conn(self) -> _Table:
        return self

    cursor = get_conn

    def execute(self, sql: str, *parameters: Any) -> None:
        del sql, parameters

    def fetchmany(self, size: int) -> Sequence[Row]:
        self._at += size
        return self._rows[self._at - size : self._at]

    def close(self) -> None:
        pass
