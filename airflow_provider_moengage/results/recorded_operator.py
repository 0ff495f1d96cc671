"""What the recorder needs to know of an operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from airflow_provider_moengage.bulk.clock import Log
    from airflow_provider_moengage.bulk.report import DeliveryReport
    from airflow_provider_moengage.bulk.results import ResultsTable
    from airflow_provider_moengage.bulk.resume.reject_spool import RejectSpool


class Recorded(Protocol):
    """An operator whose runs are recorded."""

    results: ResultsTable | None
    reject_spool: RejectSpool | None

    @property
    def log(self) -> Log:
        """The task's log."""

    @property
    def is_certainly_dry(self) -> bool:
        """Whether this is a dry run, which is not recorded."""

    @property
    def report_of_run(self) -> DeliveryReport | None:
        """The counts so far; None if nothing was read."""

    @property
    def key_columns_of_rejects(self) -> Sequence[str]:
        """The columns that identify a row of the source."""

    def forget_earlier_run(self) -> None:
        """Forget what another call of ``execute`` has left."""

    def facts_of_run(self) -> dict[str, Any]:
        """Return what the table of runs has besides the report."""

    def may_resume(self, context: Mapping[str, Any]) -> bool:
        """Return whether this is a retry, which may resume an earlier try."""
