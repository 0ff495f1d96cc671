"""A trigger that fires for each file that MoEngage finishes, to schedule Dags on a file import."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_moengage.api.errors import ApiError
from airflow_provider_moengage.api.file_imports import (
    PARTIAL_SUCCESS,
    SUCCESSFUL,
    TERMINAL,
    ImportRef,
    read_status,
)
from airflow_provider_moengage.api.workspace import read_project_code
from airflow_provider_moengage.bulk.clock import Log
from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.polling.poller import Decide, Finding, WaitSpec
from airflow_provider_moengage.triggers.pollers import poll_updates

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:  # Airflow 2
    BaseEventTrigger = BaseTrigger  # type: ignore[misc, assignment, unused-ignore]

if TYPE_CHECKING:
    from airflow_provider_moengage.api.file_imports import FileRun
    from airflow_provider_moengage.polling.unreported_files import UnreportedFiles

LOOK_AGAIN = 300.0
"""Seconds until the next poll after an error that somebody has to fix: a key, an import that is gone."""


class FileImportRunEventTrigger(BaseEventTrigger):
    """Fires for each file that an import finishes: a Dag can be scheduled on it (Airflow 3, ``AssetWatcher``).

    .. code-block:: python

        imported = Asset(
            "moengage_users",
            watchers=[AssetWatcher(name="import", trigger=FileImportRunEventTrigger(import_id="..."))],
        )

    Each file is one event, with the fields of :class:`~airflow_provider_moengage.api.file_imports.FileRun`,
    ``import_id`` and ``import_name``. Files that had finished before the first poll are not events. On Airflow 3.3
    and later the asset's state store holds what was reported, so a restarted triggerer reports what it missed, and
    nothing twice except the file it was reporting when it died; before 3.3, it starts over with its first poll.
    Errors are logged and never fire.

    :param import_id: the import; this or ``import_name``.
    :param import_name: as the dashboard has it; ignored if ``import_id`` is given.
    :param file_name: an exact name, or a glob; None for every file.
    :param statuses: of the files to report: SUCCESSFUL, PARTIAL_SUCCESS, FAILED.
    :param poke_interval: seconds between two polls of the import.
    :param project_code: the project of a portfolio; None: the connection's ``project_code``, else the portfolio as
        a whole.
    :param moengage_conn_id: the workspace's connection.
    :raises ValueError: naming the argument that is wrong.
    :raises RuntimeError: before Airflow 3.
    """

    def __init__(  # noqa: PLR0913 (public signature)
        self,
        *,
        import_id: str | None = None,
        import_name: str | None = None,
        file_name: str | None = None,
        statuses: Sequence[str] = (SUCCESSFUL, PARTIAL_SUCCESS),
        poke_interval: float = 60.0,
        project_code: str | None = None,
        moengage_conn_id: str = "moengage_default",
    ) -> None:
        if BaseEventTrigger is BaseTrigger:
            raise RuntimeError(
                "FileImportRunEventTrigger needs Airflow 3; earlier versions cannot watch assets with triggers"
            )
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self._ref = ImportRef.of(import_id, import_name)
        known = [read_status(status) for status in ([statuses] if isinstance(statuses, str) else statuses)]
        if not known or not TERMINAL.issuperset(known):
            raise ValueError(f"statuses {statuses!r}: expected some of {', '.join(sorted(TERMINAL))}")
        if not poke_interval > 0:
            raise ValueError(f"poke_interval {poke_interval!r}: expected seconds above 0")
        self.import_id = import_id
        self.import_name = import_name
        self.file_name = file_name
        self.statuses = [str(status) for status in known]
        self.poke_interval = float(poke_interval)
        self.project_code = read_project_code(project_code)
        self.moengage_conn_id = moengage_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as JSON primitives."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "import_id": self.import_id,
                "import_name": self.import_name,
                "file_name": self.file_name,
                "statuses": self.statuses,
                "poke_interval": self.poke_interval,
                "moengage_conn_id": self.moengage_conn_id,
                # Airflow knows a watcher by its arguments: with another one, it would start a new one.
                **({} if self.project_code is None else {"project_code": self.project_code}),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire for each file that finishes, forever."""
        from airflow_provider_moengage.polling.unreported_files import UnreportedFiles, memory_of

        memory = Memory(getattr(self, "asset_state_store", None), self._key, self.log)
        news = UnreportedFiles(self.file_name, self.statuses, memory_of(await memory.read()))
        while True:
            spec = WaitSpec(self._ref, self.poke_interval, failed_polls=None)
            looking = poll_updates(
                self.moengage_conn_id, spec, self._decision(news), project_code=self.project_code
            )
            try:
                async with aclosing(looking):
                    async for finding in looking:
                        if finding.note is not None:
                            self.log.warning("Import %s: %s", self._ref.value, finding.note)
                        for run in finding.result or []:
                            yield TriggerEvent(self._payload(run))  # type: ignore[no-untyped-call, unused-ignore]
                            news.told(run)
                        if finding.result is not None:
                            await memory.write(news.to_dict())
            except (MoEngageError, ApiError) as error:
                self.log.warning("Import %s: %s", self._ref.value, error)
            except Exception:  # a trigger that raises would be started again every second
                self.log.exception("Import %s could not be watched", self._ref.value)
            pause = max(LOOK_AGAIN, self.poke_interval)
            self.log.warning("Polling again in %.0f s", pause)
            await asyncio.sleep(pause)
            news = UnreportedFiles(self.file_name, self.statuses, news.memory)

    @property
    def _key(self) -> str:
        facts = "\0".join(
            [
                self.moengage_conn_id,
                self._ref.field,
                self._ref.value,
                self.file_name or "",
                *self.statuses,
                *([] if self.project_code is None else ["project_code", self.project_code]),
            ]
        )
        return f"moengage_file_import_{sha256(facts.encode()).hexdigest()[:16]}"

    def _payload(self, run: FileRun) -> dict[str, Any]:
        return {"import_id": self.import_id, "import_name": self.import_name, **run.to_dict()}

    def _decision(self, news: UnreportedFiles) -> Decide:
        return lambda runs: Finding(news.look(runs))


class Memory:
    """What an asset's trigger stores across restarts: in Airflow's asset state store, if there is one (3.3)."""

    def __init__(self, store: Any, key: str, log: Log) -> None:
        self._store = store
        self._key = key
        self._log = log

    async def read(self) -> Any:
        """Return what was written last; None if nothing was."""
        if self._store is None:
            return None
        try:
            return await self._store.aget(self._key)
        except Exception as error:  # noqa: BLE001 (the store is Airflow's)
            self._failed(error)
            return None

    async def write(self, value: dict[str, Any]) -> None:
        """Store a JSON-ready value."""
        if self._store is None:
            return
        try:
            await self._store.aset(self._key, value)
        except Exception as error:  # noqa: BLE001 (the store is Airflow's)
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._log.warning(
            "Airflow's asset state store failed (%s: %s): after a restart, files may be reported twice or not at"
            " all",
            type(error).__name__,
            error,
        )
