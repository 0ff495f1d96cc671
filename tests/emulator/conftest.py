from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import requests

from airflow_provider_moengage.emulator import Emulator, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_moengage.emulator import Workspace

WORKSPACE_ID = "EMULATOR"
DATA_KEY = "emulator-data-key"
CAMPAIGN_AUTH = (WORKSPACE_ID, "emulator-campaign-key")


class FakeClock:
    """A clock that stands until a test moves it."""

    start = 1_700_000_000.0

    def __init__(self) -> None:
        self.now = self.start

    def __call__(self) -> float:
        return self.now


class Door:
    """The emulator's HTTP door, as a client without any cleverness sees it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.auth = (WORKSPACE_ID, DATA_KEY)

    def bulk(
        self, *elements: Any, path: str = f"/v1/transition/{WORKSPACE_ID}", **options: Any
    ) -> requests.Response:
        return self.raw(msgspec.json.encode({"type": "transition", "elements": elements}), path=path, **options)

    def raw(
        self,
        body: bytes,
        *,
        path: str = f"/v1/transition/{WORKSPACE_ID}",
        headers: dict[str, str] | None = None,
        timeout: float = 5,
        **options: Any,
    ) -> requests.Response:
        sent = {"Content-Type": "application/json", **(headers or {})}
        return self.session.post(self.url + path, data=body, headers=sent, timeout=timeout, **options)

    def trigger_v1(self, name: str = "Sale", attributes: Any = None, **sent: Any) -> requests.Response:
        body = {"event_name": name, "event_attributes": attributes or {}}
        return self._post("/v1.0/business_event/trigger", body, **sent)

    def trigger_v5(self, name: str = "Sale", attributes: Any = None, **sent: Any) -> requests.Response:
        body = {"event_name": name, "event_attributes": attributes or {}, "triggered_by": "ops@example.com"}
        return self._post("/v5/business-events/triggers", body, **sent)

    def list_events(self, **query: Any) -> requests.Response:
        return self.session.get(f"{self.url}/v5/business-events", params=query, auth=CAMPAIGN_AUTH, timeout=5)

    def search_events(self, payload: Any) -> requests.Response:
        return self._post("/v5/business-events/search", payload)

    def trigger_import(self, import_id: str = "i1", **sent: Any) -> requests.Response:
        return self._file_imports(f"trigger/{import_id}", b"", **sent)

    def history(self, import_id: str | None = "i1", **fields: Any) -> requests.Response:
        named = {} if import_id is None else {"import_id": import_id}
        return self._file_imports("import/run/history", msgspec.json.encode({**named, **fields}))

    def details(self, **fields: Any) -> requests.Response:
        return self._file_imports("import/status", msgspec.json.encode(fields))

    def _file_imports(self, path: str, body: bytes, **sent: Any) -> requests.Response:
        headers = {"MOE-APPKEY": WORKSPACE_ID, **sent.pop("headers", {})}
        return self.raw(body, path=f"/v1.0/data/fileimports/{path}", headers=headers, **sent)

    def _post(
        self,
        path: str,
        body: Any,
        *,
        auth: Any = CAMPAIGN_AUTH,
        headers: dict[str, str] | None = None,
        timeout: float = 5,
        **fields: Any,
    ) -> requests.Response:
        payload = msgspec.json.encode({**body, **fields} if fields else body)
        return self.raw(payload, path=path, headers=headers, auth=auth, timeout=timeout)

    def control(self, method: str, path: str, payload: Any = None) -> requests.Response:
        return requests.request(method, f"{self.url}/_emulator/{path}", json=payload, timeout=5)


@pytest.fixture(scope="session")
def clock_of_the_session() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def emulator_of_the_session(clock_of_the_session: FakeClock) -> Iterator[Emulator]:
    with Emulator(clock=clock_of_the_session) as emulator:
        yield emulator


@pytest.fixture
def clock(clock_of_the_session: FakeClock) -> FakeClock:
    clock_of_the_session.now = FakeClock.start
    return clock_of_the_session


@pytest.fixture
def workspace(emulator_of_the_session: Emulator, clock: FakeClock) -> Workspace:
    workspace = emulator_of_the_session.workspace
    workspace.reset()
    workspace.clear_business_events()
    workspace.clear_file_imports()
    workspace.configure(**msgspec.structs.asdict(Settings()))
    return workspace


@pytest.fixture
def door(emulator_of_the_session: Emulator, workspace: Workspace) -> Iterator[Door]:
    door = Door(emulator_of_the_session.url)
    with door.session:
        yield door
