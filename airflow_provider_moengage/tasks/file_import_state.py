"""What a task stores about the import it triggers, so that a retry continues to wait and never triggers again.

Airflow's state store keeps it across tries (3.3 and later). A Clear triggers it again: Airflow raises
``max_tries`` only then, never for a retry.

Two tries may run at once: a worker that lost the network, and its successor. MoEngage refuses the second call of
the two, so a try has to know whether that call may be refused because of the other one. The store cannot compare
and swap. As in Lamport's fast mutual exclusion algorithm, at most one of them can miss the other, and that one
finds the other's record when its call is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_moengage.api.file_imports import FileRun, read_time
from airflow_provider_moengage.polling.selection import Baseline, earliest
from airflow_provider_moengage.tasks.state import ClearEpoch, TaskState

_KEY = "moengage_file_import"
_TURN_KEY = "moengage_file_import_turn"
_CALLING, _TRIGGERED, _DONE = "calling", "triggered", "done"

OWN_CLOCK = "is_own_clock"
"""Field of a run whose ``triggered_at`` is not of MoEngage's clock; left out otherwise."""

SAME_RUN = timedelta(minutes=1)
"""Files scheduled within a minute belong to one run: an import runs once in five."""


@dataclass(frozen=True, slots=True)
class ImportRun:
    """A run of an import, as the task that triggered it knows it: MoEngage assigns no ID.

    :param triggered_at: when the call was made, with time zone.
    :param baseline: the files that existed before.
    :param ran_at: when the newest of these was scheduled; None if there was none.
    :param is_own_clock: ``triggered_at`` is of the worker's clock, because MoEngage's is not known. So it does not
        tell files of this run from older ones.
    """

    import_id: str
    triggered_at: datetime
    baseline: Baseline
    ran_at: datetime | None = None
    is_own_clock: bool = False

    @classmethod
    def before(cls, import_id: str, runs: list[FileRun], now: datetime, *, is_own_clock: bool) -> ImportRun:
        """Return the run that a call made now would trigger."""
        baseline = Baseline.of(runs, triggered_at=None if is_own_clock else now)
        return cls(import_id, now, baseline, newest(runs), is_own_clock)

    def facts(self) -> dict[str, Any]:
        """Return it without the baseline, JSON-ready."""
        return {
            "import_id": self.import_id,
            "triggered_at": _text(self.triggered_at),
            "ran_at": None if self.ran_at is None else _text(self.ran_at),
            **({OWN_CLOCK: True} if self.is_own_clock else {}),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        since = self.baseline.since
        return {
            **self.facts(),
            "baseline": sorted(self.baseline.ids),
            "baseline_since": None if since is None else _text(since),
        }

    def to_xcom(self) -> dict[str, Any]:
        """Return what a sensor needs to wait for it."""
        plain = self.to_dict()
        optional = [name for name in ("baseline_since", OWN_CLOCK) if plain.get(name)]
        return {name: plain[name] for name in ("import_id", "triggered_at", "baseline", *optional)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ImportRun:
        """Return the object that :meth:`to_dict` was called on."""
        return cls(
            plain["import_id"],
            read_time(plain["triggered_at"]) or datetime.now(UTC),
            read_baseline(plain, plain["baseline"]),
            read_time(plain.get("ran_at")),
            bool(plain.get(OWN_CLOCK)),
        )


def read_baseline(plain: Mapping[str, Any], ids: Iterable[str]) -> Baseline:
    """Return the baseline of a run, from what :meth:`ImportRun.to_dict` or :meth:`ImportRun.to_xcom` returned."""
    triggered_at = None if plain.get(OWN_CLOCK) else read_time(plain.get("triggered_at"))
    return Baseline(frozenset(ids), read_time(plain.get("baseline_since")), earliest(triggered_at))


class ImportRecord:
    """The record of one task instance.

    :param context: the task's context.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._state = TaskState(context, _KEY)
        self._turn = TaskState(context, _TURN_KEY)
        self._token = secrets.token_hex(8)
        self._clear_epoch = ClearEpoch(context)
        self._dag_run = context.get("dag_run")

    @property
    def is_kept(self) -> bool:
        """Whether the record survives until the next try."""
        return self._state.is_kept

    def earlier(self, import_id: str) -> tuple[ImportRun, bool] | None:
        """Return the run that an earlier try requested, and whether it was certainly triggered. None if this try
        is to trigger.
        """
        return self._run_in(self._state.get(), import_id)

    def by_another_try(self, import_id: str) -> tuple[ImportRun, bool] | None:
        """Return the run that another try has requested since this one began, as :meth:`earlier` does. Unless it
        was certainly triggered, the other try now finds that this one may trigger it as well.
        """
        kept = self._state.get()
        other = None if self._is_mine(kept) else self._run_in(kept, import_id)
        if other is not None and not other[1]:
            self._keep(_CALLING, other[0])
        return other

    def _run_in(self, kept: Mapping[str, Any] | None, import_id: str) -> tuple[ImportRun, bool] | None:
        if (
            not kept
            or kept.get("life") != self._clear_epoch.max_tries
            or kept["run"].get("import_id") != import_id
        ):
            return None
        if kept["status"] == _DONE and kept.get("retries") != self._clear_epoch.retries:
            return None  # with changed `retries`, a Clear may look like a retry; the run has ended anyway
        return ImportRun.from_dict(kept["run"]), kept["status"] != _CALLING

    def earlier_in(self, runs: list[FileRun], import_id: str) -> ImportRun | None:
        """Return the run that an earlier try seems to have triggered, if there is no store: the newest since the
        Dag run began. None for a first try.
        """
        began = getattr(self._dag_run, "start_date", None)
        if self.is_kept or not self._clear_epoch.is_retry or began is None:
            return None
        last = newest(runs)
        if last is None or last < began:
            return None
        bound = max(began, last - SAME_RUN)
        before = [run for run in runs if run.scheduled_at is not None and run.scheduled_at < bound]
        return ImportRun(import_id, last, Baseline.of(before, triggered_at=last), newest(before))

    def calling(self, run: ImportRun) -> tuple[ImportRun, bool] | None:
        """Store that the import may be triggered from now on; returns once it is stored.

        :return: the run that another try has requested or may request meanwhile, and whether it was certainly
            triggered. None if this try seems to be the only one.
        """
        if not self.is_kept:
            return None
        if (other := self.by_another_try(run.import_id)) is not None:
            return other
        self._keep(_CALLING, run)
        is_taken = self._is_turn_of_another()
        self._turn.set({"life": self._clear_epoch.max_tries, "token": self._token})
        if not is_taken and self._is_mine(self._state.get()):
            return None
        if (other := self.by_another_try(run.import_id)) is not None:
            return other
        self._keep(_CALLING, run)  # the other try's record may have replaced it
        return run, False

    def triggered(self, run: ImportRun) -> None:
        """Store that it was triggered."""
        self._keep(_TRIGGERED, run)

    def done(self, run: ImportRun) -> None:
        """Store that the task is about to succeed."""
        self._keep(_DONE, run)

    def forget(self) -> None:
        """Delete the record: the next try triggers."""
        self._state.forget()
        self._turn.forget()

    def not_triggered(self) -> None:
        """Delete what :meth:`calling` has stored, but not the record of another try."""
        if self._is_mine(self._state.get()):
            self.forget()

    def _is_mine(self, kept: Mapping[str, Any] | None) -> bool:
        return kept is not None and kept.get("token") == self._token

    def _is_turn_of_another(self) -> bool:
        turn = self._turn.get()
        return turn is not None and turn.get("life") == self._clear_epoch.max_tries and not self._is_mine(turn)

    def _keep(self, status: str, run: ImportRun) -> None:
        self._state.set(
            {
                "status": status,
                "life": self._clear_epoch.max_tries,
                "retries": self._clear_epoch.retries,
                "token": self._token,
                "run": run.to_dict(),
            }
        )


def newest(runs: list[FileRun]) -> datetime | None:
    """Return when the newest file was scheduled."""
    return max((run.scheduled_at for run in runs if run.scheduled_at is not None), default=None)


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
