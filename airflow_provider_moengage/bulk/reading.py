"""From a source of elements to lines that can be packed; what cannot be sent goes to the rejects."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import islice

from airflow_provider_moengage.bulk.checkpoint import Checkpoint
from airflow_provider_moengage.bulk.elements import Finding, Prepared, prepare
from airflow_provider_moengage.bulk.encoding import encode_lines
from airflow_provider_moengage.bulk.packing import LARGEST_ELEMENT, Line
from airflow_provider_moengage.bulk.rejects import Rejects
from airflow_provider_moengage.bulk.rules import Code
from airflow_provider_moengage.bulk.sources import Item

_CHUNK_BYTES = 1_000_000
_LARGEST_CHUNK = 1_000
"""Elements are encoded together, as many as make a megabyte if they are like the last ones, and no more than this:
a thousand small ones are as fast as any number, and a few huge ones take no more memory than they must."""

_NOT_JSON = (ValueError, TypeError, OverflowError, RecursionError)
"""What msgspec raises: half a surrogate pair and an int of thousands of digits are ValueErrors."""


class Reader:
    """Checks and encodes elements, in their order.

    :param validation: ``strict``, ``warn`` or ``off``.
    :param rejects: gets what cannot be sent.
    :param checkpoint: knows where to begin, and is told what was read.
    """

    def __init__(self, validation: str, rejects: Rejects, checkpoint: Checkpoint) -> None:
        self._validation = validation
        self._rejects = rejects
        self._checkpoint = checkpoint

    def lines(self, between_chunks: Callable[[], None]) -> Generator[tuple[Line, str]]:
        """Yield each line that can be sent, and whose it is.

        :param between_chunks: called before each chunk; what it raises ends the reading.
        """
        with closing(self._checkpoint.items()) as source:
            yield from self._lines(source, between_chunks)

    def _lines(self, source: Iterator[Item], between_chunks: Callable[[], None]) -> Iterator[tuple[Line, str]]:
        size = 10
        while chunk := list(islice(source, size)):
            between_chunks()
            items, in_doubt = self._checkpoint.take_up(chunk)
            for item in in_doubt:
                self._rejects.add(item.position, item.element, [_IN_DOUBT])
            good: list[tuple[int, Prepared]] = []
            for position, element, _, _ in items:
                prepared = prepare(element, rules_apply=self._validation != "off")
                if not prepared.findings or self._passes(prepared):
                    good.append((position, prepared))
                else:
                    self._rejects.add(position, element, prepared.findings)
            total = 0
            for (at, prepared), data in self._encoded(good):
                total += len(data)
                if len(data) > LARGEST_ELEMENT:
                    message = f"{len(data):,} bytes; one element may have {LARGEST_ELEMENT:,}"
                    self._rejects.add(at, prepared.element, [Finding(Code.ELEMENT_TOO_LARGE, message)])
                else:
                    yield Line(at, data, prepared.kind, prepared.actions, _codes(prepared)), prepared.user
            fitting = max(_CHUNK_BYTES * len(good) // total, 1) if total else _LARGEST_CHUNK
            size = min(fitting, 10 * size, _LARGEST_CHUNK)

    def _passes(self, prepared: Prepared) -> bool:
        return self._validation != "strict" and all(finding.is_warning for finding in prepared.findings)

    def _encoded(self, good: list[tuple[int, Prepared]]) -> Iterator[tuple[tuple[int, Prepared], bytes]]:
        try:
            lines = encode_lines([prepared.element for _, prepared in good])
        except _NOT_JSON:
            pass
        else:
            yield from zip(good, lines, strict=True)
            return
        for at, prepared in good:  # one of them cannot be encoded: find it
            try:
                [data] = encode_lines([prepared.element])
            except _NOT_JSON as error:
                finding = Finding(Code.VALUE_NOT_ENCODABLE, f"cannot be written as JSON ({type(error).__name__})")
                self._rejects.add(at, prepared.element, [finding])
            else:
                yield (at, prepared), data


_IN_DOUBT = Finding(
    Code.OUTCOME_UNKNOWN,
    "an earlier try ended while it was on its way; with delivery='at_most_once' it is not sent again",
)


def _codes(prepared: Prepared) -> tuple[str, ...]:
    return tuple({str(finding.code) for finding in prepared.findings}) if prepared.findings else ()
