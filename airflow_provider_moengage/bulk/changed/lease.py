"""The lease of a state: one run uses it at a time, and says so every few seconds.

No clock is compared with another machine's: a run that finds a lease watches whether it is renewed. The lease
makes a second run fail early. The generations (:mod:`.folder`) ensure that two runs cannot both store a result.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from airflow_provider_moengage.bulk.changed.folder import StateFolder
from airflow_provider_moengage.bulk.clock import Clock, Log, StoppedError, StopRequest
from airflow_provider_moengage.bulk.resume.fence import FencedError

RENEWED_EVERY = 5.0
"""Seconds."""

WATCHED_FOR = 15.0
"""Seconds without a renewal after which a lease was left by a run that was killed."""

_NAME = "lease.json"


class InUseError(Exception):
    """Another run uses the state. The message names it."""


class Lease:
    """The lease that one try takes.

    :param folder: of the state.
    :param run: the run that the try is of. Another try of the same run takes over at once.
    :param token: of the try.
    """

    def __init__(self, folder: StateFolder, run: str, token: str, clock: Clock) -> None:
        self._folder = folder
        self._run = run
        self._token = token
        self._clock = clock
        self._renewals = 0
        self._is_ended = threading.Event()
        self._is_lost = False
        self._thread: threading.Thread | None = None

    def take(self, stop: StopRequest, log: Log) -> None:
        """Take the lease.

        :raises InUseError: if another run renews it.
        :raises StoppedError: if the run is stopped meanwhile.
        """
        found = self._folder.read_document(_NAME)
        if found and found.get("run") != self._run:
            log.info(
                "Checking whether %s, which has not released the state, is still running",
                found.get("run"),
            )
            watched_until = self._clock.monotonic() + WATCHED_FOR
            while self._clock.monotonic() < watched_until:
                self._clock.wait(threading.Event(), 1.0)
                if stop.is_made:
                    raise StoppedError
                now = self._folder.read_document(_NAME)
                if now is None:
                    break
                if now != found:
                    raise InUseError(str(found.get("run")))
        self._write()
        self.check()
        # The query may run for minutes before its first row, and a lane may wait for the rate limit.
        self._thread = threading.Thread(target=self._renew, name="moengage-lease", daemon=True)
        self._thread.start()

    def _renew(self) -> None:
        while not self._is_ended.wait(RENEWED_EVERY):
            try:
                self.check()
                self._write()
            except FencedError:
                self._is_lost = True
                return
            except Exception:  # noqa: BLE001, S112 (the next renewal may succeed; the generations protect the state)
                continue

    def check(self) -> None:
        """Check that the lease is still this try's.

        :raises FencedError: if another try or run has taken it.
        """
        found = self._folder.read_document(_NAME)
        if self._is_lost or (found or {}).get("token") != self._token:
            raise FencedError("another try or run has taken over")

    def release(self) -> None:
        """Let the next run begin at once."""
        self._is_ended.set()
        if self._thread is not None:
            self._thread.join(RENEWED_EVERY)  # a renewal after the removal would keep the next run waiting
        with suppress(Exception):  # the next run then waits until it sees that the lease is not renewed
            if (self._folder.read_document(_NAME) or {}).get("token") == self._token:
                self._folder.remove(_NAME)

    def _write(self) -> None:
        self._renewals += 1
        content = {"token": self._token, "run": self._run, "renewals": self._renewals}
        self._folder.write_document(_NAME, content)
