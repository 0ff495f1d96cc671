"""From a source of elements to lines that can be packed; what cannot be sent goes to the rejects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from airflow_provider_moengage.bulk.elements import Finding, Prepared, prepare
from airflow_provider_moengage.bulk.encoding import encode_lines
from airflow_provider_moengage.bulk.packing import LARGEST_ELEMENT, Line
from airflow_provider_moengage.bulk.rejects import Rejects
from airflow_provider_moengage.bulk.rules import Code

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
    """

    def __init__(self, validation: str, rejects: Rejects) -> None:
        self._validation = validation
        self._rejects = rejects
        self.warnings: Counter[str] = Counter()
        """Elements by code of what MoEngage will cut, ignore or alter."""

    def lines(self, elements: Iterable[object], between_chunks: Callable[[], None]) -> Iterator[tuple[Line, str]]:
        """Yield each line that can be sent, and whose it is.

        :param elements: read once, a chunk at a time.
        :param between_chunks: called before each chunk; what it raises ends the reading.
        """
        source = iter(elements)
        position = 0
        size = 10
        while chunk := list(islice(source, size)):
            between_chunks()
            good: list[tuple[int, Prepared]] = []
            for at, element in enumerate(chunk, position):
                prepared = prepare(element, rules_apply=self._validation != "off")
                if not prepared.findings or self._passes(prepared):
                    good.append((at, prepared))
                else:
                    self._rejects.add(at, element, prepared.findings)
            position += len(chunk)
            total = 0
            for (at, prepared), data in self._encoded(good):
                total += len(data)
                if len(data) > LARGEST_ELEMENT:
                    message = f"{len(data):,} bytes; one element may have {LARGEST_ELEMENT:,}"
                    self._rejects.add(at, prepared.element, [Finding(Code.ELEMENT_TOO_LARGE, message)])
                else:
                    yield Line(at, data, prepared.kind, prepared.actions), prepared.user
            size = min(max(_CHUNK_BYTES * len(chunk) // max(total, 1), 1), 10 * size, _LARGEST_CHUNK)

    def _passes(self, prepared: Prepared) -> bool:
        if self._validation == "strict" or not all(finding.is_warning for finding in prepared.findings):
            return False
        self.warnings.update({str(finding.code) for finding in prepared.findings})
        return True

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
