"""What the parts of one run share."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from airflow_provider_moengage.bulk.clock import Clock, Log, StopRequest, SystemClock
from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.bulk.rate_limit.pacer import Limits, Pacer
from airflow_provider_moengage.bulk.resume.counters import Counters
from airflow_provider_moengage.bulk.run.lane import BULK, Requests


@dataclass(frozen=True, slots=True)
class RunContext:
    """One run, as all of its threads see it.

    :param clock: the time; tests inject another one.
    :param stopped: set when the run ends; all waiting ends then.
    :param stop: a request to end it; nothing is sent once it is made.
    :param log: gets progress and warnings: counts, codes and positions only.
    :param counters: what is done so far.
    :param options: how to deliver.
    :param pacer: decides when a request may be sent.
    :param requests: how elements are sent.
    """

    clock: Clock
    stopped: threading.Event
    stop: StopRequest
    log: Log
    counters: Counters
    options: DeliveryOptions
    pacer: Pacer
    requests: Requests = BULK

    @classmethod
    def create(
        cls,
        options: DeliveryOptions,
        limits: Limits,
        log: Log,
        clock: Clock | None = None,
        stop: StopRequest | None = None,
        requests: Requests = BULK,
    ) -> RunContext:
        """Return the context of a run that starts now.

        :param limits: the workspace's limits.
        :param clock: None: the machine's time.
        :param requests: how elements are sent.
        :param stop: a request to end the run that may be made already; None: a new one.
        """
        clock = clock or SystemClock()
        stopped = threading.Event()
        pacer = Pacer(limits, clock, stopped)
        started_at = clock.monotonic()
        counters = Counters(lambda: clock.monotonic() - started_at, lambda: pacer.waited)
        return cls(clock, stopped, stop or StopRequest(), log, counters, options, pacer, requests)

    @property
    def is_at_most_once(self) -> bool:
        """Whether nothing may be sent twice."""
        return self.options.delivery == "at_most_once"
