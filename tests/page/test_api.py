"""The endpoints of the page, asked over HTTP at Airflow's own API server."""

from __future__ import annotations

import pytest

from tests.page.conftest import ADDRESS, HAS_STATE, Page

READABLE = ["", "files/page.js", "files/page.css", "api/syncs", "api/dags/customers/tasks/sync/runs"]


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


def test_a_failed_run_is_shown_although_it_returned_nothing(page: Page) -> None:
    [run] = page.syncs()["strict_customers"]["runs"]

    assert (run["state"], run["reports"]) == ("failed", 0)
    assert "accepted" not in run


def test_the_reports_of_a_mapped_task_are_added_up(page: Page) -> None:
    payroll = page.syncs()["payroll"]
    [run] = payroll["runs"]

    assert (payroll["operator"], payroll["is_mapped"]) == ("OurImport", True)
    assert (run["instances"], run["reports"], run["accepted"]) == (3, 3, 3)


def test_only_tasks_of_this_provider_are_syncs(page: Page) -> None:
    expected = {"customers", "strict_customers", "orders", "payroll"}

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
    import requests

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
