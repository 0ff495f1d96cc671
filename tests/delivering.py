"""Deliveries to an emulator, over real HTTP and with a fake clock."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.api.workspace import Workspace
from airflow_provider_moengage.bulk.changed.shards.state import state_for
from airflow_provider_moengage.bulk.changed.sync_run import Changes
from airflow_provider_moengage.bulk.changed.tracker import ChangeTracker
from airflow_provider_moengage.bulk.members import Members
from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.bulk.rate_limit.pacer import Limits
from airflow_provider_moengage.bulk.report import DeliveryReport
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.resume.saved_run import SavedRun
from airflow_provider_moengage.bulk.run.context import RunContext
from airflow_provider_moengage.bulk.run.delivery import Delivery
from airflow_provider_moengage.bulk.run.lane import BULK, Client, Requests
from airflow_provider_moengage.bulk.sources import Stream
from airflow_provider_moengage.emulator import Emulator, Settings
from devtools.fake_clock import FakeClock

UNLIMITED = Limits(10**9, 10**9)


@dataclass
class MoEngage:
    """MoEngage as tests see it: an emulated workspace and a delivery to it, on the same clock."""

    emulator: Emulator
    clock: FakeClock
    lanes: int | None = 4
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("tests.delivery"))

    def reset(self, **settings: Any) -> None:
        """Empty the workspace. It has no limits unless they are among the settings."""
        lifted = {
            "users_per_minute": None,
            "events_per_minute": None,
            "keep_elements": None,
            "keep_requests": None,
        }
        self.emulator.workspace.reset()
        self.emulator.workspace.configure(**{**_DEFAULTS, **lifted, **settings})

    def deliver(
        self,
        elements: Iterable[object] | Stream | Members,
        *,
        limits: Limits = UNLIMITED,
        rejects: Any = None,
        saved_run: SavedRun | None = None,
        changes: Changes | None = None,
        requests: Requests = BULK,
        wrap: Callable[[Client], Client] = lambda client: client,
        **options: Any,
    ) -> DeliveryReport:
        workspace = Workspace("EMULATOR", "emulator-data-key", base_url=self.emulator.url, timeout=10.0)
        client = MoEngageClient(workspace, now=self.clock.time)
        context = RunContext.create(
            DeliveryOptions(**{"concurrency": self.lanes, **options}),
            limits,
            self.log,
            self.clock,
            requests=requests,
        )
        source = elements if isinstance(elements, Stream | Members) else Stream(elements)
        tracker = None if changes is None else opened(changes, source, context)
        kept = rejects if isinstance(rejects, Rejects) else Rejects(rejects)
        delivery = Delivery(context, source, wrap(client), kept, saved_run=tracker or saved_run)
        try:
            return delivery.run()
        finally:
            client.close()

    @property
    def arrived(self) -> list[dict[str, Any]]:
        """The accepted elements, in the order of their arrival."""
        return [received.element for received in self.emulator.workspace.elements]

    @property
    def accepted_sizes(self) -> list[int]:
        """Sizes of the accepted bodies, in bytes."""
        return [request.size for request in self.emulator.workspace.requests if request.accepted]


def opened(changes: Changes, source: Stream | Members, context: RunContext) -> ChangeTracker:
    """Open the state of a sync for one try."""
    state = state_for(
        changes,
        context.clock,
        context.log,
        is_dry_run=context.options.dry_run,
        at_most_once=context.is_at_most_once,
    )
    state.open(context.stop)
    return ChangeTracker(
        source,
        context.counters,
        context.log,
        state,
        context.options,
        may_repeat=changes.may_repeat,
    )


def connection_to(moengage: MoEngage, **changes: Any) -> str:
    """Return the emulator as an Airflow connection, as JSON for AIRFLOW_CONN_..."""
    fields = {"conn_type": "moengage", "login": "EMULATOR", "password": "emulator-data-key"}
    extra = {
        "campaign_api_key": "emulator-campaign-key",
        "users_per_minute": 10**9,
        "events_per_minute": 10**9,
        **changes.pop("extra", {}),
    }
    return json.dumps({**fields, "host": moengage.emulator.url, "extra": extra, **changes})


_DEFAULTS = {name: getattr(Settings(), name) for name in Settings.__struct_fields__}


def customer(user: str, **attributes: Any) -> dict[str, Any]:
    return {"type": "customer", "customer_id": user, "attributes": attributes}


def event(
    user: str, name: str = "Purchase", *, time: Any = "2026-01-01T00:00:00Z", **attributes: Any
) -> dict[str, Any]:
    action = {"action": name, "current_time": time, "attributes": attributes}
    return {"type": "event", "customer_id": user, "actions": [action]}
