"""The counts of a workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Counts:
    """What a workspace received since it was started or reset.

    :param requests: all API requests.
    :param accepted_requests: those whose elements were accepted, or that triggered a business event or a file
        import.
    :param refused: those refused with a failure other than 429.
    :param throttled: those that a rate limit answered with 429.
    :param faulted: those that a fault hit.
    :param bytes: body bytes of accepted bulk requests.
    :param elements: accepted elements: ``customers + events + devices``.
    :param actions: actions inside the accepted events.
    :param dropped: accepted elements that MoEngage drops after its 200, by the refused customer id.
    :param future_events: actions that MoEngage drops after its 200, because they lie in the future.
    :param events_by_day: kept actions by (name, UTC day of ``current_time``); the day is ``arrival`` without
        ``current_time``, and ``unreadable`` if its format is not documented.
    :param projects: accepted elements by the project of a portfolio that their request names. Those without one
        belong to the portfolio as a whole and are not counted here.
    :param users: distinct users of the kept elements.
    :param users_approximate: there were more than the million users that are counted exactly.
    :param firings: triggers of business events that took effect.
    :param campaigns_started: campaigns that these started.
    :param flows_started: flows that these started.
    :param file_triggers: triggers of file imports that took effect.
    :param file_runs: runs of file imports, started by a trigger or by the dashboard's schedule.
    """

    requests: int = 0
    accepted_requests: int = 0
    refused: int = 0
    throttled: int = 0
    faulted: int = 0
    bytes: int = 0
    elements: int = 0
    customers: int = 0
    events: int = 0
    devices: int = 0
    actions: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    future_events: int = 0
    events_by_day: Mapping[tuple[str, str], int] = field(default_factory=dict)
    projects: Mapping[str, int] = field(default_factory=dict)
    users: int = 0
    users_approximate: bool = False
    firings: int = 0
    campaigns_started: int = 0
    flows_started: int = 0
    file_triggers: int = 0
    file_runs: int = 0
