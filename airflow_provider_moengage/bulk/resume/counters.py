"""Figures of a run, added up over its tries."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_moengage.bulk.elements.weight import Weight


class Tally:
    """What the lanes have done so far.

    :param elapsed: seconds since this try began.
    :param throttled: seconds that the limits have held it back.
    """

    def __init__(self, elapsed: Callable[[], float], throttled: Callable[[], float]) -> None:
        self._lock = threading.RLock()  # a signal's exception may leave it taken, and then figures are told
        self._elapsed = elapsed
        self._throttled = throttled
        self._before: Mapping[str, Any] = {}
        self.accepted = 0
        self.kinds: Counter[str] = Counter()
        self.actions = 0
        self.requests = 0
        self.bytes = 0
        self.retries = 0
        self.warnings: Counter[str] = Counter()
        """Elements that MoEngage has taken, by code of what it will cut, ignore or alter."""
        self.settled_rejects = 0
        self.settled_codes: Counter[str] = Counter()
        """Rejects that a checkpoint holds."""
        self.refused_in_a_row = 0
        self.unknown_in_a_row = 0
        self.last_refusal = ""

    @property
    def elapsed_seconds(self) -> float:
        """Seconds of all tries."""
        return float(self._before.get("elapsed_seconds", 0.0)) + self._elapsed()

    @property
    def throttled_seconds(self) -> float:
        """Seconds that the limits held a lane back."""
        return float(self._before.get("throttled_seconds", 0.0)) + self._throttled()

    def sent(self, size: int) -> None:
        """Count a request of so many bytes."""
        with self._lock:
            self.requests += 1
            self.bytes += size

    def repeat(self) -> None:
        """Count a request that is going to be sent again."""
        with self._lock:
            self.retries += 1

    def take(self, weights: Sequence[Weight]) -> None:
        """Count elements that MoEngage has accepted."""
        with self._lock:
            self.refused_in_a_row = self.unknown_in_a_row = 0
            self.accepted += len(weights)
            for weight, number in Counter(weights).items():
                self.kinds[weight.kind] += number
                self.actions += weight.actions * number
                for code in weight.warnings:
                    self.warnings[code] += number

    def refuse(self, reason: str) -> None:
        """Count an element that MoEngage has refused alone."""
        with self._lock:
            self.unknown_in_a_row = 0
            self.refused_in_a_row += 1
            self.last_refusal = reason

    def doubt(self) -> int:
        """Count a request without an answer that says what became of it; return how many in a row that makes."""
        with self._lock:
            self.unknown_in_a_row += 1
            return self.unknown_in_a_row

    def settle_reject(self, codes: Iterable[str]) -> None:
        """Count a reject that a checkpoint holds from now on."""
        self.settled_rejects += 1
        self.settled_codes.update(codes)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures of what is done, JSON-ready."""
        with self._lock:
            return {
                "accepted": self.accepted,
                "rejected": self.settled_rejects,
                "rejects": dict(self.settled_codes),
                "kinds": dict(self.kinds),
                "warnings": dict(self.warnings),
                **{name: getattr(self, name) for name in _PLAIN},
                "elapsed_seconds": round(self.elapsed_seconds, 3),
                "throttled_seconds": round(self.throttled_seconds, 3),
            }

    def restore(self, figures: Mapping[str, Any]) -> None:
        """Go on from the figures of an earlier try."""
        self._before = figures
        self.accepted = figures["accepted"]
        self.settled_rejects = figures["rejected"]
        self.settled_codes.update(figures["rejects"])
        self.kinds.update(figures["kinds"])
        self.warnings.update(figures["warnings"])
        for name in _PLAIN:
            setattr(self, name, figures[name])


_PLAIN = ("actions", "requests", "bytes", "retries")
