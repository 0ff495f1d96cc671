"""A server that quotes every key and payload it gets, in every field and header: none of it is shown anywhere."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import pickle
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.bulk.clock import SystemClock
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.notifications.business_event import MoEngageBusinessEventNotifier
from airflow_provider_moengage.operators.business_event import BusinessEventOperator
from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from airflow_provider_moengage.polling.selection import Selection
from airflow_provider_moengage.sensors.file_import import FileImportRunSensor
from airflow_provider_moengage.triggers import pollers
from airflow_provider_moengage.triggers.file_import import FileImportRunTrigger
from devtools.fake_clock import FakeClock
from tests.api.received.echoes import ENCODINGS, KEY_ENCODINGS, leaks
from tests.task import Task

DATA_KEY, CAMPAIGN_KEY = "DK-9f8e7d6c5b4a_3210/+xYz", "campaign-Key=ABCD:1234&<5678>"
KEYS = (DATA_KEY, CAMPAIGN_KEY)
VALUES = ("customer-4711-x-2b", "jane.doe.private@example.com", "Zoë O'Neil von Söhnen / 12 Lane")
STATUSES = (200, 400, 401, 403, 404, 409, 413, 415, 429, 500, 502)
EVENT: dict[str, Any] = {"event_attributes": {"who": VALUES[0], "mail": VALUES[1], "name": VALUES[2]}}


def shapes(echo: str) -> dict[str, bytes]:
    """Return bodies of every documented shape, and of some others, with the echo in every field."""
    detail = {"code": echo, "target": [echo], "message": {"text": echo}}
    other = {"field": echo, "issue": echo, "message": [echo]}
    ids = {
        f"{did}_{kind}_ids": [echo, {"x": echo}]
        for did in ("triggered", "failed")
        for kind in ("campaign", "flow")
    }
    row = dict.fromkeys(
        ("id", "file_name", "status_msg", "type", "scheduled_at", "completed_at", "file_size", "total_rows"), echo
    )
    details = dict.fromkeys(
        ("import_id", "import_name", "last_run_status", "import_type", "time_zone", "status"), echo
    )
    attribute = {"name": echo, "type": echo}
    contents: dict[str, Any] = {
        "error": {"status": "fail", "error": dict.fromkeys(("attribute", "message", "type", "request_id"), echo)},
        "data": {"status": "error", "data": {"code": 429, "title": echo, "description": echo}, "request_id": echo},
        "title": {"title": echo, "description": echo, "error_description": echo, "code": echo},
        "v1 error": {"error": {**detail, "details": [detail, other], "request_id": echo}, "response_id": echo},
        "error type": {"status": "fail", "error_type": echo, "message": echo, "data": echo},
        "success": {
            "status": "success",
            "message": f"The business event has been triggered {echo}",
            **dict.fromkeys(("app_name", "request_id", "response_id"), echo),
            "data": {"triggered_status": "PARTIAL_SUCCESS", "message": echo, **ids},
        },
        "page": {
            "status": "success",
            "data": [{**row, **details, "file_status": status} for status in ("FAILED", echo)],
            "more_files": False,
        },
        "list": {"data": [{"name": "Synced", "attributes": [attribute], "id": echo}], "next_cursor": echo},
        "names": {echo: {echo: echo}, "error": {echo: echo}, "message": {echo: [echo]}},
        "text": echo,
    }
    bodies = {name: json.dumps(content).encode() for name, content in contents.items()}
    return {**bodies, "HTML": f"<html>{echo}</html>".encode(), "broken": f'{{"message": "{echo}'.encode()}


SHAPES = tuple(shapes(""))


@dataclass
class Echo:
    """The server, and what it answers next."""

    url: str = ""
    status: int = 200
    shape: str = "error"
    key: str = ""
    value: str = ""
    requests: int = 0
    left: int = 0
    """Requests until it answers with a success, so that what is sent again ends."""

    def answer(self, path: str) -> tuple[int, bytes, str]:
        self.requests += 1
        self.left -= 1
        if self.left < 0:
            return 200, b'{"status":"success"}', ""
        has_payload = "transition" in path or "trigger" in path.replace("fileimports/trigger", "")
        echo = f"{self.key} ({self.value})" if has_payload else self.key
        return self.status, shapes(echo)[self.shape], echo


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    server = Echo()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body, quoted = server.answer(self.path)
            self.send_response(status, "".join(char for char in quoted[:80] if char.isalnum() and char.isascii()))
            header = "".join(char if " " <= char <= "~" else " " for char in quoted)[:400]
            for name in ("X-Request-Id", "X-MOE-Request-Id", "Retry-After", "X-RateLimit-Reset", "Location"):
                self.send_header(name, header)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        http.shutdown()
        thread.join()


@dataclass
class Shown(logging.Handler):
    """Everything that somebody could read: records of a log, results, and exceptions with all that they carry."""

    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    __hash__ = logging.Handler.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("urllib3") or record.name == "asyncio":
            return
        self.texts += [record.getMessage(), repr(record.args)]
        if record.exc_info and record.exc_info[1] is not None:
            self.error(record.exc_info[1])

    def result(self, result: object) -> None:
        self.texts.append(repr(result))

    def error(self, error: BaseException) -> None:
        self.texts += traceback.format_exception(error)
        seen: set[int] = set()
        errors: list[BaseException | None] = [error]
        while errors:
            one = errors.pop()
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            self.texts += [str(one), repr(one), repr(one.args), repr(vars(one))]
            errors += [one.__cause__, one.__context__]
        self.texts.append(pickle.dumps(error).decode("latin-1"))


@pytest.fixture
def shown(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
    connection = {
        "conn_type": "moengage",
        "login": "WORKSPACE",
        "password": DATA_KEY,
        "host": echo.url,
        "extra": {"campaign_api_key": CAMPAIGN_KEY},
    }
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__MOENGAGE__FILE_IMPORT_REQUESTS_PER_MINUTE", "60000")
    monkeypatch.setattr(pollers, "_BUDGETS", {})
    monkeypatch.setattr(SystemClock, "wait", lambda _, stopped, seconds: stopped.is_set())  # noqa: ARG005
    here = threading.get_ident()
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda s: None if threading.get_ident() == here else sleep(s))
    handler = Shown()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


def each(
    echo: Echo, shown: Shown, call: Callable[[], object], *, turns: int = 1, statuses: tuple[int, ...] = STATUSES
) -> int:
    """Make a call for each cell, and check that it shows nothing. Return how many requests there were."""
    before = echo.requests
    for turn in range(turns):
        for cell, (status, shape) in enumerate(itertools.product(statuses, SHAPES)):
            number = cell + turn * 7
            encoding = list(KEY_ENCODINGS)[number % len(KEY_ENCODINGS)]
            other = list(ENCODINGS)[number % len(ENCODINGS)]
            echo.status, echo.shape, echo.left = status, shape, 4
            key, value = KEYS[number % 2], VALUES[number % 3]
            echo.key, echo.value = KEY_ENCODINGS[encoding](key), ENCODINGS[other](value)
            shown.texts.clear()
            try:
                shown.result(call())
            except BaseException as error:  # noqa: BLE001 (also a deferral)
                shown.error(error)
            text = "\n".join(dict.fromkeys(shown.texts))
            for secret in (key, value):
                assert leaks(text, secret) == [], (status, shape, encoding, other, text)
    return echo.requests - before


EVENTS: dict[str, dict[str, Any]] = {
    "v1": {"api_version": "v1"},
    "v5": {"api_version": "v5", "triggered_by": "ann@example.com"},
}

HOOK: dict[str, Callable[[MoEngageHook], object]] = {
    "connection test": lambda hook: hook.test_connection(),
    "v1": lambda hook: hook.trigger_business_event("Synced", **EVENT, **EVENTS["v1"]),
    "v5": lambda hook: hook.trigger_business_event("Synced", **EVENT, **EVENTS["v5"]),
    "event list": lambda hook: hook.check_business_event("Synced", {"who": "x"}),
    "users": lambda hook: list(hook.iter_users(["somebody"])),
    "deletion": lambda hook: hook.delete_user("somebody"),
    "file import": lambda hook: hook.trigger_file_import("users"),
    "run history": lambda hook: [run.to_dict() for run in hook.iter_file_runs("users")],
    "import details": lambda hook: list(hook.iter_imports()),
    "import by name": lambda hook: hook.find_import("Users"),
}


@pytest.mark.parametrize("endpoint", HOOK)
def test_the_hook_shows_nothing_of_an_echo(echo: Echo, shown: Shown, endpoint: str) -> None:
    call = HOOK[endpoint]

    assert each(echo, shown, lambda: call(MoEngageHook()), turns=2) >= 2 * len(STATUSES) * len(SHAPES)


def test_a_bulk_import_shows_no_key_and_only_its_rejects_may_quote_a_value(
    echo: Echo, shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_moengage.bulk.run.context.SystemClock", FakeClock)
    element = {"type": "customer", "customer_id": VALUES[0], "attributes": {"u_em": VALUES[1], "u_n": VALUES[2]}}
    rejected: list[str] = []

    def call() -> object:
        path = tmp_path / "rejects.ndjson"
        path.unlink(missing_ok=True)
        try:
            return MoEngageHook().bulk_import([element], concurrency=1, max_rejects=1, rejects_path=str(path))
        finally:
            if path.exists():
                lines = path.read_text()
                rejected.append(lines)
                assert [leaks(lines, key) for key in KEYS] == [[], []], (echo.status, echo.shape, echo.key)

    statuses = (200, 400, 401, 413, 500)
    assert each(echo, shown, call, statuses=statuses) >= len(statuses) * len(SHAPES)
    assert rejected


@pytest.mark.parametrize("version", EVENTS)
def test_the_business_event_operator_and_the_notifier_show_nothing(echo: Echo, shown: Shown, version: str) -> None:
    def operator() -> object:
        task = Task()
        try:
            return BusinessEventOperator(task_id="t", event_name="Synced", **EVENT, **EVENTS[version]).execute(
                task.context
            )
        finally:
            shown.result((task.xcom, task.store))

    def notifier() -> None:
        MoEngageBusinessEventNotifier(event_name="Synced", **EVENT, **EVENTS[version]).notify({})

    assert each(echo, shown, operator) >= len(STATUSES) * len(SHAPES)
    assert each(echo, shown, notifier) >= len(STATUSES) * len(SHAPES)


def test_the_file_import_operator_and_the_sensor_show_nothing(echo: Echo, shown: Shown) -> None:
    def operator() -> object:
        task = Task()
        try:
            call = TriggerFileImportOperator(task_id="t", import_id="users", deferrable=True)
            return call.execute(task.context)
        finally:
            shown.result((task.xcom, task.store))

    def sensor() -> object:
        waiting = FileImportRunSensor(task_id="s", import_id="users", file_name="*", max_failed_rows=0)
        return waiting.poke(Task().context)

    assert each(echo, shown, operator) >= len(STATUSES) * len(SHAPES)
    assert each(echo, shown, sensor) >= len(STATUSES) * len(SHAPES)


def test_the_event_of_a_trigger_shows_nothing(echo: Echo, shown: Shown) -> None:
    statuses = (200, 401, 404)

    async def events() -> list[Any]:
        trigger = FileImportRunTrigger(
            moengage_conn_id="moengage_default",
            what=["import_id", "users"],
            selection=Selection().to_dict(),
            poke_interval=0.02,
            timeout_at=time.time() + 0.3,
        )
        return [event.payload async for event in trigger.run()]

    assert each(echo, shown, lambda: asyncio.run(events()), statuses=statuses) >= 3 * len(SHAPES)
