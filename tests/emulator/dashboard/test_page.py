"""The page at ``/``, its files, and the JSON snapshot that it shows."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_moengage.emulator import BusinessEvent, Credentials, Emulator, Fault, FileImport, ImportFile
from airflow_provider_moengage.emulator.dashboard import statistics as statistics_module

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client
    from tests.emulator.fake_clock import FakeClock

START = 1_700_000_000


def customer(customer_id: str) -> dict[str, Any]:
    return {"type": "customer", "customer_id": customer_id, "attributes": {}}


def event(name: str = "Buy", current_time: Any = None, customer_id: str = "a") -> dict[str, Any]:
    timed = {} if current_time is None else {"current_time": current_time}
    return {"type": "event", "customer_id": customer_id, "actions": [{"action": name, **timed}]}


def get_snapshot(client: Client) -> Any:
    answer = client.control("GET", "picture")
    assert answer.status_code == 200
    return answer.json()


def test_the_page_loads_nothing_from_other_hosts(client: Client) -> None:
    page = requests.get(client.url, headers={"Accept": "text/html,*/*;q=0.8"}, timeout=5)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Vary"] == "Accept"
    policy = page.headers["Content-Security-Policy"].split("; ")
    assert "default-src 'none'" in policy
    assert {"script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert "unsafe" not in page.headers["Content-Security-Policy"]

    seen: set[str] = set()
    wanted = set(re.findall(r'(?:src|href)="(/_emulator/page/[^"]+)"', page.text))
    while wanted - seen:
        path = (wanted - seen).pop()
        seen.add(path)
        asset = requests.get(client.url + path, timeout=5)
        assert asset.status_code == 200, path
        assert asset.headers["X-Content-Type-Options"] == "nosniff"
        wanted |= {f"/_emulator/page/{name}" for name in re.findall(r'from "\./([^"]+)"', asset.text)}
        assert not re.search(r"https?://(?!www\.w3\.org/)", asset.text), path
    assert {path.rpartition(".")[2] for path in seen} == {"css", "js", "svg"}
    assert "http" not in page.text


def test_other_page_files_are_404(client: Client) -> None:
    for name in ("nothing.js", "../page.py", "..%2fpage.py", ""):
        assert requests.get(f"{client.url}/_emulator/page/{name}", timeout=5).status_code == 404


def test_the_snapshot_of_an_empty_workspace(client: Client) -> None:
    shown = get_snapshot(client)
    assert (shown["workspace_id"], shown["workspaces"][0], shown["now"]) == ("EMULATOR", "EMULATOR", START)
    assert (shown["counts"]["requests"], shown["counts"]["users"]) == (0, 0)
    assert shown["outcomes"] == {"well": 0, "throttled": 0, "refused": 0, "faulted": 0}
    assert (shown["events"]["bars"], shown["events"]["series"], shown["failures"]) == ([], [], [])
    assert (shown["fill"]["requests"], shown["fill"]["mean"]) == (0, 0)
    assert shown["file_imports"] == {"shown": [], "left_off": 0}


def test_snapshots_are_not_counted_as_requests(client: Client) -> None:
    get_snapshot(client)
    get_snapshot(client)
    assert get_snapshot(client)["counts"]["requests"] == 0


def test_customers_and_events_are_counted_by_name_and_day(client: Client, clock: FakeClock) -> None:
    clock.now = datetime(2026, 2, 1, tzinfo=UTC).timestamp()
    client.bulk(customer("a"), customer("b"), event("Buy", "2026-01-01T23:00:00Z"), event("Buy", "2026-01-03"))
    client.bulk(event("View", 1_767_225_600), event("View"), event("View", "soon"), event(customer_id="guest"))

    shown = get_snapshot(client)
    assert (shown["counts"]["customers"], shown["counts"]["actions"], shown["counts"]["users"]) == (2, 6, 2)
    assert shown["dropped"] == {"guest": 1}
    assert shown["events"] == {
        "unit": "day",
        "step": 1,
        "bars": ["2026-01-01", "2026-01-02", "2026-01-03"],
        "words": ["arrival", "unreadable"],
        "series": [
            {"name": "Buy", "total": 2, "counts": [1, 0, 1, 0, 0]},
            {"name": "View", "total": 3, "counts": [1, 0, 0, 1, 1]},
        ],
        "others": {"names": 0, "total": 0, "counts": [0, 0, 0, 0, 0]},
    }
    assert "events_by_day" not in shown["counts"]


def test_requests_are_counted_by_second_and_by_minute(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    workspace.configure(users_per_minute=3)
    client.bulk(customer("a"), customer("b"))
    client.bulk(customer("c"), customer("d"))
    clock.now += 2.5
    client.raw(b"{}")
    workspace.add_fault(Fault("status_after"))
    client.bulk(customer("e"))

    timeline = get_snapshot(client)["timeline"]
    assert timeline["second"]["columns"] == ["well", "throttled", "refused", "faulted", "elements", "polls"]
    assert timeline["second"]["rows"] == [[START, 1, 1, 0, 0, 2, 0], [START + 2, 0, 0, 1, 1, 1, 0]]
    assert timeline["minute"]["rows"] == [[START // 60 * 60, 1, 1, 1, 1, 3, 0]]

    clock.now = START + timeline["second"]["slots"]
    assert [row[0] for row in get_snapshot(client)["timeline"]["second"]["rows"]] == [START + 2]
    clock.now += 3
    shown = get_snapshot(client)
    assert shown["timeline"]["second"]["rows"] == []
    assert len(shown["timeline"]["minute"]["rows"]) == 1
    assert shown["outcomes"] == {"well": 1, "throttled": 1, "refused": 1, "faulted": 1}


def test_the_timeline_is_bounded_even_if_the_clock_goes_back(client: Client, clock: FakeClock) -> None:
    for _ in range(125):
        clock.now += 1
        client.bulk(customer("a"))
    rows = get_snapshot(client)["timeline"]["second"]["rows"]
    assert len(rows) == 120

    clock.now -= 10
    client.bulk(customer("a"))
    assert get_snapshot(client)["timeline"]["second"]["rows"][-1][1] == 2


def test_the_limits_show_the_usage_of_the_last_minute(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    workspace.configure(users_per_minute=10, events_per_minute=None)
    client.bulk(*map(customer, "abcd"), event())
    clock.now += 30
    client.bulk(customer("e"))
    assert get_snapshot(client)["limits"] == {
        "users": {"limit": 10, "used": 5, "frees_at": START + 60},
        "events": None,
    }

    clock.now += 30
    assert get_snapshot(client)["limits"]["users"]["used"] == 1


def test_failures_have_an_endpoint_a_reason_and_a_count(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    workspace.add_business_event(BusinessEvent("Sale", {"city": "string"}, ("c1",)))
    workspace.add_file_import(FileImport("i1", "Users"))
    for _ in range(2):
        client.bulk({"type": "customer", "attributes": {}})
    clock.now += 7
    client.bulk({"type": "customer", "attributes": {}})
    client.raw(b"{")
    client.trigger_v1("Nothing")
    client.trigger_v5("Sale", {"town": "Graz"})
    client.trigger_import("i1")
    client.trigger_import("i1")
    client.details(import_name=7)

    failures = [
        (it["endpoint"], it["outcome"], it["status"], it["reason"], it["count"])
        for it in get_snapshot(client)["failures"]
    ]
    why = "MissingAttributeError: customer_id not found in the payload (customer_id)"
    assert failures[0] == ("Bulk import", "refused", 400, why, 3)
    assert set(failures[1:]) == {
        ("Bulk import", "refused", 400, "Malformed JSON", 1),
        ("Business event, v1", "refused", 400, "Business event does not exists", 1),
        (
            "Business event, v5",
            "refused",
            400,
            "Wrong business event attribute passed in api request (event_attributes.town)",
            1,
        ),
        ("File import trigger", "refused", 400, "ALREADY_EXISTS: Import has run in the last 5 min.", 1),
        ("File import details", "refused", 400, "Unable to process the request", 1),
    }
    assert get_snapshot(client)["failures"][0]["last_at"] == START + 7


def test_429s_and_faults_are_separate_failures(client: Client, workspace: Workspace) -> None:
    workspace.configure(users_per_minute=1)
    client.bulk(*map(customer, "ab"))
    workspace.add_fault(Fault("status", status=503))
    workspace.add_fault(Fault("cut_after"))
    client.bulk(customer("a"))
    with pytest.raises(requests.ConnectionError):
        client.bulk(customer("a"))

    failures = {(it["outcome"], it["status"]): it["reason"] for it in get_snapshot(client)["failures"]}
    assert failures == {
        ("throttled", 429): "Rate Limits Exceeded: The workspace's limit for this minute is spent",
        ("faulted", 503): "answered with an error, not accepted",
        ("faulted", None): "accepted, then connection cut",
    }


def test_an_event_skipped_by_its_quota_is_a_failure(client: Client, workspace: Workspace) -> None:
    workspace.configure(v5_campaign_quota=[[1, 60]])
    workspace.add_business_event(BusinessEvent("Sale", campaigns=("c1",)))
    client.trigger_v5()
    client.trigger_v5()
    (failure,) = get_snapshot(client)["failures"]
    assert (failure["status"], failure["reason"]) == (200, "the quota is used up: nothing was started")


def test_above_the_bound_failures_are_counted_together(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics_module, "MAX_FAILURES", 1)
    client.raw(b"{")
    client.raw(b"")
    client.raw(b"[]")
    shown = [(it["endpoint"], it["reason"], it["count"]) for it in get_snapshot(client)["failures"]]
    assert shown == [("Bulk import", "Malformed JSON", 1), ("(others)", "(others)", 2)]


@pytest.mark.parametrize("limit", [1000, None])
def test_the_fill_counts_only_accepted_bodies(client: Client, workspace: Workspace, limit: int | None) -> None:
    workspace.configure(body_limit=limit, hard_body_limit=None)
    full = limit or 100_000
    blank = json.dumps({"type": "transition", "elements": [customer("")]}).encode()
    for share in (0.25, 0.26, 1.0):
        body = blank.replace(
            b'"customer_id": ""', b'"customer_id": "%s"' % (b"x" * int(full * share - len(blank)))
        )
        assert (len(body), client.raw(body).status_code) == (int(full * share), 200)
    client.raw(b"{" * 900)

    fill = get_snapshot(client)["fill"]
    assert (fill["requests"], fill["steps"], fill["limit"]) == (3, [0, 0, 2, 0, 0, 0, 0, 0, 0, 1], limit)
    assert fill["mean"] == pytest.approx((0.25 + 0.26 + 1) / 3)


def test_file_imports_show_their_runs_files_and_rows(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    late = ImportFile("late_{run}.csv", steps=((5, "QUEUED"), (6, "FAILED")), status_msg="no header", total_rows=7)
    workspace.add_file_import(FileImport("i1", "Users", files=(ImportFile("users_{run}.csv"), late)))
    workspace.add_file_import(FileImport("i2", "Gone", state="deleted"))
    client.trigger_import("i1")

    (shown,) = get_snapshot(client)["file_imports"]["shown"]
    assert (shown["import_id"], shown["import_name"], shown["runs_begun"]) == ("i1", "Users", 1)
    assert shown["opens_at"] == START + 300
    (run,) = shown["runs"]
    assert (run["number"], run["triggered"], run["status"]) == (1, True, "QUEUED")
    assert [(file["file_name"], file["status"], file["rows"]) for file in run["files"]] == [
        ("users_1.csv", "QUEUED", None)
    ]

    clock.now += 10
    (run,) = get_snapshot(client)["file_imports"]["shown"][0]["runs"]
    assert run["status"] == "PARTIAL_SUCCESS"
    assert run["files"][0]["rows"] == {"total": 100, "added": 100, "updated": 0, "failed": 0, "skipped": 0}
    assert (run["files"][1]["rows"]["failed"], run["files"][1]["message"]) == (7, "no header")

    clock.now += 290
    client.control("POST", "file_imports/run", {"import_id": "i1"})
    clock.now += 300
    (shown,) = get_snapshot(client)["file_imports"]["shown"]
    assert (shown["opens_at"], [run["number"] for run in shown["runs"]]) == (None, [2, 1])
    assert shown["runs"][0]["triggered"] is False


def test_the_number_of_file_imports_shown_is_bounded(client: Client, workspace: Workspace) -> None:
    files = tuple(ImportFile(f"users_{place}_{{run}}.csv") for place in range(12))
    for number in range(23):
        workspace.add_file_import(FileImport(f"i{number}", f"Import {number}", files=files))
    for _ in range(5):
        workspace.run_file_import("i0")

    shown = get_snapshot(client)["file_imports"]
    assert (len(shown["shown"]), shown["left_off"]) == (20, 3)
    first = shown["shown"][0]
    assert ([run["number"] for run in first["runs"]], first["runs_begun"]) == ([5, 4, 3], 5)
    assert (len(first["runs"][0]["files"]), first["runs"][0]["left_off"]) == (10, 2)


def test_business_events_show_firings_and_quotas(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    workspace.configure(v1_flow_quota=None)
    workspace.add_business_event(BusinessEvent("Sale", campaigns=("c1", "c2"), flows=("f1",)))
    workspace.add_business_event(BusinessEvent("Quiet"))
    client.trigger_v1()
    client.trigger_v5()

    shown = get_snapshot(client)
    assert shown["business_events"]["shown"][0] == {
        "name": "Sale",
        "defined": True,
        "campaigns": 2,
        "flows": 1,
        "fired": 2,
        "campaigns_started": 4,
        "last_at": START,
    }
    assert (shown["business_events"]["shown"][1]["name"], shown["counts"]["firings"]) == ("Quiet", 2)
    assert [(it["name"], it["limit"], it["seconds"], it["used"]) for it in shown["quotas"]] == [
        ("v1 triggers", 50, 3600, 1),
        ("v1 triggers", 200, 86400, 1),
        ("v5 campaigns", 10, 300, 2),
        ("v5 campaigns", 50, 3600, 2),
        ("v5 campaigns", 200, 86400, 2),
        ("v5 flows", 3, 3600, 1),
        ("v5 flows", 10, 86400, 1),
    ]
    clock.now += 300
    assert [it["used"] for it in get_snapshot(client)["quotas"]] == [1, 1, 0, 2, 2, 1, 1]
    client.control("DELETE", "business_events")
    assert [(it["name"], it["defined"]) for it in get_snapshot(client)["business_events"]["shown"]] == [
        ("Sale", False)
    ]


def test_the_snapshot_has_pending_faults_until_a_reset(client: Client, workspace: Workspace) -> None:
    client.control("POST", "faults", {"kind": "html", "times": 2})
    assert [(it["kind"], it["times"]) for it in get_snapshot(client)["faults"]] == [("html", 2)]

    client.bulk(customer("a"), event("Buy", "2026-01-01"))
    client.control("POST", "reset")
    shown = get_snapshot(client)
    assert (shown["faults"], shown["failures"], shown["events"]["series"]) == ([], [], [])
    assert (sum(shown["outcomes"].values()), shown["timeline"]["second"]["rows"]) == (0, [])


def test_last_returns_only_the_last_elements(client: Client, workspace: Workspace) -> None:
    workspace.configure(keep_elements=4)
    client.bulk(*map(customer, "abc"))
    client.bulk(*map(customer, "def"))

    def last(count: int) -> list[tuple[int, int, str]]:
        elements = client.control("GET", f"elements?last={count}").json()["elements"]
        return [(it["request"], it["position"], it["element"]["customer_id"]) for it in elements]

    assert last(2) == [(2, 1, "e"), (2, 2, "f")]
    assert [it[2] for it in last(100)] == ["c", "d", "e", "f"]
    assert last(0) == []
    assert client.control("GET", "elements?last=x").status_code == 400
    workspace.configure(keep_elements=0)
    assert last(3) == []


def test_the_last_elements_have_their_original_text(client: Client) -> None:
    sent = [
        '{"type":"customer", "customer_id":"a","attributes":{"n":9007199254740993,"x":1.0,"u":"\\u00fc"}}',
        '{"type": "customer",\n "customer_id": "ü", "attributes": {"n": 1E2}}',
    ]
    body = f'{{"elements": [{sent[0]},\n{sent[1]}], "type": "transition"}}'
    assert client.raw(body.encode()).status_code == 200
    elements = client.control("GET", "elements?last=2").json()["elements"]
    assert [it["text"] for it in elements] == sent
    assert [it["element"] for it in elements] == [json.loads(text) for text in sent]


def test_each_workspace_has_its_own_snapshot_and_keys() -> None:
    with Emulator() as emulator:
        emulator.add_workspace(Credentials("OTHER", "it's another key"))
        body = {"type": "transition", "elements": [customer("a")]}
        url = f"{emulator.url}/v1/transition/OTHER"
        assert requests.post(url, json=body, auth=("OTHER", "it's another key"), timeout=5).status_code == 200

        def get(name: str) -> Any:
            return requests.get(f"{emulator.url}/_emulator/{name}", timeout=5).json()

        assert get("picture")["counts"]["customers"] == 0
        other = get("picture?workspace=OTHER")
        assert (other["counts"]["customers"], other["workspaces"]) == (1, ["EMULATOR", "OTHER"])
        shown = get("connection?workspace=OTHER")
        assert (shown["workspace_id"], shown["data_api_key"], shown["url"]) == (
            "OTHER",
            "it's another key",
            emulator.url,
        )
        assert "another key" not in json.dumps(other)


def test_the_curl_command_and_the_connection_work_in_a_shell() -> None:
    """Both are quoted for a shell, even if a key contains a quotation mark."""
    with Emulator(credentials=Credentials("W 1", "it's a key", 'say "no"')) as emulator:
        shown = requests.get(f"{emulator.url}/_emulator/connection", timeout=5).json()
        script = f"export {shown['airflow']}; printenv AIRFLOW_CONN_MOENGAGE_DEFAULT"
        read = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
        assert json.loads(read) == {
            "conn_type": "moengage",
            "login": "W 1",
            "password": "it's a key",
            "host": emulator.url,
            "extra": {"campaign_api_key": 'say "no"'},
        }
        script = "curl() { for word; do printf '%s\\n' \"$word\"; done; }\n" + shown["curl"]
        words = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        url, flag, login, _, header, _, body = words
        workspace_id, _, key = login.partition(":")
        assert (flag, header) == ("-u", "Content-Type: application/json")
        sent = requests.post(
            url, data=body, auth=(workspace_id, key), headers=dict([header.split(": ")]), timeout=5
        )
        assert sent.status_code == 200
        assert emulator.workspace.counts.customers == 1


def test_the_connection_has_the_address_of_the_request(client: Client) -> None:
    port = client.url.rpartition(":")[2]
    shown = requests.get(f"http://localhost:{port}/_emulator/connection", timeout=5).json()
    assert shown["url"] == f"http://localhost:{port}"
    assert shown["curl"].startswith(f"curl http://localhost:{port}/v1/transition/EMULATOR ")
