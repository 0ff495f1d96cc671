"""One try of an erasure: what earlier ones have done, the requests, and the counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from airflow_provider_moengage import metrics
from airflow_provider_moengage.api.errors import ApiError
from airflow_provider_moengage.bulk.clock import Log, StoppedError, StopRequest
from airflow_provider_moengage.bulk.report import counted
from airflow_provider_moengage.erasure.ledger import Entry, Event, History, RunFacts
from airflow_provider_moengage.erasure.membership import Members
from airflow_provider_moengage.erasure.places import LedgerPlace
from airflow_provider_moengage.erasure.record import Erasure, ErasureRecord
from airflow_provider_moengage.erasure.run import ErasureRun, Method
from airflow_provider_moengage.erasure.users import Users
from airflow_provider_moengage.exceptions import (
    MoEngageError,
    MoEngageOutcomeUnknownError,
    MoEngageRemovalError,
    MoEngageRequestError,
)
from airflow_provider_moengage.hooks.errors import translated
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.results.recorder import TaskRun


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be asked for, given what earlier tries have done.

    :param erasures: to be asked for.
    :param done: how many requests of the run are done already.
    :param unknown: how many of them may have been processed, and are not repeated.
    :param joined: entries of users whom such a request concerns, and does not name: the query returns them with
        its address only now.
    """

    erasures: list[Erasure]
    done: int
    unknown: int
    joined: list[Entry]

    @classmethod
    def of(cls, users: Users, history: History, *, may_repeat: bool) -> Plan:
        """Return the plan of a try.

        :param may_repeat: whether a request that may have been processed may be sent again.
        """
        unknown = set(history.unknown())
        wanted = users.by_identity
        # Whom the query no longer returns is not asked for again: the earlier query may have been wrong.
        left = unknown - wanted.keys() if may_repeat else unknown
        to_ask = {identity: history.to_ask(identity, known) for identity, known in wanted.items()}
        return cls(
            [
                Erasure(identity, known, history.attempts(identity))
                for identity, known in to_ask.items()
                if known is not None and identity not in left
            ],
            sum(known is None for known in to_ask.values()),
            len(left),
            [
                Entry(identity, user, history.attempts(identity), Event.UNKNOWN)
                for identity in left & wanted.keys()
                for user in history.unnamed(identity, wanted[identity])
            ],
        )


class ErasureTask:
    """One try of a task that erases users.

    :param hook: of the workspace.
    :param method: how users are erased.
    :param place: of the ledger.
    :param log: gets counts only.
    :param stop: a request to end the try; nothing is sent once it is made.
    """

    def __init__(
        self, hook: MoEngageHook, method: Method, place: LedgerPlace, log: Log, stop: StopRequest
    ) -> None:
        self._hook = hook
        self._method = method
        self._place = place
        self._log = log
        self._stop = stop
        self.counts: Counter[Event] = Counter()
        """How many requests ended with each outcome in this try."""

    def erase(
        self, users: Users, context: Mapping[str, Any], *, max_users: int, retry_unknown: bool
    ) -> dict[str, Any]:
        """Ask for the users' erasure and return the counts.

        :param max_users: how many may be asked for in all tries of the run together.
        :param retry_unknown: ask again if a request may have been processed.
        :raises MoEngageError: if it ended early; the ledger has what was done.
        """
        settings, method = self._hook.settings, self._method
        run = TaskRun.of(context)
        facts = RunFacts(run, settings.workspace_id, method.name, method.identity_type, settings.project_code)
        ledger = self._place.ledger(facts)
        work = ErasureRun(self._method, self._log, self._stop)
        with self._place.failures(lambda: self._sent_by(work)), closing(ledger):
            history = ledger.open()
            _check_number(users, history, max_users)
            plan = Plan.of(users, history, may_repeat=self._method.may_repeat or retry_unknown)
            self._log_plan(plan)
            record = work.recording(ledger, plan.erasures)
            if plan.joined:
                ledger.write(replace(entry, at=work.now()) for entry in plan.joined)
            if plan.erasures:
                self._send(work, plan, record)
        self._log_outcome(record, work)
        return {
            **_counts(users, self._method),
            "requests": work.requests,
            "accepted": record.counts[Event.ACCEPTED],
            "not_found": record.counts[Event.NOT_FOUND],
            "refused": record.counts[Event.REFUSED],
            "unknown": record.counts[Event.UNKNOWN] + plan.unknown,
            "done_before": plan.done,
            "throttled_seconds": round(work.throttled_seconds, 3),
            "finished_at": datetime.fromtimestamp(work.now(), UTC).isoformat(timespec="seconds"),
            "workspace_id": settings.workspace_id,
            "project_code": settings.project_code,
            "ledger": self._place.to_dict(),
            "in_ledger": Members.of(history.users() | users.ids, settings.data_api_key).to_dict(),
            "run": run.key,
        }

    def _send(self, work: ErasureRun, plan: Plan, record: ErasureRecord) -> None:
        conn_id = self._hook.moengage_conn_id

        def so_far() -> str:
            done = record.counts[Event.ACCEPTED] + record.counts[Event.NOT_FOUND]
            return (
                f"{counted(done, 'request')} had been accepted before that, and a retry continues with the others"
            )

        try:
            with closing(self._hook.get_conn()) as client:
                work.send(client, plan.erasures, record)
        except ApiError as error:
            raise translated(error, conn_id, so_far()) from None
        except StoppedError:
            raise MoEngageError(f"The erasure was stopped; {so_far()}") from None
        finally:
            self.counts = record.counts
            self._count(work, record)

    def _sent_by(self, work: ErasureRun) -> str:
        """Return what a try has done, if its ledger cannot be used any more."""
        if not work.requests:
            return "nobody was erased by this try"
        return (
            f"this try has sent {counted(work.requests, 'request')}, and the ledger has the outcome of"
            f" {self.counts.total():,}; a retry continues from what it has"
        )

    def _count(self, work: ErasureRun, record: ErasureRecord) -> None:
        send = metrics.Metrics(self._hook.moengage_conn_id)
        for event, metric in (
            (Event.ACCEPTED, metrics.ERASURE_ACCEPTED),
            (Event.NOT_FOUND, metrics.ERASURE_NOT_FOUND),
            (Event.REFUSED, metrics.ERASURE_REFUSED),
            (Event.UNKNOWN, metrics.ERASURE_UNKNOWN),
        ):
            send.count(metric, record.counts[event])
        send.count(metrics.ERASURE_REQUESTS, work.requests)

    def _log_plan(self, plan: Plan) -> None:
        if plan.done or plan.unknown:
            self._log.info(
                "Earlier tries of this run: %s done, which are not repeated; %d with an unknown outcome",
                counted(plan.done, "request"),
                plan.unknown,
            )
        self._log.info("Asking MoEngage for %s; this cannot be undone", counted(len(plan.erasures), "erasure"))

    def _log_outcome(self, record: ErasureRecord, work: ErasureRun) -> None:
        counts = record.counts
        self._log.info(
            "%d accepted, %d not found, %d refused, %d unknown; %s; lanes waited %.0f s for the limit",
            counts[Event.ACCEPTED],
            counts[Event.NOT_FOUND],
            counts[Event.REFUSED],
            counts[Event.UNKNOWN],
            counted(work.requests, "request"),
            work.throttled_seconds,
        )


