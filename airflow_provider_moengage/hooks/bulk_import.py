"""One bulk import of the hook: a delivery with its metrics, and the error that each way of failing becomes."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from airflow_provider_moengage.api.errors import ApiError
from airflow_provider_moengage.api.users.cohorts import CohortSync
from airflow_provider_moengage.bulk.changed.errors import StateError
from airflow_provider_moengage.bulk.changed.lease import InUseError
from airflow_provider_moengage.bulk.changed.shards.state import state_for
from airflow_provider_moengage.bulk.changed.sync_run import Changes
from airflow_provider_moengage.bulk.changed.tracker import ChangeTracker
from airflow_provider_moengage.bulk.clock import Log, StoppedError, StopRequest
from airflow_provider_moengage.bulk.report import DeliveryReport, counted
from airflow_provider_moengage.bulk.resume.fence import FencedError
from airflow_provider_moengage.bulk.resume.reject_spool import RejectSpool
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.resume.saved_run import SavedRun, UnknownOutcomeError
from airflow_provider_moengage.bulk.resume.writer import NotStoredError
from airflow_provider_moengage.bulk.run.context import RunContext
from airflow_provider_moengage.bulk.run.delivery import Delivery, NotRemovedError, RejectsNotWrittenError
from airflow_provider_moengage.bulk.run.lane import BULK
from airflow_provider_moengage.bulk.sources import Source
from airflow_provider_moengage.exceptions import (
    MoEngageError,
    MoEngageOutcomeUnknownError,
    MoEngageRejectsError,
    MoEngageRemovalError,
    MoEngageRequestError,
)
from airflow_provider_moengage.hooks.cohorts import requests_of
from airflow_provider_moengage.hooks.errors import storage_failure, translated
from airflow_provider_moengage.metrics import BulkMetrics
from airflow_provider_moengage.storage import StorageError, rejects_file, shown

if TYPE_CHECKING:
    from airflow_provider_moengage.api.client import MoEngageClient
    from airflow_provider_moengage.bulk.options import DeliveryOptions
    from airflow_provider_moengage.bulk.rate_limit.pacer import Limits


class BulkImport:
    """One bulk import.

    :param conn_id: the workspace's connection, for metrics and messages.
    :param source: the elements.
    :param options: how to deliver them.
    :param saved_run: what earlier tries left; None if there is nothing to resume from.
    :param changes: what the elements are compared with; None: all of them are sent.
    :param reject_spool: also gets the rejects.
    :raises StorageError: if the rejects' folder cannot be created.
    """

    def __init__(
        self,
        conn_id: str,
        source: Source,
        options: DeliveryOptions,
        saved_run: SavedRun | None,
        changes: Changes | None = None,
        reject_spool: RejectSpool | None = None,
    ) -> None:
        self._conn_id = conn_id
        self._source = source
        self._options = options
        self._saved_run = saved_run
        self._changes = changes
        self._metrics = BulkMetrics(conn_id)
        self._stop = StopRequest()
        path = options.rejects_path
        if saved_run is not None and source.is_resumable:
            path = saved_run.rejects_path or path  # an earlier try has written its rejects there
        file = None if path is None else rejects_file(path, dry_run=options.dry_run)
        self._rejects = Rejects(file, reject_spool)

    @property
    def report(self) -> DeliveryReport | None:
        """The latest counts."""
        return self._metrics.report

    def stop(self) -> None:
        """Make :meth:`run` end, also before it has begun; another thread or a signal handler may call it."""
        self._stop.make()

    def run(
        self, client: MoEngageClient, limits: Limits, log: Log, cohort: CohortSync | None = None
    ) -> DeliveryReport:
        """Deliver the elements and return the report, whatever was rejected.

        :param cohort: the segment whose members the elements are.
        :raises MoEngageError: see :meth:`MoEngageHook.bulk_import`.
        """
        limits, requests = (limits, BULK) if cohort is None else requests_of(cohort)
        context = RunContext.create(self._options, limits, log, stop=self._stop, requests=requests)
        try:
            tracker = None if self._changes is None else self._opened(self._changes, context)
            delivery = Delivery(
                context,
                self._source,
                client,
                self._rejects,
                saved_run=tracker or self._saved_run,
                observe=self._metrics,
            )
            return self._deliver(delivery)
        except UnknownOutcomeError as error:
            raise MoEngageOutcomeUnknownError(
                "Nothing was sent because delivery='at_most_once' never sends an element twice:"
                f" {error}. Check in MoEngage what has arrived; clear the task to send everything, or send the"
                " rest yourself"
            ) from None
        finally:
            self._metrics.end()

    def _opened(self, changes: Changes, context: RunContext) -> ChangeTracker:
        options = context.options
        state = state_for(
            changes,
            context.clock,
            context.log,
            is_dry_run=options.dry_run,
            at_most_once=context.is_at_most_once,
        )
        try:
            state.open(context.stop)
        except InUseError as error:
            raise MoEngageError(
                f"Nothing was sent because {error} is using the state in {changes.folder}: of two runs of one sync"
                " at a time, the second fails. Give the Dag max_active_runs=1"
            ) from None
        except StateError as error:
            raise _of_state(error) from None
        except StorageError as error:
            raise storage_failure(error, "nothing was sent") from None
        except FencedError:
            raise MoEngageError("Another try of this task has taken over, so this one stopped") from None
        except StoppedError:
            raise MoEngageError("The run was stopped; nothing was sent") from None
        return ChangeTracker(
            self._source,
            context.counters,
            context.log,
            state,
            options,
            may_repeat=changes.may_repeat,
        )

    def _deliver(self, delivery: Delivery) -> DeliveryReport:
        try:
            return delivery.run()
        except ApiError as error:
            raise translated(error, self._conn_id, _accepted_before(delivery)) from None
        except StorageError as error:
            raise storage_failure(error, self._so_far(delivery)) from None
        except RejectsNotWrittenError as error:
            if self._next_try_resumes and not error.cause.is_permanent:
                failure = storage_failure(
                    error.cause,
                    f"everything else was delivered, and the next try writes the {error.report.rejected:,}"
                    " rejects",
                )
                failure.is_delivered = True
                raise failure from None
            raise MoEngageRejectsError(
                f"Everything else was delivered, but the {error.report.rejected:,} rejects could not be written to"
                f" {shown(self._options.rejects_path)} ({error.cause.cause}); the log has their codes and"
                " positions",
                report=error.report,
            ) from None
        except NotRemovedError as error:
            raise MoEngageRemovalError(str(error), report=error.report) from None
        except NotStoredError as error:
            raise MoEngageError(
                f"The checkpoint could not be stored ({error}); {_accepted_before(delivery)}"
            ) from None
        except FencedError:
            raise MoEngageError(
                f"Another try of this task has taken over, so this one stopped; {_accepted_before(delivery)}"
            ) from None
        except StateError as error:
            raise _of_state(error) from None
        except StoppedError:
            raise MoEngageError(f"The run was stopped; {_accepted_before(delivery)}") from None

    @property
    def _next_try_resumes(self) -> bool:
        return self._changes is not None or (self._saved_run is not None and self._source.is_resumable)

    def _so_far(self, delivery: Delivery) -> str:
        if not delivery.has_sent:
            return "nothing was sent"
        kept = (
            "These are recorded: the next try sends the others, and checks those again whose rejects were not"
            " written"
            if self._next_try_resumes
            else "The next try cannot resume, so it sends everything again"
        )
        return f"{_accepted_before(delivery)}. {kept}"


def _of_state(error: StateError) -> MoEngageError:
    return MoEngageError(str(error)) if error.may_heal else MoEngageRequestError(str(error))


def _accepted_before(delivery: Delivery) -> str:
    return f"{delivery.accepted:,} elements were accepted before that"


def check_rejects(
    report: DeliveryReport,
    options: DeliveryOptions,
    conn_id: str,
    project_code: str | None = None,
    *,
    are_members: bool = False,
) -> DeliveryReport:
    """Return the report.

    :param conn_id: the workspace's connection.
    :param project_code: the project of a portfolio; None: the connection's.
    :param are_members: whether the elements are members of a segment.
    :raises MoEngageRejectsError: if more elements were rejected than ``max_rejects`` allows.
    """
    if options.allows(report.rejected, report.accepted + report.rejected + report.unchanged):
        return report
    by_code = ", ".join(f"{count:,} {code}" for code, count in report.rejects.items())
    others = "would have been sent (dry run)" if report.dry_run else "were accepted"
    advice = _advice(report, conn_id, project_code, are_members=are_members)
    raise MoEngageRejectsError(
        f"{counted(report.rejected, 'element')} rejected ({by_code}), more than"
        f" max_rejects={options.max_rejects:g} allows; the other {report.accepted:,} {others}. {advice}",
        report=report,
    )


def _advice(report: DeliveryReport, conn_id: str, project_code: str | None, *, are_members: bool) -> str:
    """Return what to do about rejects, with the commands that help."""
    again = "" if report.dry_run or not report.events else _SENT_AGAIN
    if not report.rejects_path:
        return f"Set rejects_path to keep them{again}"
    path = quote(shown(report.rejects_path))
    why = f"To see why: `moengage rejects summary {path}`"
    if are_members or report.dry_run:
        return f"{why}. Correct them in the source; the next run sends them"
    project = "" if project_code is None else f" --project-code {quote(project_code)}"
    sent = " take out those that have arrived (outcome_unknown)," if "outcome_unknown" in report.rejects else ""
    return (
        f"{why}. Correct them in that file,{sent} and send them:"
        f" `moengage rejects replay {path} --conn-id {quote(conn_id)}{project}`{again}"
    )


_SENT_AGAIN = ". Do not clear the task for that: it sends the accepted events again, and MoEngage has them twice"
