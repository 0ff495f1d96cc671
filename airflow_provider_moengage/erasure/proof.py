"""Proves an erasure: asks MoEngage for the users of a ledger, and records those who do not exist any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from airflow_provider_moengage import metrics
from airflow_provider_moengage.erasure.ledger import Entry, Event, History, Ledger, RunFacts
from airflow_provider_moengage.erasure.membership import Members
from airflow_provider_moengage.erasure.places import LedgerPlace
from airflow_provider_moengage.exceptions import MoEngageRequestError
from airflow_provider_moengage.hooks import user_reading
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.results.recorder import TaskRun

RECORDED_AT_ONCE = 200
"""Users whose absence is recorded together: after a kill, as many are asked for again."""

_FIELDS = ("uid",)


@dataclass(frozen=True, slots=True)
class ErasureResult:
    """What the XCom of an erasure says.

    :param members: whom the ledger must have.
    :param finished_at: when the last request had its answer.
    """

    members: Members
    finished_at: datetime
    workspace_id: str
    place: LedgerPlace
    facts: RunFacts

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ErasureResult:
        """Return the result in an XCom.

        :raises KeyError: if a field is missing.
        :raises ValueError: if one is wrong.
        :raises TypeError: the same.
        """
        run = TaskRun(**given["run"], try_number=None)
        workspace_id = str(given["workspace_id"])
        finished_at = datetime.fromisoformat(given["finished_at"])
        return cls(
            Members.from_xcom(given, int(given["users"])),
            finished_at if finished_at.tzinfo is not None else finished_at.replace(tzinfo=UTC),
            workspace_id,
            LedgerPlace.of(given["ledger"]),
            RunFacts(
                run,
                workspace_id,
                str(given["method"]),
                str(given["identity_type"]),
                None if given["project_code"] is None else str(given["project_code"]),
            ),
        )


@dataclass(frozen=True, slots=True)
class Proof:
    """How far an erasure is proved.

    :param users: who were asked for.
    :param remaining: those whom MoEngage still has.
    """

    users: int
    remaining: int

    def to_dict(self) -> dict[str, int]:
        """Return it for an XCom."""
        return {"users": self.users, "gone": self.users - self.remaining, "remaining": self.remaining}


def prove(
    result: ErasureResult,
    hook: MoEngageHook,
    *,
    check: Callable[[], None],
    now: Callable[[], float],
) -> Proof:
    """Ask for each user of an erasure who is not known to be gone, 20 a request; if that is nobody, for all.

    :param check: called before and after each wait; it may raise to end it.
    :param now: returns the time, in UTC epoch seconds.
    :raises MoEngageRequestError: if the ledger cannot prove anything.
    :raises MoEngageError: see :meth:`MoEngageHook.iter_users`.
    """
    if hook.settings.workspace_id != result.workspace_id:
        raise MoEngageRequestError(
            f"Connection {hook.moengage_conn_id!r} is of another workspace than the erasure, where the users may"
            " never have been. Use the connection that erased them"
        )
    if hook.settings.project_code != result.facts.project_code:
        raise MoEngageRequestError(
            f"Connection {hook.moengage_conn_id!r} and project_code name another project than the erasure, where"
            " the users may never have been. Give the sensor the project_code of the erasure"
        )
    ledger = result.place.ledger(result.facts)
    with result.place.failures(lambda: "what was proved before stays in it"), closing(ledger):
        history = ledger.open()
        users = history.users()
        _check(result, history, users, hook.settings.data_api_key)
        remaining = _ask(ledger, history, hook, check, now)
    gone = len(users) - remaining
    send = metrics.Metrics(hook.moengage_conn_id)
    send.gauge(metrics.ERASURE_GONE, gone)
    send.gauge(metrics.ERASURE_REMAINING, remaining)
    return Proof(len(users), remaining)


def _check(result: ErasureResult, history: History, users: set[str], api_key: str) -> None:
    if history.has_unknown_users:
        raise MoEngageRequestError(
            f"{result.place} has no IDs of the users, and MoEngage finds users by their ID only. Give the operator"
            " a query with IDs, and its user_id"
        )
    if len(users) < result.members.users:
        raise MoEngageRequestError(
            f"{result.place} has {len(users):,} of the {result.members.users:,} users of the erasure, so it proves"
            " nothing. A file must be on a disk that all workers share"
        )
    if result.members.are_others(users, api_key):
        raise MoEngageRequestError(
            f"{result.place} has other users than the erasure, so it proves nothing: entries were removed or added"
            " since, or it is another ledger"
        )


def _ask(
    ledger: Ledger, history: History, hook: MoEngageHook, check: Callable[[], None], now: Callable[[], float]
) -> int:
    """Return how many users exist."""
    waiting: Iterator[tuple[str, list[Entry]]] = iter(history.to_prove().items())
    remaining = 0
    with closing(hook.get_conn()) as client:
        while some := dict(islice(waiting, RECORDED_AT_ONCE)):
            found = user_reading.users(client, hook.moengage_conn_id, some, _FIELDS, check)
            gone = [user.customer_id for user in found if not user.is_found]
            at = now()
            ledger.write(
                Entry(entry.identity, user, entry.attempt, Event.GONE, at) for user in gone for entry in some[user]
            )
            remaining += len(some) - len(gone)
            check()
    return remaining
