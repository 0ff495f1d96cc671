"""A poller on a stage: MoEngage says what a test has it say, and time passes only when everybody sleeps."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.file_imports import FileRun, ImportDetails, ImportRef
from airflow_provider_moengage.api.paging import Page
from airflow_provider_moengage.polling.poller import Budgets, Clock, Decide, Finding, Poller, Waiter, WaitSpec
from airflow_provider_moengage.polling.rate_budget import Budget
from airflow_provider_moengage.polling.selection import Selection
from tests.polling.file_runs import RUNNING

STOP = 20.0
"""Seconds of real time after which a test that hangs has failed."""


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on an event loop of its own, and see that it leaves no task there."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def limited() -> None:
            async with asyncio.timeout(STOP):
                await test(*args, **kwargs)
                await let_all_run()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"the test leaves {left}"

        asyncio.run(limited())

    return run


async def let_all_run() -> None:
    """Let every task go on until it waits for something that is not there yet."""
    for _ in range(40):
        await asyncio.sleep(0)


class StageClock(Clock):
    """Time that a test lets pass, from one moment at which the poller wakes to the next."""

    def __init__(self) -> None:
        self.now = 0.0
        self.wakes_at: float | None = None
        self.is_over = False
        self.is_quiet = asyncio.Event()
        self._bell = asyncio.Event()

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float, woken: asyncio.Event) -> None:
        self.wakes_at, self._bell = self.now + seconds, woken
        self.is_quiet.set()
        try:
            await woken.wait()
        finally:
            self.wakes_at = None
            if not self.is_over:
                self.is_quiet.clear()

    def ring(self) -> None:
        """Wake the poller at the moment it sleeps until."""
        assert self.wakes_at is not None
        self.now = max(self.wakes_at, self.now + 1e-6)
        self._bell.set()

    def end(self) -> None:
        self.is_over = True
        self.is_quiet.set()


class Script:
    """MoEngage, as far as a poller asks it.

    ``runs`` has the files of each import; an import that is not in it does not exist. ``unlisted`` ones are not in
    the import details, and ``frozen`` ones stay there as they are. ``total`` is what it reports as their number.
    """

    def __init__(self) -> None:
        self.runs: dict[str, list[FileRun]] = {}
        self.unlisted: set[str] = set()
        self.frozen: dict[str, ImportDetails] = {}
        self.page_size = 50
        self.total: int | None = None
        self.file_errors: deque[Exception] = deque()
        self.import_errors: deque[Exception] = deque()
        self.throttled_pages: set[int] = set()
        self.gate: threading.Event | None = None
        self.is_inside = threading.Event()
        self.closed = 0
        self.needs_times = False
        self.asked: list[str] = []
        self.asked_at: list[float] = []
        self.time: Callable[[], float] = float

    def file_runs(self, query: dict[str, Any], *, page: int) -> Page[FileRun]:
        [(field, value)] = query.items()
        self._note(f"{value}" if page == 1 else f"{value} page {page}")
        if page in self.throttled_pages:
            self.throttled_pages.remove(page)
            raise throttled()
        if self.file_errors:
            raise self.file_errors.popleft()
        name = value if field == "import_id" else value.removeprefix("the ")
        if name not in self.runs:
            raise ApiError(ErrorKind.NOT_FOUND, "no such import", status_code=400)
        rows, has_more = self._page(self.runs[name], page)
        return Page(rows, has_more, self.total)

    def imports(self, query: dict[str, Any], *, page: int) -> tuple[list[ImportDetails], bool]:
        assert query == {}
        self._note("details" if page == 1 else f"details page {page}")
        if self.import_errors:
            raise self.import_errors.popleft()
        listed = [
            self.frozen.get(name) or details(name, runs)
            for name, runs in self.runs.items()
            if name not in self.unlisted
        ]
        return self._page(listed, page)

    def fork(self) -> Script:
        return self

    def close(self) -> None:
        self.closed += 1

    def forget(self) -> None:
        """Forget what was asked."""
        self.asked.clear()
        self.asked_at.clear()

    def _note(self, what: str) -> None:
        self.asked.append(what)
        self.asked_at.append(self.time())
        self.is_inside.set()
        if self.gate is not None:
            assert self.gate.wait(STOP)

    def _page(self, rows: Sequence[Any], page: int) -> tuple[list[Any], bool]:
        begin, end = (page - 1) * self.page_size, page * self.page_size
        if page > 1 and begin >= len(rows):
            raise ApiError(ErrorKind.NOT_FOUND, "no such page", status_code=400)
        return list(rows[begin:end]), end < len(rows)


def details(import_id: str, runs: Sequence[FileRun]) -> ImportDetails:
    """What MoEngage says of an import with these files."""
    ended = sum(run.is_terminal for run in runs)
    status = None if not runs else "SUCCESSFUL" if ended == len(runs) else "PROCESSING"
    times = [run.scheduled_at for run in runs if run.scheduled_at is not None]
    return ImportDetails(
        import_id,
        f"the {import_id}",
        last_run_status=status,
        last_run_at=max(times, default=None),
        total_files=len(runs),
        processed_files=ended,
        status=status,
    )


class Waiting:
    """One who waits on the stage, and what it has been told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.task: asyncio.Task[Any]

    @property
    def is_over(self) -> bool:
        return self.task.done()

    @property
    def result(self) -> Any:
        """What it has waited for."""
        return self.task.result()

    @property
    def error(self) -> BaseException | None:
        """What has ended its wait."""
        return self.task.exception() if self.task.done() and not self.task.cancelled() else None

    def leave(self) -> None:
        self.task.cancel()


