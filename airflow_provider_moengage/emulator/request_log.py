"""The API requests of a workspace, in order."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.family import Result, ResultKind
    from airflow_provider_moengage.emulator.faults import Fault
    from airflow_provider_moengage.emulator.http import Answer, Call


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One API request, without its contents.

    :param number: from 1, in the order in which requests took effect.
    :param received_at: epoch seconds of the emulator's clock.
    :param status: HTTP status of the answer; ``None``: the connection was cut.
    :param size: bytes of the body.
    :param elements: elements of the body; 0 if it was refused or never read.
    :param users: customers and devices among them.
    :param events: actions of the events among them.
    :param accepted: its elements were accepted, or it triggered a business event or a file import, whatever the
        answer was.
    :param fault: kind of the fault that hit it.
    :param project_code: the project of a portfolio that it names; ``None``: the portfolio as a whole.
    """

    number: int
    received_at: float
    path: str
    status: int | None
    size: int
    elements: int
    users: int
    events: int
    accepted: bool
    fault: str | None
    project_code: str | None = None


class RequestLog:
    """Keeps the last requests and counts all of them."""

    def __init__(self) -> None:
        self._records: deque[RequestRecord] = deque()
        self._kinds: Counter[ResultKind] = Counter()
        self._received = 0
        self._faulted = 0

    @property
    def next_number(self) -> int:
        """The number of the next request."""
        return self._received + 1

    def add(
        self, call: Call, result: Result | None, answer: Answer | None, fault: Fault | None, now: float
    ) -> RequestRecord:
        """Add a request, and return its record.

        :param result: ``None`` if a fault answered in the endpoint's place.
        :param answer: what was sent; ``None``: the connection was cut.
        """
        record = RequestRecord(
            number=self.next_number,
            received_at=now,
            path=call.path,
            status=answer.status if answer else None,
            size=call.size,
            elements=result.contents.elements if result else 0,
            users=result.contents.users if result else 0,
            events=result.contents.events if result else 0,
            accepted=result is not None and result.kind == "accepted",
            fault=fault.kind if fault else None,
            project_code=call.project_code,
        )
        self._records.append(record)
        self._received += 1
        self._faulted += fault is not None
        if result is not None:
            self._kinds[result.kind] += 1
        return record

    def trim(self, keep: int | None) -> None:
        """Delete the records beyond the last ``keep``."""
        while keep is not None and len(self._records) > keep:
            self._records.popleft()

    def records(self) -> list[RequestRecord]:
        """Return the records kept, oldest first."""
        return list(self._records)

    def counts(self) -> dict[str, int]:
        """Return the fields of `Counts` that count requests."""
        return {
            "requests": self._received,
            "accepted_requests": self._kinds["accepted"],
            "refused": self._kinds["refused"],
            "throttled": self._kinds["throttled"],
            "faulted": self._faulted,
        }
