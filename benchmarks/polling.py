"""How soon a thousand waiting triggers see that a file has ended, and what that costs in requests.

The triggers are the provider's own, on one event loop as in a triggerer; MoEngage is the emulator in a process of
its own, over HTTP, with its documented limit of 50 requests a minute. Time is accelerated on both sides; delays
are given in MoEngage's seconds, the hold-ups of the event loop in real ones. Beside them, in the same run, the
same waits with a poller each, as a hand-written trigger has one.

Airflow's own objects are put out of the garbage collector's sight before the measurement: a full collection of
them holds up any Python program that has imported Airflow for some 150 ms, whoever causes it.

`make bench-polling` runs it and prints the table; `make bench` has a short form of it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests

from benchmarks import table

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-of-the-benchmark-"))
os.environ["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] = "False"
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"

GROUP = "A thousand tasks wait for 50 file imports, every 60 s: median delay, refused (time accelerated)"
KEY = "emulator-data-key"
TICK = 0.005
"""Real seconds between two looks at whether the event loop is free."""


@dataclass
class Result:
    """What came of one run."""

    delays: list[float] = field(default_factory=list)
    """MoEngage's seconds from the end of a file until its waiter knew."""
    waiters: int = 0
    requests: int = 0
    refused: int = 0
    minutes: float = 0.0
    """MoEngage's, from the first to the last request."""
    held_up: float = 0.0
    """Real seconds that the event loop was not free, at worst."""


@dataclass
class Scene:
    """An emulator with imports that run."""

    url: str
    speed: float
    ends: dict[str, float]
    """Import to the real moment (monotonic) at which its file ends."""
    patience: float = 1_200.0
    """MoEngage's seconds after the last end in which those that poll by themselves go on."""

    def delay(self, import_id: str) -> float:
        """MoEngage's seconds since the file of an import has ended."""
        return (time.monotonic() - self.ends[import_id]) * self.speed


