"""The rejects of one try, kept on the worker's disk until a table gets them. They may hold personal data.

The file has no name, so no other process sees it and a killed one leaves nothing. Memory holds only the keys of
rows whose elements are neither accepted nor rejected yet.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from airflow_provider_moengage.bulk.elements.findings import Finding
from airflow_provider_moengage.bulk.elements.json_value import to_json_value
from airflow_provider_moengage.bulk.sources import Chunk


@dataclass(frozen=True, slots=True)
class SpooledReject:
    """A reject as a table gets it.

    :param position: its number in the source, from 0.
    :param key: JSON of the row's key columns; None if the source has no keys.
    :param codes: what is wrong with it.
    :param messages: one for each problem; without values of the element.
    :param element: the element as JSON; None unless it was asked for.
    """

    position: int
    key: str | None
    codes: list[str]
    messages: list[str]
    element: str | None


class RejectSpool:
    """Rejects of one try. Its caller makes one call of :meth:`add` at a time.

    :param key_columns: names of the columns that the source's keys are made of.
    :param with_elements: keep the elements, too.
    """

    def __init__(self, key_columns: Sequence[str] = (), *, with_elements: bool = False) -> None:
        self.count = 0
        """Rejects that were added."""
        self.lost = 0
        """Those of them that could not be kept."""
        self._key_columns = key_columns
        self._with_elements = with_elements
        self._keys: dict[int, Any] = {}
        self._file: IO[bytes] | None = None

    def note_keys(self, chunk: Chunk) -> None:
        """Remember the keys of elements until they are accepted or rejected."""
        if self._key_columns and chunk.keys is not None:
            self._keys.update(zip(chunk.positions, chunk.keys, strict=False))

    def forget_keys(self, positions: Iterable[int]) -> None:
        """Forget the keys of elements that are accepted, or need not be sent."""
        if self._keys:
            for position in positions:
                self._keys.pop(position, None)

    def add(self, position: int, element: object, codes: Sequence[str], findings: Sequence[Finding]) -> None:
        """Keep a reject. An error of the disk only counts it as lost: it must not end the run."""
        self.count += 1
        key = self._keys.pop(position, None)
        line = [
            position,
            None if key is None else _json(dict(zip(self._key_columns, key, strict=False))),
            list(codes),
            [finding.message if finding.public is None else finding.public for finding in findings],
            _json(element) if self._with_elements else None,
        ]
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
            self._file.write(json.dumps(line).encode() + b"\n")
        except (OSError, ValueError):  # a disk that is full; closed already
            self.lost += 1

    def rejects(self) -> Iterator[SpooledReject]:
        """Yield the rejects from the first one on."""
        if self._file is None:
            return
        self._file.seek(0)
        for line in self._file:
            try:
                yield SpooledReject(*json.loads(line))
            except ValueError:  # a signal has interrupted the writing
                self.lost += 1

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()


def _json(value: object) -> str:
    plain = to_json_value(value)
    text = json.dumps(plain, ensure_ascii=False)
    return text if _has_utf8(text) else json.dumps(plain)


def _has_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True
