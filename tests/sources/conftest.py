from __future__ import annotations

from collections.abc import Iterator

import pytest
from airflow.providers.common.compat.sdk import BaseHook

from tests.sources.warehouses import NAMES, Servers, Warehouse, why_not


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The databases, started when a test asks for one."""
    servers = Servers(tmp_path_factory.mktemp("warehouses"))
    yield servers
    servers.close()


@pytest.fixture(params=NAMES)
def warehouse(request: pytest.FixtureRequest, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """Each database and driver, as connection ``warehouse``."""
    if reason := why_not(request.param):
        pytest.skip(reason)
    warehouse = servers.warehouse(request.param)
    if warehouse.hook is not None:
        monkeypatch.setattr(BaseHook, "get_hook", staticmethod(lambda *_, **__: warehouse.hook))
    else:
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", warehouse.airflow_connection)
    return warehouse
