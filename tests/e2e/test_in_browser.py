"""Airflow's own pages in Chromium, as a user sees them; they load nothing from other machines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

from tests.e2e.local_airflow import SYNC, TASK, Place

DIALOG = "[role=dialog][data-scope=dialog][data-state=open]"
POPOVER = "[data-scope=popover][data-part=content][data-state=open]"
RIGHT_KEY, WRONG_KEY = "emulator-data-key", "revoked-data-key"
REFUSED = "answered 401: workspace ID and Data API key do not match, or the key is not the Data tile's"
HIDDEN = ("Port", "Schema", "Login", "Password", "Host")


def new_connection(page: Any) -> Any:
    """Open the form for a new connection and choose MoEngage."""
    page.goto("/connections")
    page.get_by_role("button", name="Add Connection").click()
    dialog = page.locator(DIALOG)
    dialog.get_by_role("combobox").first.fill("MoEngage")
    page.get_by_role("option", name="MoEngage", exact=True).click()
    dialog.get_by_text("Workspace ID", exact=True).wait_for()
    return dialog


def open_fields(dialog: Any, name: str) -> None:
    """Expand a part of the form."""
    trigger = dialog.get_by_role("button", name=name, exact=True)
    if trigger.get_attribute("aria-expanded") == "false":
        trigger.click()
    dialog.page.wait_for_timeout(400)  # until it is expanded


def row_of(page: Any, conn_id: str) -> Any:
    page.goto("/connections")
    page.get_by_placeholder("Search Connections").fill(conn_id)
    page.get_by_text("1 Connection", exact=True).wait_for()
    return page.get_by_role("row").filter(has=page.get_by_role("cell", name=conn_id, exact=True))


def press_test(page: Any, conn_id: str) -> dict[str, Any]:
    """Press the Test button of a connection in the list; return Airflow's response."""
    with page.expect_response("**/api/v2/connections/test") as answer:
        row_of(page, conn_id).get_by_role("button", name="Test Connection").click()
    result: dict[str, Any] = answer.value.json()
    return result


def change_key(page: Any, conn_id: str, key: str) -> None:
    row_of(page, conn_id).get_by_role("button", name="Edit Connection").click()
    dialog = page.locator(DIALOG)
    open_fields(dialog, "Standard Fields")
    field = dialog.locator("input[name=password]")
    assert field.input_value() == "***"
    field.fill(key)
    with page.expect_response(f"**/api/v2/connections/{conn_id}?*") as saved:
        dialog.get_by_role("button", name="Save").click()
    assert saved.value.ok


def task_page(page: Any, dag_id: str, run: str, task_id: str, tab: str = "") -> None:
    page.goto(f"/dags/{dag_id}/runs/{quote(run, safe='')}/tasks/{task_id}{tab}")


def test_the_connection_form_has_only_moengages_fields(page: Any, screenshot: Any) -> None:
    dialog = new_connection(page)

    names = set(dialog.locator("input[name], textarea[name]").evaluate_all("all => all.map(each => each.name)"))
    assert {name for name in names if not name.startswith("element_")} == {
        "connection_id",
        "description",
        "host",
        "login",
        "password",
        "port",
    }
    for label in ("Base URL", "Workspace ID", "Data API key"):
        assert dialog.get_by_text(label, exact=True).is_visible()
    for label in HIDDEN:
        assert dialog.get_by_text(label, exact=True).count() == 0
    assert dialog.locator("input[name=password]").get_attribute("type") == "password"
    screenshot("connection-form")

    open_fields(dialog, "Extra Fields")
    for label in ("Data center", "Campaign API key", "Timeout (seconds)", "Users a minute", "Events a minute"):
        assert dialog.get_by_text(label, exact=True).is_visible()
    assert dialog.locator("#element_campaign_api_key").get_attribute("type") == "password"
    dialog.get_by_role("combobox").nth(1).click()
    centers = page.get_by_role("option").all_inner_texts()
    assert [each.split()[0] for each in centers] == ["01", "02", "03", "04", "05", "06", "101"]
    screenshot("connection-form-data-center")


def test_a_connection_can_be_saved_and_tested_on_the_form(page: Any, place: Place) -> None:
    call = place.airflow.call
    dialog = new_connection(page)
    dialog.locator("input[name=connection_id]").fill("from_form")
    dialog.locator("input[name=host]").fill(place.workspace.url)
    dialog.locator("input[name=login]").fill("EMULATOR")
    dialog.locator("input[name=password]").fill(RIGHT_KEY)
    open_fields(dialog, "Extra Fields")
    dialog.get_by_role("combobox").nth(1).click()
    page.get_by_role("option", name="02 (EU)").click()
    dialog.locator("#element_campaign_api_key").fill("emulator-campaign-key")
    with page.expect_response("**/api/v2/connections") as saved:
        dialog.get_by_role("button", name="Save").click()
    try:
        assert saved.value.status == 201
        shown = call("GET", "/connections/from_form")
        extra = json.loads(shown["extra"])
        assert (shown["login"], shown["host"], extra["data_center"]) == ("EMULATOR", place.workspace.url, "02")
        assert (shown["password"], extra["campaign_api_key"]) == ("***", "***")
        # The icon in the list of Airflow 3.3 uses port 0 if a connection has none; see docs/connection.md.
        answer = call("POST", "/connections/test", json={"connection_id": "from_form", "conn_type": "moengage"})
        assert answer["status"] is True, answer
        page.goto("/connections")
        page.get_by_text("from_form", exact=True).wait_for()
        assert "-key" not in page.locator("body").inner_text()
    finally:
        call("DELETE", "/connections/from_form")


