"""Keeps a run within the workspace's rate limits, so that MoEngage has no reason to throttle it.

MoEngage API reference, "Rate Limits": 60,000 users and 60,000 events per minute and workspace. The pacer keeps a
copy of the server's sliding window, one for users and one for events, and spends from it before a request is sent.
What was spent becomes available 60 seconds after the *response*, when it has left the server's window too. If
others send to the workspace, only a share of the limit is spent
(:mod:`~airflow_provider_moengage.bulk.rate_limit.fair_share`).

The page of the endpoint itself ("Bulk Import") says 10,000 users and 30,000 events. A lower limit that the server
reports in ``x-ratelimit-limit`` replaces the connection's.
"""

from __future__ import annotations

import math
import random
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.responses import Outcome, Reply
from airflow_provider_moengage.bulk.clock import Clock, StoppedError
from airflow_provider_moengage.bulk.rate_limit.fair_share import FairShare

WINDOW = 60.0
"""Length of MoEngage's window ("a minute") in seconds."""

DOCUMENTED_PER_MINUTE = 60_000
"""Users, and events, that a workspace may send per minute unless MoEngage has raised the limit."""

FIRST_BACKOFF = 1.0
MAX_BACKOFF = 60.0
"""Seconds to wait after a 429 without a hint: doubled each time, from the first to the longest."""

PATIENCE = 3_600.0
"""Seconds of only 429 after which the run fails: every documented window has passed by then."""

_SHARE_INTERVAL = 1.0
"""Seconds between checks of a share that may grow."""

_IN_FLIGHT_INTERVAL = 0.05
"""Seconds between checks while requests in flight hold the rest of the budget."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the workspace may send per minute."""

    users_per_minute: int = DOCUMENTED_PER_MINUTE
    events_per_minute: int = DOCUMENTED_PER_MINUTE

    @property
    def max_users_per_request(self) -> int:
        """Users per request, so that the rest of a minute's limit is seldom too small for the next request."""
        return _per_request(self.users_per_minute)

    @property
    def max_events_per_request(self) -> int:
        """Events per request, for the same reason."""
        return _per_request(self.events_per_minute)