class Stage:
    """A poller, who waits, and the time."""

    def __init__(self, client: Any = None, *, per_minute: float = 40.0) -> None:
        self.clock = StageClock()
        self.script = Script()
        self.script.time = self.clock.time
        self.client = self.script if client is None else client
        self.log = logging.getLogger("tests.poller")
        self.idle = 0
        self.history, self.details = (Budget(per_minute, self.clock.time) for _ in range(2))
        self.poller = Poller(
            self.client,
            Budgets(self.history, self.details),
            log=self.log,
            clock=self.clock,
            on_idle=self._on_idle,
        )
        self._all: list[Waiting] = []

    def wait(
        self,
        what: str | tuple[str, str] = "i1",
        decide: Decide | None = None,
        *,
        selection: Selection | None = None,
        interval: float = 60.0,
        **options: Any,
    ) -> Waiting:
        """Let somebody wait, by default until the newest file has ended."""
        waiting = Waiting()
        ref = ImportRef("import_id", what) if isinstance(what, str) else ImportRef(*what)
        wanted = decide or until_over(selection or Selection())
        waiting.task = asyncio.create_task(self._wait(waiting, WaitSpec(ref, interval, **options), wanted))
        self._all.append(waiting)
        return waiting

    async def pass_time(self, seconds: float = 0.0) -> None:
        """Let time pass, and everything happen that happens in it."""
        until = self.clock.now + seconds
        while True:
            await self._settle()
            wakes_at = self.clock.wakes_at
            if wakes_at is None or wakes_at > until:
                break
            self.clock.ring()
        self.clock.now = max(self.clock.now, until)

    async def until_over(self, *waitings: Waiting, at_most: float = 86_400.0) -> None:
        """Let time pass until these have nothing more to wait for."""
        until = self.clock.now + at_most
        while True:
            await self._settle()
            if all(waiting.is_over for waiting in waitings):
                return
            assert self.clock.wakes_at is not None
            assert self.clock.wakes_at <= until, "they still wait"
            self.clock.ring()

    async def empty(self) -> None:
        """Let all who still wait leave."""
        for waiting in self._all:
            waiting.leave()
        await asyncio.gather(*(waiting.task for waiting in self._all), return_exceptions=True)

    async def _wait(self, waiting: Waiting, spec: WaitSpec, decide: Decide) -> Any:
        with self.poller.watch(spec, decide) as waiter:
            return await heard(waiter, waiting.notes)

    async def _settle(self) -> None:
        while True:
            await self.clock.is_quiet.wait()
            await let_all_run()
            if self.clock.is_quiet.is_set():
                return

    def _on_idle(self) -> None:
        self.idle += 1
        self.clock.end()


def stage_with(*imports: str, **options: Any) -> Stage:
    """A stage on which these imports, by default ``i1``, have a file that is not over."""
    stage = Stage(**options)
    stage.script.runs = {name: [RUNNING] for name in imports or ("i1",)}
    return stage


async def heard(waiter: Waiter, notes: list[str]) -> Any:
    while True:
        finding = await waiter.next()
        if finding.note is not None:
            notes.append(finding.note)
        if finding.result is not None:
            return finding.result


def until_over(selection: Selection) -> Decide:
    """What a trigger makes of a run history."""

    def decide(runs: Sequence[FileRun]) -> Finding:
        chosen = selection.choose(runs)
        return Finding(chosen if selection.are_over(chosen) else None, selection.describe(chosen))

    return decide


def throttled(retry_after: float | None = None) -> ApiError:
    return ApiError(ErrorKind.RATE_LIMIT, "slow down", status_code=429, retry_after=retry_after)


def unable() -> ApiError:
    return ApiError(ErrorKind.SERVER, "it is temporarily unavailable", status_code=503)


def denied() -> ApiError:
    return ApiError(ErrorKind.AUTHENTICATION, "the key is not accepted", status_code=401)
