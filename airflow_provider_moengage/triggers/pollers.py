"""The pollers of a triggerer: one for each workspace, or project of a portfolio, on each event loop.

A triggerer has one loop; ``dag.test()`` creates a new one for each trigger. Pollers are stored by their loop and
end with it; the budgets belong to the process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.exceptions import MoEngageError, MoEngageRequestError
from airflow_provider_moengage.polling.poller import (
    FAILED_POLLS,
    PATIENCE,
    Budgets,
    Clock,
    Decide,
    Finding,
    Poller,
    WaitSpec,
)
from airflow_provider_moengage.polling.rate_budget import Budget

if TYPE_CHECKING:
    from airflow_provider_moengage.api.workspace import Workspace

log = logging.getLogger(__name__)

CLOCK = Clock()
"""The clock of pollers and budgets."""

CONNECTION_KEPT = 60.0
"""Seconds for which a connection is cached."""

READ_AGAIN = 10.0
"""Seconds until a connection that could not be read is read again."""

DEFAULT_PER_MINUTE = 40.0
"""Of the 50 requests a minute that MoEngage allows, for run history and import details each."""


class Pollers:
    """The pollers of one event loop."""

    def __init__(self) -> None:
        self._pollers: dict[Workspace, Poller] = {}
        self._reads: dict[str, tuple[float, Workspace | _UnreadableError]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def workspace(self, conn_id: str, *, other_than: Workspace | None = None) -> Workspace:
        """Return the workspace of a connection, read once for the many triggers that start together.

        :param other_than: a workspace that MoEngage has just rejected: if it is the cached one, read again.
        :raises MoEngageRequestError: if the connection is not set up.
        """
        failed = 0
        while True:
            try:
                return await self._known(conn_id, other_than)
            except _UnreadableError as error:
                failed += 1
                if failed == FAILED_POLLS:
                    raise MoEngageError(f"Connection {conn_id!r} could not be read ({error})") from error
            await asyncio.sleep(READ_AGAIN)

    async def _known(self, conn_id: str, other_than: Workspace | None) -> Workspace:
        before = self._reads.get(conn_id)
        async with self._locks.setdefault(conn_id, asyncio.Lock()):
            known = self._reads.get(conn_id)
            if known is not None:
                read_at, found = known
                is_news = known is not before  # read while this one waited for its turn
                is_fresh = found != other_than and CLOCK.time() < read_at + CONNECTION_KEPT
                if is_news and isinstance(found, _UnreadableError):
                    raise found
                if not isinstance(found, _UnreadableError) and (is_news or is_fresh):
                    return found
            try:
                found = await _read(conn_id)
            except _UnreadableError as error:
                self._reads[conn_id] = (CLOCK.time(), error)
                raise
            self._reads[conn_id] = (CLOCK.time(), found)
            return found

    def of(self, workspace: Workspace) -> Poller:
        """Return the poller of a workspace; it ends when its last waiter leaves."""
        from airflow_provider_moengage.api.file_imports_client import FileImportsClient

        if workspace not in self._pollers:
            self._pollers[workspace] = Poller(
                FileImportsClient(workspace),
                _budgets(workspace),
                log=log,
                clock=CLOCK,
                patience=max(PATIENCE, 4 * workspace.timeout),
                on_idle=lambda: self._forget(workspace),
            )
        return self._pollers[workspace]

    def _forget(self, workspace: Workspace) -> None:
        del self._pollers[workspace]


async def poll_updates(
    conn_id: str, spec: WaitSpec, decide: Decide, *, project_code: str | None = None
) -> AsyncGenerator[Finding, None]:
    """Yield each finding that differs from the one before; never ends by itself, so the caller must close it.

    A rejected key is read once more: the connection may have changed since.

    :param conn_id: the workspace's connection.
    :param decide: what to make of a run history; called in a thread.
    :param project_code: the project of a portfolio; None: the connection's.
    :raises MoEngageError: if the connection is not set up, or cannot be read.
    :raises ApiError: if polling cannot succeed.
    """
    mine = pollers()
    refused: Workspace | None = None
    refusal: ApiError | None = None
    while True:
        workspace = await mine.workspace(conn_id, other_than=refused)
        if refusal is not None and workspace == refused:
            raise refusal
        try:
            with mine.of(workspace.in_project(project_code)).watch(spec, decide) as waiter:
                while True:
                    yield await waiter.next()
        except ApiError as error:
            if error.kind is not ErrorKind.AUTHENTICATION:
                raise
            refused, refusal = workspace, error


def pollers() -> Pollers:
    """Return the pollers of the running event loop."""
    return _BY_LOOP.setdefault(asyncio.get_running_loop(), Pollers())


_BY_LOOP: WeakKeyDictionary[asyncio.AbstractEventLoop, Pollers] = WeakKeyDictionary()
_BUDGETS: dict[tuple[str, str], Budgets] = {}


def _budgets(workspace: Workspace) -> Budgets:
    from airflow.providers.common.compat.sdk import conf

    key = workspace.file_imports_url, workspace.workspace_id
    if key not in _BUDGETS:
        option = "file_import_requests_per_minute"
        said = conf.get("moengage", option, fallback=None)
        try:
            per_minute = DEFAULT_PER_MINUTE if said is None else float(said)
        except ValueError:
            per_minute = 0.0
        if not 1 <= per_minute < float("inf"):
            log.error("[moengage] %s %r of airflow.cfg: expected a number of at least 1; using 1", option, said)
            per_minute = 1.0
        _BUDGETS[key] = Budgets(Budget(per_minute, CLOCK.time), Budget(per_minute, CLOCK.time))
    return _BUDGETS[key]


async def _read(conn_id: str) -> Workspace:
    # In asgiref's thread, because on Airflow 3.1 reading a connection in any other thread never returns to the
    # triggerer's loop. Requests never run there, because all callers share this thread.
    from asgiref.sync import sync_to_async

    from airflow_provider_moengage.hooks.moengage import MoEngageHook

    def read() -> Workspace:
        from airflow_provider_moengage.api import file_imports_client  # noqa: F401 (imported off the event loop: 0.2 s)

        return MoEngageHook(conn_id).settings.workspace

    try:
        return await sync_to_async(read)()
    except MoEngageRequestError:
        raise
    except Exception as error:  # Airflow's API server restarts, which Airflow 3.3 reports as "not found"
        raise _UnreadableError(type(error).__name__) from error


class _UnreadableError(Exception):
    """A connection could not be read at present."""
