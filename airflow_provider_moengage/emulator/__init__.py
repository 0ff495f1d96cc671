"""A MoEngage workspace on localhost, for tests, demos, and users without a test workspace.

It is based only on MoEngage's public API reference and shares no code with this package's client, so that each can
reveal mistakes in the other. Needs the extra ``emulator``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.bulk_import.received import ReceivedElement
    from airflow_provider_moengage.emulator.business_events.definitions import BusinessEvent
    from airflow_provider_moengage.emulator.business_events.firings import Firing
    from airflow_provider_moengage.emulator.campaigns.definitions import Campaign
    from airflow_provider_moengage.emulator.clock import AcceleratedClock
    from airflow_provider_moengage.emulator.counts import Counts
    from airflow_provider_moengage.emulator.faults import Fault
    from airflow_provider_moengage.emulator.file_imports.catalog import FileTrigger
    from airflow_provider_moengage.emulator.file_imports.definitions import FileImport, ImportFile
    from airflow_provider_moengage.emulator.file_imports.runs import FileRun
    from airflow_provider_moengage.emulator.request_log import RequestRecord
    from airflow_provider_moengage.emulator.server import Emulator
    from airflow_provider_moengage.emulator.settings import Credentials, Settings
    from airflow_provider_moengage.emulator.workspace import Workspace

__all__ = [
    "AcceleratedClock",
    "BusinessEvent",
    "Campaign",
    "Counts",
    "Credentials",
    "Emulator",
    "Fault",
    "FileImport",
    "FileRun",
    "FileTrigger",
    "Firing",
    "ImportFile",
    "ReceivedElement",
    "RequestRecord",
    "Settings",
    "Workspace",
]

_HOMES = {
    "AcceleratedClock": "clock",
    "BusinessEvent": "business_events.definitions",
    "Campaign": "campaigns.definitions",
    "Counts": "counts",
    "Credentials": "settings",
    "Emulator": "server",
    "Fault": "faults",
    "FileImport": "file_imports.definitions",
    "FileRun": "file_imports.runs",
    "FileTrigger": "file_imports.catalog",
    "Firing": "business_events.firings",
    "ImportFile": "file_imports.definitions",
    "Profile": "bulk_import.profiles",
    "ReceivedElement": "bulk_import.received",
    "RequestRecord": "request_log",
    "Settings": "settings",
    "Workspace": "workspace",
}


_MOVED = {
    "firings": "business_events.firings",
    "received": "bulk_import.received",
    "file_import_runs": "file_imports.runs",
    "file_import_catalog": "file_imports.catalog",
}
"""Module paths of earlier versions, which can still be imported, and their successors."""


class _MovedModule(ModuleType):
    """An earlier path of a module, which is imported on first use."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(f"{__name__}.{old}")
        self._new = new

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{self._new}"), name)


for _old, _new in _MOVED.items():
    globals()[_old] = sys.modules[f"{__name__}.{_old}"] = _MovedModule(_old, _new)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
