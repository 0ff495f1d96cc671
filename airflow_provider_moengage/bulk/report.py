"""The result of a run as counts. It holds no element, id or key."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class DeliveryReport(dict[str, Any]):
    """The counts of one run. ``accepted + rejected + unchanged`` is the number of elements read.

    In a dry run they count what would have been sent. It is a dict as well, of :meth:`to_dict`: so it is what any
    Airflow returns of it as an XCom.
    """

    dry_run: bool = False
    accepted: int = 0
    """Elements that MoEngage has accepted: ``customers + events + devices``."""
    rejected: int = 0
    customers: int = 0
    events: int = 0
    devices: int = 0
    actions: int = 0
    """Actions inside the events; MoEngage counts each as an event."""
    requests: int = 0
    bytes: int = 0
    """Bytes of the bodies that were sent, retries included."""
    retries: int = 0
    """Requests that were sent again after a 429, a 5xx, a cut connection or a timeout."""
    throttled_seconds: float = 0.0
    """Seconds in which at least one lane waited for the rate limit."""
    elapsed_seconds: float = 0.0
    warnings: dict[str, int] = field(default_factory=dict)
    """Elements by code of what MoEngage will cut, ignore or alter."""
    rejects: dict[str, int] = field(default_factory=dict)
    """Rejected elements by code; one element may have several."""
    rejects_path: str | None = None
    resumed: bool = False
    unchanged: int = 0
    """With ``changed_only``: elements that were not sent, because MoEngage has accepted them as they are."""
    new: int = 0
    """With ``changed_only``: elements of users whom no earlier run had."""
    changed: int = 0
    """With ``changed_only``: elements that differ from what MoEngage accepted last."""
    removed: int = 0
    """With ``changed_only``: users and devices of earlier runs that no row had. Unless ``on_removed`` is ``keep``,
    only those who were unset or deleted."""

    def __post_init__(self) -> None:
        self.update(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON-ready values: the XCom of the bulk operators."""
        return asdict(self)

    @property
    def summary(self) -> str:
        """One sentence for a log. Counts of zero are left out."""
        return self.summary_with("")

    def summary_with(self, fate: str) -> str:
        """Return the summary, and what becomes of the users who count as ``removed``: ``: stay in MoEngage``."""
        verb = "would be sent" if self.dry_run else "accepted by MoEngage"
        kinds = f" ({', '.join(self._kinds)})" if self._kinds else ""
        retries = f" ({self.retries:,} of them retries)" if self.retries else ""
        waiting = (
            f", of which {self.throttled_seconds:.1f} s waiting for the rate limit"
            if self.throttled_seconds >= _SHOWN_SECONDS
            else ""
        )
        parts = [
            f"{counted(self.accepted, 'element')} {verb}{kinds}",
            *_named({"rejected": self.rejected}),
            ", ".join(_named({"new": self.new, "changed": self.changed, "unchanged": self.unchanged})),
            *_named({f"no longer in the query{fate}": self.removed}),
            f"{counted(self.requests, 'request')}{retries}, {_size(self.bytes)}" if self.requests else "",
            f"{self.elapsed_seconds:.1f} s{waiting}",
        ]
        return "; ".join(filter(None, parts))

    @property
    def _kinds(self) -> list[str]:
        actions = f" with {counted(self.actions, 'action')}" if self.actions != self.events else ""
        found = {"customer": self.customers, "event": self.events, "device": self.devices}
        return [
            counted(count, kind) + (actions if kind == "event" else "") for kind, count in found.items() if count
        ]


_SHOWN_SECONDS = 0.05
"""Least waiting time that the summary shows: what is not 0.0 s when it is rounded."""


def _named(counts: dict[str, int]) -> list[str]:
    """Return each count that is not zero, with its name."""
    return [f"{count:,} {name}" for name, count in counts.items() if count]


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: 1 element, 2,000 elements."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"
