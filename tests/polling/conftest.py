from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_moengage.api.file_imports_client import FileImportsClient
from airflow_provider_moengage.api.workspace import Workspace
from airflow_provider_moengage.emulator import Emulator, FileImport, ImportFile, Settings
from tests.polling.simulation import Stage, StageClock


class Emulated:
    """An emulated MoEngage whose time is that of a stage."""

    def __init__(self) -> None:
        self.clock = StageClock()
        self.emulator = Emulator(clock=lambda: 1_750_000_000.0 + self.clock.now)

    @property
    def workspace(self) -> Any:
        return self.emulator.workspace

    def begin(self) -> None:
        self.clock = StageClock()
        self.workspace.reset()
        self.workspace.clear_file_imports()
        self.workspace.configure(**{name: getattr(Settings(), name) for name in Settings.__struct_fields__})

    def stage(self, *, key: str = "emulator-data-key", **options: Any) -> Stage:
        """A stage whose poller asks the emulator."""
        client = FileImportsClient(Workspace("EMULATOR", key, base_url=self.emulator.url, timeout=10.0))
        stage = Stage(client, **options)
        self.clock = stage.clock
        return stage

    def add(self, *imports: str, seconds: float = 10.0, status: str = "SUCCESSFUL") -> None:
        """Set up imports that run now, each with a file that ends so."""
        for name in imports:
            file = ImportFile(f"{name}.csv", steps=((0, "PROCESSING"), (seconds, status)))
            self.workspace.add_file_import(FileImport(name, f"the {name}", (file,)))
            self.workspace.run_file_import(name)

    def asked(self, path: str = "/v1.0/data/fileimports/import/run/history") -> list[int | None]:
        """The answers of one endpoint."""
        return [request.status for request in self.workspace.requests if request.path == path]


@pytest.fixture(scope="session")
def _running() -> Iterator[Emulated]:
    emulated = Emulated()
    with emulated.emulator:
        yield emulated


@pytest.fixture
def moengage(_running: Emulated) -> Emulated:
    _running.begin()
    return _running
