"""The page in Chromium, in Airflow's UI: what a person sees, on a telephone, in the dark and with the keyboard."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.page.conftest import ADDRESS, Page

Open = Callable[..., Any]
IMAGES = Path(__file__).parents[2] / "docs" / "images"


@pytest.fixture(scope="module")  # as long as it runs, no test of the process can run an event loop of its own
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="no browser tests: pip install --group browser")
    with sync_api.sync_playwright() as running:
        found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
        if not found and not Path(running.chromium.executable_path).exists():
            pytest.skip("no browser tests: apt-get install chromium, or its path in CHROMIUM")
        browser = running.chromium.launch(executable_path=found or None, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any, page: Page) -> Iterator[Open]:
    """Opens a path of Airflow as a user; the test fails if anything asks another machine, or logs an error."""
    contexts, outside, errors = [], [], []

    def open_page(path: str, user: str = "admin", *, width: int = 1280, height: int = 900, **options: Any) -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, locale="en-US", timezone_id="UTC", **options
        )
        contexts.append(context)
        context.add_cookies([{"name": "_token", "value": page.token(user), "url": page.url}])

        def let_through(route: Any) -> None:
            if route.request.url.startswith(f"{page.url}/"):
                route.continue_()
            else:
                outside.append(route.request.url)
                route.abort()

        context.route("**/*", let_through)
        opened = context.new_page()
        opened.set_default_timeout(20_000)
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.on(
            "console",
            lambda message: (
                errors.append(message.text)
                if message.type == "error" and "/moengage/" in message.location.get("url", "")
                else None
            ),
        )
        opened.goto(f"{page.url}{path}")
        return opened

    yield open_page
    for context in contexts:
        context.close()
    assert outside == []
    assert [error for error in errors if "status of 400" not in error] == []  # a test asks for what is refused


def settled(frame: Any) -> Any:
    """Wait until the page shows what it has loaded."""
    frame.get_by_text(re.compile("^As of ")).wait_for()
    return frame


def has_no_scrollbar(page: Any) -> bool:
    """Return whether the page is as wide as the window; tables scroll by themselves."""
    fits: bool = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    return fits


def findings(page: Any) -> list[str]:
    """Return what axe finds."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install --group browser").Axe()
    found = axe.run(page).response["violations"]
    return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]]


VIEWS = ["", "#/sync/customers/sync", "#/sync/strict_customers/sync", "#/imports", "#/events"]


def test_the_menu_of_airflow_opens_the_page(open_page: Open) -> None:
    opened = open_page("/")
    opened.get_by_role("button", name="Browse").click()
    opened.get_by_role("menuitem", name="MoEngage").click()

    frame = opened.frame_locator("iframe")
    row = settled(frame).get_by_role("row").filter(has_text="payroll")
    row.wait_for()
    assert "3" in row.inner_text()


def test_a_run_opens_in_airflow_itself(open_page: Open) -> None:
    opened = open_page("/plugin/moengage")
    frame = opened.frame_locator("iframe")
    frame.get_by_role("row").filter(has_text="payroll").get_by_role("link").click()
    settled(frame).get_by_role("region", name="Table of runs").get_by_role("link").first.click()

    opened.wait_for_url("**/dags/payroll/runs/**")


def test_a_sync_shows_its_runs_as_chart_and_table(open_page: Open) -> None:
    opened = settled(open_page("/moengage/#/sync/customers/sync"))

    assert opened.get_by_role("img", name=re.compile("last 2 runs")).count() == 1
    assert opened.get_by_role("listitem").all_inner_texts()[2] == "no longer in query"
    table = opened.get_by_role("region", name="Table of runs")
    assert table.get_by_role("row").count() == 3
    assert table.get_by_text("1 customer_id_refused").count() == 2
    assert ADDRESS not in opened.content()


def test_a_task_that_only_triggers_its_import_shows_no_count_of_files(open_page: Open) -> None:
    table = settled(open_page("/moengage/#/imports")).get_by_role("region", name="Runs of file imports")

    for task, files in (("nightly", "1"), ("hourly", "not waited for")):
        row = table.get_by_role("row").filter(has_text=task)
        assert row.get_by_role("cell").last.inner_text() == files


def test_a_run_without_counts_says_why(open_page: Open) -> None:
    opened = settled(open_page("/moengage/#/sync/unready_customers/sync", width=390))

    table = opened.get_by_role("region", name="Table of runs")
    reason = table.get_by_text("no counts: killed, or failed before it read anything")
    assert reason.bounding_box()["width"] < 200
    assert has_no_scrollbar(opened)
    assert findings(opened) == []


def test_the_filter_finds_a_sync(open_page: Open) -> None:
    opened = settled(open_page("/moengage/"))
    opened.get_by_label("Dag or task").fill("PAYROLL")

    assert opened.get_by_role("row").count() == 2


