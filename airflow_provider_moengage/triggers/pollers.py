"""The pollers of a triggerer: one for each workspace, on each event loop.

A triggerer has one loop; ``dag.test()`` makes a new one for each trigger. Whatever belongs to a loop is kept under
it and goes with it; the budgets belong to the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from airflow_provider_moengage.exceptions import MoEngageError, MoEngageRequestError
from airflow_provider_moengage.waiting.failures import FAILED_POLLS

if TYPE_CHECKING:
    from airflow_provider_moengage.api.workspace import Workspace
    from airflow_provider_moengage.waiting.budget import Budget
    from airflow_provider_moengage.waiting.poller import Poller

log = logging.getLogger(__name__)

CONNECTION_KEPT = 60.0
"""Seconds for which a connection that was read serves the triggers that start with it."""

READ_AGAIN = 10.0
"""Seconds until a connection that could not be read is read again."""

DEFAULT_PER_MINUTE = 40.0
"""Of the 50 requests a minute that MoEngage takes, run history and import details each."""


class Pollers:
    """The pollers of one event loop."""

    def __init__(self) -> None:
        self._pollers: dict[Workspace, Poller] = {}
        self._workspaces: dict[str, tuple[float, Workspace]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def workspace(self, conn_id: str, *, other_than: Workspace | None = None) -> Workspace:
        """Return the workspace of a connection, read once for the many triggers that start together.

        :param other_than: what MoEngage has just not accepted: if that is what is kept, read anew.
        :raises MoEngageRequestError: where the connection is not set up.
        """
        async with self._locks.setdefault(conn_id, asyncio.Lock()):
            read_at, kept = self._workspaces.get(conn_id, (float("-inf"), None))
            if kept is not None and kept != other_than and time.monotonic() < read_at + CONNECTION_KEPT:
                return kept
            workspace = await _read(conn_id)
            self._workspaces[conn_id] = (time.monotonic(), workspace)
            return workspace

    def of(self, workspace: Workspace) -> Poller:
        """Return the poller of a workspace; it ends when its last waiter leaves."""
        from airflow_provider_moengage.api.file_imports_client import FileImportsClient
        from airflow_provider_moengage.waiting.poller import Poller

        if workspace not in self._pollers:
            history, details = _budgets(workspace)
            self._pollers[workspace] = Poller(
                FileImportsClient(workspace),
                history,
                details,
                log=log,
                on_idle=lambda: self._forget(workspace),
            )
        return self._pollers[workspace]

    def _forget(self, workspace: Workspace) -> None:
        del self._pollers[workspace]


def pollers() -> Pollers:
    """Return the pollers of the running event loop."""
    return _BY_LOOP.setdefault(asyncio.get_running_loop(), Pollers())


_BY_LOOP: WeakKeyDictionary[asyncio.AbstractEventLoop, Pollers] = WeakKeyDictionary()
_BUDGETS: dict[tuple[str, str], tuple[Budget, Budget]] = {}


def _budgets(workspace: Workspace) -> tuple[Budget, Budget]:
    from airflow.providers.common.compat.sdk import conf

    from airflow_provider_moengage.waiting.budget import Budget

    key = workspace.file_imports_url, workspace.workspace_id
    if key not in _BUDGETS:
        option = "file_import_requests_per_minute"
        per_minute = conf.getfloat("moengage", option, fallback=DEFAULT_PER_MINUTE)
        if not per_minute >= 1:
            log.error("[moengage] %s %r of airflow.cfg: expected a number from 1 on; using 1", option, per_minute)
            per_minute = 1.0
        _BUDGETS[key] = Budget(per_minute, time.monotonic), Budget(per_minute, time.monotonic)
    return _BUDGETS[key]


async def _read(conn_id: str) -> Workspace:
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    # In asgiref's thread: on Airflow 3.1 a connection that is read in any other one does not find its way back to
    # the triggerer's loop. Requests never run there, for it is one thread for all.
    from asgiref.sync import sync_to_async

    from airflow_provider_moengage.hooks.moengage import MoEngageHook

    failed = 0
    while True:
        try:
            return await sync_to_async(lambda: MoEngageHook(conn_id).settings.workspace)()
        except (MoEngageRequestError, AirflowNotFoundException) as error:
            raise MoEngageRequestError(str(error)) from None
        except Exception as error:  # Airflow's API server is restarted, for example
            failed += 1
            if failed == FAILED_POLLS:
                raise MoEngageError(
                    f"Connection {conn_id!r} could not be read ({type(error).__name__})"
                ) from error
            await asyncio.sleep(READ_AGAIN)
