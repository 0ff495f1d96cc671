"""The HTTP client of the emulator's tests."""

from __future__ import annotations

from typing import Any

import msgspec
import requests

WORKSPACE_ID = "EMULATOR"
DATA_KEY = "emulator-data-key"
CAMPAIGN_AUTH = (WORKSPACE_ID, "emulator-campaign-key")


class Client:
    """A plain HTTP client of the emulator: no retries, no checks."""

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
        return self.post("/v1.0/business_event/trigger", body, **sent)

    def trigger_v5(self, name: str = "Sale", attributes: Any = None, **sent: Any) -> requests.Response:
        body = {"event_name": name, "event_attributes": attributes or {}, "triggered_by": "ops@example.com"}
        return self.post("/v5/business-events/triggers", body, **sent)

    def list_events(self, **query: Any) -> requests.Response:
        return self.session.get(f"{self.url}/v5/business-events", params=query, auth=CAMPAIGN_AUTH, timeout=5)

    def search_events(self, payload: Any) -> requests.Response:
        return self.post("/v5/business-events/search", payload)

    def trigger_import(self, import_id: str = "i1", **sent: Any) -> requests.Response:
        return self.file_imports(f"trigger/{import_id}", b"", **sent)

    def history(self, import_id: str | None = "i1", **fields: Any) -> requests.Response:
        named = {} if import_id is None else {"import_id": import_id}
        return self.file_imports("import/run/history", msgspec.json.encode({**named, **fields}))

    def details(self, **fields: Any) -> requests.Response:
        return self.file_imports("import/status", msgspec.json.encode(fields))

    def file_imports(self, path: str, body: bytes, **sent: Any) -> requests.Response:
        headers = {"MOE-APPKEY": WORKSPACE_ID, **sent.pop("headers", {})}
        return self.raw(body, path=f"/v1.0/data/fileimports/{path}", headers=headers, **sent)

    def post(
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
