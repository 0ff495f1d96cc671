"""The plugin is cheap to import in every process of Airflow, and cannot keep Airflow from starting."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from importlib import metadata
from typing import Any

import pytest

from tests.page.conftest import HAS_PAGES

LOADED = """
import json, sys
from airflow.providers.common.compat.sdk import AirflowPlugin, conf
before = set(sys.modules)
from airflow_provider_moengage.page.plugin import MoEngagePlugin
views = [view["href"] for view in getattr(MoEngagePlugin, "external_views", [])]
print("LOADED", json.dumps([sorted(set(sys.modules) - before), views]))
"""


def loaded(**environment: str) -> Any:
    import os

    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    [line] = [line for line in done.stdout.splitlines() if line.startswith("LOADED ")]
    return json.loads(line.removeprefix("LOADED "))


def test_airflow_finds_it_by_its_entry_point() -> None:
    [entry] = [each for each in metadata.entry_points(group="airflow.plugins") if each.name == "moengage"]

    assert entry.load().name == "moengage"


def test_its_import_loads_nothing_but_itself() -> None:
    modules, _ = loaded()

    ours = {name.removeprefix("airflow_provider_moengage") for name in modules if "moengage" in name}
    assert ours <= {"", ".page", ".page.plugin"}
    assert {name.partition(".")[0] for name in modules} <= {"airflow_provider_moengage", *sys.stdlib_module_names}


def test_before_airflow_3_1_it_adds_nothing() -> None:
    _, views = loaded()

    assert views == (["/moengage/"] if HAS_PAGES else [])


@pytest.mark.skipif(not HAS_PAGES, reason="Airflow has pages of plugins from 3.1 on")
def test_the_menu_leads_below_the_path_of_airflow() -> None:
    _, views = loaded(AIRFLOW__API__BASE_URL="https://data.example.com/airflow")

    assert views == ["/airflow/moengage/"]


@pytest.mark.skipif(not HAS_PAGES, reason="Airflow has pages of plugins from 3.1 on")
def test_airflow_starts_even_if_the_page_does_not_work(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow_provider_moengage.page.plugin import MoEngagePlugin

    monkeypatch.setitem(sys.modules, "airflow_provider_moengage.page.app", None)  # its import fails
    with caplog.at_level(logging.WARNING):
        assert MoEngagePlugin().fastapi_apps == []

    assert "Airflow's UI has no MoEngage page" in caplog.text
