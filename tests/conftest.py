from __future__ import annotations

import os
import tempfile

# Airflow reads these when it is first imported: a home of its own, nothing of this machine's settings.
for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[name]
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-of-the-tests-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] = "False"

import shutil
from collections.abc import Iterator

import pytest
from hypothesis import settings

from airflow_provider_moengage.api.received import import_zones
from airflow_provider_moengage.emulator import Emulator
from devtools.fake_clock import FakeClock
from tests.delivering import MoEngage, connection_to
from tests.killable_worker import Worker

# The same examples in every run, so that a test only fails for what was changed. --hypothesis-profile random looks
# for new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None, max_examples=1000)
settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def _airflow_home() -> Iterator[None]:
    yield
    shutil.rmtree(os.environ["AIRFLOW_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def running_moengage() -> Iterator[MoEngage]:
    clock = FakeClock()
    with Emulator(clock=clock.time) as emulator:
        yield MoEngage(emulator, clock)


@pytest.fixture(autouse=True)
def _unknown_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test knows what an earlier one has found out about the zones of imports."""
    monkeypatch.setattr(import_zones, "_KNOWN", {})
    monkeypatch.setattr(import_zones, "_WARNED", set())


@pytest.fixture
def moengage(running_moengage: MoEngage) -> MoEngage:
    running_moengage.reset()
    return running_moengage


@pytest.fixture
def connected(moengage: MoEngage, monkeypatch: pytest.MonkeyPatch) -> MoEngage:
    """The emulator is the workspace of ``moengage_default``."""
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(moengage))
    return moengage


@pytest.fixture
def in_small_batches(moengage: MoEngage, monkeypatch: pytest.MonkeyPatch) -> MoEngage:
    """The same, with limits so low that a request holds a hundred elements, and on the emulator's clock."""
    low = {"users_per_minute": 2_500, "events_per_minute": 2_500}
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(moengage, extra=low))
    monkeypatch.setattr("airflow_provider_moengage.bulk.run.context.SystemClock", lambda: moengage.clock)
    return moengage


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker that a test can kill."""
    return Worker(monkeypatch)
