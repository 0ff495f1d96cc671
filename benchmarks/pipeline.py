"""The one place of the benchmarks that knows the pipeline's inner modules: from a source to request bodies.

What :class:`~airflow_provider_moengage.bulk.delivery.Delivery` does in the caller's thread, without lanes and
network. Whoever changes those modules adapts :func:`bodies`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any
from zlib import crc32

from airflow_provider_moengage.bulk.checkpoint import Checkpoint
from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.bulk.pacing import Limits
from airflow_provider_moengage.bulk.packing import Packer, pack_together
from airflow_provider_moengage.bulk.reading import Reader
from airflow_provider_moengage.bulk.rejects import Rejects
from airflow_provider_moengage.bulk.sources import Source, Stream
from airflow_provider_moengage.bulk.tally import Tally
from airflow_provider_moengage.transfers.rows import Query, elements_of
from benchmarks.data import Element, Kind, Row

_LIFTED = Limits(600_000_000, 600_000_000)


def source_of_elements(elements: Sequence[Element]) -> Source:
    """Return the source of ``BulkImportOperator(elements=...)`` and ``MoEngageHook.bulk_import``."""
    return Stream(elements)


def source_of_rows(kind: Kind, rows: Sequence[Row]) -> Source:
    """Return the source of ``SqlToMoEngageOperator``; the database has all rows ready, at next to no cost."""
    return Stream(elements_of(Query(_Table(kind.columns, rows), "SELECT", None, [kind.mapping], 5_000)))


def bodies(source: Source, validation: str) -> Iterator[bytes]:
    """Yield the request bodies that a run makes of a source, as :meth:`Delivery.run` does with default options.

    :param validation: ``off``, ``warn`` or ``strict``.
    :raises RuntimeError: where an element was rejected; those of the benchmarks are all good.
    """
    lanes = range(DeliveryOptions().concurrency)
    rejects, tally = Rejects(None), Tally(lambda: 0.0, lambda: 0.0)
    checkpoint = Checkpoint(source, tally, rejects, logging.getLogger(__name__), None)
    most = (_LIFTED.most_users_a_request, _LIFTED.most_events_a_request)
    packers = [Packer(*most) for _ in lanes]
    for line, user in Reader(validation, rejects, checkpoint).lines(lambda: None):
        number = crc32(user.encode(errors="surrogatepass")) % len(packers)
        if (full := packers[number].add(line)) is not None:
            yield full.body
    leftovers = [batch for packer in packers if (batch := packer.take()) is not None]
    for batch in pack_together(leftovers, *most):
        yield batch.body
    if rejects.count:
        raise RuntimeError(f"{rejects.count} elements rejected: {dict(rejects.by_code)}")


class _Table:
    """A database hook, its connection and its cursor, over rows that are there already."""

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
