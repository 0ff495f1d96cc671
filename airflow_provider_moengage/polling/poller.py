"""One poller per workspace, for any number of imports and waiters.

A response about an import serves everyone who waits for it. If several imports are waited for, the import details
(50 imports per page) tell which of them changed, and only their run histories are read. Requests stay within a
budget and run in a thread, so the event loop is never blocked. What a thousand waiters derive from a response is
computed in the thread as well, and they are woken a few at a time.

Each poller has one thread of its own, as it sends one request at a time. The event loop's default executor serves
all providers of a triggerer: servers that do not answer must not take its threads, nor those of other workspaces.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.file_imports import FileRun, ImportDetails, ImportRef
from airflow_provider_moengage.api.paging import Page, Pages
from airflow_provider_moengage.polling.rate_budget import Budget

SAFETY_INTERVAL = 300.0
"""Seconds after which a run history is read although the import details show no change."""

DETAILS_BREAK = 300.0
"""Seconds without import details after they could not be read; run histories are read meanwhile."""

DETAILS_AWAITED = 5.0
"""Seconds that the first polls wait for import details, which tell which imports to poll."""

PATIENCE = 120.0
"""Seconds per request in total. A request has a deadline of its own, but nothing cuts the resolution of a name."""

THREAD = "moengage-poller"
"""Name of the pollers' threads."""

Result = TypeVar("Result")

WAKE_AT_ONCE = 20
"""Waiters woken before the event loop runs other tasks."""

FAILED_POLLS = 5
"""Polls in a row that may fail; then a waiter gives up with the last error. A throttled poll has not failed."""


@dataclass(frozen=True, slots=True)
class WaitSpec:
    """What is waited for, and how.

    :param ref: the import.
    :param interval: seconds between two polls of the import; of several waiters, the shortest one counts.
    :param may_be_absent: an import that MoEngage does not know has no files yet.
    :param failed_polls: polls in a row that may fail; None for any number.
    :param needs_times: which files are meant depends on when they were scheduled.
    """

    ref: ImportRef
    interval: float
    may_be_absent: bool = False
    failed_polls: int | None = FAILED_POLLS
    needs_times: bool = False


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budgets of the two endpoints that are polled."""

    history: Budget
    details: Budget


@dataclass(frozen=True, slots=True)
class Finding:
    """What a waiter derives from a run history.

    :param result: what it waited for; None until then.
    :param note: the state of the wait, for its log.
    """

    result: Any = None
    note: str | None = None


Decide = Callable[[Sequence[FileRun]], Finding]
"""Called in a thread with a whole run history."""


class Client(Protocol):
    """The poller's requests; see :class:`~airflow_provider_moengage.api.file_imports_client.FileImportsClient`."""

    needs_times: bool
    """Whether decisions depend on the times of files."""

    def file_runs(self, query: dict[str, Any], *, page: int) -> Page[FileRun]:
        """One page of a run history."""

    def imports(self, query: dict[str, Any], *, page: int) -> tuple[list[ImportDetails], bool]:
        """One page of imports."""

    def fork(self) -> Client:
        """A client of the same workspace with connections of its own."""

    def close(self) -> None:
        """Close the connections, and cut the one on which a thread waits for a response."""


