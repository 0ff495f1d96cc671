"""Faults on demand: failures that are injected into the next API requests."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from airflow_provider_moengage.emulator.http import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable

Failure = Callable[[int, Mapping[str, str]], Answer]

FaultKind = Literal["status", "status_after", "cut_before", "cut_after", "slow", "html", "refuse"]

NOTHING_ACCEPTED = frozenset(["status", "cut_before", "html"])
"""Kinds that replace the answer before the request takes effect."""

_LOGIN_PAGE = b"<!doctype html><html><head><title>Sign in</title></head><body>Sign in to continue.</body></html>"


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A failure that is injected into API requests.

    Faults with a limited number of hits form a queue: the first one skips ``after`` requests and hits the next
    ``times`` requests, then the second one begins. A fault without a limit (``times=None``), and every ``refuse``,
    is outside the queue and may hit any request that the queue did not hit, so that several random faults can be
    combined. Faults with different ``path`` do not wait for each other: a request sees only those for its path.

    :param kind: ``status``: answer with ``status``, accept nothing. ``status_after``: accept, then
        answer with ``status``. ``cut_before``: read the request, then cut the TCP connection, accept nothing.
        ``cut_after``: accept, then cut. ``slow``: wait ``seconds``, then answer as usual (at once when the
        client goes away). ``html``: 200 with a login page, like a proxy; accept nothing. ``refuse``:
        refuse every body that contains an element of ``customer_id``.
    :param times: requests to hit; ``None``: no limit.
    :param after: requests to skip before the first hit.
    :param status: of ``status`` (default 503) and ``status_after`` (default 502).
    :param headers: of ``status`` and ``status_after``.
    :param body: text of ``status`` and ``status_after``; ``None``: MoEngage's failure body for the endpoint.
    :param keep_data: whether the failure of ``status_after`` has the ``data`` of the answer that it replaces, such
        as the campaigns that a v5 trigger has started.
    :param seconds: real seconds that ``slow`` waits.
    :param customer_id: whose elements ``refuse`` refuses.
    :param error_type: type of the error with which it refuses them.
    :param probability: probability that a request is hit.
    :param path: prefix of the URL paths to hit, such as ``/v1.0/business_event``; ``None``: all. Other requests do
        not count for ``after``.
    :param seed: makes ``probability`` repeatable.
    """

    kind: FaultKind
    times: int | None = 1
    after: int = 0
    status: int | None = None
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: str | None = None
    keep_data: bool = False
    seconds: float = 1.0
    customer_id: str | None = None
    error_type: str = "TypeError"
    probability: float = 1.0
    seed: int | None = None
    path: str | None = None

    def __post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            raise ValueError(f"times {self.times!r}: expected a whole number above 0, or None for no limit")
        if self.after < 0:
            raise ValueError(f"after {self.after!r}: expected 0 or more")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError(f"status {self.status!r}: expected an HTTP status from 200 to 599")
        if not 0 < self.probability <= 1:
            raise ValueError(f"probability {self.probability!r}: expected above 0, at most 1")
        if self.path is not None and not self.path.startswith("/"):
            raise ValueError(f"path {self.path!r}: expected a prefix of URL paths that starts with a slash")
        if self.keep_data and self.kind != "status_after":
            raise ValueError("keep_data: only of a fault of kind 'status_after'")
        if self.kind == "refuse" and self.customer_id is None:
            raise ValueError("customer_id: required by a fault of kind 'refuse'")

    @classmethod
    def read(cls, wire: Any) -> Fault:
        """Make a fault from its JSON form.

        :raises ValueError: for an unknown field or an invalid value.
        """
        try:
            return msgspec.convert(wire, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"fault: {error}") from error

    def matches(self, path: str) -> bool:
        """Return whether the fault applies to requests to ``path``."""
        return path.startswith(self.path or "/")

    def replaced(self, answer: Answer, failure: Failure) -> Answer | None:
        """Return the answer to send instead of ``answer``; ``None``: cut the connection.

        :param failure: returns the endpoint's failure for a status and headers.
        """
        match self.kind:
            case "status":
                return self._with_status(503, failure)
            case "status_after":
                failed = self._with_status(502, failure)
                return _with_data_of(answer, failed) if self.keep_data else failed
            case "html":
                return Answer(200, _LOGIN_PAGE, media_type="text/html; charset=utf-8")
            case "cut_before" | "cut_after":
                return None
            case _:
                return answer

    def _with_status(self, default: int, failure: Failure) -> Answer:
        status = self.status or default
        if self.body is not None:
            return Answer(status, self.body.encode(), self.headers, media_type="text/plain; charset=utf-8")
        return failure(status, self.headers)


def _with_data_of(answer: Answer, failed: Answer) -> Answer:
    """Return a failure with the ``data`` of an answer; unchanged if one of them has no such form."""
    try:
        body, content = (msgspec.json.decode(each.body, type=dict[str, Any]) for each in (failed, answer))
    except msgspec.DecodeError:
        return failed
    if "data" not in content:
        return failed
    return replace(failed, body=msgspec.json.encode({**body, "data": content["data"]}))


class FaultPlan:
    """The pending faults of a workspace."""

    def __init__(self) -> None:
        self._queue: deque[_Pending] = deque()
        self._outside: list[_Pending] = []

    def add(self, fault: Fault) -> None:
        """Add a fault to the end of the queue, or outside the queue."""
        unlimited = fault.times is None or fault.kind == "refuse"
        (self._outside if unlimited else self._queue).append(_Pending(fault))

    def clear(self) -> None:
        """Remove all faults."""
        self._queue.clear()
        self._outside.clear()

    def pending(self) -> tuple[Fault, ...]:
        """Return the pending faults, with their remaining ``times`` and ``after``."""
        return tuple(pending.left() for pending in (*self._queue, *self._outside))

    def next(self, path: str) -> Fault | None:
        """Return the fault that hits the current request, to ``path``; for ``refuse`` see `refusing`."""
        refusing = [pending for pending in self._outside if pending.fault.kind == "refuse"]
        for pending in refusing:
            pending.armed = pending.fault.matches(path) and pending.due()
        queue = [pending for pending in self._queue if pending.fault.matches(path)]
        outside = [pending for pending in self._outside if pending.fault.matches(path) and pending not in refusing]
        for pending in (*queue[:1], *outside):
            if pending.due():
                self._hit(pending)
                return pending.fault
        return None

    def refusing(self, elements: Iterable[Any]) -> Fault | None:
        """Return the ``refuse`` fault for one of the elements of the current request."""
        armed = {pending.fault.customer_id: pending for pending in self._outside if pending.armed}
        if not armed:
            return None
        for element in elements:
            pending = armed.get(element.get("customer_id"))
            if pending is not None:
                self._hit(pending)
                return pending.fault
        return None

    def _hit(self, pending: _Pending) -> None:
        if pending.times is None:
            return
        pending.times -= 1
        if pending.times == 0:
            (self._outside if pending in self._outside else self._queue).remove(pending)


class _Pending:
    """A fault with its remaining hits."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.times = fault.times
        self.after = fault.after
        self.armed = False
        self._random = random.Random(fault.seed)  # noqa: S311 - not used for security

    def due(self) -> bool:
        """Return whether to hit the current request, and count it."""
        if self.after:
            self.after -= 1
            return False
        return self.fault.probability >= 1 or self._random.random() < self.fault.probability

    def left(self) -> Fault:
        return msgspec.structs.replace(self.fault, times=self.times, after=self.after)
