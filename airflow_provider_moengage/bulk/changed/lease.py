"""The lease of a state: one run uses it at a time, and says so every few seconds.

No clock is compared with another machine's: a run that finds a lease watches whether it is renewed. The lease
makes a second run fail early. The generations (:mod:`.folder`) ensure that two runs cannot both store a result.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from airflow_provider_moengage.bulk.changed.folder import StateFolder
from airflow_provider_moengage.bulk.clock import Clock, Log, StoppedError, StopRequest
from airflow_provider_moengage.bulk.resume.fence import FencedError

RENEWED_EVERY = 5.0
"""Seconds."""

WATCHED_FOR = 15.0
"""Seconds without a renewal after which a lease was left by a run that was killed."""

_LAST_RENEWAL = 5.0
"""Seconds that a renewal may take when the lease is released."""

_NAMES = re.compile(r"lease(-\w+)?\.json")


class InUseError(Exception):
    """Another run uses the state. The message names it."""


class Lease:
    """The lease that one try takes.

    :param folder: of the state.
    :param run: the run that the try is of. Another try of the same run takes over at once.
    :param token: of the try.
    :param of: what has a lease of its own, such as a shard; empty: the run has one lease.
    """

    def __init__(self, folder: StateFolder, run: str, token: str, clock: Clock, of: str = "") -> None:
        self._folder = folder
        self._run = run
        self._token = token
        self._name = f"lease-{of}.json" if of else "lease.json"
        self._clock = clock
        self._holder = ""
        self._renewals = 0
        self._is_ended = threading.Event()
        self._is_lost = False
        self._thread: threading.Thread | None = None

    def take(self, stop: StopRequest, log: Log) -> None:
        """Take the lease.

        :raises InUseError: if another run renews it.
        :raises StoppedError: if the run is stopped meanwhile.
        """
        left = self._watch(self._of_other_runs(), stop, log)
        self._write()
        self.check()
        # A run whose shards have leases of their own may have begun meanwhile.
        for name, lease in self._of_other_runs().items():
            if lease != left.get(name):
                self.release()
                raise InUseError(str(lease.get("run")))
            self._folder.remove(name)
        self._keep()

    def claim(self, holder: str, stop: StopRequest, log: Log) -> None:
        """Take a lease that only one of several holders in a run may have.

        :raises InUseError: if another holder renews it.
        """
        self._holder = holder
        self.wait_for(holder, stop, log)
        content = json.dumps(self._content()).encode()
        if self._folder.read_document(self._name) is None and not self._folder.create(
            self._name, content, self._token
        ):
            raise InUseError(self._run)
        self._write()
        self.check()
        self._keep()

    def wait_for(self, holder: str, stop: StopRequest, log: Log) -> None:
        """Wait until no other holder has this lease, and take it from one that was killed, or hangs.

        :raises InUseError: if another holder renews it.
        """
        found = self._folder.read_document(self._name)
        if (
            found
            and (found.get("run"), found.get("holder")) != (self._run, holder)
            and self._watch({self._name: found}, stop, log)
        ):
            self._folder.remove(self._name)

    def _keep(self) -> None:
        # The query may run for minutes before its first row, and a lane may wait for the rate limit.
        self._thread = threading.Thread(target=self._renew, name="moengage-lease", daemon=True)
        self._thread.start()

    def _watch(self, leases: Mapping[str, Any], stop: StopRequest, log: Log) -> dict[str, Any]:
        """Watch leases; return those that nobody has renewed or released."""
        found, read = dict(leases), self._folder.read_document
        if not found:
            return {}
        runs = ", ".join(sorted({str(lease.get("run")) for lease in found.values()}))
        log.info("Checking whether %s, which has not released the state, is still running", runs)
        watched_until = self._clock.monotonic() + WATCHED_FOR
        while found and self._clock.monotonic() < watched_until:
            self._clock.wait(threading.Event(), 1.0)
            if stop.is_made:
                raise StoppedError
            for name, lease in list(found.items()):
                now = read(name)
                if now is None:
                    del found[name]
                elif now != lease:
                    raise InUseError(str(lease.get("run")))
        return found

    def _of_other_runs(self) -> dict[str, Any]:
        """Return the leases of other runs, by name."""
        found = {name: self._folder.read_document(name) for name in self._folder.names() if _NAMES.fullmatch(name)}
        return {name: lease for name, lease in found.items() if lease and lease.get("run") != self._run}

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
        found = self._folder.read_document(self._name)
        if self._is_lost or (found or {}).get("token") != self._token:
            raise FencedError("another try or run has taken over")

    def release(self) -> None:
        """Let the next run begin at once."""
        self._is_ended.set()
        if self._thread is not None:
            self._thread.join(_LAST_RENEWAL)  # a renewal after the removal would keep the next run waiting
        with suppress(Exception):  # the next run then waits until it sees that the lease is not renewed
            if (self._folder.read_document(self._name) or {}).get("token") == self._token:
                self._folder.remove(self._name)

    def _write(self) -> None:
        self._renewals += 1
        self._folder.write_document(self._name, self._content())

    def _content(self) -> dict[str, Any]:
        return {"token": self._token, "run": self._run, "renewals": self._renewals, "holder": self._holder}
