from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_moengage.emulator import Credentials, Emulator, Fault, Settings

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client

ROOT = Path(__file__).parents[2]
BODY = {"type": "transition", "elements": [{"type": "customer", "customer_id": "a", "attributes": {}}]}


def post(
    emulator: Emulator, workspace_id: str = "EMULATOR", key: str = "emulator-data-key", **options: Any
) -> requests.Response:
    url = f"{emulator.url}/v1/transition/{workspace_id}"
    return requests.post(url, json=BODY, auth=(workspace_id, key), timeout=5, **options)


def test_the_server_uses_a_free_port_and_leaves_no_thread_or_listener() -> None:
    before = threading.active_count()
    with Emulator() as emulator:
        assert emulator.url.startswith("http://127.0.0.1:")
        assert post(emulator).status_code == 200

    assert threading.active_count() == before
    with pytest.raises(requests.ConnectionError):
        post(emulator)


def test_the_server_stops_within_a_second_while_a_request_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, failed = threading.Event(), threading.Event()

    def post_until_cut() -> None:
        with pytest.raises(requests.ConnectionError):
            post(emulator)
        failed.set()

    with Emulator() as emulator:
        workspace = emulator.workspace
        workspace.add_fault(Fault("slow", seconds=60))
        next_fault = workspace.next_fault

        def next_fault_and_signal(path: str) -> Fault | None:
            fault = next_fault(path)
            hanging.set()
            return fault

        monkeypatch.setattr(workspace, "next_fault", next_fault_and_signal)
        poster = threading.Thread(target=post_until_cut)
        poster.start()
        assert hanging.wait(5)
        began = time.monotonic()
    assert time.monotonic() - began < 1
    poster.join(5)
    assert failed.is_set()


def test_the_server_can_restart_on_the_same_port() -> None:
    emulator = Emulator()
    with emulator:
        url = emulator.url
        post(emulator)
    with emulator:
        assert emulator.url == url
        assert post(emulator).status_code == 200
    assert emulator.workspace.counts.customers == 2


def test_the_server_cannot_be_started_twice() -> None:
    with Emulator() as emulator, pytest.raises(RuntimeError, match="running"):
        emulator.start()


def test_the_server_has_no_url_before_it_starts() -> None:
    with pytest.raises(RuntimeError, match="only after the start"):
        _ = Emulator().url


def test_a_port_in_use_is_an_error() -> None:
    with Emulator() as emulator:
        port = int(emulator.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            Emulator(port=port).start()


def test_workspaces_are_independent() -> None:
    with Emulator(Settings(users_per_minute=1)) as emulator:
        other = emulator.add_workspace(Credentials("OTHER", "other-key"), Settings(keep_elements=0))
        post(emulator)
        assert post(emulator, "OTHER", "other-key").status_code == 200
        assert post(emulator, "OTHER", "emulator-data-key").status_code == 401
        assert post(emulator).status_code == 429
        summary = requests.get(f"{emulator.url}/_emulator/summary?workspace=OTHER", timeout=5).json()

    assert (emulator.workspace.counts.customers, emulator.workspace.counts.requests) == (1, 2)
    assert (other.counts.customers, other.counts.requests, len(other.elements)) == (1, 2, 0)
    assert (summary["workspace_id"], summary["customers"]) == ("OTHER", 1)


def test_workspace_ids_are_unique() -> None:
    with pytest.raises(ValueError, match="EMULATOR"):
        Emulator().add_workspace(Credentials())


def test_the_repr_contains_no_keys() -> None:
    assert "key" not in repr(Credentials("W", "data-key", "campaign-key"))


def test_importing_the_package_imports_no_server() -> None:
    code = (
        "import sys, airflow_provider_moengage.emulator;"
        "print(sorted({'uvicorn', 'starlette', 'msgspec'} & set(sys.modules)))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    import airflow_provider_moengage.emulator as package

    with pytest.raises(AttributeError, match="Nothing"):
        _ = package.Nothing


def test_a_client_that_disconnects_while_sending_is_not_counted(
    client: Client, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = client.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /v1/transition/EMULATOR HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nnot a hundred"
        )
    assert client.bulk(*BODY["elements"]).status_code == 200
    assert workspace.counts.requests == 1
    assert not caplog.records
