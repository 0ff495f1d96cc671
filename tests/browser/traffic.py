"""Sample traffic for the emulator's page: two busy minutes, the same every time, sent over HTTP."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import requests

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator import Emulator
    from tests.emulator.fake_clock import FakeClock

START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
EVENT_WEIGHTS = {"Product viewed": 60, "Added to cart": 24, "Order placed": 11, "Cart abandoned": 5}
DATA = ("EMULATOR", "emulator-data-key")
CAMPAIGNS = ("EMULATOR", "emulator-campaign-key")


class Sender:
    """A plain HTTP client of the emulator: no retries, no checks."""

    def __init__(self, emulator: Emulator) -> None:
        self.url = emulator.url
        self.session = requests.Session()
        self.session.trust_env = False

    def post(self, path: str, payload: Any, auth: tuple[str, str] = DATA) -> int | None:
        """Return the status, or ``None`` if the connection was cut."""
        headers = {"Content-Type": "application/json", "MOE-APPKEY": "EMULATOR"}
        try:
            return self.session.post(
                self.url + path, data=msgspec.json.encode(payload), headers=headers, auth=auth, timeout=10
            ).status_code
        except requests.ConnectionError:
            return None

    def bulk(self, *elements: Any) -> int | None:
        return self.post("/v1/transition/EMULATOR", {"type": "transition", "elements": elements})

    def business_event(self, name: str, version: str = "v1", **attributes: Any) -> int | None:
        if version == "v1":
            body = {"event_name": name, "event_attributes": attributes}
            return self.post("/v1.0/business_event/trigger", body, CAMPAIGNS)
        body = {"event_name": name, "event_attributes": attributes, "triggered_by": "ops@example.com"}
        return self.post("/v5/business-events/triggers", body, CAMPAIGNS)

    def trigger(self, import_id: str) -> int | None:
        return self.post(f"/v1.0/data/fileimports/trigger/{import_id}", None)

    def control(self, path: str, payload: Any) -> None:
        self.session.post(f"{self.url}/_emulator/{path}", json=payload, timeout=10).raise_for_status()


def customer(customer_id: str, **attributes: Any) -> dict[str, Any]:
    return {"type": "customer", "customer_id": customer_id, "attributes": attributes}


def event(customer_id: str, name: str, current_time: str | None = None, **attributes: Any) -> dict[str, Any]:
    action: dict[str, Any] = {"action": name, "attributes": attributes}
    if current_time is not None:
        action["current_time"] = current_time
    return {"type": "event", "customer_id": customer_id, "actions": [action]}


def send_sample_traffic(sender: Sender, clock: FakeClock) -> None:
    """Send two minutes of traffic and move the clock along."""
    rng = random.Random(7)
    sender.control("business_events", {"name": "Flight late", "campaigns": ["c1", "c2"], "attributes": None})
    sender.control("business_events", {"name": "Price drop", "campaigns": ["c3"], "flows": ["f1"]})
    sender.control("file_imports", _import("nightly_users", "USERS", "users_{date}.csv"))
    sender.control("file_imports", _import("orders", "EVENTS", "orders_{date}.csv", partial=True))
    sender.trigger("nightly_users")
    for second in range(112):
        clock.now = START.timestamp() + second + 0.5
        _send_special_requests(second, sender)
        if second % 3 == 0:
            people = range(second * 200, second * 200 + 500 + second * 4)
            sender.bulk(*(customer(f"user-{n:06}", tier="gold", city="Graz", orders=n % 40) for n in people))
        if second not in (40, 41, 42):
            for _ in range(5 if 68 <= second < 92 else 1):
                sender.bulk(*_events(rng, rng.randint(440, 600)))
    sender.bulk(event("user-000001", "Order placed"), event("user-000002", "Order placed", "last Tuesday"))
    sender.bulk(customer("guest"), customer("guest"), customer("null"))


def _send_special_requests(second: int, sender: Sender) -> None:
    match second:
        case 15 | 16:
            sender.bulk({"type": "customer", "attributes": {}})
        case 30:
            sender.control("faults", {"kind": "status", "status": 503, "times": 3})
        case 55:
            sender.control("faults", {"kind": "cut_after"})
        case 60:
            sender.business_event("Flight late", flight="OS 123")
            sender.business_event("Price drop", "v5")
            sender.business_event("No such event")
        case 90:
            sender.trigger("orders")
            sender.trigger("orders")
            sender.business_event("Flight late", flight="OS 456")


def _events(rng: random.Random, count: int) -> list[dict[str, Any]]:
    events = []
    for name in rng.choices(list(EVENT_WEIGHTS), list(EVENT_WEIGHTS.values()), k=count):
        days_ago = min(int(rng.expovariate(0.12)), 29)
        day = START - timedelta(days=days_ago)
        if day.weekday() >= 5 and rng.random() < 0.4 + 0.1 * math.sin(days_ago):
            day -= timedelta(days=2)
        current_time = day.replace(hour=rng.randrange(9), minute=rng.randrange(60)).isoformat()
        events.append(event(f"user-{rng.randrange(12000):06}", name, current_time, price=rng.randrange(90) + 0.9))
    return events


def _import(name: str, kind: str, file_name: str, *, partial: bool = False) -> dict[str, Any]:
    file: dict[str, Any] = {"file_name": file_name, "total_rows": 48210, "updated_rows": 1207}
    if partial:
        file["steps"] = [[0, "QUEUED"], [2, "PROCESSING"], [9, "PARTIAL_SUCCESS"]]
        file |= {"failed_rows": 12, "status_msg": "12 rows without an id"}
    files = [
        file,
        {"file_name": "late_" + file_name, "total_rows": 900, "steps": [[1, "QUEUED"], [15, "PROCESSING"]]},
    ]
    return {"import_id": name, "import_name": name, "import_type": kind, "files": files if partial else [file]}
