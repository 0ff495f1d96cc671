from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from airflow_provider_moengage.emulator import Emulator, Settings
from tests.emulator.client import Client
from tests.emulator.fake_clock import FakeClock
from tests.openapi.traffic import contract_is_kept, recorded_problems  # noqa: F401 (fixtures)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_moengage.emulator import Workspace


@pytest.fixture(scope="session")
def shared_clock() -> FakeClock:
    return FakeClock(start=1_700_000_000.0)


@pytest.fixture(scope="session")
def shared_emulator(shared_clock: FakeClock) -> Iterator[Emulator]:
    with Emulator(clock=shared_clock) as emulator:
        yield emulator


@pytest.fixture
def clock(shared_clock: FakeClock) -> FakeClock:
    shared_clock.now = shared_clock.start
    return shared_clock


@pytest.fixture
def workspace(shared_emulator: Emulator, clock: FakeClock) -> Workspace:
    workspace = shared_emulator.workspace
    workspace.reset()
    workspace.clear_business_events()
    workspace.clear_file_imports()
    workspace.clear_campaigns()
    workspace.configure(**msgspec.structs.asdict(Settings()))
    return workspace


@pytest.fixture
def client(shared_emulator: Emulator, workspace: Workspace) -> Iterator[Client]:
    client = Client(shared_emulator.url)
    with client.session:
        yield client
