"""The first elements of a source as a run would send them, without a run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from airflow_provider_moengage.bulk.elements.checks import not_json
from airflow_provider_moengage.bulk.elements.encoding import ENCODING_ERRORS, Encoder
from airflow_provider_moengage.bulk.elements.findings import Finding
from airflow_provider_moengage.bulk.elements.rules import WorkspaceRules
from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.bulk.run.packer import LARGEST_ELEMENT
from airflow_provider_moengage.bulk.run.reader import as_given, passes, reasons, too_large
from airflow_provider_moengage.bulk.sources import Source, Stream


@dataclass(frozen=True, slots=True)
class Previewed:
    """One element, as it would be sent.

    :param position: its number in the source, from 0.
    :param line: the element as JSON, byte for byte as in a request; None if it would be rejected.
    :param given: the element as a rejects file would hold it.
    :param findings: what is wrong with it, or altered by MoEngage.
    """

    position: int
    line: bytes | None
    given: Any
    findings: list[Finding]


def preview(source: Source, options: DeliveryOptions, count: int) -> Iterator[Previewed]:
    """Yield the first elements of a source, checked and encoded as in a run. MoEngage is not asked, so what it
    alone would refuse is not found.

    :param count: elements to read at most.
    """
    left = count
    with closing(encoded(source, options, lambda: left)) as elements:
        for element in elements:
            yield element
            left -= 1
            if left <= 0:
                return


def encoded(source: Source, options: DeliveryOptions, size: Callable[[], int]) -> Generator[Previewed]:
    """Yield all elements of a source, checked and encoded as in a run.

    :param size: returns how many elements to read next, at most.
    """
    names = options.identifiers
    workspace = WorkspaceRules(None if names is None else frozenset(names))
    rules_apply = options.validation != "off"
    if isinstance(source, Stream):
        source = source.checked_as_read(rules_apply, workspace)
    encoder = Encoder()
    with closing(source.chunks(None, size)) as chunks:
        for chunk in chunks:
            ready = chunk.preparer(chunk.given, rules_apply, workspace)
            for at, element in enumerate(ready.elements):
                position, prepared = chunk.positions[at], ready.flawed.get(at)
                if prepared is None:
                    yield _encoded(position, element, [], encoder)
                elif passes(prepared, options.validation):
                    yield _encoded(position, element, prepared.findings, encoder)
                else:
                    yield Previewed(position, None, prepared.given, reasons(prepared, options.validation))


def _encoded(position: int, element: Any, findings: list[Finding], encoder: Encoder) -> Previewed:
    try:
        line = encoder.lines([element])[:-1]
    except ENCODING_ERRORS as error:
        return Previewed(position, None, as_given(element), [not_json(error)])
    if len(line) > LARGEST_ELEMENT:
        return Previewed(position, None, as_given(element), [too_large(len(line))])
    return Previewed(position, line, as_given(element), findings)