@contextmanager
def scene(imports: int, speed: float, seconds: tuple[float, float]) -> Iterator[Scene]:
    """Start an emulator, and in it imports whose files end at some time between ``seconds``, MoEngage's own."""
    command = [sys.executable, "-m", "airflow_provider_moengage.emulator", "--port", "0", "--speed", str(speed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        here = Scene(found[0], speed, {})
        chance = random.Random(7)
        for number in range(imports):
            import_id, after = f"import-{number}", chance.uniform(*seconds)
            steps = [[0, "QUEUED"], [after / 3, "PROCESSING"], [after, "SUCCESSFUL"]]
            files = [{"file_name": "users_{run}.csv", "steps": steps}]
            wire = {"import_id": import_id, "import_name": f"Import {number}", "files": files}
            _control("POST", here.url, "file_imports", wire)
            _control("POST", here.url, "file_imports/run", {"import_id": import_id})
            here.ends[import_id] = time.monotonic() + after / speed
        yield here
    finally:
        process.terminate()
        process.wait()


def rows() -> list[table.Row]:
    """Measure the short form: files end sooner, and those that poll by themselves are given up sooner."""
    _prepare()
    ours, theirs = [
        _run(50, 60.0, wait, 1_000, 30.0, (60.0, 240.0), patience=600.0) for wait in (_shared, _independent)
    ]
    return [
        table.Row(
            GROUP,
            "files that end after 1 to 4 minutes",
            _told(ours),
            "a poller each",
            _told(theirs),
            target="all seen, no 429",
            is_met=len(ours.delays) == ours.waiters and not ours.refused,
        )
    ]


def _told(result: Result) -> str:
    delays = sorted(result.delays)
    seen = f"{_quantile(delays, 0.5):.0f} s" if delays else "none seen"
    if delays and len(delays) < result.waiters:
        seen += f" ({len(delays) / result.waiters:.0%} seen)"
    return f"{seen}, {f'{result.refused / max(result.requests, 1):.0%} are 429' if result.refused else 'no 429'}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiters", type=int, default=1_000)
    parser.add_argument("--speed", type=float, default=30.0)
    options = parser.parse_args()
    n = options.waiters
    _prepare()
    window = (120.0, 600.0)
    print(
        f"{n:,} waiting triggers of one workspace; 50 requests a minute each to run history and import details;"
        f" files end after 2 to 10 minutes; time runs {options.speed:g} times as fast"
    )
    print()
    print(_HEAD)
    scenes: list[tuple[str, int, float, Wait]] = [
        ("one poller, 50 imports", 50, 5.0, _shared),
        ("one poller, 200 imports", 200, 5.0, _shared),
        ("one poller, 1 import", 1, 5.0, _shared),
        ("one poller, 50 imports", 50, 60.0, _shared),
        ("one poller, 1 import", 1, 60.0, _shared),
        ("a poller each, 50 imports", 50, 60.0, _independent),
    ]
    for name, imports, interval, wait in scenes:
        result = _run(imports, interval, wait, n, options.speed, window)
        print(_row(name, interval, result), flush=True)


Wait = Callable[[Scene, int, float], Awaitable[Result]]


def _prepare() -> None:
    _import_airflow()
    gc.collect()
    gc.freeze()


def _run(
    imports: int,
    interval: float,
    wait: Wait,
    waiters: int,
    speed: float,
    window: tuple[float, float],
    patience: float = 1_200.0,
) -> Result:
    with scene(imports, speed, window) as here:
        here.patience = patience
        os.environ["AIRFLOW_CONN_MOENGAGE_DEFAULT"] = json.dumps(
            {"conn_type": "moengage", "login": "EMULATOR", "password": KEY, "host": here.url}
        )
        return asyncio.run(_measured(wait(here, waiters, interval), here))


async def _measured(wait: Awaitable[Result], here: Scene) -> Result:
    began = time.monotonic()
    ticking = asyncio.create_task(_tick())
    result = await wait
    ticking.cancel()
    result.held_up = await ticking
    result.minutes = (time.monotonic() - began) * here.speed / 60
    summary = _control("GET", here.url, "summary")
    result.requests, result.refused = summary["requests"], summary["throttled"]
    return result


async def _tick() -> float:
    worst = 0.0
    try:
        while True:
            began = time.monotonic()
            await asyncio.sleep(TICK)
            worst = max(worst, time.monotonic() - began - TICK)
    except asyncio.CancelledError:
        return worst


async def _shared(here: Scene, waiters: int, interval: float) -> Result:
    """Wait by the provider's triggers."""
    from airflow_provider_moengage.polling.poller import Clock
    from airflow_provider_moengage.polling.selection import Selection
    from airflow_provider_moengage.triggers import pollers
    from airflow_provider_moengage.triggers.file_import import FileImportRunTrigger

    class Accelerated(Clock):
        def time(self) -> float:
            return time.monotonic() * here.speed

        async def sleep(self, seconds: float, woken: asyncio.Event) -> None:
            await super().sleep(seconds / here.speed, woken)

    pollers.CLOCK = Accelerated()
    pollers._BUDGETS.clear()
    result = Result(waiters=waiters)

    async def one(import_id: str) -> None:
        trigger = FileImportRunTrigger(
            moengage_conn_id="moengage_default",
            what=["import_id", import_id],
            selection=Selection().to_dict(),
            poke_interval=interval,
        )
        async for event in trigger.run():
            assert event.payload["status"] == "finished", event.payload
            result.delays.append(here.delay(import_id))

    async with asyncio.TaskGroup() as tasks:
        for import_id in _spread(here, waiters):
            tasks.create_task(one(import_id))
            await asyncio.sleep(0)  # a triggerer starts its triggers one by one
    return result


async def _independent(here: Scene, waiters: int, interval: float) -> Result:
    """Wait by a poller each: ask, sleep, ask again. One that was refused asks again when its time has come."""
    from airflow_provider_moengage.api.errors import ApiError
    from airflow_provider_moengage.api.file_imports_client import FileImportsClient
    from airflow_provider_moengage.api.workspace import Workspace

    pool = ThreadPoolExecutor(8)
    workspace = Workspace("EMULATOR", KEY, base_url=here.url)
    clients: asyncio.Queue[FileImportsClient] = asyncio.Queue()
    for _ in range(8):
        clients.put_nowait(FileImportsClient(workspace))
    loop = asyncio.get_running_loop()
    result = Result(waiters=waiters)
    give_up_at = max(here.ends.values()) + here.patience / here.speed

    def ask(client: FileImportsClient, import_id: str) -> bool:
        try:
            runs = client.file_runs({"import_id": import_id}, page=1).rows
        except ApiError:
            return False
        return any(run.is_terminal for run in runs)

    async def one(import_id: str) -> None:
        await asyncio.sleep(random.uniform(0, interval) / here.speed)
        while time.monotonic() < give_up_at:
            client = await clients.get()
            is_over = await loop.run_in_executor(pool, ask, client, import_id)
            clients.put_nowait(client)
            if is_over:
                result.delays.append(here.delay(import_id))
                return
            await asyncio.sleep(interval / here.speed)

    async with asyncio.TaskGroup() as tasks:
        for import_id in _spread(here, waiters):
            tasks.create_task(one(import_id))
    pool.shutdown()
    return result


def _import_airflow() -> None:
    from airflow_provider_moengage.api import file_imports_client
    from airflow_provider_moengage.hooks import moengage
    from airflow_provider_moengage.triggers import file_import, pollers

    del file_imports_client, moengage, file_import, pollers


def _spread(here: Scene, waiters: int) -> list[str]:
    ids = list(here.ends)
    return [ids[number % len(ids)] for number in range(waiters)]


_HEAD = (
    f"{'':27}{'interval':>9}{'seen':>8}{'median':>9}{'p99':>9}{'worst':>9}{'requests':>10}{'a minute':>10}"
    f"{'429':>7}{'loop held up':>14}"
)


def _row(name: str, interval: float, result: Result) -> str:
    delays = sorted(result.delays)
    seen = f"{len(delays) / result.waiters:.0%}"
    median, p99, worst = (f"{_quantile(delays, q):.1f} s" if delays else "-" for q in (0.5, 0.99, 1.0))
    rate = f"{result.requests / result.minutes:.0f}"
    share = f"{result.refused / max(result.requests, 1):.0%}" if result.refused else "none"
    held = f"{result.held_up * 1000:.0f} ms"
    return (
        f"{name:27}{f'{interval:g} s':>9}{seen:>8}{median:>9}{p99:>9}{worst:>9}{result.requests:>10,}{rate:>10}"
        f"{share:>7}{held:>14}"
    )


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _control(method: str, url: str, path: str, body: Any = None) -> Any:
    response = requests.request(method, f"{url}/_emulator/{path}", json=body, timeout=10)
    response.raise_for_status()
    return response.json()


if __name__ == "__main__":
    main()
