"""Names stay importable from every module path that the reference has ever shown."""

from __future__ import annotations

from importlib import import_module

import pytest

PACKAGE = "airflow_provider_moengage"

PUBLIC = [
    ("emulator.business_events", "BusinessEvent"),
    ("emulator.clock", "AcceleratedClock"),
    ("emulator.faults", "Fault"),
    ("emulator.file_import_catalog", "FileTrigger"),
    ("emulator.file_import_runs", "FileRun"),
    ("emulator.file_imports", "FileImport"),
    ("emulator.file_imports", "ImportFile"),
    ("emulator.firings", "Firing"),
    ("emulator.received", "ReceivedElement"),
    ("emulator.server", "Emulator"),
    ("emulator.settings", "Settings"),
    ("emulator.workspace", "Counts"),
    ("emulator.workspace", "Credentials"),
    ("emulator.workspace", "RequestRecord"),
    ("emulator.workspace", "Workspace"),
]


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_a_public_name_is_importable_from_its_documented_module(module: str, name: str) -> None:
    assert getattr(import_module(f"{PACKAGE}.{module}"), name).__name__ == name


@pytest.mark.parametrize(("module", "name"), [pair for pair in PUBLIC if pair[0].startswith("emulator.")])
def test_a_name_of_the_emulator_is_the_same_under_every_path(module: str, name: str) -> None:
    exported = getattr(import_module(f"{PACKAGE}.emulator"), name)
    assert exported is getattr(import_module(f"{PACKAGE}.{module}"), name)
