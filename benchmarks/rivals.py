"""How rows and elements become request bodies without the provider: two floors, and the ways people write it.

A floor only encodes lists that were cut to size beforehand; it measures, checks and sorts nothing.
"""

from __future__ import annotations

import datetime as dt
import json
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import orjson  # type: ignore[import-not-found, unused-ignore]  # only in the environment of the benchmarks

from benchmarks.data import Element, Kind, Row

MOST_BYTES = 100_000
"""The most bytes that MoEngage accepts in a body, including the envelope."""

USUAL_BATCH = 100
"""Elements per batch, a number that fits without measuring."""

_ORJSON_OPTIONS = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
_MSGSPEC = msgspec.json.Encoder(decimal_format="number")


def orjson_body(elements: Sequence[Element]) -> bytes:
    """Encode a whole request with orjson, which supports datetimes and UUIDs."""
    body: bytes = orjson.dumps(
        {"type": "transition", "elements": elements}, default=_number, option=_ORJSON_OPTIONS
    )
    return body


def msgspec_body(elements: Sequence[Element]) -> bytes:
    """Encode a whole request with msgspec, which also supports Decimals."""
    return _MSGSPEC.encode({"type": "transition", "elements": elements})


def json_body(elements: Sequence[Element]) -> bytes:
    """Encode a whole request with the standard library, as ``requests.post(json=...)`` does."""
    return json.dumps({"type": "transition", "elements": elements}, default=str).encode()


def post(url: str, elements: Sequence[Element]) -> None:
    """Send one request as a hand-written PythonOperator does."""
    import requests

    requests.post(
        f"{url}/v1/transition/EMULATOR",
        json={"type": "transition", "elements": elements},
        auth=("EMULATOR", "emulator-data-key"),
        timeout=60,
    ).raise_for_status()


def floor(
    encode: Callable[[Sequence[Element]], bytes], cuts: Sequence[int], elements: Sequence[Element]
) -> Iterator[bytes]:
    """Encode lists of known length.

    :param cuts: the number of elements in each body.
    """
    start = 0
    for count in cuts:
        yield encode(elements[start : start + count])
        start += count


def floor_from_rows(
    encode: Callable[[Sequence[Element]], bytes], cuts: Sequence[int], kind: Kind, rows: Sequence[Row]
) -> Iterator[bytes]:
    """Build the elements with a function written for these columns, and encode lists of known length."""
    element, start = kind.element, 0
    for count in cuts:
        yield encode([element(row) for row in rows[start : start + count]])
        start += count


def growing_list(elements: Sequence[Element]) -> Iterator[bytes]:
    """Encode the whole list again after each element, to see whether it still fits."""
    batch: list[Element] = []
    body = b""
    for element in elements:
        batch.append(element)
        longer = json_body(batch)
        if len(longer) > MOST_BYTES:
            yield body
            batch = [element]
            longer = json_body(batch)
        body = longer
    yield body


def fixed_batches(elements: Sequence[Element], size: int = USUAL_BATCH) -> Iterator[bytes]:
    """Send a fixed number at a time, whatever their size."""
    for start in range(0, len(elements), size):
        yield json_body(elements[start : start + size])


def each_by_json(elements: Sequence[Element]) -> Iterator[bytes]:
    """Encode each element separately with the standard library and add up the lengths."""
    return _added_up(json.dumps(element, default=str, separators=(",", ":")).encode() for element in elements)


def each_by_orjson(elements: Sequence[Element]) -> Iterator[bytes]:
    """Encode each element separately with orjson and add up the lengths."""
    return _added_up(orjson.dumps(element, default=_number, option=_ORJSON_OPTIONS) for element in elements)


def analytics_queue(elements: Sequence[Element]) -> Iterator[bytes]:
    """Do what the clients of analytics services do: copy each element into a queue, encode it in a consumer thread
    to check its size, and flush every hundred.
    """
    inbox: queue.Queue[Element | None] = queue.Queue(10_000)
    outbox: list[bytes] = []
    consumer = threading.Thread(target=_consume, args=(inbox, outbox))
    consumer.start()
    for element in elements:
        inbox.put(_cleaned(element))
    inbox.put(None)
    consumer.join()
    yield from outbox


def _consume(inbox: queue.Queue[Element | None], outbox: list[bytes]) -> None:
    batch: list[Element] = []
    while (element := inbox.get()) is not None:
        if len(json.dumps(element).encode()) <= MOST_BYTES:
            batch.append(element)
        if len(batch) == USUAL_BATCH:
            outbox.append(json_body(batch))
            batch = []
    if batch:
        outbox.append(json_body(batch))


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _cleaned(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)


def _added_up(lines: Iterator[bytes]) -> Iterator[bytes]:
    prefix, suffix = b'{"type":"transition","elements":[', b"]}"
    batch: list[bytes] = []
    size = len(prefix) + len(suffix) - 1
    for line in lines:
        if batch and size + len(line) + 1 > MOST_BYTES:
            yield prefix + b",".join(batch) + suffix
            batch, size = [], len(prefix) + len(suffix) - 1
        batch.append(line)
        size += len(line) + 1
    yield prefix + b",".join(batch) + suffix


def _number(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(type(value).__name__)