def test_the_test_button_shows_why_it_fails(page: Any, place: Place, screenshot: Any) -> None:
    answer = press_test(page, "moengage_default")
    assert answer["status"] is True
    assert "accepts the Data API key" in answer["message"]
    screenshot("connection-test")
    try:
        change_key(page, "moengage_default", WRONG_KEY)
        answer = press_test(page, "moengage_default")
        assert answer["status"] is False
        page.get_by_text(REFUSED).first.wait_for()
        assert WRONG_KEY not in page.locator("body").inner_text()
        screenshot("connection-test-failed")
    finally:
        change_key(page, "moengage_default", RIGHT_KEY)
    assert press_test(page, "moengage_default")["status"] is True


def backfill_a_week(page: Any, dag_id: str, first: date, shown: Callable[[], None] = lambda: None) -> None:
    """Start a backfill of seven days in its dialog.

    :param shown: called before it is started.
    """
    page.goto(f"/dags/{dag_id}")
    page.get_by_role("button", name="Trigger").click()
    dialog = page.locator(DIALOG)
    dialog.get_by_text("Backfill", exact=True).first.click()
    for index, day in enumerate((first, first + timedelta(days=6))):
        dialog.get_by_test_id("datetime-input").nth(index).click()
        page.locator(POPOVER).get_by_placeholder("YYYY/MM/DD").fill(f"{day:%Y/%m/%d}")
        page.locator(POPOVER).get_by_placeholder("HH:mm").fill("00:00")
        page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        page.locator(POPOVER).wait_for(state="hidden")
    dialog.get_by_text("7 runs will be triggered.").wait_for()
    shown()
    with page.expect_response(lambda answer: answer.url.endswith("/api/v2/backfills")) as created:
        dialog.get_by_role("button", name="Run Backfill").click()
    assert created.value.ok, created.value.text()


def test_a_backfill_from_the_dialog_sends_seven_days_once(page: Any, place: Place, screenshot: Any) -> None:
    today = datetime.now(UTC).date()
    first, last = today - timedelta(days=21), today - timedelta(days=15)
    before = place.runs_before_a_backfill()
    watermark = place.watermark

    backfill_a_week(page, SYNC, first, lambda: screenshot("backfill"))

    runs = place.backfilled(before, 7)
    place.each_day_arrived_once(first, last, runs)
    assert place.watermark == watermark
    page.goto(f"/dags/{SYNC}/runs")
    page.get_by_text(f"{first + timedelta(days=1):%Y-%m-%d} 00:00:00").first.wait_for()
    screenshot("runs")


def test_a_backfill_from_the_dialog_loads_the_statistics_of_seven_days(page: Any, place: Place) -> None:
    dag_id = "campaign_statistics"
    first = datetime.now(UTC).date() - timedelta(days=21)
    days = [f"{first + timedelta(days=number):%Y-%m-%d}" for number in range(7)]
    before = place.runs_before_a_backfill(dag_id)

    backfill_a_week(page, dag_id, first)

    place.backfilled(before, 7, dag_id)
    rows = place.warehouse.rows(
        "SELECT day, campaign_name, channel, count(*), count(DISTINCT id) FROM moengage_campaign_stats"
        f" WHERE day BETWEEN '{days[0]}' AND '{days[-1]}' GROUP BY 1, 2, 3 ORDER BY 1, 2"
    )
    of_a_day = [("Weekly offer", "PUSH", 2, 2), ("Welcome", "EMAIL", 1, 1)]
    assert rows == [(day, *campaign) for day in days for campaign in of_a_day]


def test_the_log_of_a_task_shows_progress_and_no_personal_data(page: Any, place: Place, screenshot: Any) -> None:
    place.workspace.add_fault("slow", seconds=1.6, times=None)
    run = place.run_manually("long_sync", "sync")

    task_page(page, "long_sync", run, "sync")
    for line in (r"\d+ elements done, \d+ a second", r"\d+ elements? accepted by MoEngage"):
        page.get_by_text(re.compile(line)).first.wait_for()
    text = page.locator("body").inner_text()
    assert re.search(r"household-\d|@example\.com|emulator-\w+-key|0{40}", text) is None
    screenshot("task-log")


def test_the_link_of_a_task_opens_the_dashboard(page: Any, place: Place, screenshot: Any) -> None:
    run = place.run_manually()
    task = f"/dags/{SYNC}/dagRuns/{run}/taskInstances/{TASK}"
    links = place.airflow.call("GET", f"{task}/links")["extra_links"]
    [(name, url)] = links.items()

    assert url is not None
    assert url.startswith(place.workspace.url), "a connection with a base URL has its dashboard there"
    task_page(page, SYNC, run, TASK, "/details")
    link = page.locator("a", has_text=name)
    link.wait_for()
    assert link.get_attribute("href") == url
    screenshot("extra-link")
    with page.context.expect_page() as opened:
        link.click()
    assert opened.value.url.startswith(place.workspace.url)


def test_the_page_of_moengage_shows_what_a_sync_did(page: Any, place: Place) -> None:
    place.run_manually()

    page.goto("/plugin/moengage")
    frame = page.frame_locator("iframe")
    row = frame.get_by_role("row").filter(has_text=SYNC)
    row.get_by_text("success").wait_for()
    row.get_by_role("link").click()
    frame.get_by_role("img", name=re.compile("Elements of the last")).wait_for()
    frame.get_by_text("Watermark (warehouse_purchases)").wait_for()