class Clock:
    """The poller's clock, which tests replace."""

    def time(self) -> float:
        """Seconds since an arbitrary time; never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float, woken: asyncio.Event) -> None:
        """Sleep for ``seconds``, or until ``woken`` is set."""
        try:
            async with asyncio.timeout(seconds):
                await woken.wait()
        except TimeoutError:
            return


class Waiter:
    """Waits for files of an import."""

    def __init__(self, spec: WaitSpec, decide: Decide, *, since: float) -> None:
        self.spec = spec
        self.decide = decide
        self.since = since
        """When it started to wait."""
        self.failures = 0
        self._note: str | None = None
        self._updates: deque[Finding | BaseException] = deque()
        self._has_update = asyncio.Event()

    async def next(self) -> Finding:
        """Return the next finding that differs from the one before.

        :raises ApiError: if polling cannot succeed.
        """
        while not self._updates:
            self._has_update.clear()
            await self._has_update.wait()
        update = self._updates.popleft()
        if isinstance(update, BaseException):
            raise update
        return update

    def tell(self, update: Finding | BaseException) -> bool:
        """Pass an update on, unless nothing changed; return whether it was passed on."""
        if isinstance(update, Finding):
            if update.result is None and update.note in (None, self._note):
                return False
            self._note = update.note
        self._updates.append(update)
        self._has_update.set()
        return True


@dataclass(eq=False)
class _Import:
    """An import that is waited for, and what is known about it."""

    ref: ImportRef
    due_at: float
    waiters: dict[int, Waiter] = field(default_factory=dict, init=False)
    read_at: float = field(default=float("-inf"), init=False)
    mark: tuple[Any, ...] | None = field(default=None, init=False)
    """The import details as of the last read of its run history."""
    seen: tuple[Any, ...] | None = field(default=None, init=False)
    """The import details now."""
    is_over: bool = field(default=False, init=False)
    """Whether the import details report that its last run has ended."""

    @property
    def interval(self) -> float:
        return min((waiter.spec.interval for waiter in self.waiters.values()), default=60.0)

    @property
    def has_moved(self) -> bool:
        return self.seen is not None and self.seen != self.mark

    def urgency(self, now: float, *, is_watched: bool) -> tuple[int, float] | None:
        """Return how urgent a poll is, the smallest first; None if none is due."""
        if now < self.due_at:
            return None
        if is_watched and self.seen is not None:
            if self.has_moved:
                return (0 if self.is_over else 1, self.due_at)
            safety = self.read_at + SAFETY_INTERVAL
            return (1, safety) if now >= safety else None
        return (1, self.due_at)


class Poller:
    """Polls MoEngage for all waiters of one workspace, on one event loop.

    :param client: asked in the poller's thread, one question at a time.
    :param budgets: of the run history and of the import details.
    :param log: told what concerns the workspace; what concerns a waiter reaches it as a note.
    :param patience: real seconds for one question.
    :param on_idle: called when the last waiter has left; the poller is not used again after that.
    """

    def __init__(
        self,
        client: Client,
        budgets: Budgets,
        *,
        log: logging.Logger,
        clock: Clock | None = None,
        patience: float = PATIENCE,
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._thread = _own_thread()
        self._history = budgets.history
        self._details = budgets.details
        self._log = log
        self._clock = clock or Clock()
        self._patience = patience
        self._on_idle = on_idle
        self._imports: dict[ImportRef, _Import] = {}
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._pass: Pages[ImportDetails] | None = None
        self._details_due = float("-inf")
        self._details_pages = 1
        self._unread_until = float("-inf")

    @contextmanager
    def watch(self, spec: WaitSpec, decide: Decide) -> Iterator[Waiter]:
        """Wait for files of an import as long as the ``with`` block lasts."""
        now = self._clock.time()
        ref = spec.ref
        waiter = Waiter(spec, decide, since=now)
        watched = self._imports.setdefault(ref, _Import(ref, now))
        watched.waiters[id(waiter)] = waiter
        # An answer from before it came may be older than what its task has seen: it waits for the next one, which
        # is due as if it had been there before, whatever the details say.
        watched.due_at = min(watched.due_at, max(now, watched.read_at + spec.interval))
        watched.mark = None
        self._wake()
        try:
            yield waiter
        finally:
            del watched.waiters[id(waiter)]
            if not watched.waiters:
                self._imports.pop(ref, None)
            if not self._imports:
                self._stop()

    def _wake(self) -> None:
        if self._task is None:
            # Not in the context of whoever comes first: its log is not that of the others.
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="moengage-poller", context=contextvars.Context()
            )
        self._woken.set()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._on_idle()
        self._client.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        try:
            while True:
                self._woken.clear()
                now = self._clock.time()
                if self._details_due_in(now) <= 0 and self._details.ready_in() <= 0:
                    await self._read_details()
                elif (target := self._most_urgent(now)) is not None and self._history.ready_in() <= 0:
                    await self._look(target)
                else:
                    await self._clock.sleep(self._idle_for(now, target), self._woken)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 (nobody is to wait for a poller that is no more)
            self._log.exception("The poller of file imports has failed")
            self._task = None
            await self._tell_all(error)

    async def _asked(self, ask: Callable[[Client], Result]) -> Result:
        """Ask for one page in a thread."""
        client = self._client
        try:
            async with asyncio.timeout(self._patience):
                return await self._in_thread(lambda: ask(client))
        except TimeoutError:
            stuck, self._client = self._client, self._client.fork()
            stuck.close()
            self._thread.shutdown(wait=False)
            self._thread = _own_thread()
            raise ApiError(ErrorKind.SERVER, f"no complete response within {self._patience:.0f} s") from None

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _serve(self, waiters: Sequence[Waiter], runs: Sequence[FileRun]) -> None:
        findings = await self._in_thread(lambda: _decide_all(waiters, runs))
        told = 0
        for waiter, finding in findings:
            told += waiter.tell(finding)
            if told == WAKE_AT_ONCE:
                told = 0
                await asyncio.sleep(0)

    def _is_watched(self, now: float) -> bool:
        """Whether the import details are worth asking: fewer pages than imports, and they can be read."""
        return len(self._imports) > self._details_pages and now >= self._unread_until

    def _details_due_in(self, now: float) -> float:
        return max(0.0, self._details_due - now) if self._is_watched(now) else float("inf")

    def _most_urgent(self, now: float) -> _Import | None:
        is_watched = self._is_watched(now)
        if is_watched and self._details_due == float("-inf") and self._details.ready_in() < DETAILS_AWAITED:
            return None  # the details come first: a look before them could not be told from one after a move
        urgent = [
            (urgency, number, each)
            for number, each in enumerate(self._imports.values())
            if (urgency := each.urgency(now, is_watched=is_watched)) is not None
        ]
        return min(urgent)[2] if urgent else None

    def _idle_for(self, now: float, target: _Import | None) -> float:
        waits = [60.0]
        if target is not None:
            waits.append(self._history.ready_in())
        else:
            waits += [each.due_at - now for each in self._imports.values() if each.due_at > now]
        details_in = self._details_due_in(now)
        waits.append(max(details_in, self._details.ready_in()))
        return max(0.001, min(waits))

    async def _read_details(self) -> None:
        """Read one page of import details; a pass over them ends where every import was found."""
        if self._pass is None:
            self._pass = Pages(lambda details: details.import_id)
            self._details_due = self._clock.time()
        self._details.spend()
        try:
            number = self._pass.next_page
            rows, more = await self._asked(lambda client: client.imports({}, page=number))
        except ApiError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                self._details_failed(error)
                return
            rows, more = [], False  # the page is past the end
        self._details.answered()
        for details in rows:
            self._note_move(details)
        has_next = self._pass.take(rows, has_more=more)
        found = {name for details in self._pass.rows for name in _names(details)}
        if has_next and not all(ref in found for ref in self._imports):
            return
        self._details_pages = self._pass.next_page - 1
        self._pass = None
        for watched in self._imports.values():
            if watched.ref not in found:
                watched.seen = None
        interval = min((each.interval for each in self._imports.values()), default=60.0)
        self._details_due = max(self._details_due, self._clock.time() - interval) + interval

    def _details_failed(self, error: ApiError) -> None:
        self._pass = None
        if error.kind is ErrorKind.RATE_LIMIT:
            self._pause(self._details, error)
            return
        self._log.warning("Import details could not be read; reading run histories instead: %s", error)
        self._unread_until = self._clock.time() + DETAILS_BREAK

    def _note_move(self, details: ImportDetails) -> None:
        state = (details.last_run_status, details.last_run_at, details.total_files, details.processed_files)
        for name in _names(details):
            if (watched := self._imports.get(name)) is not None:
                watched.is_over = not details.is_underway
                watched.seen = (*state, details.status)

    async def _look(self, watched: _Import) -> None:
        """Read a run history and tell those who wait for it."""
        seen, started_at = watched.seen, self._clock.time()
        pages: Pages[FileRun] = Pages(lambda run: run.id)
        has_next = True
        is_absent = False
        try:
            while has_next and watched.waiters:  # nobody may be left by now
                while (pause := self._history.ready_in()) > 0:
                    await self._clock.sleep(pause, asyncio.Event())
                self._history.spend()
                self._client.needs_times = any(each.spec.needs_times for each in watched.waiters.values())
                ask = partial(_ask_runs, query=watched.ref.query, page=pages.next_page)
                try:
                    page = await self._asked(ask)
                except ApiError as error:
                    if error.kind is ErrorKind.RATE_LIMIT:
                        self._pause(self._history, error)
                        continue  # with this page: from the first again, a long history might never be read
                    if error.kind is not ErrorKind.NOT_FOUND:
                        raise
                    is_absent = pages.next_page == 1
                    page, absence = Page([], has_more=False), error
                self._history.answered()
                has_next = pages.take(page.rows, has_more=page.has_more is not False, total=page.total)
            if watched.waiters:
                pages.check_complete()
        except ApiError as error:
            await self._failed(watched, error)
            return
        watched.read_at = started_at
        waiters = [waiter for waiter in watched.waiters.values() if waiter.since <= started_at]
        is_behind = watched.is_over and not all(run.is_terminal for run in pages.rows)
        # The details may know of an end before the history does; and who came meanwhile needs a look of its own.
        watched.mark = None if is_behind or len(waiters) < len(watched.waiters) else seen
        watched.due_at = started_at + watched.interval
        if is_absent:
            await self._tell([waiter for waiter in waiters if not waiter.spec.may_be_absent], absence)
            waiters = [waiter for waiter in waiters if waiter.spec.may_be_absent]
        for waiter in waiters:
            waiter.failures = 0
        await self._serve(waiters, pages.rows)

    async def _failed(self, watched: _Import, error: ApiError) -> None:
        if error.kind is ErrorKind.AUTHENTICATION:
            await self._tell_all(error)
        else:
            await self._count_failure(watched, error)
        watched.due_at = self._clock.time() + watched.interval

    async def _count_failure(self, watched: _Import, error: ApiError) -> None:
        waiters = list(watched.waiters.values())
        for waiter in waiters:
            waiter.failures += 1
        ending = [each for each in waiters if each.failures >= (each.spec.failed_polls or float("inf"))]
        await self._tell(ending, error)
        for waiter in waiters:
            if waiter not in ending:
                waiter.tell(Finding(note=f"poll failed ({waiter.failures} in a row): {error.message}"))

    def _pause(self, budget: Budget, error: ApiError) -> None:
        pause = budget.refused(error.retry_after)
        self._log.info("MoEngage throttles file imports; retrying in %.0f s", pause)

    async def _tell_all(self, error: Exception) -> None:
        await self._tell([each for watched in self._imports.values() for each in watched.waiters.values()], error)

    async def _tell(self, waiters: Sequence[Waiter], error: Exception) -> None:
        for number, waiter in enumerate(waiters, start=1):
            waiter.tell(error)
            if number % WAKE_AT_ONCE == 0:
                await asyncio.sleep(0)


def _ask_runs(client: Client, query: dict[str, Any], page: int) -> Page[FileRun]:
    return client.file_runs(query, page=page)


def _own_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix=THREAD)


def _decide_all(waiters: Sequence[Waiter], runs: Sequence[FileRun]) -> list[tuple[Waiter, Finding | Exception]]:
    return [(waiter, _decided(waiter, runs)) for waiter in waiters]


def _decided(waiter: Waiter, runs: Sequence[FileRun]) -> Finding | Exception:
    try:
        return waiter.decide(runs)
    except Exception as error:  # noqa: BLE001 (a waiter's own error ends only its wait)
        return error


def _names(details: ImportDetails) -> tuple[ImportRef, ImportRef]:
    return ImportRef("import_id", details.import_id), ImportRef("import_name", details.import_name)
