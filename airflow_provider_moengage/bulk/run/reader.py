"""Reads a source and checks its elements; what cannot be sent goes to the rejects."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator
from contextlib import closing
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from airflow_provider_moengage.bulk.batch import Batch, Elements
from airflow_provider_moengage.bulk.changed.tracker import ChangeTracker
from airflow_provider_moengage.bulk.elements.checks import Prepared, not_json
from airflow_provider_moengage.bulk.elements.encoding import Encoder
from airflow_provider_moengage.bulk.elements.findings import Finding
from airflow_provider_moengage.bulk.elements.rules import DOCUMENTED, Code, WorkspaceRules
from airflow_provider_moengage.bulk.resume.checkpoint import Checkpoint
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.run.packer import LARGEST_ELEMENT, encoded
from airflow_provider_moengage.bulk.run.warned_attributes import WarnedAttributes
from airflow_provider_moengage.bulk.sources import Chunk

_CHUNK_BYTES = 200_000
_LARGEST_CHUNK = 1_000
"""Elements are checked together: as many as fill two bodies, if they are as large as the last ones, and at most
this many. More small ones would not be faster; more large ones would keep the other lanes waiting."""


class Reader:
    """Reads and checks elements, in their order.

    :param validation: ``strict``, ``warn`` or ``off``.
    :param rejects: gets what cannot be sent.
    :param checkpoint: knows where to begin, and records what was read.
    :param encoder: the encoder of the run; it knows how large elements are.
    :param workspace: what the rules depend on besides an element.
    """

    def __init__(
        self,
        validation: str,
        rejects: Rejects,
        checkpoint: Checkpoint | ChangeTracker,
        encoder: Encoder,
        workspace: WorkspaceRules = DOCUMENTED,
    ) -> None:
        self._validation = validation
        self._workspace = workspace
        self._rejects = rejects
        self._checkpoint = checkpoint
        self._encoder = encoder
        self._changes = checkpoint if isinstance(checkpoint, ChangeTracker) else None
        self._size = 1
        self.warned = WarnedAttributes()
        """What the warnings of the elements that were read are about."""

    def elements(self, between_chunks: Callable[[], None]) -> Generator[Elements]:
        """Yield elements that can be sent, until the source ends.

        :param between_chunks: called before each chunk is checked; an exception of it ends the reading.
        """
        with closing(self._checkpoint.chunks(self._next_size)) as chunks:
            for chunk in chunks:
                between_chunks()
                to_send, unknown = self._checkpoint.take_up(chunk)
                self._note_keys(to_send, unknown)
                if unknown is not None:
                    for position, element in zip(unknown.positions, unknown.given, strict=True):
                        self._rejects.add(position, element, [_IN_FLIGHT])
                if to_send.given:
                    yield self._good(to_send)

    def changed(self, elements: Elements) -> Batch:
        """Return, encoded, those that MoEngage does not have as they are; only for a run with a change tracker."""
        if self._changes is None:
            raise RuntimeError("this run has no state to compare elements with")
        ready, lines = self._encoded(elements)
        changed = self._changes.changed(
            ready,
            lines,
            lambda position, line: self._rejects.add(position, msgspec.json.decode(line), [_IN_FLIGHT]),
        )
        if (spool := self._rejects.spool) is not None:
            spool.forget_keys(set(ready.positions).difference(changed.positions))
        return changed

    def _encoded(self, elements: Elements) -> tuple[Elements, list[bytes]]:
        """Return elements that can be sent, and each as JSON; reject the others, in order."""
        lines: list[bytes | None] = []

        def refuse(one: Elements, why: int | Exception) -> None:
            self._refuse(one, why)
            lines.append(None)

        for some, data in encoded(elements, self._encoder, refuse):
            if len(data) <= LARGEST_ELEMENT:
                lines += data.split(b"\n")[:-1]
                continue
            for at, line in enumerate(data.split(b"\n")[:-1]):
                if len(line) <= LARGEST_ELEMENT:
                    lines.append(line)
                else:
                    refuse(some[at : at + 1], len(line))
        fine = [line for line in lines if line is not None]
        if len(fine) < len(lines):
            elements = elements.pick([at for at, line in enumerate(lines) if line is not None])
        return elements, fine

    def _refuse(self, one: Elements, why: int | Exception) -> None:
        [position], [element], [weight], [user] = one.positions, one.elements, one.weights, one.users
        self.refuse(position, element, why)
        if self._changes is not None:
            self._changes.note_rejected(weight.kind, user, element)

    def refuse(self, position: int, element: Any, why: int | Exception) -> None:
        """Reject an element that no body can hold.

        :param why: its size in bytes, or the error that encoding it has raised.
        """
        finding = too_large(why) if isinstance(why, int) else not_json(why)
        self._rejects.add(position, as_given(element), [finding])

    def _note_keys(self, *chunks: Chunk | None) -> None:
        if (spool := self._rejects.spool) is not None:
            for chunk in chunks:
                if chunk is not None:
                    spool.note_keys(chunk)

    def _next_size(self) -> int:
        self._size = self._encoder.count_for(_CHUNK_BYTES, most=min(10 * self._size, _LARGEST_CHUNK))
        return self._size

    def _good(self, chunk: Chunk) -> Elements:
        ready = chunk.preparer(chunk.given, self._validation != "off", self._workspace)
        elements = Elements(ready.elements, chunk.positions, ready.weights, ready.users)
        if not ready.flawed:
            return elements
        bad = {at for at, prepared in ready.flawed.items() if not passes(prepared, self._validation)}
        for at, prepared in ready.flawed.items():
            if at not in bad:
                self.warned.note(prepared.findings)
        for at in sorted(bad):
            prepared = ready.flawed[at]
            self._rejects.add(chunk.positions[at], prepared.given, reasons(prepared, self._validation))
            if self._changes is not None:
                self._changes.note_rejected(prepared.kind, prepared.user, prepared.element)
        return elements.pick([at for at in range(len(elements)) if at not in bad])


def passes(prepared: Prepared, validation: str) -> bool:
    """Return whether an element with findings is sent anyway."""
    return validation != "strict" and all(finding.is_warning for finding in prepared.findings)


def reasons(prepared: Prepared, validation: str) -> list[Finding]:
    """Return why an element does not pass, without what would have been a warning only."""
    if validation == "strict":
        return prepared.findings
    return [finding for finding in prepared.findings if not finding.is_warning]


def too_large(size: int) -> Finding:
    """Return what is wrong with an element of that many bytes, which no body can hold."""
    return Finding(Code.ELEMENT_TOO_LARGE, f"{size:,} bytes; one element may have at most {LARGEST_ELEMENT:,}")


_IN_FLIGHT = Finding(
    Code.OUTCOME_UNKNOWN,
    "an earlier try ended while this element was in flight; with delivery='at_most_once' it is not sent again",
)


def as_given(element: Any) -> Any:
    """Return an element in the API's own form; one made of a row is a Struct, one of a generator is encoded."""
    if isinstance(element, msgspec.Raw):
        return msgspec.json.decode(element)
    if isinstance(element, msgspec.Struct):
        return msgspec.to_builtins(element, builtin_types=_SENT_AS_THEY_ARE)
    return element


_SENT_AS_THEY_ARE = (Decimal, UUID, dt.datetime, dt.date, dt.time)
