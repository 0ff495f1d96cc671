from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_moengage.emulator import Emulator, cli

ROOT = Path(__file__).parents[2]

StartCommand = Callable[..., tuple[subprocess.Popen[str], list[str]]]


def printed_connection(greeting: list[str]) -> Any:
    """Return the Airflow connection that the command printed."""
    match = re.search(r"AIRFLOW_CONN_MOENGAGE_DEFAULT='(.*)'", greeting[1])
    assert match
    return json.loads(match[1])


@pytest.fixture
def start_command() -> Iterator[StartCommand]:
    """Starts the command and returns its process and first lines; kills it at the end of the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> tuple[subprocess.Popen[str], list[str]]:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow_provider_moengage.emulator", "--port", "0", *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout
        return process, list(islice(process.stdout, 4))

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_how_to_connect_and_stops_quietly(
    start_command: StartCommand, number: signal.Signals
) -> None:
    process, greeting = start_command("--users-per-minute", "500", "--events-per-minute", "0")

    connection = printed_connection(greeting)
    url = connection["host"]
    assert url in greeting[0]
    assert connection == {
        "conn_type": "moengage",
        "login": "EMULATOR",
        "password": "emulator-data-key",
        "host": url,
        "extra": {"campaign_api_key": "emulator-campaign-key"},
    }
    assert greeting[2] == "Rate limits: 500 users a minute, any number of events.\n"
    assert greeting[3] == f"Open {url}/ in a browser to see what arrives.\n"
    secret = {"type": "customer", "customer_id": "somebody", "attributes": {}}
    answer = requests.post(
        f"{url}/v1/transition/EMULATOR",
        json={"type": "transition", "elements": [secret]},
        auth=(connection["login"], connection["password"]),
        timeout=5,
    )
    assert (answer.status_code, answer.headers["x-ratelimit-limit"]) == (200, "500")

    process.send_signal(number)
    assert process.communicate(timeout=5) == ("", "")
    assert process.returncode == 0


def test_the_command_defines_business_events_and_prints_their_key(start_command: StartCommand) -> None:
    _, greeting = start_command("--business-event", "Sale", "--business-event", "Flight late")

    connection = printed_connection(greeting)
    for name in ("Sale", "Flight late"):
        answer = requests.post(
            f"{connection['host']}/v1.0/business_event/trigger",
            json={"event_name": name, "event_attributes": {"anything": [1, 2]}},
            auth=(connection["login"], connection["extra"]["campaign_api_key"]),
            timeout=5,
        )
        assert answer.status_code == 200
    firings = requests.get(f"{connection['host']}/_emulator/firings", timeout=5).json()["firings"]
    assert [len(firing["campaign_ids"]) for firing in firings] == [1, 1]
    assert firings[0]["campaign_ids"] != firings[1]["campaign_ids"]


def test_a_port_in_use_is_reported_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with Emulator() as emulator:
        port = emulator.url.rpartition(":")[2]
        assert cli.main(["--port", port]) == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in capsys.readouterr().err


def test_a_missing_extra_is_reported_with_the_command_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "airflow_provider_moengage.emulator.server")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert cli.main([]) == 1
    assert "pip install 'airflow-provider-moengage[emulator]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--users-per-minute", "-1"],
        ["--speed", "0"],
        ["--speed", "fast"],
        ["--reset-header", "x"],
    ],
)
def test_an_error_names_the_invalid_argument(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(arguments)
    assert arguments[0] in capsys.readouterr().err


def test_the_command_sets_up_scripted_imports_and_imports_with_a_folder(
    start_command: StartCommand, tmp_path: Path
) -> None:
    rows = "".join(f"u{number}\n" for number in range(7))
    (tmp_path / "users_20240101.csv").write_text(f"customer_id\n{rows}")
    _, greeting = start_command(
        "--file-import", "scripted", "--file-import", f"real={tmp_path}", "--speed", "1000000"
    )

    connection = printed_connection(greeting)
    base = f"{connection['host']}/v1.0/data/fileimports"

    def call(path: str, body: Any = None) -> requests.Response:
        return requests.post(
            f"{base}/{path}",
            json=body,
            auth=(connection["login"], connection["password"]),
            headers={"MOE-APPKEY": connection["login"]},
            timeout=5,
        )

    def triggered_file(import_id: str) -> Any:
        assert call(f"trigger/{import_id}").status_code == 200
        return call("import/run/history", {"import_id": import_id}).json()["data"][0]

    assert re.fullmatch(r"registered_user_data_\d{8}_\d{4}\.csv", triggered_file("scripted")["file_name"])
    assert triggered_file("real")["file_name"] == "users_20240101.csv"
    assert requests.get(f"{connection['host']}/_emulator/summary", timeout=5).json()["file_triggers"] == 2


def test_the_command_sets_the_zone_of_file_imports(start_command: StartCommand) -> None:
    _, greeting = start_command("--time-zone", "America/Los_Angeles")
    url = printed_connection(greeting)["host"]

    assert requests.get(f"{url}/_emulator/settings", timeout=5).json()["file_time_zone"] == "America/Los_Angeles"


def test_the_command_sets_how_failures_and_events_in_the_future_are_answered(start_command: StartCommand) -> None:
    _, greeting = start_command("--failures-as-400", "--future-events", "refuse")
    settings = requests.get(f"{printed_connection(greeting)['host']}/_emulator/settings", timeout=5).json()

    assert (settings["failures_as_400"], settings["future_events"]) == (True, "refuse")


def test_failures_have_one_wrapper(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--failures-as-400", "--failures-as-200"])
    assert "expected at most one of them" in capsys.readouterr().err


def test_a_zone_that_does_not_exist_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--time-zone", "Mars/Base"])
    assert "expected the IANA name of a time zone" in capsys.readouterr().err


def test_an_invalid_folder_name_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--file-import", "i1=/some/bad folder"])
    assert "MoEngage does not accept spaces in a folder's name" in capsys.readouterr().err
