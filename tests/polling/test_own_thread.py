"""Servers that drip take no thread from other workspaces, nor from other providers of the triggerer."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from airflow_provider_moengage.api.file_imports import ImportRef
from airflow_provider_moengage.api.file_imports_client import FileImportsClient
from airflow_provider_moengage.api.workspace import Workspace
from airflow_provider_moengage.polling.poller import THREAD, Budgets, Finding, Poller, WaitSpec
from airflow_provider_moengage.polling.rate_budget import Budget
from tests.api.loopback import answer, loopback

LOG = logging.getLogger(__name__)
SPEC = WaitSpec(ImportRef("import_id", "i"), interval=0.05, failed_polls=None)
HISTORY = (
    b'{"status":"success","total_count":1,"more_files":false,"offset":1,"data":[{"id":"f1","file_name":"u.csv",'
    b'"file_status":"SUCCESSFUL","scheduled_at":"2026-01-01T00:00:00"}]}'
)
DRIPPING = 12


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.05)


def poller(url: str, timeout: float) -> Poller:
    client = FileImportsClient(Workspace("WS", "key", "01", url, timeout))
    budgets = Budgets(Budget(6_000, time.monotonic), Budget(6_000, time.monotonic))
    return Poller(client, budgets, log=LOG)


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith(THREAD)]


def test_dripping_servers_hold_up_neither_a_healthy_workspace_nor_another_provider() -> None:
    async def scenario() -> tuple[Finding, float, str, int]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(2))
        with ExitStack() as waiting:
            for server in dripping:
                waiting.enter_context(poller(server.url, 30.0).watch(SPEC, lambda _: Finding()))
            while not all(server.requests for server in dripping):
                await asyncio.sleep(0.01)
            begun = time.monotonic()
            healthy = waiting.enter_context(
                poller(well.url, 5.0).watch(SPEC, lambda runs: Finding([run.id for run in runs]))
            )
            found = await asyncio.wait_for(healthy.next(), 5)
            other = await asyncio.wait_for(asyncio.to_thread(lambda: threading.current_thread().name), 5)
            return found, time.monotonic() - begun, other, len(threads())

    with ExitStack() as servers:
        dripping = [servers.enter_context(loopback(drip)) for _ in range(DRIPPING)]
        well = servers.enter_context(loopback(answer(200, HISTORY)))
        found, took, other, most = asyncio.run(scenario())
        until = time.monotonic() + 5
        while threads() and time.monotonic() < until:
            time.sleep(0.01)

        assert (found.result, other.startswith(THREAD)) == (["f1"], False)
        assert took < 5
        assert most == DRIPPING + 1, "one thread for each workspace"
        assert threads() == [], "they end with their last waiter, whatever the server does"


def test_a_poll_of_a_server_that_drips_ends_with_its_timeout_and_the_wait_goes_on() -> None:
    async def scenario() -> list[str | None]:
        with poller(server.url, 0.2).watch(SPEC, lambda _: Finding()) as waiter:
            return [(await asyncio.wait_for(waiter.next(), 10)).note for _ in range(2)]

    with loopback(drip) as server:
        notes = asyncio.run(scenario())

    reason = f"{server.url} could not be reached: no response within the timeout"
    assert notes == [f"poll failed ({number} in a row): {reason}" for number in (1, 2)]
