"""The sensor that proves an erasure: it waits until MoEngage has none of the users any more."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_moengage.api.workspace import check_parsed_project
from airflow_provider_moengage.arguments import TemplatedArguments, boolean, is_unresolved, seconds
from airflow_provider_moengage.bulk.clock import Clock, SystemClock
from airflow_provider_moengage.erasure.proof import ErasureResult, Proof, prove
from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.links.dashboard import MoEngageDashboardLink
from airflow_provider_moengage.tasks.wait_until import airflow_timeout, resume, wait_until, wakes_at

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg

CLOCK: Clock = SystemClock()
"""Tests replace it."""

_LONGEST = timedelta(days=365)

POKE_INTERVAL = 3_600.0
"""Seconds between two looks: Get User takes 1,000 users a minute."""

TIMEOUT = 3 * 86_400.0
"""Seconds."""


class UsersErasedSensor(TemplatedArguments, BaseSensorOperator):  # type: ignore[misc, unused-ignore]
    """Waits until MoEngage has none of the users whom an erasure has asked for, and records that in its ledger.

    .. code-block:: python

        erase = SqlToMoEngageErasureOperator(task_id="erase", ...)
        UsersErasedSensor(task_id="prove", erasure=erase.output)

    MoEngage erases users within 24 hours, so the sensor first waits that long. Then it asks Get User for each user
    of the ledger, 20 a request and 1,000 users a minute, and adds an entry with the event ``gone`` for each who
    does not exist. Users who still exist are asked for again, every ``poke_interval`` seconds. The task fails when
    ``timeout`` is reached; log and error say how many remain, never who: the ledger has that.

    While it waits it holds no worker slot, in either mode. What Airflow stores of the wait are times only.

    :param erasure: the XCom of :class:`SqlToMoEngageErasureOperator`. After a dry run, the sensor is skipped.
        Templated.
    :param wait: how long after the last request to ask first; a timedelta, or seconds.
    :param deferrable: wait in the triggerer; the default is ``[operators] default_deferrable`` of airflow.cfg.
    :param mode: how a sensor waits that is not deferrable: ``reschedule`` frees the worker slot.
    :param poke_interval: seconds between two looks.
    :param timeout: seconds in which everybody must be gone; ``wait`` is part of it.
    :param project_code: the project of a portfolio; None: the connection's ``project_code``, else the portfolio as
        a whole. Templated.
    :param moengage_conn_id: the workspace's connection, the same as the operator's. Templated.
    :raises ValueError: when the Dag is parsed, if an argument is invalid; the message names it.

    Returns (XCom) ``users``, ``gone`` and ``remaining``, which is 0.
    """

    template_fields: Sequence[str] = ("erasure", "project_code", "moengage_conn_id")
    ui_color = "#e6f4ea"
    operator_extra_links = (MoEngageDashboardLink(),)

    def __init__(  # noqa: PLR0913 (public signature)
        self,
        *,
        erasure: Mapping[str, Any] | str | XComArg,
        wait: timedelta | float = timedelta(hours=24),
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        mode: str = "reschedule",
        poke_interval: float = POKE_INTERVAL,
        timeout: float = TIMEOUT,
        project_code: str | int | None = None,
        moengage_conn_id: str = "moengage_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, poke_interval=poke_interval, timeout=timeout, **kwargs)
        self.erasure = erasure
        self.wait = timedelta(seconds=min(seconds("wait", wait), _LONGEST.total_seconds()))
        self.deferrable = boolean("deferrable", deferrable)
        self.project_code = project_code
        self.moengage_conn_id = moengage_conn_id
        self._is_killed = False
        check_parsed_project(project_code)
        if self.wait.total_seconds() >= self.timeout:
            raise ValueError(
                f"timeout {self.timeout:g}: expected more seconds than wait ({self.wait}), after which users are"
                " asked for"
            )

    def execute(self, context: Context) -> Any:
        """Wait, and return the counts.

        :raises ValueError: if ``erasure`` is not the XCom of an erasure.
        :raises AirflowSensorTimeout: if somebody still exists at the timeout.
        :raises MoEngageError: if the ledger or MoEngage cannot be read. A retry continues.
        """
        with self._soft():
            if self.deferrable:
                return self._continue(context, self._now() + timedelta(seconds=self.timeout))
            return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002 (Airflow's signature)
        """Ask once, if it is time."""
        result = self._result()
        if self._now() < result.finished_at + self.wait:
            return PokeReturnValue(is_done=False)
        proof = self._look(result)
        return PokeReturnValue(is_done=not proof.remaining, xcom_value=proof.to_dict())

    def execute_complete(self, context: Context, event: Any = None, give_up_at: str = "") -> Any:  # noqa: ARG002
        """Resume when it is time to ask."""
        resume(self, context, self._now())
        with self._soft():
            return self._continue(context, datetime.fromisoformat(give_up_at))

    def on_kill(self) -> None:
        """Ask no more; what was proved is in the ledger."""
        self._is_killed = True

    def _continue(self, context: Context, give_up_at: datetime) -> Any:
        """Ask if it is time, and otherwise, or if somebody still exists, defer."""
        result = self._result()
        due, remaining = result.finished_at + self.wait, None
        if self._now() >= due:
            proof = self._look(result)
            if not proof.remaining:
                return proof.to_dict()
            due, remaining = self._now() + timedelta(seconds=self.poke_interval), proof
        now = self._now()
        if now >= give_up_at:
            raise AirflowSensorTimeout(self._timeout_message(remaining))
        given: Any = context
        self.defer(
            trigger=wait_until(wakes_at(min(due, give_up_at), self, given, now)),
            method_name="execute_complete",
            kwargs={"give_up_at": give_up_at.isoformat()},
            timeout=airflow_timeout(give_up_at, self, given, now),
        )
        return None  # not reached: deferring raises

    def _look(self, result: ErasureResult) -> Proof:
        hook = MoEngageHook(self.moengage_conn_id, project_code=self.project_code)
        proof = prove(result, hook, check=self._check_not_killed, now=lambda: self._now().timestamp())
        self.log.info(
            "%d of %d users are gone, %d still exist", proof.users - proof.remaining, proof.users, proof.remaining
        )
        return proof

    def _timeout_message(self, proof: Proof | None) -> str:
        if proof is None:
            return f"The timeout of {self.timeout:g} s was reached before the users were asked for"
        return (
            f"{proof.remaining:,} of {proof.users:,} users still exist in MoEngage after the timeout of"
            f" {self.timeout:g} s: they were sent again meanwhile, or MoEngage has not erased them. The ledger has"
            " no event 'gone' of them, except of users who came back after a complete proof"
        )

    def _check_not_killed(self) -> None:
        if self._is_killed:
            raise MoEngageError("The task was killed; what was proved before is in the ledger")

    def _now(self) -> datetime:
        return datetime.fromtimestamp(CLOCK.time(), UTC)

    @contextmanager
    def _soft(self) -> Iterator[None]:
        """Skip instead of failing if soft_fail or never_fail is set: the same in every mode."""
        try:
            yield
        except (MoEngageError, AirflowSensorTimeout) as error:
            if (self.soft_fail or self.never_fail) and not self._is_killed:
                raise AirflowSkipException(f"Skipped because soft_fail or never_fail is set: {error}") from error
            raise

    def _result(self) -> ErasureResult:
        """Return the result of the erasure, now that templates are rendered.

        :raises AirflowSkipException: if that was a dry run.
        """
        given: Any = self.erasure
        if isinstance(given, str) and given.lstrip().startswith("{") and not is_unresolved(given):
            try:
                given = ast.literal_eval(given)  # a rendered XCom, if the Dag does not render native objects
            except (ValueError, SyntaxError):
                given = None
        if isinstance(given, Mapping) and given.get("dry_run") is True:
            raise AirflowSkipException("The erasure was a dry run, so there is nothing to prove")
        try:
            return ErasureResult.of(given)
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                "erasure: expected the XCom of SqlToMoEngageErasureOperator, such as erase.output"
            ) from None
