"""Counts of a run, added up over its tries."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_moengage.bulk.elements.weight import Weight


class Counters:
    """What the lanes have done so far. All of them share it.

    Its lock is a leaf but for the pacer's, which :meth:`to_dict` takes through ``throttled``. It is re-entrant
    because a signal handler may interrupt the thread that holds it, and the run's last report reads the counts.

    :param elapsed: returns the seconds since this try began.
    :param throttled: returns the seconds that the rate limit has made a lane wait in this try.
    """

    def __init__(self, elapsed: Callable[[], float], throttled: Callable[[], float]) -> None:
        self._lock = threading.RLock()
        self._elapsed = elapsed
        self._throttled = throttled
        self._before: Mapping[str, Any] = {}
        self.accepted = 0
        self.kinds: Counter[str] = Counter()
        self.actions = 0
        self.requests = 0
        self.bytes = 0
        self.retries = 0
        self.unchanged = 0
        """Elements that were not sent, because MoEngage has accepted them as they are."""
        self.new = 0
        self.changed = 0
        """Elements of users whom no earlier run had, and of those who changed: sent, or to be sent."""
        self.removed = 0
        """Users and devices of earlier runs that no row had; if such users are removed, those who were."""
        self.warnings: Counter[str] = Counter()
        """Accepted elements by code of what MoEngage will cut, ignore or alter."""
        self.stored_rejects = 0
        self.stored_codes: Counter[str] = Counter()
        """Rejects that a checkpoint counts as done, and their codes."""
        self.refused_in_a_row = 0
        self.unknown_in_a_row = 0
        self.unclear_in_a_row = 0
        self.last_refusal = ""

    @property
    def elapsed_seconds(self) -> float:
        """Seconds of all tries."""
        return float(self._before.get("elapsed_seconds", 0.0)) + self._elapsed()

    @property
    def throttled_seconds(self) -> float:
        """Seconds that the rate limit made a lane wait, in all tries."""
        return float(self._before.get("throttled_seconds", 0.0)) + self._throttled()

    def count_request(self, size: int) -> None:
        """Count a request with a body of that many bytes."""
        with self._lock:
            self.requests += 1
            self.bytes += size

    def count_retry(self) -> None:
        """Count a request that will be sent again."""
        with self._lock:
            self.retries += 1

    def count_accepted(self, weights: Sequence[Weight]) -> None:
        """Count elements that MoEngage has accepted."""
        with self._lock:
            self.refused_in_a_row = self.unknown_in_a_row = self.unclear_in_a_row = 0
            self.accepted += len(weights)
            for weight, number in Counter(weights).items():
                self.kinds[weight.kind] += number
                self.actions += weight.actions * number
                for code in weight.warnings:
                    self.warnings[code] += number

    def count_compared(self, *, unchanged: int = 0, new: int = 0, changed: int = 0) -> None:
        """Count elements that were compared with an earlier run."""
        with self._lock:
            self.unchanged += unchanged
            self.new += new
            self.changed += changed

    def count_removed(self, number: int) -> None:
        """Count users who were removed because no row had them."""
        with self._lock:
            self.refused_in_a_row = self.unknown_in_a_row = self.unclear_in_a_row = 0
            self.removed += number

    def count_refused(self, reason: str) -> None:
        """Count an element that MoEngage has refused when it was alone in a request."""
        with self._lock:
            self.unknown_in_a_row = 0
            self.refused_in_a_row += 1
            self.last_refusal = reason

    def count_unclear(self) -> int:
        """Count an element that was refused, alone, for an unknown reason; return how many there were in a row."""
        with self._lock:
            self.unclear_in_a_row += 1
            return self.unclear_in_a_row

    def count_unknown(self) -> int:
        """Count a request with an unknown outcome; return how many there were in a row."""
        with self._lock:
            self.unknown_in_a_row += 1
            return self.unknown_in_a_row

    def count_stored_reject(self, codes: Iterable[str]) -> None:
        """Count a reject that the next checkpoint counts as done. The caller holds the checkpoint's lock."""
        self.stored_rejects += 1
        self.stored_codes.update(codes)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts of what is done, JSON-ready."""
        with self._lock:
            return {
                "accepted": self.accepted,
                "rejected": self.stored_rejects,
                "rejects": dict(self.stored_codes),
                "kinds": dict(self.kinds),
                "warnings": dict(self.warnings),
                **{name: getattr(self, name) for name in _PLAIN},
                "elapsed_seconds": round(self.elapsed_seconds, 3),
                "throttled_seconds": round(self.throttled_seconds, 3),
            }

    def restore(self, counts: Mapping[str, Any]) -> None:
        """Continue from the counts of an earlier try."""
        self._before = counts
        self.accepted = counts["accepted"]
        self.stored_rejects = counts["rejected"]
        self.stored_codes.update(counts["rejects"])
        self.kinds.update(counts["kinds"])
        self.warnings.update(counts["warnings"])
        for name in _PLAIN:
            setattr(self, name, counts[name])


_PLAIN = ("actions", "requests", "bytes", "retries")
