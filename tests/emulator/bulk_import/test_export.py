"""``POST /v1/customers/export`` of the emulator: profiles, as elements have made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.emulator.bulk_import.profiles import Profile
from tests.emulator.client import WORKSPACE_ID

if TYPE_CHECKING:
    import requests

    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client
    from tests.emulator.fake_clock import FakeClock

DAY = 86_400


def customer(user: str = "ann", attributes: Any = None, **fields: Any) -> dict[str, Any]:
    return {"type": "customer", "customer_id": user, "attributes": attributes or {}, **fields}


def export(client: Client, *users: str, fields: Any = None, app: str = WORKSPACE_ID) -> requests.Response:
    data: dict[str, Any] = {
        "identifiers": [{"identifier_type": "customer_id", "identifier": each} for each in users]
    }
    if fields is not None:
        data["user_fields_to_export"] = fields
    return client.raw(msgspec.json.encode({"data": data}), path=f"/v1/customers/export?app_id={app}")


def attributes(client: Client, user: str = "ann") -> Any:
    [found] = export(client, user).json()["data"]["users"]
    return found["user_attributes"]


def error_type(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["type"]


def test_users_who_exist_are_told_apart_from_others(client: Client) -> None:
    client.bulk(customer("ann", {"tier": "gold"}), customer("bea"))

    data = export(client, "ann", "bea", "nobody").json()["data"]

    assert data["users"] == [
        {"user_attributes": {"uid": "ann", "tier": "gold"}},
        {"user_attributes": {"uid": "bea"}},
    ]
    assert data["users_not_found"] == [{"identifier_type": "customer_id", "identifier": "nobody"}]


def test_users_not_found_may_be_ids(client: Client, workspace: Workspace) -> None:
    workspace.configure(export_not_found="ids")

    assert export(client, "nobody").json()["data"] == {"users": [], "users_not_found": ["nobody"]}


def test_only_the_fields_that_are_asked_for_are_returned(client: Client) -> None:
    client.bulk(customer("ann", {"tier": "gold", "city": "Graz"}))

    found = export(client, "ann", fields=["city", "uid", "none"]).json()["data"]["users"]

    assert found == [{"user_attributes": {"city": "Graz", "uid": "ann"}}]


def test_a_later_element_changes_what_it_names(client: Client) -> None:
    client.bulk(customer("ann", {"tier": "gold", "city": "Graz"}))
    assert attributes(client)["tier"] == "gold"
    client.bulk(customer("ann", {"tier": "silver", "city": None}))

    assert attributes(client) == {"uid": "ann", "tier": "silver", "city": "Graz"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"note": "x" * 600}, {"note": "x" * 512}),
        ({"n" * 250: 1}, {"n" * 200: 1}),
        ({"link": "https://example.com/" + "x" * 512}, {}),
        ({"tags": ["a"] * 60}, {"tags": ["a"] * 50}),
        ({"tags": ["y" * 600, 1]}, {"tags": ["y" * 512, 1]}),
        ({"user_id": "7", "_id": "8", "platforms": []}, {}),
        ({"number": 1.5, "flag": True, "object": {"a": 1}}, {"number": 1.5, "flag": True, "object": {"a": 1}}),
    ],
)
def test_what_moengage_cuts_or_ignores_is_cut_or_ignored(client: Client, given: Any, kept: Any) -> None:
    client.bulk(customer("ann", given))

    assert attributes(client) == {"uid": "ann", **kept}


def test_lists_are_edited(client: Client) -> None:
    client.bulk(customer("ann", {"tags": ["a", "b"]}))
    client.bulk(customer("ann", {"addValueToArrayField": {"tags": "c", "new": ["d"]}}))
    client.bulk(customer("ann", {"removeValueFromArrayField": {"tags": ["a"]}}))

    assert attributes(client) == {"uid": "ann", "tags": ["b", "c"], "new": ["d"]}


def test_some_attributes_are_written_once(client: Client) -> None:
    client.bulk(customer("ann", {"cr_t": "2026-01-01"}))
    client.bulk(customer("ann", {"cr_t": "2026-02-02"}))

    assert attributes(client)["cr_t"] == "2026-01-01"


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        ({"type": "equals", "attr": "tier", "case_sensitive": True}, {"Town", "town_id"}),
        ({"type": "prefix", "attr": "town", "case_sensitive": False}, {"tier"}),
        ({"type": "suffix", "attr": "id"}, {"tier", "Town"}),
        ({"type": "contains", "attr": "o"}, {"tier"}),
    ],
)
def test_attributes_are_unset(client: Client, condition: Any, left: set[str]) -> None:
    client.bulk(customer("ann", {"tier": 1, "Town": 2, "town_id": 3}))
    client.bulk(customer("ann", unset_attributes=[condition]))

    assert attributes(client).keys() - {"uid"} == left


@pytest.mark.parametrize("unset", ["nothing", ["nothing"], [{"type": "strange", "attr": "tier"}]])
def test_conditions_of_another_form_unset_nothing(unset: Any) -> None:
    profile = Profile({"tier": 1})

    profile.set({"unset_attributes": unset})

    assert profile.attributes == {"tier": 1}


def test_a_user_is_not_created_by_an_element_for_existing_users(client: Client, workspace: Workspace) -> None:
    client.bulk(customer("ann", update_existing_only=True), customer("guest"), customer("", {"u_em": "a@b.c"}))

    assert export(client, "ann", "guest").json()["data"]["users"] == []
    assert workspace.counts.users == 0


def test_elements_of_users_without_an_id_make_no_profile(client: Client, workspace: Workspace) -> None:
    workspace.configure(identifiers=["u_em"])
    client.bulk({"type": "customer", "attributes": {"u_em": "a@b.c"}})

    assert export(client, "a@b.c").json()["data"]["users"] == []


def test_devices_and_events_belong_to_the_user(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    device = {"platform": "iOS", "push_id": "p"}
    actions = [{"action": "Seen", "current_time": clock.now}, {"action": "Later", "current_time": clock.now + DAY}]
    client.bulk(
        {"type": "device", "customer_id": "ann", "device_id": "d", "attributes": device},
        {"type": "event", "customer_id": "ann", "actions": actions},
    )

    user = workspace.find_user("ann")

    assert user is not None
    assert user.devices == {"d": device}
    assert list(user.events) == [{"name": "Seen", "time": clock.now, "attributes": {}}]
    assert user.event_count == 1


def test_the_control_api_shows_a_user(client: Client) -> None:
    client.bulk(customer("ann", {"tier": "gold"}))

    shown = client.control("GET", "users?id=ann").json()["user"]

    assert shown == {
        "attributes": {"uid": "ann", "tier": "gold"},
        "devices": {},
        "events": [],
        "event_count": 0,
    }
    assert client.control("GET", "users?id=nobody").json() == {"user": None}
    assert client.control("GET", "users").status_code == 400


def test_a_deleted_user_is_not_found_after_a_day(client: Client, clock: FakeClock) -> None:
    client.bulk(customer("ann", {"tier": "gold"}), customer("bea"))
    body = msgspec.json.encode({"identity_type": "customer_id", "identity_value": "ann"})
    client.raw(body, path=f"/v1/customer/delete?app_id={WORKSPACE_ID}")
    clock.now += DAY - 1
    assert len(export(client, "ann", "bea").json()["data"]["users"]) == 2
    client.bulk(customer("ann", {"tier": "silver"}))
    clock.now += 1

    assert export(client, "ann", "bea").json()["data"]["users"] == [{"user_attributes": {"uid": "bea"}}]
    client.bulk(customer("ann", {"city": "Graz"}))
    assert attributes(client) == {"uid": "ann", "city": "Graz"}


def test_an_element_may_be_ingested_later_than_accepted(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    workspace.configure(ingestion_seconds=60)
    client.bulk(customer("ann"))
    assert export(client, "ann").json()["data"]["users"] == []
    clock.now += 60

    assert attributes(client) == {"uid": "ann"}


def test_a_user_whose_elements_are_not_kept_exists(client: Client, workspace: Workspace) -> None:
    workspace.configure(keep_elements=1)
    client.bulk(customer("ann", {"tier": "gold"}))
    client.bulk(customer("bea", {"tier": "gold"}))

    assert attributes(client, "ann") == {"uid": "ann"}
    assert attributes(client, "bea") == {"uid": "bea", "tier": "gold"}


def test_more_than_20_users_are_refused(client: Client) -> None:
    assert export(client, *map(str, range(20))).status_code == 200
    assert error_type(export(client, *map(str, range(21)))) == (400, "LimitBreached")


def test_1000_users_a_minute_are_read(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    assert workspace.settings.export_quota == ((1_000, 60),)
    workspace.configure(export_quota=[[3, 60]], retry_after="seconds")
    assert [export(client, "a", "b").status_code for _ in range(2)] == [200, 429]

    throttled = export(client, "a", "b")

    assert throttled.headers["retry-after"] == "60"
    assert throttled.json()["error"]["type"] == "Rate Limits Exceeded"
    clock.now += 60
    assert export(client, "a", "b").status_code == 200


def test_it_has_to_be_enabled(client: Client, workspace: Workspace) -> None:
    workspace.configure(export_enabled=False)

    assert error_type(export(client, "ann")) == (403, "Forbidden")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", "Malformed JSON"),
        (b"[]", "MissingAttributeError"),
        (b"{}", "MissingAttributeError"),
        (b'{"data":{}}', "MissingAttributeError"),
        (b'{"data":{"identifiers":[{"identifier_type":"email","identifier":"a"}]}}', "ValueError"),
        (b'{"data":{"identifiers":[{"identifier_type":"customer_id","identifier":""}]}}', "MissingAttributeError"),
    ],
)
def test_a_wrong_body_is_refused(client: Client, body: bytes, error: str) -> None:
    path = f"/v1/customers/export?app_id={WORKSPACE_ID}"

    assert error_type(client.raw(body, path=path)) == (400, error)


def test_another_workspace_is_refused(client: Client) -> None:
    assert export(client, "ann", app="OTHER").status_code == 401


def test_an_id_of_moengage_is_not_found(client: Client) -> None:
    body = b'{"data":{"identifiers":[{"identifier_type":"moengage_id","identifier":"ann"}]}}'
    client.bulk(customer("ann"))

    found = client.raw(body, path=f"/v1/customers/export?app_id={WORKSPACE_ID}").json()["data"]

    assert found["users"] == []


def test_faults_hit_it(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("refuse", customer_id="ann"))
    assert export(client, "ann").status_code == 400
    workspace.add_fault(Fault("status", status=429, path="/v1/customers/export"))
    assert error_type(export(client, "ann")) == (429, "Rate Limits Exceeded")


def test_a_reset_forgets_profiles(client: Client, workspace: Workspace) -> None:
    client.bulk(customer("ann"))
    workspace.reset()

    assert workspace.find_user("ann") is None


@pytest.mark.parametrize("name", ["ingestion_seconds", "file_cooldown_seconds"])
def test_a_negative_duration_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} -1"):
        workspace.configure(**{name: -1})