def preview(users: Users, method: Method, place: LedgerPlace) -> dict[str, Any]:
    """Return the counts of a dry run, which sends nothing and does not touch the ledger."""
    return {**_counts(users, method), "requests": len(users.by_identity), "ledger": place.to_dict()}


def check_outcome(result: Mapping[str, Any], place: LedgerPlace) -> None:
    """Check that everybody's erasure was accepted.

    :raises MoEngageOutcomeUnknownError: if it is not known of some.
    :raises MoEngageRemovalError: if MoEngage refused some.
    """
    refused, unknown = result["refused"], result["unknown"]
    if unknown:
        raise MoEngageOutcomeUnknownError(
            f"{counted(unknown, 'request')} may have been processed, without an answer that says so. An OpenGDPR"
            " request is not repeated by itself, nor one for a user whom the query no longer returns. All others"
            " are done"
            + (f", except for {refused:,} refused" if refused else "")
            + f". {place} has them with the event 'asked' or 'unknown': check them in MoEngage. To ask again,"
            " let the query return them and clear the task; for OpenGDPR, set retry_unknown=True as well"
        )
    if refused:
        raise MoEngageRemovalError(
            f"MoEngage refused {counted(refused, 'erasure')}; all others are done. {place} has them with the event"
            " 'refused'; clear the task to ask again"
        )


def _check_number(users: Users, history: History, max_users: int) -> None:
    """Check that the tries of a run do not ask for more than ``max_users`` together.

    :raises MoEngageRequestError: if they would.
    """
    identities, ids = users.by_identity.keys(), users.ids
    asked_for, named = history.everybody(), history.users()
    before = max(len(asked_for - identities), len(named - ids))
    if before and max(len(asked_for | identities), len(named | ids)) > max_users:
        raise MoEngageRequestError(
            f"Earlier tries of this run have asked for {before:,} users whom the query no longer returns, and"
            f" with those whom it returns they are more than max_users={max_users:,}; nobody was erased by this"
            " try. Check the query; if all of them are to be erased, raise max_users"
        )


def _counts(users: Users, method: Method) -> dict[str, Any]:
    shared = users.shared
    return {
        "method": method.name,
        "identity_type": method.identity_type,
        "users": users.count,
        "rows": users.rows,
        "shared_identities": len(shared),
        "users_with_shared_identity": sum(shared),
    }
