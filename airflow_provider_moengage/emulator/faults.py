"""Faults on demand: what goes wrong with the next API requests, in the order it was asked for."""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from airflow_provider_moengage.emulator.business_events.answers import Trace, v1_failure, v5_failure
from airflow_provider_moengage.emulator.file_imports.answers import BASE, file_import_failure
from airflow_provider_moengage.emulator.http import Answer, failure, phrase

if TYPE_CHECKING:
    from collections.abc import Iterable

FaultKind = Literal["status", "status_after", "cut_before", "cut_after", "slow", "html", "refuse"]

NOTHING_ACCEPTED = frozenset(["status", "cut_before", "html"])
"""Kinds that answer in the API's place: the request has no effect."""

_LOGIN_PAGE = b"<!doctype html><html><head><title>Sign in</title></head><body>Sign in to go on.</body></html>"


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that goes wrong with an API request.

    Faults with an end form a queue: the first lets ``after`` requests pass, then hits ``times`` requests,
    then it is the next one's turn. A fault without end (``times=None``), and every ``refuse``, stands beside
    the queue and may hit any request that the queue left alone; so several random ones can be mixed.
    Faults with different ``path`` do not wait for each other: to a request, the queue is those it is under.

    :param kind: ``status``: answer with ``status``, accept nothing. ``status_after``: accept, then
        answer with ``status``. ``cut_before``: read the request, then cut the TCP connection, accept nothing.
        ``cut_after``: accept, then cut. ``slow``: wait ``seconds``, then answer as usual (at once when the
        client goes away). ``html``: 200 with a login page, as a proxy answers; accept nothing. ``refuse``:
        refuse every body that holds an element of ``customer_id``.
    :param times: requests to hit; ``None``: for ever.
    :param after: requests that pass before the fault begins.
    :param status: of ``status`` (default 503) and ``status_after`` (default 502).
    :param headers: of ``status`` and ``status_after``.
    :param body: text of ``status`` and ``status_after``; ``None``: MoEngage's failure body for the endpoint.
    :param seconds: real seconds that ``slow`` waits.
    :param customer_id: whose elements ``refuse`` refuses.
    :param probability: chance that a request in the fault's turn is hit.
    :param path: the beginning of the URL paths to hit, such as ``/v1.0/business_event``; ``None``: all. Other
        requests do not count for ``after``.
    :param seed: makes ``probability`` repeatable.
    """

    kind: FaultKind
    times: int | None = 1
    after: int = 0
    status: int | None = None
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: str | None = None
    seconds: float = 1.0
    customer_id: str | None = None
    probability: float = 1.0
    seed: int | None = None
    path: str | None = None

    def __post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            raise ValueError(f"times {self.times!r}: expected a whole number above 0, or None for ever")
        if self.after < 0:
            raise ValueError(f"after {self.after!r}: expected 0 or more")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError(f"status {self.status!r}: expected an HTTP status from 200 to 599")
        if not 0 < self.probability <= 1:
            raise ValueError(f"probability {self.probability!r}: expected above 0, at most 1")
        if self.path is not None and not self.path.startswith("/"):
            raise ValueError(f"path {self.path!r}: expected the beginning of a URL path, from its first slash on")
        if self.kind == "refuse" and self.customer_id is None:
            raise ValueError("customer_id: a fault of kind 'refuse' needs the customer whose elements it refuses")

    @classmethod
    def read(cls, wire: Any) -> Fault:
        """Make a fault from its JSON form.

        :raises ValueError: for an unknown field or a value it can't have.
        """
        try:
            return msgspec.convert(wire, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"fault: {error}") from error

    def concerns(self, path: str) -> bool:
        """Tell whether requests to ``path`` are among those to hit."""
        return path.startswith(self.path or "/")

    def replaced(self, answer: Answer, path: str) -> Answer | None:
        """Return what ``path`` answers instead of ``answer``; ``None`` stands for a cut connection."""
        match self.kind:
            case "status":
                return self._with_status(503, path)
            case "status_after":
                return self._with_status(502, path)
            case "html":
                return Answer(200, _LOGIN_PAGE, media_type="text/html; charset=utf-8")
            case "cut_before" | "cut_after":
                return None
            case _:
                return answer

    def _with_status(self, default: int, path: str) -> Answer:
        status = self.status or default
        if self.body is not None:
            return Answer(status, self.body.encode(), self.headers, media_type="text/plain; charset=utf-8")
        if path.startswith("/v1.0/business_event"):
            return v1_failure(status, self.headers)
        if path.startswith("/v5/"):
            return v5_failure(status, Trace.of(None), self.headers)
        if path.startswith(BASE):
            return file_import_failure(status, path, self.headers)
        return failure(status, phrase(status), phrase(status), headers=self.headers)


class FaultPlan:
    """The faults that wait for a workspace's requests."""

    def __init__(self) -> None:
        self._queue: deque[_Turn] = deque()
        self._standing: list[_Turn] = []

    def add(self, fault: Fault) -> None:
        """Put a fault at the end of the queue, or beside it."""
        stands = fault.times is None or fault.kind == "refuse"
        (self._standing if stands else self._queue).append(_Turn(fault))

    def clear(self) -> None:
        """Forget all faults."""
        self._queue.clear()
        self._standing.clear()

    def pending(self) -> tuple[Fault, ...]:
        """Return the faults that have hits left, with ``times`` and ``after`` as they stand now."""
        return tuple(turn.left() for turn in (*self._queue, *self._standing))

    def next(self, path: str) -> Fault | None:
        """Return the fault that hits the request at hand, to ``path``; ``refuse`` faults come with `poison`."""
        refusing = [turn for turn in self._standing if turn.fault.kind == "refuse"]
        for turn in refusing:
            turn.armed = turn.fault.concerns(path) and turn.due()
        queue = [turn for turn in self._queue if turn.fault.concerns(path)]
        standing = [turn for turn in self._standing if turn.fault.concerns(path) and turn not in refusing]
        for turn in (*queue[:1], *standing):
            if turn.due():
                self._hit(turn)
                return turn.fault
        return None

    def poison(self, elements: Iterable[Any]) -> Fault | None:
        """Return the ``refuse`` fault that one of the elements of the request at hand calls up."""
        armed = {turn.fault.customer_id: turn for turn in self._standing if turn.armed}
        if not armed:
            return None
        for element in elements:
            turn = armed.get(element.get("customer_id"))
            if turn is not None:
                self._hit(turn)
                return turn.fault
        return None

    def _hit(self, turn: _Turn) -> None:
        if turn.times is None:
            return
        turn.times -= 1
        if turn.times == 0:
            (self._standing if turn in self._standing else self._queue).remove(turn)


class _Turn:
    """A fault with what is left of it."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.times = fault.times
        self.after = fault.after
        self.armed = False
        self._random = random.Random(fault.seed)  # noqa: S311 - chance, not secrecy

    def due(self) -> bool:
        """Tell whether the request at hand is one to hit; let it pass where some still may."""
        if self.after:
            self.after -= 1
            return False
        return self.fault.probability >= 1 or self._random.random() < self.fault.probability

    def left(self) -> Fault:
        return msgspec.structs.replace(self.fault, times=self.times, after=self.after)
