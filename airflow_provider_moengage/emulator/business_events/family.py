"""Business events, v1 and v5, as an API family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from airflow_provider_moengage.emulator.business_events.answers import (
    Trace,
    v1_failure,
    v1_not_triggered,
    v5_failure,
)
from airflow_provider_moengage.emulator.business_events.firings import FiringLog
from airflow_provider_moengage.emulator.business_events.lists import list_business_events, search_business_events
from airflow_provider_moengage.emulator.business_events.state import BusinessEventQuotas, BusinessEventState
from airflow_provider_moengage.emulator.business_events.triggers import trigger_v1, trigger_v5
from airflow_provider_moengage.emulator.family import Context, Endpoint, Family, Result
from airflow_provider_moengage.emulator.http import Answer, Call

V1_TRIGGER = "/v1.0/business_event/trigger"
V5 = "/v5/business-events"

MAX_EVENTS_SHOWN = 50


class BusinessEvents(Family):
    """Triggers, lists and searches business events."""

    def __init__(self, context: Context) -> None:
        self.state = BusinessEventState(context)
        self.endpoints = (
            Endpoint(V1_TRIGGER, "Business event, v1", self._trigger_v1),
            Endpoint(f"{V5}/triggers", "Business event, v5", partial(trigger_v5, self.state)),
            Endpoint(V5, "List of business events", partial(list_business_events, self.state), method="GET"),
            Endpoint(f"{V5}/search", "Search of business events", partial(search_business_events, self.state)),
        )

    def failure(self, status: int, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the failure of v1 or v5."""
        if path == V1_TRIGGER:
            as_200 = self.state.context.settings.v1_failures_as_200
            return v1_failure(200 if as_200 else status, headers)
        return v5_failure(status, Trace.of(None), headers)

    def _trigger_v1(self, call: Call, now: float) -> Result:
        result = trigger_v1(self.state, call, now)
        is_wrapped = self.state.context.settings.v1_failures_as_200 and result.kind != "accepted"
        return replace(result, answer=v1_not_triggered()) if is_wrapped else result

    def reset(self) -> None:
        """Delete all firings, and reset the quotas; the events stay defined."""
        self.state.firings = FiringLog()
        self.state.quotas = BusinessEventQuotas()

    def trim(self) -> None:
        """Delete the firings beyond the last ``keep_firings``."""
        self.state.firings.trim(self.state.context.settings.keep_firings)

    def counts(self) -> dict[str, Any]:
        """Return the counts of firings."""
        firings = self.state.firings
        return {
            "firings": firings.next_number - 1,
            "campaigns_started": firings.campaigns_started,
            "flows_started": firings.flows_started,
        }

    def snapshot(self, now: float) -> dict[str, Any]:
        """Return the events with their firings, and the quotas."""
        return {"business_events": self._events(), "quotas": self._quotas(now)}

    def _events(self) -> dict[str, Any]:
        defined = {known.event.name: known.event for known in self.state.catalog}
        names = list(dict.fromkeys([*defined, *self.state.firings.names()]))
        shown = []
        for name in names[:MAX_EVENTS_SHOWN]:
            fired, campaigns, last_at = self.state.firings.of_event(name)
            event = defined.get(name)
            shown.append(
                {
                    "name": name,
                    "defined": event is not None,
                    "campaigns": len(event.campaigns) if event else 0,
                    "flows": len(event.flows) if event else 0,
                    "fired": fired,
                    "campaigns_started": campaigns,
                    "last_at": last_at,
                }
            )
        return {"shown": shown, "left_off": max(len(names) - MAX_EVENTS_SHOWN, 0)}

    def _quotas(self, now: float) -> list[dict[str, Any]]:
        settings, quotas = self.state.context.settings, self.state.quotas
        shown = (
            ("v1 triggers", quotas.v1_triggers, settings.v1_trigger_quota),
            ("v1 flows", quotas.v1_flows, settings.v1_flow_quota),
            ("v5 campaigns", quotas.v5_campaigns, settings.v5_campaign_quota),
            ("v5 flows", quotas.v5_flows, settings.v5_flow_quota),
        )
        return [
            {"name": name, "seconds": seconds, "limit": limit, "used": used}
            for name, quota, windows in shown
            for limit, seconds, used in quota.used(windows, now)
        ]
