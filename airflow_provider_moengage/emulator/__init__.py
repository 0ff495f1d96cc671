"""A MoEngage workspace on localhost, for tests, demos, and users without a test workspace.

It is made from MoEngage's public API reference alone and shares no code with this package's client, so that
each can catch the other's mistakes. Needs the extra ``emulator``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.business_events import BusinessEvent
    from airflow_provider_moengage.emulator.clock import AcceleratedClock
    from airflow_provider_moengage.emulator.faults import Fault
    from airflow_provider_moengage.emulator.file_import_catalog import FileTrigger
    from airflow_provider_moengage.emulator.file_import_runs import FileRun
    from airflow_provider_moengage.emulator.file_imports import FileImport, ImportFile
    from airflow_provider_moengage.emulator.firings import Firing
    from airflow_provider_moengage.emulator.received import ReceivedElement
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
    "BusinessEvent": "business_events",
    "Counts": "workspace",
    "Credentials": "workspace",
    "Emulator": "server",
    "Fault": "faults",
    "FileImport": "file_imports",
    "FileRun": "file_import_runs",
    "FileTrigger": "file_import_catalog",
    "Firing": "firings",
    "ImportFile": "file_imports",
    "ReceivedElement": "received",
    "RequestRecord": "workspace",
    "Settings": "settings",
    "Workspace": "workspace",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
