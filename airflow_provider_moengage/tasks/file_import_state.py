"""What a task stores about the import it triggers, so that a retry continues to wait and never triggers again.

Airflow's state store keeps it across tries (3.3 and later). A Clear is a person's wish to trigger it anew; Airflow
raises ``max_tries`` then, and for no retry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_moengage.api.file_imports import FileRun, read_time
from airflow_provider_moengage.polling.selection import Baseline
from airflow_provider_moengage.tasks.state import ClearEpoch, TaskState

_KEY = "moengage_file_import"
_CALLING, _TRIGGERED, _DONE = "calling", "triggered", "done"

SAME_RUN = timedelta(minutes=1)
"""Files that were scheduled within a minute are of one run: an import runs once in five."""


@dataclass(frozen=True, slots=True)
class ImportRun:
    """A run of an import as the task that has triggered it knows it: MoEngage gives it no id.

    :param triggered_at: when the call was made, with time zone.
    :param baseline: the files that were there before.
    :param ran_at: when the newest of these was scheduled; None where there was none.
    """

    import_id: str
    triggered_at: datetime
    baseline: Baseline
    ran_at: datetime | None = None

    @classmethod
    def before(cls, import_id: str, runs: list[FileRun], now: datetime) -> ImportRun:
        """Return the run that a call made now would make."""
        return cls(import_id, now, Baseline.of(runs), newest(runs))

    def facts(self) -> dict[str, Any]:
        """Return it without the baseline, JSON-ready."""
        return {
            "import_id": self.import_id,
            "triggered_at": _text(self.triggered_at),
            "ran_at": None if self.ran_at is None else _text(self.ran_at),
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
        names = ("import_id", "triggered_at", "baseline", *(("baseline_since",) if self.baseline.since else ()))
        return {name: plain[name] for name in names}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ImportRun:
        """Make it again of what :meth:`to_dict` gave."""
        return cls(
            plain["import_id"],
            read_time(plain["triggered_at"]) or datetime.now(UTC),
            Baseline(frozenset(plain["baseline"]), read_time(plain.get("baseline_since"))),
            read_time(plain.get("ran_at")),
        )


class ImportRecord:
    """The record of one task instance.

    :param context: the task's context.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._state = TaskState(context, _KEY)
        self._clear_epoch = ClearEpoch(context)
        self._dag_run = context.get("dag_run")

    @property
    def is_kept(self) -> bool:
        """Whether the next try will know of this one."""
        return self._state.is_kept

    def earlier(self, import_id: str) -> tuple[ImportRun, bool] | None:
        """Return the run that an earlier try has called for, and whether it surely was triggered. None where this
        try is to trigger.
        """
        kept = self._state.get()
        if (
            not kept
            or kept.get("life") != self._clear_epoch.max_tries
            or kept["run"].get("import_id") != import_id
        ):
            return None
        if kept["status"] == _DONE and kept.get("retries") != self._clear_epoch.retries:
            return None  # with other `retries` a Clear may look like a retry, and whatever was triggered has ended
        return ImportRun.from_dict(kept["run"]), kept["status"] != _CALLING

    def earlier_in(self, runs: list[FileRun], import_id: str) -> ImportRun | None:
        """Return the run that an earlier try seems to have triggered, where there is no store: the newest since
        the Dag run began. None for a first try.
        """
        began = getattr(self._dag_run, "start_date", None)
        if self.is_kept or not self._clear_epoch.is_retry or began is None:
            return None
        last = newest(runs)
        if last is None or last < began:
            return None
        bound = max(began, last - SAME_RUN)
        before = [run for run in runs if run.scheduled_at is not None and run.scheduled_at < bound]
        return ImportRun(import_id, last, Baseline.of(before), newest(before))

    def calling(self, run: ImportRun) -> None:
        """Remember that from now on the import may be triggered. Returns when that is stored."""
        self._keep(_CALLING, run)

    def triggered(self, run: ImportRun) -> None:
        """Remember that it was."""
        self._keep(_TRIGGERED, run)

    def done(self, run: ImportRun) -> None:
        """Remember that the task is about to end well."""
        self._keep(_DONE, run)

    def forget(self) -> None:
        """Forget it: the next try triggers."""
        self._state.forget()

    def _keep(self, status: str, run: ImportRun) -> None:
        self._state.set(
            {
                "status": status,
                "life": self._clear_epoch.max_tries,
                "retries": self._clear_epoch.retries,
                "run": run.to_dict(),
            }
        )


def newest(runs: list[FileRun]) -> datetime | None:
    """Return when the newest file was scheduled."""
    return max((run.scheduled_at for run in runs if run.scheduled_at is not None), default=None)


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
