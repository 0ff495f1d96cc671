"""The emulator's page in Chromium: it shows what was sent over HTTP, without a reload."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_moengage.emulator import BusinessEvent, Credentials, Fault, FileImport, ImportFile
from tests.browser.traffic import DATA, customer, event, send_sample_traffic

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from airflow_provider_moengage.emulator import Emulator
    from tests.browser.conftest import BrowserErrors, Expect, OpenPage
    from tests.browser.traffic import Sender
    from tests.emulator.fake_clock import FakeClock

EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'

CONTRAST = """() => {
  const luminance = (rgb) => rgb.map((value) => value / 255)
    .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(node).backgroundColor);
      if (a > 0) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || ["SCRIPT", "NOSCRIPT", "title"].includes(node.tagName)) continue;
    const style = getComputedStyle(node);
    const inks = luminance(parse(node instanceof SVGElement ? style.fill : style.color).slice(0, 3));
    const grounds = luminance(ground(node));
    const ratio = (Math.max(inks, grounds) + 0.05) / (Math.min(inks, grounds) + 0.05);
    if (ratio < 4.5) poor.push(`${node.tagName} ${node.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  for (const node of document.querySelectorAll(".chart rect:not(.hit), .legend rect")) {
    const inks = luminance(parse(getComputedStyle(node).fill).slice(0, 3));
    const grounds = luminance(ground(node.closest("div, ul")));
    const ratio = (Math.max(inks, grounds) + 0.05) / (Math.min(inks, grounds) + 0.05);
    if (ratio < 3) poor.push(`${node.getAttribute("class")}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


def count(page: Page, name: str) -> Locator:
    return page.locator("#counts div").filter(has=page.get_by_text(name, exact=True)).locator("dd").first


def rows(page: Page, table: str) -> list[list[str]]:
    texts: list[list[str]] = page.locator(f"{table} tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    )
    return texts


def test_an_empty_page_explains_how_to_send_the_first_element(
    open_page: OpenPage, emulator: Emulator, expect: Expect
) -> None:
    page = open_page()
    expect(page.get_by_role("heading", name="Nothing received yet: send a first element")).to_be_visible()
    expect(page.locator("#curl")).to_contain_text(f"curl {emulator.url}/v1/transition/EMULATOR")
    expect(page.locator("#airflow")).to_contain_text("AIRFLOW_CONN_MOENGAGE_DEFAULT='{")
    expect(page.locator("#data-key")).to_have_text("emulator-data-key")
    expect(page.locator("#events")).to_contain_text("No events yet")

    page.get_by_role("button", name="Send one customer and one event").click()

    expect(page.get_by_role("status")).to_have_text("Sent: one customer and one event")
    expect(count(page, "Customer elements")).to_have_text("1")
    expect(count(page, "Events")).to_have_text("1")
    expect(page.get_by_role("heading", name="How to connect")).to_be_visible()
    expect(page.locator("#curl")).to_be_hidden()
    assert [it.element["type"] for it in emulator.workspace.elements] == ["customer", "event"]


def test_a_user_can_be_looked_up(open_page: OpenPage, emulator: Emulator, sender: Sender, expect: Expect) -> None:
    device = {"type": "device", "customer_id": "u-1", "device_id": "d-1"}
    sender.bulk(
        {"type": "customer", "customer_id": "u-1", "attributes": {"tier": EVIL, "tags": ["a", "b"]}},
        {**device, "attributes": {"platform": "iOS", "push_id": "p"}},
        event("u-1", "Viewed", "2026-01-31T10:00:00Z"),
        event("u-1", "Bought", "2026-01-31T11:00:00Z"),
    )
    page = open_page()
    page.get_by_label("ID", exact=True).fill("u-1")
    page.get_by_role("button", name="Look up").click()

    user = page.locator("#user")
    expect(user.get_by_role("region", name="Attributes of the user")).to_contain_text('["a","b"]')
    expect(user).to_contain_text(EVIL.replace('"', '\\"'))
    expect(user.get_by_role("region", name="Devices of the user")).to_contain_text("d-1")
    assert [row[0] for row in rows(page, "#user [aria-label='Events of the user']")] == ["Bought", "Viewed"]
    assert page.evaluate("window.hacked") is None

    sender.bulk({"type": "customer", "customer_id": "u-1", "attributes": {"tier": "gold"}})
    expect(user).to_contain_text('"gold"')
    page.get_by_label("ID", exact=True).fill("nobody")
    page.keyboard.press("Enter")
    expect(user).to_have_text("No user has the ID nobody.")
    assert page.evaluate("window.notReloaded"), "it shows the change without a reload"


def test_the_page_updates_without_a_reload(
    open_page: OpenPage, emulator: Emulator, sender: Sender, clock: FakeClock, expect: Expect
) -> None:
    emulator.workspace.configure(users_per_minute=1500)
    emulator.workspace.add_business_event(BusinessEvent("Price drop", campaigns=("c1", "c2")))
    emulator.workspace.add_file_import(FileImport("i1", "Nightly users", files=(ImportFile("users_{run}.csv"),)))
    page = open_page()
    expect(page.locator("#state")).to_have_text("live")

    sender.bulk(*(customer(f"u-{number}") for number in range(1200)))
    expect(count(page, "Customer elements")).to_have_text("1,200")
    expect(page.get_by_role("meter", name="Users used")).to_have_attribute("aria-valuetext", "1,200 of 1,500")
    expect(page.locator("#limits")).to_contain_text("300 left")

    sender.bulk(*(event("u-1", "Bought", f"2026-02-{1 + number // 3:02}T10:00:00Z") for number in range(12)))
    sender.bulk(event("u-1", "Viewed", "2026-02-02T10:00:00Z"), event("u-1", "Viewed"))
    expect(count(page, "Events")).to_have_text("14")
    expect(page.locator("#events svg")).to_have_attribute(
        "aria-label", "Events by day and name: Bought 12, Viewed 2"
    )
    assert rows(page, "#events-table") == [
        ["2026-02-01", "3", "0"],
        ["2026-02-02", "3", "1"],
        ["2026-02-03", "3", "0"],
        ["2026-02-04", "3", "0"],
        ["no time", "0", "1"],
    ]

    assert sender.bulk(*(customer(f"v-{number}") for number in range(301))) == 429
    assert sender.bulk({"type": "customer", "attributes": {}}) == 400
    expect(count(page, "Requests answered 429")).to_have_text("1")
    expect(count(page, "Requests refused")).to_have_text("1")
    expect(page.locator("#failures")).to_contain_text(
        "MissingAttributeError: customer_id not found in the payload"
    )
    expect(page.locator("#requests-legend")).to_have_text("OK34291Refused1Injected fault0")

    sender.business_event("Price drop")
    expect(count(page, "Business events triggered")).to_have_text("1")
    assert rows(page, "#business .scroll:first-child table") == [
        ["Price drop", "2 campaigns", "1", "2", "09:30:00"]
    ]
    expect(page.get_by_role("meter", name="v1 triggers in 1 hour")).to_have_attribute("aria-valuetext", "1 of 50")

    sender.trigger("i1")
    expect(page.locator("#imports")).to_contain_text("QUEUED")
    clock.now += 10
    expect(page.locator("#imports")).to_contain_text("SUCCESSFUL")
    assert rows(page, "#imports table") == [
        ["1, 09:30:00, API trigger", "users_1.csv", "SUCCESSFUL", "100", "100", "0", "0", "0", ""]
    ]
    expect(page.locator("#imports")).to_contain_text("triggers are refused until 09:35:00")
    assert page.evaluate("window.notReloaded") is True


def test_the_height_of_a_bar_is_proportional_to_its_count(
    open_page: OpenPage, sender: Sender, expect: Expect
) -> None:
    sender.bulk(*[event("u", "Few", "2026-02-01")] * 2, *[event("u", "Many", "2026-02-02")] * 8)
    page = open_page()
    expect(page.locator("#events rect.c1")).to_have_count(1)
    few, many = bar(page, "c0"), bar(page, "c1")
    assert many["height"] / few["height"] == pytest.approx(4, rel=0.01)
    floor = float(page.locator("#events line.grid").first.get_attribute("y1") or 0)
    assert few["y"] + few["height"] == many["y"] + many["height"] == pytest.approx(floor)
    assert few["x"] + few["width"] <= many["x"]
    expect(page.locator("#events g title").first).to_have_text("2026-02-01: 2 events\nFew: 2")


def test_the_event_names_of_a_day_are_stacked(open_page: OpenPage, sender: Sender, expect: Expect) -> None:
    sender.bulk(*[event("u", "First", "2026-02-01")] * 2, *[event("u", "Second", "2026-02-01")] * 3)
    page = open_page()
    expect(page.locator("#events rect.c1")).to_have_count(1)
    first, second = bar(page, "c0"), bar(page, "c1")
    assert second["y"] + second["height"] == pytest.approx(first["y"])
    assert second["x"] == first["x"]
    assert second["height"] / first["height"] == pytest.approx(1.5)


def test_events_in_the_future_are_listed_as_dropped(open_page: OpenPage, sender: Sender, expect: Expect) -> None:
    sender.bulk(event("u", "Buy", "2026-03-03"), event("u", "Buy", "2026-03-01"))
    page = open_page()

    expect(page.locator("#failures tbody tr")).to_contain_text(["events in the future"])
    assert rows(page, "#failures table")[0][:3] == ["Dropped", "Bulk import", "200"]
    assert rows(page, "#events-table") == [["2026-03-01", "1"]]


def test_the_projects_of_a_portfolio_are_listed(open_page: OpenPage, sender: Sender, expect: Expect) -> None:
    page = open_page()
    expect(page.locator("#counts").get_by_text("Projects", exact=True)).to_have_count(0)
    elements = [customer("u1"), customer("u2")]
    for code in ("brand-a", "<b>"):
        path = f"/v1/transition?app_id=EMULATOR&project_code={code}"
        sender.post(path, {"type": "transition", "elements": elements})

    expect(count(page, "Projects")).to_have_text("2")
    expect(page.locator("#counts")).to_contain_text("brand-a: 2, <b>: 2")


def test_a_bar_of_several_years_has_a_label(open_page: OpenPage, sender: Sender, expect: Expect) -> None:
    sender.bulk(*(event("u", "Buy", f"{year}-02-01") for year in (1900, 1901, 2026)))
    page = open_page()
    expect(page.get_by_role("heading", name="Events by span of 3 years")).to_be_visible()
    expect(page.locator("#events-note")).to_have_text(
        "By the time of each event, in UTC: 1900 to 2026, one bar per 3 years"
    )
    expect(page.locator("#events g title").first).to_have_text("1900\N{EN DASH}1902: 2 events\nBuy: 2")
    assert rows(page, "#events-table") == [["1900\N{EN DASH}1902", "2"], ["2026", "1"]]
    expect(page.locator("#events-table th").first).to_have_text("Years")


def test_a_bar_of_one_year_has_a_label(open_page: OpenPage, sender: Sender, expect: Expect) -> None:
    sender.bulk(*(event("u", "Buy", f"{year}-02-01") for year in (1990, 2026)))
    page = open_page()
    expect(page.get_by_role("heading", name="Events by year")).to_be_visible()
    expect(page.locator("#events-note")).to_contain_text("1990 to 2026, one bar per year")
    assert rows(page, "#events-table") == [["1990", "1"], ["2026", "1"]]


def test_event_names_after_the_sixth_share_a_bar(open_page: OpenPage, sender: Sender, expect: Expect) -> None:
    sender.bulk(*(event("u", f"Name {number}", "2026-02-01") for number in range(9) for _ in range(number + 1)))
    page = open_page()
    expect(page.locator("#events-legend li")).to_have_count(7)
    expect(page.locator("#events-legend li").last).to_have_text("3 other names6")


def test_requests_can_be_shown_by_minute(
    open_page: OpenPage, sender: Sender, clock: FakeClock, expect: Expect
) -> None:
    sender.bulk(customer("a"))
    clock.now += 600
    page = open_page()
    expect(page.locator("#requests")).to_have_text("No requests in the last 2 minutes.")

    page.get_by_text("2 hours").click()
    expect(page.locator("#requests svg")).to_have_attribute("aria-label", re.compile("Requests by minute: OK 1,"))
    assert rows(page, "#requests-table") == [["09:30", "1", "0", "0", "0", "1"]]


def test_faults_can_be_added_and_cleared(
    open_page: OpenPage, emulator: Emulator, sender: Sender, expect: Expect
) -> None:
    page = open_page()
    page.get_by_label("Fault", exact=True).select_option("Answer 500, accept nothing")
    page.get_by_label("For the next").fill("2")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#faults")).to_contain_text("Answer 500, accept nothing: 2 requests left")
    assert emulator.workspace.faults == (Fault("status", times=2, status=500),)

    assert sender.bulk(customer("a")) == 500
    expect(page.locator("#faults")).to_contain_text("1 request left")
    expect(count(page, "Requests hit by faults")).to_have_text("1")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#faults")).to_contain_text("No faults are queued")
    assert sender.bulk(customer("a")) == 200

    page.get_by_label("Fault", exact=True).select_option("Delay the answer")
    page.get_by_label("Delay", exact=True).fill("7")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#faults")).to_contain_text("Delay the answer after 7 seconds: 2 requests left")
    assert emulator.workspace.faults == (Fault("slow", times=2, seconds=7),)


def test_a_fault_may_be_of_one_path(
    open_page: OpenPage, emulator: Emulator, sender: Sender, expect: Expect
) -> None:
    page = open_page()
    page.get_by_label("Of requests").select_option("/v1.0/business_event")
    page.get_by_label("For the next").fill("3")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#faults")).to_contain_text("3 requests left, only /v1.0/business_event")

    assert sender.bulk(customer("a")) == 200
    assert emulator.workspace.faults == (Fault("status", times=3, status=500, path="/v1.0/business_event"),)


def test_requests_that_only_read_can_be_hidden(open_page: OpenPage, sender: Sender, expect: Expect) -> None:
    sender.bulk(customer("a"))
    probe = {"app_id": "EMULATOR", "app_secret": "emulator-data-key", "source": "test", "region": "01"}
    assert sender.post("/v1/integrations/authentication", probe) == 200
    page = open_page()
    expect(page.locator("#requests-note")).to_contain_text("2 requests")
    page.get_by_label("Hide polls").check()
    expect(page.locator("#requests-note")).to_contain_text("1 request with 1 element")


def test_every_fault_in_the_list_is_valid(open_page: OpenPage, emulator: Emulator, expect: Expect) -> None:
    page = open_page()
    names = page.locator("#fault-kind option").all_text_contents()
    for place, name in enumerate(names, 1):
        page.get_by_label("Fault", exact=True).select_option(name)
        page.get_by_role("button", name="Add").click()
        expect(page.locator("#faults li")).to_have_count(place)
        expect(page.locator("#faults li").last).to_contain_text(name)
    assert len({(fault.kind, fault.status) for fault in emulator.workspace.faults}) == len(names) == 8


def test_reset_asks_for_confirmation(
    open_page: OpenPage, emulator: Emulator, sender: Sender, expect: Expect
) -> None:
    sender.bulk(customer("a"))
    page = open_page()
    page.get_by_role("button", name="Reset…").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert emulator.workspace.counts.customers == 1

    page.get_by_role("button", name="Reset…").click()
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(count(page, "Customer elements")).to_have_text("0")
    expect(page.get_by_role("heading", name="Nothing received yet")).to_be_visible()


def test_running_a_file_import_keeps_the_focus(
    open_page: OpenPage, emulator: Emulator, clock: FakeClock, expect: Expect
) -> None:
    emulator.workspace.add_file_import(FileImport("i1", "Users"))
    page = open_page()
    button = page.get_by_role("button", name="Run Users now")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#imports")).to_contain_text(", schedule")
    clock.now += 10
    expect(page.locator("#imports")).to_contain_text("SUCCESSFUL")
    expect(button).to_be_focused()


def test_received_text_is_never_interpreted_as_html(
    open_page: OpenPage, emulator: Emulator, sender: Sender, expect: Expect
) -> None:
    emulator.workspace.add_business_event(BusinessEvent(EVIL, campaigns=("c1",)))
    emulator.workspace.add_file_import(FileImport(EVIL, EVIL, files=(ImportFile(EVIL, status_msg=EVIL),)))
    emulator.workspace.run_file_import(EVIL)
    emulator.workspace.add_fault(Fault("refuse", customer_id=EVIL, times=None))
    emulator.add_workspace(Credentials(EVIL, "key"))
    sender.business_event(EVIL)
    sender.business_event(EVIL, "v5")
    sender.bulk(customer("u", **{EVIL: EVIL}), event("u", EVIL, "2026-02-01"), event("u", EVIL, EVIL))
    sender.bulk(customer(EVIL))
    page = open_page()
    page.get_by_role("heading", name="Last elements").click()

    expect(page.locator("#elements pre")).to_have_count(3)
    expect(page.locator("#elements pre").first).to_contain_text("<script>")
    for part in ("#events-legend", "#events-table", "#imports", "#business", "#faults", "#others"):
        assert "<script>" in (page.locator(part).text_content() or ""), part
    assert page.locator("img, main script, header script").count() == 0
    assert page.evaluate("window.hacked") is None


def test_the_last_elements_update_while_they_are_open(open_page: OpenPage, sender: Sender, expect: Expect) -> None:
    sender.bulk(*(customer(f"u-{number}") for number in range(12)))
    page = open_page()
    expect(page.locator("#elements pre")).to_have_count(0)
    page.get_by_role("heading", name="Last elements").click()
    expect(page.locator("#elements pre")).to_have_count(10)
    expect(page.locator("#elements pre").first).to_contain_text("u-11")
    sender.bulk(customer("newest", note="x" * 5000))
    expect(page.locator("#elements pre").first).to_contain_text("newest")
    expect(page.locator("#elements pre").first).to_contain_text("more characters")


def test_the_last_elements_update_after_a_reset_with_the_same_count(
    open_page: OpenPage, emulator: Emulator, sender: Sender, expect: Expect
) -> None:
    sender.bulk(customer("before"))
    page = open_page()
    page.get_by_role("heading", name="Last elements").click()
    expect(page.locator("#elements pre")).to_contain_text("before")
    with page.expect_response("**/_emulator/picture"):
        pass
    emulator.workspace.reset()
    sender.bulk(customer("after"))
    expect(page.locator("#elements pre")).to_contain_text("after")
    expect(page.locator("#elements pre")).to_have_count(1)


def test_a_selection_in_the_last_elements_is_kept_until_new_ones_arrive(
    open_page: OpenPage, sender: Sender, expect: Expect
) -> None:
    sender.bulk(customer("a"))
    page = open_page()
    page.get_by_role("heading", name="Last elements").click()
    page.locator("#elements pre").focus()
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#elements pre'))")
    for _ in range(2):
        with page.expect_response("**/_emulator/elements*"):
            pass
    assert '"a"' in page.evaluate("getSelection().toString()")
    expect(page.locator("#elements pre")).to_be_focused()


def test_the_last_elements_show_their_original_text(
    open_page: OpenPage, emulator: Emulator, sender: Sender, expect: Expect
) -> None:
    element = '{"type": "customer", "customer_id": "ü",  "attributes": {"id": 9007199254740993, "price": 1.0}}'
    body = f'{{"type": "transition", "elements": [{element}]}}'
    path = f"{emulator.url}/v1/transition/EMULATOR"
    headers = {"Content-Type": "application/json"}
    assert sender.session.post(path, body.encode(), headers=headers, auth=DATA, timeout=10).status_code == 200
    page = open_page()
    page.get_by_role("heading", name="Last elements").click()
    expect(page.locator("#elements pre")).to_be_visible()
    assert page.locator("#elements pre").text_content() == f"request 1, element 1: {element}"


def test_the_page_reports_a_stopped_emulator_and_recovers(
    open_page: OpenPage, emulator: Emulator, browser_errors: BrowserErrors, expect: Expect
) -> None:
    page = open_page()
    emulator.stop()
    expect(page.get_by_text("The emulator is not responding.")).to_be_visible()
    expect(page.locator("#state")).to_have_text("not responding")
    emulator.start()
    expect(page.locator("#state")).to_have_text("live")
    expect(page.get_by_text("The emulator is not responding.")).to_be_hidden()
    browser_errors.ignore("Failed to load resource")


def test_the_page_recovers_if_the_first_request_fails(
    open_page: OpenPage, browser_errors: BrowserErrors, expect: Expect
) -> None:
    page = open_page()
    page.route("**/_emulator/connection", lambda route: route.abort())
    page.reload()
    expect(page.get_by_text("Nothing to show yet (")).to_be_visible()
    expect(page.locator("#state")).to_have_text("not responding")
    page.unroute("**/_emulator/connection")
    expect(page.locator("#state")).to_have_text("live")
    expect(page.get_by_text("Nothing to show yet (")).to_be_hidden()
    expect(count(page, "Customer elements")).to_have_text("0")
    browser_errors.ignore("Failed to load resource")


def test_the_page_reports_a_stopped_emulator_after_a_failed_first_request(
    open_page: OpenPage, emulator: Emulator, browser_errors: BrowserErrors, expect: Expect
) -> None:
    page = open_page()
    page.route("**/_emulator/connection", lambda route: route.abort(), times=1)
    page.reload()
    expect(page.locator("#state")).to_have_text("live")
    emulator.stop()
    expect(page.get_by_text("The emulator is not responding.")).to_contain_text("shows the state at 09:30:00 UTC")
    expect(page.get_by_text("Nothing to show yet (")).to_be_hidden()
    browser_errors.ignore("Failed to load resource")


def test_the_page_of_a_workspace_waits_until_it_exists(
    open_page: OpenPage, emulator: Emulator, browser_errors: BrowserErrors, expect: Expect
) -> None:
    page = open_page()
    page.goto(f"{emulator.url}/?workspace=LATER")
    expect(page.get_by_text("workspace 'LATER': this emulator has no workspace with this id")).to_be_visible()
    emulator.add_workspace(Credentials("LATER", "later-key"))
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#workspace")).to_have_text("LATER")
    expect(page.locator("#data-key")).to_have_text("later-key")
    browser_errors.ignore("Failed to load resource")


def test_each_workspace_has_its_own_page(
    open_page: OpenPage, emulator: Emulator, sender: Sender, expect: Expect
) -> None:
    emulator.add_workspace(Credentials("OTHER", "other-key"))
    sender.bulk(customer("a"))
    page = open_page()
    page.get_by_role("link", name="OTHER").click()
    expect(page.locator("#workspace")).to_have_text("OTHER")
    expect(count(page, "Customer elements")).to_have_text("0")
    expect(page.locator("#data-key")).to_have_text("other-key")
    page.get_by_role("button", name="Send one customer").click()
    expect(count(page, "Customer elements")).to_have_text("1")
    assert emulator.workspace.counts.customers == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("busy", [False, True], ids=["empty", "busy"])
def test_the_contrast_is_sufficient_in_both_colour_schemes(
    open_page: OpenPage, sender: Sender, clock: FakeClock, expect: Expect, scheme: str, busy: bool
) -> None:
    if busy:
        send_sample_traffic(sender, clock)
    page = open_page(color_scheme=scheme)
    expect(page.locator("#state")).to_have_text("live")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", ground))) < 60) == (scheme == "dark")
    assert page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("width", [340, 700, 1024, 1900])
def test_the_page_fits_every_width(
    open_page: OpenPage, sender: Sender, clock: FakeClock, expect: Expect, width: int
) -> None:
    send_sample_traffic(sender, clock)
    sender.bulk(event("u", "a_very_long_name_without_any_space_" * 5, "2026-02-01"))
    page = open_page(width=width)
    expect(page.locator("#requests svg")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    overlapping: Any = """() => [...document.querySelectorAll(".chart svg")].flatMap((chart) => {
      const texts = [...chart.querySelectorAll("text[text-anchor=middle]")];
      const boxes = texts.map((text) => text.getBoundingClientRect());
      const edge = chart.closest(".card").getBoundingClientRect();
      return boxes.filter((box, place) => boxes.some((other, index) => index > place && box.left < other.right
        && other.left < box.right) || box.right > edge.right || box.left < edge.left).map((box) => box.left);
    })"""
    assert page.evaluate(overlapping) == []


def test_a_chart_is_redrawn_when_the_window_is_resized(
    open_page: OpenPage, sender: Sender, expect: Expect
) -> None:
    sender.bulk(event("u", "Buy", "2026-02-01"))
    page = open_page()
    before = page.locator("#events svg").get_attribute("viewBox")
    page.set_viewport_size({"width": 500, "height": 900})
    expect(page.locator("#events svg")).not_to_have_attribute("viewBox", before)
    expect(page.locator("#events svg")).to_have_attribute("viewBox", re.compile(r"^0 0 4\d\d 246$"))


def test_all_controls_have_names_and_are_reachable_by_keyboard(
    open_page: OpenPage, sender: Sender, clock: FakeClock
) -> None:
    send_sample_traffic(sender, clock)
    page = open_page()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, summary, a, [role=img], [role=meter]")]
        .filter((node) => !(node.ariaLabel || node.labels?.length || node.textContent.trim()))
        .map((node) => node.outerHTML)"""
    )
    assert nameless == []
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert {"reset", "fault-kind", "fault-times", "Add", "How to connect", "Run now", "As a table"} <= reached


def test_the_screenshot_of_the_documentation(
    open_page: OpenPage, emulator: Emulator, sender: Sender, clock: FakeClock, expect: Expect, tmp_path: Path
) -> None:
    """With SCREENSHOTS=docs/images, this updates the screenshot in the documentation."""
    page = open_page()
    send_sample_traffic(sender, clock)
    counts = emulator.workspace.counts
    assert min(counts.throttled, counts.refused, counts.faulted, counts.firings, counts.file_runs) > 0
    expect(count(page, "Customer elements")).to_have_text(f"{counts.customers:,}")
    expect(count(page, "Events")).to_have_text(f"{counts.actions:,}")
    expect(count(page, "Requests")).to_have_text(f"{counts.requests:,}")
    expect(count(page, "Requests answered 429")).to_have_text(f"{counts.throttled:,}")
    by_day = [sum(map(number, row[1:])) for row in rows(page, "#events-table")]
    assert sum(by_day) == sum(counts.events_by_day.values())
    expect(page.locator("#connect")).not_to_have_attribute("open", "")
    page.mouse.move(0, 0)
    picture = page.screenshot(path=Path(os.environ.get("SCREENSHOTS") or tmp_path) / "emulator.png")
    assert picture.startswith(b"\x89PNG")
    assert page.evaluate("window.notReloaded") is True


def bar(page: Page, kind: str) -> dict[str, float]:
    rect = page.locator(f"#events rect.{kind}")
    return {name: float(rect.get_attribute(name) or 0) for name in ("x", "y", "width", "height")}


def number(text: str) -> int:
    return int(text.replace(",", ""))
