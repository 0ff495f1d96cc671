from __future__ import annotations

import pytest
import requests

from airflow_provider_moengage.emulator import Fault

BUY = {"type": "event", "customer_id": "a", "actions": [{"action": "Buy"}]}


def customer(customer_id):
    return {"type": "customer", "customer_id": customer_id, "attributes": {}}


def test_summary_gives_the_counts(door):
    door.bulk(customer("a"), customer("guest"), BUY)
    summary = door.control("GET", "summary").json()

    assert summary["workspace_id"] == "EMULATOR"
    assert (summary["customers"], summary["events"], summary["users"]) == (2, 1, 1)
    assert (summary["dropped"], summary["events_by_day"]) == ({"guest": 1}, {"Buy": {"arrival": 1}})
    assert summary["pending_faults"] == 0


def test_control_requests_are_not_counted(door, workspace):
    door.control("GET", "summary")
    assert workspace.counts.requests == 0


def test_requests_can_be_read_from_where_one_left_off(door):
    for name in "abc":
        door.bulk(customer(name))

    records = door.control("GET", "requests?since=1").json()["requests"]
    assert [record["number"] for record in records] == [2, 3]
    assert (records[0]["status"], records[0]["accepted"], records[0]["elements"]) == (200, True, 1)


def test_elements_can_be_paged_through_across_requests(door):
    door.bulk(customer("a"), customer("b"))
    door.bulk(customer("c"))
    seen, since = [], 0
    while page := door.control("GET", f"elements?since={since}&limit=2").json():
        since = page["next"]
        if not page["elements"]:
            break
        seen.append([(it["request"], it["position"], it["element"]["customer_id"]) for it in page["elements"]])

    assert seen == [[(1, 0, "a"), (1, 1, "b")], [(2, 0, "c")]]
    assert since == 3


def test_paging_goes_on_after_elements_were_forgotten(door, workspace):
    workspace.configure(keep_elements=2)
    door.bulk(*map(customer, "abcd"))

    page = door.control("GET", "elements?since=1").json()
    assert [it["element"]["customer_id"] for it in page["elements"]] == ["c", "d"]
    assert page["next"] == 4


def test_a_fault_can_be_ordered_seen_and_forgotten(door, workspace):
    ordered = door.control("POST", "faults", {"kind": "status", "status": 503, "times": 2})
    assert ordered.status_code == 200
    assert workspace.faults == (Fault("status", times=2, status=503),)
    assert door.bulk(customer("a")).status_code == 503
    assert door.control("GET", "faults").json()["faults"][0]["times"] == 1

    assert door.control("DELETE", "faults").json() == {"faults": []}
    assert door.bulk(customer("a")).status_code == 200


@pytest.mark.parametrize(
    "payload", [{"kind": "nothing"}, {"kind": "status", "tmies": 2}, {"kind": "refuse"}, [], None]
)
def test_a_wrong_fault_is_400(door, workspace, payload):
    response = door.control("POST", "faults", payload)
    assert response.status_code == 400
    assert response.json()["error"].startswith("fault: ")
    assert workspace.faults == ()


def test_settings_can_be_read_and_changed(door, workspace):
    changed = door.control("POST", "settings", {"users_per_minute": None, "reset_header": "epoch"}).json()

    assert (changed["users_per_minute"], changed["reset_header"]) == (None, "epoch")
    assert door.control("GET", "settings").json() == changed
    assert workspace.settings.users_per_minute is None


@pytest.mark.parametrize(
    "payload",
    [
        {"users_per_minute": 0},
        {"users_per_minute": "many"},
        {"reset_header": "days"},
        {"nothing": 1},
        {"self": 1},
        7,
    ],
)
def test_a_wrong_setting_is_400_and_changes_nothing(door, workspace, payload):
    before = workspace.settings
    assert door.control("POST", "settings", payload).status_code == 400
    assert workspace.settings == before


def test_settings_show_no_key(door):
    assert "key" not in door.control("GET", "settings").text


def test_a_body_that_is_not_json_is_400(door):
    assert requests.post(f"{door.url}/_emulator/faults", data=b"{", timeout=5).status_code == 400


def test_a_since_that_is_no_number_is_400(door):
    response = door.control("GET", "requests?since=x")
    assert (response.status_code, "since" in response.json()["error"]) == (400, True)


def test_reset_forgets_all_but_the_settings(door, workspace):
    workspace.configure(users_per_minute=1)
    door.bulk(customer("a"))
    workspace.add_fault(Fault("status"))
    assert door.control("POST", "reset").status_code == 200

    assert (workspace.counts.requests, len(workspace.elements), workspace.faults) == (0, 0, ())
    assert workspace.settings.users_per_minute == 1
    assert door.bulk(customer("a")).status_code == 200


def test_health_and_the_home_page_answer(door):
    assert door.control("GET", "health").json() == {"status": "ok"}
    home = requests.get(door.url, timeout=5)
    assert home.headers["Content-Type"].startswith("text/plain")
    assert "/_emulator/summary" in home.text


def test_an_unknown_workspace_is_404(door):
    assert door.control("GET", "summary?workspace=NOBODY").status_code == 404
