"""A MoEngage workspace on localhost, for tests, demos, and users without a test workspace.

It is made from MoEngage's public API reference alone and shares no code with this package's client, so that
each can catch the other's mistakes. Needs the extra ``emulator``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.bulk_import.received import ReceivedElement
    from airflow_provider_moengage.emulator.business_events.definitions import BusinessEvent
    from airflow_provider_moengage.emulator.business_events.firings import Firing
    from airflow_provider_moengage.emulator.clock import AcceleratedClock
    from airflow_provider_moengage.emulator.faults import Fault
    from airflow_provider_moengage.emulator.file_imports.catalog import FileTrigger
    from airflow_provider_moengage.emulator.file_imports.definitions import FileImport, ImportFile
    from airflow_provider_moengage.emulator.file_imports.runs import FileRun
    from airflow_provider_moengage.emulator.server import Emulator
    from airflow_provider_moengage.emulator.settings import Settings
    from airflow_provider_moengage.emulator.workspace import Counts, Credentials, RequestRecord, Workspace

__all__ = [
    "AcceleratedClock",
    "BusinessEvent",
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
    "Counts": "workspace",
    "Credentials": "workspace",
    "Emulator": "server",
    "Fault": "faults",
    "FileImport": "file_imports.definitions",
    "FileRun": "file_imports.runs",
    "FileTrigger": "file_imports.catalog",
    "Firing": "business_events.firings",
    "ImportFile": "file_imports.definitions",
    "ReceivedElement": "bulk_import.received",
    "RequestRecord": "workspace",
    "Settings": "settings",
    "Workspace": "workspace",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