def test_a_user_sees_his_own_dags(open_page: Open) -> None:
    opened = settled(open_page("/moengage/", "narrow"))

    assert "payroll" not in opened.locator("body").inner_text()
    assert opened.get_by_role("link", name="sync", exact=True).count() == 1


def test_the_keyboard_reaches_a_sync_and_its_runs(open_page: Open) -> None:
    opened = settled(open_page("/moengage/"))
    link = opened.get_by_role("row").filter(has_text="payroll").get_by_role("link")
    for _ in range(40):
        opened.keyboard.press("Tab")
        if link.evaluate("node => node === document.activeElement"):
            break
    opened.keyboard.press("Enter")

    opened.get_by_role("heading", name="send").wait_for()
    assert opened.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_and_it_fits_on_a_telephone(open_page: Open, view: str, scheme: str) -> None:
    for width in (390, 1280):
        opened = settled(open_page(f"/moengage/{view}", width=width, color_scheme=scheme))
        assert opened.evaluate("document.documentElement.classList.contains('dark')") == (scheme == "dark")
        assert has_no_scrollbar(opened)
        assert findings(opened) == []


def test_it_follows_the_theme_of_airflow(open_page: Open) -> None:
    opened = open_page("/plugin/moengage")
    frame = opened.frame_locator("iframe")
    settled(frame)
    for theme in ("dark", "light"):
        opened.evaluate("theme => { document.documentElement.className = theme }", theme)
        frame.locator("html.dark" if theme == "dark" else "html:not(.dark)").wait_for(state="attached")


def test_the_rejects_of_a_failed_run_are_shown_without_values(open_page: Open) -> None:
    opened = settled(open_page("/moengage/#/sync/strict_customers/sync"))
    opened.get_by_role("link", name="1 customer_id_refused").click()

    opened.get_by_role("heading", name="Rejects of strict_customers.sync").wait_for()
    opened.get_by_role("cell", name=re.compile("MoEngage treats this id as invalid")).wait_for()
    assert ADDRESS not in opened.content()
    assert findings(opened) == []


def test_the_instances_of_a_mapped_task_are_a_page_of_their_own(open_page: Open) -> None:
    opened = settled(open_page("/moengage/#/sync/payroll/send", width=390))
    opened.get_by_role("link", name="3 instances").click()

    opened.get_by_role("heading", name="Instances of payroll.send").wait_for()
    assert opened.get_by_role("region", name="Table of instances").get_by_role("row").count() == 4
    assert has_no_scrollbar(opened)
    assert findings(opened) == []
    opened.get_by_role("link", name="what is stored").last.click()
    opened.get_by_role("heading", name="Instance 2 of payroll.send").wait_for()
    opened.get_by_text("Nothing: no watermark").wait_for()


@pytest.mark.skipif(os.environ.get("UPDATE_SCREENSHOTS") != "1", reason="UPDATE_SCREENSHOTS=1 takes the pictures")
def test_the_pictures_of_the_docs_are_taken(open_page: Open) -> None:
    opened = open_page("/plugin/moengage", width=1240, height=490)
    settled(opened.frame_locator("iframe"))
    opened.screenshot(path=IMAGES / "airflow-page.png")
    opened = settled(open_page("/moengage/#/sync/customers/sync", width=1120, color_scheme="dark"))
    opened.screenshot(path=IMAGES / "airflow-page-sync.png", full_page=True)
    opened.get_by_role("link", name="1 customer_id_refused").first.click()
    opened.get_by_role("heading", name="Rejects of customers.sync").wait_for()
    settled(opened).screenshot(path=IMAGES / "airflow-page-rejects.png", full_page=True)


def test_a_reset_asks_for_the_name_of_the_task(open_page: Open) -> None:
    opened = settled(open_page("/moengage/#/sync/vip_customers/sync", width=390))
    opened.get_by_role("button", name="Reset state").click()
    dialog = opened.get_by_role("dialog", name="Reset state")
    assert findings(opened) == []
    dialog.get_by_label("To confirm").fill("wrong")
    opened.keyboard.press("Enter")
    dialog.get_by_text("is another one").wait_for()
    opened.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    opened.get_by_role("button", name="Reset state").click()
    dialog.get_by_label("To confirm").fill("sync")
    dialog.get_by_role("button", name="Reset state").click()

    opened.get_by_text("It was reset.").wait_for()
    opened.get_by_text("Nothing: no watermark").wait_for()


def test_who_may_only_look_gets_no_button(open_page: Open) -> None:
    opened = settled(open_page("/moengage/#/sync/orders/sync", "viewer"))

    assert opened.get_by_role("button", name=re.compile("Reset")).count() == 0
