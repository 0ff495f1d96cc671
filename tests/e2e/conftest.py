"""One local Airflow for all of these tests, and a browser for those that need it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.standalone_airflow import until
from tests.e2e.local_airflow import PROJECT, SYNC, TASK, Place, local_airflow

IMAGES = PROJECT / "docs" / "images"
LOOPBACK = re.compile(r"https?://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/|$)")


@pytest.fixture(scope="session")
def whole_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The Airflow of `make airflow`, with the Dags of these tests next to the examples."""
    folder = tmp_path_factory.mktemp("e2e")
    dags = folder / "dags"
    dags.mkdir()
    for file in [*(PROJECT / "example_dags").glob("*.py"), *(Path(__file__).parent / "dags").glob("*.py")]:
        shutil.copy(file, dags)
    with local_airflow(dags, folder / "home") as place:
        yield place


@pytest.fixture(scope="session")
def scheduled(whole_place: Place) -> dict[str, Any]:
    """The scheduled run at the start, what it sent, and the watermark afterwards."""
    airflow = whole_place.airflow
    until(lambda: bool(airflow.runs(SYNC)), "the scheduled run")
    [run_id] = airflow.runs(SYNC)
    until(lambda: whole_place.run(run_id)["state"] in ("success", "failed"), "the scheduled run to end")
    if (
        whole_place.run(run_id)["state"] == "failed"
    ):  # Airflow fails a task if its own API does not respond in time
        airflow.clear(SYNC, run_id, TASK)
        until(
            lambda: whole_place.run(run_id)["state"] == "success",
            "the cleared run",
            lambda: airflow.log(SYNC),
        )
    workspace = whole_place.workspace
    return {
        **whole_place.run(run_id),
        "arrived": workspace.arrived(),
        "by_day": workspace.by_day(),
        "watermark": whole_place.watermark,
    }


@pytest.fixture
def place(whole_place: Place, scheduled: dict[str, Any]) -> Iterator[Place]:
    """The same after the scheduled run, with an empty workspace and no faults."""
    whole_place.workspace.reset()
    yield whole_place
    whole_place.workspace.clear_faults()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, or another installed one."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no browser tests: pip install playwright"
    ).sync_playwright
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    with playwright() as running:
        path = path or running.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("no browser tests: apt-get install chromium, or playwright install chromium")
        browser = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any, place: Place) -> Iterator[Any]:
    """A page that can only reach this machine; any other request is an error."""
    context = chromium.new_context(
        viewport={"width": 1280, "height": 800},
        base_url=place.url,
        locale="en-US",
        timezone_id="UTC",
        reduced_motion="reduce",
    )
    outside: list[str] = []

    def let_through(route: Any) -> None:
        if LOOPBACK.match(route.request.url):
            route.continue_()
        else:
            outside.append(route.request.url)
            route.abort()

    context.route("**/*", let_through)
    page = context.new_page()
    page.set_default_timeout(20_000)
    yield page
    context.close()
    assert outside == []


@pytest.fixture
def screenshot(page: Any) -> Any:
    """Take a screenshot for the docs if UPDATE_SCREENSHOTS=1 is set."""

    def take(name: str) -> None:
        if os.environ.get("UPDATE_SCREENSHOTS") == "1":
            IMAGES.mkdir(parents=True, exist_ok=True)
            page.wait_for_timeout(700)  # charts and menus move
            page.screenshot(path=IMAGES / f"airflow-{name}.png", animations="disabled")

    return take
