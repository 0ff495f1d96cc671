"""A MoEngage workspace whose times of file imports are in some zone, and what shows which one it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

from airflow_provider_moengage.emulator import Emulator, FileImport, ImportFile
from devtools.fake_clock import FakeClock
from tests.delivering import MoEngage

KOLKATA, LOS_ANGELES = "Asia/Kolkata", "America/Los_Angeles"

MOMENTS = {
    f"{zone} {name}": (zone, moment)
    for zone in (KOLKATA, LOS_ANGELES)
    for name, moment in {
        "winter": datetime(2026, 1, 5, 3, tzinfo=UTC),
        "summer": datetime(2026, 7, 5, 20, tzinfo=UTC),
        "clocks put back": datetime(2025, 11, 2, 9, tzinfo=UTC),  # in Los Angeles
        "clocks put forward": datetime(2026, 3, 8, 10, tzinfo=UTC),
    }.items()
}

SHOWN_BY = ("setting", "ids", "details")
"""What shows the zone, and nothing else does."""

USERS = "users-import"


@dataclass
class Zoned(MoEngage):
    """An emulated workspace with one import.

    :param connection: as Airflow's, in JSON's form.
    """

    connection: dict[str, Any] | None = None

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.time(), UTC)

    def pass_time(self, **time: float) -> datetime:
        self.clock.wait(Event(), timedelta(**time).total_seconds())
        return self.now

    def run(self, name: str, status: str = "SUCCESSFUL") -> datetime:
        """Let the import run: a file that ends after a minute. Return when it was scheduled."""
        file = ImportFile(name, steps=((0, "QUEUED"), (60, status)))
        self.emulator.workspace.run_file_import(USERS, [file])
        return self.now

    def asked(self, path: str) -> list[int | None]:
        """The answers of one endpoint."""
        return [each.status for each in self.emulator.workspace.requests if each.path == path]


class SetClock(FakeClock):
    """A clock that a test sets."""

    def set(self, moment: datetime) -> None:
        with self._lock:
            self._now = moment.timestamp()


@contextmanager
def running() -> Iterator[Zoned]:
    """Run a workspace, for :func:`begin`."""
    clock = SetClock()
    with Emulator(clock=clock.time) as emulator:
        yield Zoned(emulator, clock)


def begin(moengage: Zoned, zone: str, shown_by: str, begins: datetime) -> Zoned:
    """Let a workspace's time begin at a moment, with one import and nothing else."""
    clock, workspace = moengage.clock, moengage.emulator.workspace
    assert isinstance(clock, SetClock)
    clock.set(begins)
    workspace.reset()
    workspace.clear_file_imports()
    workspace.configure(
        file_time_zone=zone, file_history_quota=None, file_imports_quota=None, file_order="shuffled"
    )
    workspace.add_file_import(
        FileImport(
            USERS,
            "Users",
            time_zone=zone if shown_by == "details" else "",
            file_ids="timed" if shown_by in ("setting", "ids") else "random",
        )
    )
    extra = {"import_time_zone": zone} if shown_by == "setting" else {}
    connection = {"conn_type": "moengage", "login": "EMULATOR", "password": "emulator-data-key"}
    moengage.connection = {**connection, "host": moengage.emulator.url, "extra": extra}
    return moengage