def _per_request(per_minute: int) -> int:
    """Return a 25th of the limit, so that at most 4 % stays unused.

    At the documented limit that is 2,400 elements, more than fit into 100 kB. Lower limits are spent a hundred at
    a time.
    """
    return max(per_minute // 25, min(per_minute, 100))


class _Budget:
    """One sliding window: what is in flight, and what was answered within the last 60 seconds."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._most = limit
        self.share = FairShare(limit)
        self.in_flight = 0
        self._answered: deque[tuple[float, int]] = deque()
        self._expired: deque[tuple[float, int]] = deque()
        self._spent = 0

    def believe_limit(self, reported: int) -> None:
        """Take over a limit that the server reports, but no more than the connection allows."""
        limit = min(self._most, reported)
        if 0 < limit != self.limit and self.share.believe_limit(limit):
            self.limit = limit

    def used(self, now: float) -> int:
        while self._answered and self._answered[0][0] <= now:
            self._expired.append(self._answered.popleft())
            self._spent -= self._expired[-1][1]
        return self.in_flight + self._spent

    def used_since(self, since: float, now: float) -> int:
        """Return the most that the server may have counted at any time after ``since``: what was sent, less what
        had left the window before.
        """
        used = self.used(now)
        while self._expired and self._expired[0][0] <= now - WINDOW:
            self._expired.popleft()
        for expires_at, amount in reversed(self._expired):
            if expires_at <= since:
                break
            used += amount
        return used

    def fits(self, amount: int, now: float) -> bool:
        used = self.used(now)
        self.share.advance(now, used, amount)
        return used == 0 or (used + amount <= self.share.size and now >= self.share.opens_at)

    def opens_at(self, amount: int, now: float) -> float | None:
        """Return when to check again for a request that does not fit: when enough will have left the window, or
        earlier if the share may grow. None if only a response can make room.
        """
        moment = self._room_at(amount)
        if moment is None or self.share.is_alone:
            return moment
        return max(self.share.opens_at, min(moment, now + _SHARE_INTERVAL))

    def spend(self, amount: int, now: float) -> None:
        self.in_flight += amount
        self.share.spend(amount, now)

    def account(self, amount: int, expires_at: float | None) -> None:
        self.in_flight -= amount
        if expires_at is not None and amount:
            self._answered.append((expires_at, amount))
            self._spent += amount

    def _room_at(self, amount: int) -> float | None:
        free = self.share.size - self.in_flight - self._spent
        if free >= amount:
            return -math.inf
        for expires_at, share in self._answered:
            free += share
            if free >= amount:
                return expires_at
        return self._answered[-1][0] if self._answered and not self.in_flight else None


class Pacer:
    """Delays requests until the workspace's limits allow them. Shared by all lanes of a run.

    :param limits: what the workspace may send per minute.
    :param stopped: set when the run must end; waiting calls then raise :class:`StoppedError`.
    """

    def __init__(self, limits: Limits, clock: Clock, stopped: threading.Event) -> None:
        self.limits = limits
        self._users = _Budget(limits.users_per_minute)
        self._events = _Budget(limits.events_per_minute)
        self._clock = clock
        self._stopped = stopped
        self._changed = threading.Condition()
        self._held_until = float("-inf")
        self._held_since = float("-inf")
        self._reported_until = float("-inf")
        self._throttles_in_a_row = 0
        self._throttled_since: float | None = None
        self._go_at: dict[int, float] = {}
        """When the request of each lane that waits may be sent, as far as that is known."""
        self._waiting = 0
        self._waiting_since = 0.0
        self._waited = 0.0

    def spend(self, users: int, events: int) -> float:
        """Wait until a request of this size may be sent, and take its size from the budgets.

        :return: when it may be sent, for :meth:`record_reply`.
        :raises StoppedError: if the run is stopped meanwhile.
        """
        if (now := self.spend_at_once(users, events)) is not None:
            return now
        with self._counted_as_waiting():
            while True:
                if self._stopped.is_set():
                    raise StoppedError
                with self._changed:
                    wait = self._wait_for(users, events)
                    if wait == 0:
                        return self._go(users, events)
                    if wait is not None:
                        self._go_at[threading.get_ident()] = self._clock.monotonic() + wait
                    else:
                        self._changed.wait(_IN_FLIGHT_INTERVAL)
                        continue
                self._clock.wait(self._stopped, wait)

    def spend_at_once(self, users: int, events: int) -> float | None:
        """Take a request's size from the budgets like :meth:`spend`, or return None if it would have to wait."""
        if self._stopped.is_set():
            raise StoppedError
        with self._changed:
            return self._go(users, events) if self._wait_for(users, events) == 0 else None

    def record_reply(self, users: int, events: int, reply: Reply, sent_at: float) -> None:
        """Update the budgets with the response to a request.

        :param sent_at: what :meth:`spend` returned.
        :raises ApiError: if MoEngage has answered only 429 for an hour.
        """
        with self._changed:
            now = self._clock.monotonic()
            self._update_shares(users, events, reply, sent_at, now)
            counted = reply.outcome not in (Outcome.THROTTLED, Outcome.NOT_SENT)
            expires_at = now + WINDOW if counted else None
            self._users.account(users, expires_at)
            self._events.account(events, expires_at)
            if reply.outcome is Outcome.THROTTLED:
                self._hold(reply, sent_at, now)
            else:
                self._throttles_in_a_row = 0
                self._throttled_since = None
                if reply.remaining is not None and reply.remaining <= 0 and reply.retry_after is not None:
                    self._held_until = max(self._held_until, now + min(reply.retry_after, WINDOW))
            self._changed.notify_all()

    def new_hold(self) -> float | None:
        """Return, once per hold, for how many seconds all lanes are stopped; None if there is no new hold."""
        with self._changed:
            if self._reported_until >= self._held_until:
                return None
            self._reported_until = self._held_until
            return self._held_until - self._clock.monotonic()

    def utilization(self) -> float:
        """Return the part of the fuller budget used in the last minute, from 0 to 1."""
        with self._changed:
            now = self._clock.monotonic()
            budgets = (self._users, self._events)
            return max(budget.used(now) / budget.limit for budget in budgets)

    @property
    def waited(self) -> float:
        """Seconds in which at least one lane waited for the limits."""
        with self._changed:
            running = self._clock.monotonic() - self._waiting_since if self._waiting else 0.0
            return self._waited + running

    @property
    def seconds_left_to_wait(self) -> float:
        """Seconds until the limits let the next waiting request go; 0 if none waits, or it is not known."""
        with self._changed:
            return max(min(self._go_at.values(), default=0.0) - self._clock.monotonic(), 0.0)

    def _wait_for(self, users: int, events: int) -> float | None:
        """Return the seconds to wait, 0 to send now, None if it depends on a response that is still pending."""
        now = self._clock.monotonic()
        if now < self._held_until:
            return self._held_until - now
        opens_at = now
        for budget, amount in ((self._users, users), (self._events, events)):
            if amount and not budget.fits(amount, now):
                moment = budget.opens_at(amount, now)
                if moment is None:
                    return None
                opens_at = max(opens_at, moment)
        return opens_at - now

    def _go(self, users: int, events: int) -> float:
        now = self._clock.monotonic()
        for budget, amount in ((self._users, users), (self._events, events)):
            if amount:
                budget.spend(amount, now)
        return now

    def _update_shares(self, users: int, events: int, reply: Reply, sent_at: float, now: float) -> None:
        """Update the shares of the budgets that a request used with what its response shows of other senders.

        The header reports one budget without naming it: the tighter one, so the one expected to have less left.
        A response other than success or 429 may report a budget that the request did not use.
        """
        used = [
            (budget, amount, budget.used_since(sent_at, now))
            for budget, amount in ((self._users, users), (self._events, events))
            if amount
        ]
        if reply.outcome is Outcome.THROTTLED:
            is_new = sent_at >= self._held_since
            for budget, amount, own in used:
                budget.share.record_throttled(reply.remaining, own - amount, amount, now, is_new=is_new)
        elif reply.outcome is Outcome.ACCEPTED and reply.remaining is not None and used:
            if len(used) == 1:  # otherwise it may be the limit of either budget
                [(budget, amount, _)] = used
                if reply.limit is not None and reply.limit >= amount + max(reply.remaining, 0):
                    budget.believe_limit(reply.limit)
            tightest = min(used, key=lambda each: each[0].share.room_expected(each[2]))
            for budget, amount, own in used:
                if budget is tightest[0]:
                    budget.share.record_success(reply.remaining, own, amount, budget.in_flight - amount, now)
                else:
                    budget.share.observe_at_least(reply.remaining)

    def _hold(self, reply: Reply, sent_at: float, now: float) -> None:
        """Stop all lanes for as long as the server asks, and longer each time that was not enough."""
        if self._throttled_since is None:
            self._throttled_since = now
        if now - self._throttled_since > PATIENCE:
            raise ApiError(
                ErrorKind.RATE_LIMIT,
                f"MoEngage has answered only 429 for {PATIENCE / 60:.0f} minutes; other senders may be"
                " using up the workspace's limit",
                status_code=reply.status_code,
                request_id=reply.request_id,
                retry_after=reply.retry_after,
            )
        if sent_at >= self._held_since:  # otherwise it was sent before the hold began
            self._throttles_in_a_row += 1
            self._held_since = now
        backoff = min(FIRST_BACKOFF * 2 ** (self._throttles_in_a_row - 1), MAX_BACKOFF)
        backoff *= random.uniform(0.5, 1.0)  # noqa: S311 (jitter, not security)
        hint = reply.retry_after or 0.0
        self._held_until = max(self._held_until, now + max(hint, backoff))

    @contextmanager
    def _counted_as_waiting(self) -> Iterator[None]:
        with self._changed:
            if not self._waiting:
                self._waiting_since = self._clock.monotonic()
            self._waiting += 1
        try:
            yield
        finally:
            with self._changed:
                self._go_at.pop(threading.get_ident(), None)
                self._waiting -= 1
                if not self._waiting:
                    self._waited += self._clock.monotonic() - self._waiting_since
