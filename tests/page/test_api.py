"""The endpoints of the page, asked over HTTP at Airflow's own API server."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
import requests

from tests.page.conftest import ADDRESS, HAS_STATE, Page

SYNC = "api/dags/customers/tasks/sync"
READABLE = [
    *("", "files/page.js", "files/page.css", "api/syncs", "api/imports", "api/events"),
    *(f"{SYNC}/runs", f"{SYNC}/state"),
]
CHANGING = [f"{SYNC}/watermark/reset", f"{SYNC}/changes/reset"]


@pytest.mark.parametrize("path", READABLE)
def test_without_a_session_every_endpoint_answers_401(page: Page, path: str) -> None:
    assert page.get(path, user=None).status_code == 401
    assert page.get(path).status_code == 200


def test_a_broken_session_shows_nothing(page: Page) -> None:
    page.tokens["nobody"] = "no-token"

    assert page.get("api/syncs", user="nobody").status_code in (401, 403)


def test_the_last_run_of_a_sync_has_its_counts(page: Page) -> None:
    customers = page.syncs()["customers"]
    newest, first = customers["runs"]

    assert (customers["task_id"], customers["kind"], customers["operator"]) == (
        "sync",
        "sync",
        "SqlToMoEngageOperator",
    )
    assert (first["accepted"], first["rejected"], first["new"], first["unchanged"]) == (2, 1, 2, 0)
    assert (newest["accepted"], newest["rejected"], newest["changed"], newest["unchanged"]) == (1, 1, 1, 1)
    assert newest["rejects"] == {"customer_id_refused": 1}
    assert newest["state"] == "success"
    assert newest["started_at"] <= newest["ended_at"]
    assert newest["rate"] == pytest.approx(newest["accepted"] / newest["elapsed_seconds"])
    assert 0 < newest["share_of_limit"] < 0.001


def test_a_failed_run_has_its_counts_although_it_returned_nothing(page: Page) -> None:
    [run] = page.syncs()["strict_customers"]["runs"]

    assert (run["state"], run["reports"], run["accepted"], run["rejected"]) == ("failed", 1, 2, 1)
    assert (run["rejects"], run["rejects_files"]) == ({"customer_id_refused": 1}, 1)
    assert run["rate"] > 0


def test_a_run_that_failed_before_it_read_anything_has_no_counts(page: Page) -> None:
    [run] = page.syncs()["unready_customers"]["runs"]

    assert (run["state"], run["reports"]) == ("failed", 0)
    assert "accepted" not in run


def test_the_reports_of_a_mapped_task_are_added_up(page: Page) -> None:
    payroll = page.syncs()["payroll"]
    [run] = payroll["runs"]

    assert (payroll["operator"], payroll["is_mapped"]) == ("OurImport", True)
    assert (run["instances"], run["reports"], run["accepted"]) == (3, 3, 3)


def test_each_instance_of_a_mapped_task_is_shown(page: Page) -> None:
    place = "api/dags/payroll/tasks/send"
    [run] = page.syncs()["payroll"]["runs"]
    query: dict[str, Any] = {"params": {"run_id": run["run_id"]}}
    found = page.get(f"{place}/instances", **query).json()

    assert (found["count"], found["run"]["accepted"]) == (3, 3)
    shown = [(row["map_index"], row["state"], row["accepted"]) for row in found["instances"]]
    assert shown == [(0, "success", 1), (1, "success", 1), (2, "success", 1)]
    assert page.get(f"{place}/instances", "narrow", **query).status_code == 403
    assert page.get(f"{place}/instances", params={"run_id": "other"}).status_code == 404


def test_each_instance_has_a_state_of_its_own(page: Page) -> None:
    whole, other = (page.json(f"{SYNC}/state?map_index={index}") for index in (-1, 0))

    assert (whole["changes"]["users"], other["changes"]) == (2, None)
    assert page.change(f"{SYNC}/changes/reset", confirm="sync", map_index=0).status_code == 409
    assert page.json(f"{SYNC}/state")["changes"]["users"] == 2


def test_only_tasks_of_this_provider_are_syncs(page: Page) -> None:
    expected = {"customers", "vip_customers", "strict_customers", "unready_customers", "orders", "payroll"}

    assert page.syncs().keys() == expected


def test_a_user_sees_only_the_dags_that_he_may_read(page: Page) -> None:
    assert page.syncs("narrow").keys() == {"customers"}
    assert page.get("api/dags/customers/tasks/sync/runs", "narrow").status_code == 200
    assert page.get("api/dags/payroll/tasks/send/runs", "narrow").status_code == 403


def test_who_may_not_read_xcoms_sees_no_counts(page: Page) -> None:
    syncs = page.syncs("blind")

    assert syncs["customers"]["runs"] is None
    assert syncs["payroll"]["runs"][0]["accepted"] == 3
    assert page.get("api/dags/customers/tasks/sync/runs", "blind").status_code == 403


def test_a_task_that_is_no_sync_has_no_runs_here(page: Page) -> None:
    for path in ("campaigns/tasks/start", "customers/tasks/other", "unrelated/tasks/nothing"):
        assert page.get(f"api/dags/{path}/runs").status_code == 404
    assert page.get("api/dags/no_such_dag/tasks/sync/runs").status_code == 403


def test_the_page_loads_nothing_from_elsewhere_and_is_in_no_other_sites_frame(page: Page) -> None:
    for path in READABLE:
        policy = page.get(path).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'self'" in policy
    for name in ("..%2fapp.py", "app.py", "index.html"):
        assert page.get(f"files/{name}").status_code == 404


def test_no_value_of_an_element_is_shown(page: Page) -> None:
    shown = page.get("api/syncs").text + page.get("api/dags/customers/tasks/sync/runs").text

    assert ADDRESS not in shown
    assert "90210" not in shown
    assert "user-1" not in shown


def test_airflow_lists_the_page_in_its_menu(page: Page) -> None:
    session = requests.Session()
    session.trust_env = False
    answer = session.get(
        f"{page.url}/api/v2/plugins", headers={"Authorization": f"Bearer {page.token('admin')}"}, timeout=60
    )
    [plugin] = [each for each in answer.json()["plugins"] if each["name"] == "moengage"]

    [view] = plugin["external_views"]
    assert (view["name"], view["href"], view["destination"]) == ("MoEngage", "/moengage/", "nav")


@pytest.mark.skipif(not HAS_STATE, reason="a sync by watermark needs Airflow 3.3 here")
def test_a_sync_of_events_counts_them(page: Page) -> None:
    [run] = page.syncs()["orders"]["runs"]

    assert (run["accepted"], run["events"], run["actions"]) == (1, 1, 1)


def rejects(page: Page, dag_id: str, user: str = "admin", run: int = 0, **more: Any) -> requests.Response:
    run_id = page.syncs()[dag_id]["runs"][run]["run_id"]
    return page.get(f"api/dags/{dag_id}/tasks/sync/rejects", user, params={"run_id": run_id, **more})


@pytest.mark.parametrize("dag_id", ["customers", "strict_customers"])
def test_rejects_are_shown_by_code_and_message_even_of_a_failed_run(page: Page, dag_id: str) -> None:
    found = rejects(page, dag_id).json()

    assert (found["rejects"], found["codes"]) == (1, {"customer_id_refused": 1})
    [message] = found["messages"]
    assert message["count"] == 1
    assert message["message"].startswith("customer_id: MoEngage treats this id as invalid")


def test_a_rejected_element_is_shown_without_its_values(page: Page) -> None:
    answer = rejects(page, "customers")

    [shown] = answer.json()["elements"]
    assert shown["position"] == 2
    assert shown["element"] == {
        "type": "customer",
        "customer_id": "text of 0",
        "attributes": {"email": f"text of {len(ADDRESS)}", "tier": "text of 6"},
    }
    assert ADDRESS not in answer.text


def test_rejects_need_the_permission_to_read_xcoms(page: Page) -> None:
    assert rejects(page, "customers", "blind").status_code == 403
    assert rejects(page, "strict_customers", "narrow").status_code == 403
    assert rejects(page, "customers", "narrow").status_code == 200
    assert page.get(f"{SYNC}/rejects?run_id=x", user=None).status_code == 401


def test_a_run_without_rejects_file_says_so(page: Page) -> None:
    answer = page.get(f"{SYNC}/rejects", params={"run_id": "../../../etc/passwd"})

    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "This run has no rejects file, or it was deleted",
    )


def test_a_file_import_is_shown_with_its_files(page: Page) -> None:
    tasks = {task["dag_id"]: task for task in page.json("api/imports")["imports"]}
    task = tasks["imports"]
    [run] = task["runs"]
    [triggered] = tasks["import_triggers"]["runs"]

    assert (triggered["import_id"], triggered["files"]) == ("hourly-users", None)
    assert (task["dag_id"], run["import_id"], run["state"]) == ("imports", "nightly-users", "success")
    [file] = run["files"]
    assert (file["file_name"], file["file_status"], file["total_rows"]) == ("users.csv", "SUCCESSFUL", 2_400)
    assert page.json("api/imports", "narrow") == {"imports": []}


def test_a_business_event_is_shown_with_its_quota(page: Page) -> None:
    found = page.json("api/events")
    [task] = found["events"]
    [run] = task["runs"]

    assert (run["event_name"], run["api_version"], run["status"]) == ("Tiers updated", "v1", "SUCCESS")
    used = [(row["window"], row["used"], row["quota"]) for row in found["quotas"]]
    assert used == [("an hour", 1, 50), ("a day", 1, 200)]
    assert page.json("api/events", "narrow") == {"events": [], "quotas": []}


@pytest.mark.parametrize("path", CHANGING)
def test_a_change_needs_a_session_its_permission_and_this_origin(page: Page, path: str) -> None:
    body = {"confirm": "sync"}
    own = {"Origin": page.url}

    assert page.ask("POST", path, None, json=body, headers=own).status_code == 401
    assert page.ask("POST", path, "viewer", json=body, headers=own).status_code == 403
    for headers in (
        {"Origin": "https://evil.example.com"},
        {"Origin": "null"},
        {**own, "Sec-Fetch-Site": "cross-site"},
        {"Referer": page.url},
    ):
        assert page.ask("POST", path, json=body, headers=headers).status_code == 403
    form = {**own, "Content-Type": "application/x-www-form-urlencoded"}
    assert page.ask("POST", path, data="confirm=sync", headers=form).status_code == 415
    assert page.get(path).status_code == 405
    assert page.json(f"{SYNC}/state")["changes"]["users"] == 2


def test_the_state_of_changed_rows_is_shown_and_reset_only_when_confirmed(page: Page) -> None:
    state = page.json(f"{SYNC}/state")
    assert state["changes"]["users"] == 2
    assert state["changes"]["run"].startswith("customers.sync, run manual__")
    assert (state["changes"]["unfinished"], state["may_reset_changes"]) == ("no", True)
    assert page.json(f"{SYNC}/state", "viewer")["may_reset_changes"] is False

    assert page.change(f"{SYNC}/changes/reset", confirm="other").status_code == 400
    assert page.json(f"{SYNC}/state")["changes"]["users"] == 2

    assert page.change(f"{SYNC}/changes/reset", "narrow", confirm="sync").json() == {"reset": True}
    assert page.json(f"{SYNC}/state")["changes"] is None
    assert page.change(f"{SYNC}/changes/reset", confirm="sync").status_code == 409
    assert ("moengage.reset_changes", "customers", "sync", "narrow") in audit_log(page)


@pytest.mark.skipif(not HAS_STATE, reason="a watermark needs Airflow 3.3")
def test_a_watermark_is_shown_and_reset_by_who_may_delete_the_state_of_its_asset(page: Page) -> None:
    place = "api/dags/orders/tasks/sync"
    [watermark] = page.json(f"{place}/state")["watermarks"]
    assert (watermark["asset"], watermark["may_reset"]) == ("orders", True)
    assert watermark["moment"].startswith("20")
    [seen] = page.json(f"{place}/state", "user")["watermarks"]
    assert seen["may_reset"] is False

    assert page.change(f"{place}/watermark/reset", "user", confirm="sync").status_code == 403
    assert page.change(f"{place}/watermark/reset", "op", confirm="sync").json() == {"reset": True}
    assert page.json(f"{place}/state")["watermarks"] == []
    assert page.change(f"{place}/watermark/reset", confirm="sync").status_code == 409
    assert ("moengage.reset_watermark", "orders", "sync", "op") in audit_log(page)


def audit_log(page: Page) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(page.airflow.home / "airflow.db")) as database:
        return database.execute("SELECT event, dag_id, task_id, owner FROM log").fetchall()
