"""A full disk while statistics are collected, and what OpenLineage gets to see of a run."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_moengage import lineage
from airflow_provider_moengage.exceptions import MoEngageError
from tests.delivering import MoEngage
from tests.transfers.test_campaign_stats import (  # noqa: F401 (fixtures)
    Warehouse,
    campaigns,
    interval,
    operator,
    seed,
    warehouse,
)

needs_openlineage = pytest.mark.skipif(
    not lineage.is_installed(), reason="the OpenLineage provider is not installed"
)


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Let no file of this process become larger, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("size", "count"), [(20_000, 40), (1_000, 2)], ids=["meanwhile", "at its end"])
def test_a_full_temporary_folder_is_an_error_that_airflow_retries(
    campaigns: MoEngage,  # noqa: F811
    warehouse: Warehouse,  # noqa: F811
    size: int,
    count: int,
) -> None:
    seed(campaigns, *(f"Campaign {number}" for number in range(count)))

    with disk_of(size), pytest.raises(MoEngageError) as caught:
        operator().execute(interval("2026-11-01", "2026-11-02"))

    assert type(caught.value) is MoEngageError
    assert "temporary folder" in str(caught.value)
    assert "days that were not finished are as they were before" in str(caught.value)
    assert not warehouse.file.exists() or warehouse.select("SELECT name FROM sqlite_master") == []


@needs_openlineage
def test_open_lineage_has_the_campaigns_and_the_files(campaigns: MoEngage, tmp_path: Path) -> None:  # noqa: F811
    seed(campaigns, "Sale")
    task = operator(table=None, conn_id=None, path=str(tmp_path / "stats"))
    assert task.get_openlineage_facets_on_complete(None) is None, "it has not run"

    result = task.execute(interval("2026-11-01", "2026-11-02"))
    found: Any = task.get_openlineage_facets_on_complete(None)

    assert [(each.namespace, each.name) for each in found.inputs] == [("moengage://EMULATOR", "campaigns")]
    assert [(each.namespace, each.name) for each in found.outputs] == [("file", result["files"][0])]


@needs_openlineage
def test_open_lineage_has_the_table_and_its_rows(
    campaigns: MoEngage,  # noqa: F811
    warehouse: Warehouse,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seed(campaigns, "Sale")
    task = operator()
    rows = task.execute(interval("2026-11-01", "2026-11-02"))["rows"]
    assert task.get_openlineage_facets_on_complete(None) is not None, "SQLite's hook names no tables"
    table = SimpleNamespace(namespace="postgres://db", name="shop.public.stats", facets={})
    monkeypatch.setattr(lineage, "tables_of", lambda *_: SimpleNamespace(inputs=[table]))

    found: Any = task.get_openlineage_facets_on_complete(None)

    [output] = found.outputs
    assert (output.namespace, output.name) == ("postgres://db", "shop.public.stats")
    assert output.outputFacets["outputStatistics"].rowCount == rows


def test_without_open_lineage_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "is_installed", lambda: False)

    assert operator().get_openlineage_facets_on_complete(None) is None
