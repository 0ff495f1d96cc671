"""Triggers of business events, v1 and v5: their effects and their error responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_moengage.emulator import BusinessEvent, Fault

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator import Workspace
    from airflow_provider_moengage.emulator.business_events.definitions import AttributeType
    from airflow_provider_moengage.emulator.faults import FaultKind
    from tests.emulator.client import Client

ATTRIBUTES: dict[str, AttributeType] = {
    "city": "string",
    "price": "number",
    "final": "boolean",
    "ends_at": "datetime",
}
TRACE = "550e8400-e29b-41d4-a716-446655440000"
VERSIONS = ["trigger_v1", "trigger_v5"]


@pytest.fixture(autouse=True)
def sale(workspace: Workspace) -> None:
    workspace.add_business_event(BusinessEvent("Sale", ATTRIBUTES, ("c1", "c2"), ("f1",)))


def v1_error(response: requests.Response) -> tuple[str, list[dict[str, Any]]]:
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], len(error["request_id"])) == ("400 Bad Request", 24)
    return error["message"], error["details"]


def v5_error(response: requests.Response, status: int = 400) -> Any:
    assert response.status_code == status
    assert sorted(response.json()) == ["error", "response_id"]
    return response.json()["error"]


def test_v1_starts_all_attached_campaigns_and_flows(client: Client, workspace: Workspace) -> None:
    values = {"city": "Graz", "price": 3.5, "final": True, "ends_at": "2026-08-03T09:12:00Z"}
    response = client.trigger_v1("Sale", values, triggered_by="ops@example.com")

    assert (response.status_code, response.json()) == (200, {"message": "The business event has been triggered"})
    (firing,) = workspace.firings
    assert (firing.number, firing.version, firing.event_name) == (1, "v1", "Sale")
    assert (firing.event_attributes, firing.triggered_by) == (values, "ops@example.com")
    assert (firing.campaign_ids, firing.flow_ids) == (("c1", "c2"), ("f1",))
    counts = workspace.counts
    assert (counts.firings, counts.campaigns_started, counts.flows_started) == (1, 2, 1)
    assert (counts.requests, counts.accepted_requests, counts.elements) == (1, 1, 0)
    assert workspace.requests[0].accepted


def test_v5_starts_all_attached_campaigns_and_flows(client: Client, workspace: Workspace) -> None:
    response = client.trigger_v5("Sale", {"price": 3})

    assert response.status_code == 200
    body = response.json()
    assert len(body.pop("response_id")) == 12
    assert body == {
        "type": "business-event",
        "data": {
            "triggered_status": "SUCCESS",
            "message": "The business event has been triggered",
            "summary": {"total": 3, "triggered": 3, "failed": 0},
            "triggered_campaign_ids": ["c1", "c2"],
            "failed_campaign_ids": [],
            "triggered_flow_ids": ["f1"],
            "failed_flow_ids": [],
        },
    }
    (firing,) = workspace.firings
    assert (firing.version, firing.triggered_by, firing.campaign_ids) == ("v5", "ops@example.com", ("c1", "c2"))


def test_v5_accepts_a_trigger_without_attributes(client: Client, workspace: Workspace) -> None:
    body = b'{"event_name": "Sale", "triggered_by": "ops@example.com"}'
    auth = ("EMULATOR", "emulator-campaign-key")
    assert client.raw(body, path="/v5/business-events/triggers", auth=auth).status_code == 200
    assert workspace.firings[0].event_attributes == {}


@pytest.mark.parametrize(
    ("body", "header", "response_id", "echoed"),
    [
        (TRACE, None, TRACE, TRACE),
        (None, "trace", "trace", "trace"),
        (TRACE, "trace", TRACE, "trace"),
    ],
)
def test_v5_echoes_the_request_id(
    client: Client, workspace: Workspace, body: str | None, header: str | None, response_id: str, echoed: str
) -> None:
    fields = {"moe_request_id": body} if body else {}
    response = client.trigger_v5(headers={"X-MOE-Request-Id": header} if header else None, **fields)

    assert (response.json()["response_id"], response.headers["X-MOE-Request-Id"]) == (response_id, echoed)
    assert workspace.firings[0].request_id == response_id


def test_v5_echoes_the_request_id_of_a_refused_trigger(client: Client) -> None:
    assert client.trigger_v5("Nothing", moe_request_id=TRACE).json()["response_id"] == TRACE


def test_the_request_id_is_not_an_idempotency_key(client: Client, workspace: Workspace) -> None:
    for _ in range(2):
        client.trigger_v5(moe_request_id=TRACE)
    assert workspace.counts.firings == 2


@pytest.mark.parametrize("trigger", VERSIONS)
def test_the_data_key_is_401_unless_one_key_serves_both(
    client: Client, workspace: Workspace, trigger: str
) -> None:
    data_key = ("EMULATOR", "emulator-data-key")
    assert getattr(client, trigger)(auth=data_key).status_code == 401
    assert client.list_events().status_code == 200
    assert workspace.counts.firings == 0

    workspace.configure(one_key=True)
    assert getattr(client, trigger)(auth=data_key).status_code == 200
    assert getattr(client, trigger)().status_code == 200
    assert workspace.counts.firings == 2


def test_the_message_of_a_v1_401_is_an_object_or_a_list(client: Client) -> None:
    def refused(auth: tuple[str, str] | None) -> tuple[str, Any]:
        client.session.auth = None
        response = client.trigger_v1(auth=auth)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "401 Authentication error"
        (detail,) = response.json()["error"]["details"]
        return detail["target"], detail["message"]

    target, message = refused(None)
    assert (target, message["code"]) == ("Authorization", "MissingValue")
    assert refused(("NOBODY", "key"))[1][0]["message"] == "Invalid APP_ID is provided."
    assert refused(("EMULATOR", "wrong"))[1][0]["message"] == "Invalid APP_SECRET_KEY is provided."


def test_a_v5_401_has_an_error_code(client: Client) -> None:
    wrong = v5_error(client.trigger_v5(auth=("EMULATOR", "wrong")), 401)
    client.session.auth = None
    missing = v5_error(client.trigger_v5(auth=None), 401)

    assert wrong["code"] == missing["code"] == "AUTHENTICATION_REQUIRED"
    assert missing["message"] == "Workspace ID and API key are missing from the Authorization header."
    assert "details" not in missing


def test_an_unknown_event_is_400(client: Client, workspace: Workspace) -> None:
    message, (detail,) = v1_error(client.trigger_v1("Nothing"))
    assert message == "Business event does not exists"
    assert (detail["target"], detail["message"]) == ("event_name", "Business event does not exist")

    error = v5_error(client.trigger_v5("Nothing"))
    assert (error["code"], error["target"]) == ("VALIDATION_FAILED", "event_name")
    assert error["message"] == "Business event does not exists"
    assert (workspace.counts.firings, workspace.counts.refused) == (0, 2)


def test_an_unknown_attribute_is_400(client: Client) -> None:
    message, (detail,) = v1_error(client.trigger_v1("Sale", {"colour": "red"}))
    assert message == "Wrong business event attribute passed in api request"
    assert detail["target"] == "colour"

    error = v5_error(client.trigger_v5("Sale", {"colour": "red"}))
    assert (error["message"], error["target"]) == (message, "event_attributes.colour")


@pytest.mark.parametrize(
    ("name", "value", "got"),
    [
        ("city", 1, "number"),
        ("city", None, "null"),
        ("price", "3.5", "string"),
        ("price", True, "boolean"),
        ("final", "true", "string"),
        ("ends_at", 1_700_000_000, "number"),
        ("ends_at", "03/08/2026", "string"),
        ("ends_at", "2026-13-01", "string"),
        ("city", ["Graz"], "array"),
        ("city", {}, "object"),
    ],
)
def test_an_attribute_of_the_wrong_type_is_400(
    client: Client, workspace: Workspace, name: str, value: Any, got: str
) -> None:
    _, (detail,) = v1_error(client.trigger_v1("Sale", {name: value}))
    assert detail["target"] == [name]
    assert detail["message"] == f"['{name}'] - Wrong Attribute data type is passed : '{got}'"

    error = v5_error(client.trigger_v5("Sale", {name: value}))
    assert error["message"] == "One or more fields failed validation."
    expected = f"Expected {ATTRIBUTES[name]}, got {got}."
    field = f"event_attributes.{name}"
    assert error["details"] == [{"field": field, "issue": "INVALID_TYPE", "message": expected}]
    assert workspace.counts.firings == 0


@pytest.mark.parametrize("value", ["2026-08-03", "2026-08-03T09:12:00Z", "2026-08-03T09:12:00.123456Z"])
def test_the_documented_datetime_formats_are_accepted(client: Client, value: Any) -> None:
    assert client.trigger_v1("Sale", {"ends_at": value}).status_code == 200


def test_all_wrong_attributes_are_named(client: Client) -> None:
    wrong = {"price": "3", "colour": "red"}
    assert len(v1_error(client.trigger_v1("Sale", wrong))[1]) == 2
    assert len(v5_error(client.trigger_v5("Sale", wrong))["details"]) == 2


def test_v5_details_have_both_documented_formats(client: Client, workspace: Workspace) -> None:
    workspace.configure(v5_details="target")
    (detail,) = v5_error(client.trigger_v5("Nothing"))["details"]
    assert detail == {
        "code": "INVALID_VALUE",
        "target": "event_name",
        "message": "Business event does not exists",
    }


def test_an_event_without_a_schema_accepts_any_attribute(client: Client, workspace: Workspace) -> None:
    workspace.add_business_event(BusinessEvent("Any", None, ("c1",)))
    assert client.trigger_v1("Any", {"x": [None]}).status_code == 200


def test_v1_refuses_an_event_without_campaigns(client: Client, workspace: Workspace) -> None:
    workspace.add_business_event(BusinessEvent("Idle"))
    message, (detail,) = v1_error(client.trigger_v1("Idle"))

    assert message == detail["message"] == "No active campaign found for business event name"
    assert workspace.counts.firings == 0


def test_v5_returns_200_failure_for_an_event_without_campaigns(client: Client, workspace: Workspace) -> None:
    workspace.add_business_event(BusinessEvent("Idle"))
    response = client.trigger_v5("Idle")

    assert (response.status_code, response.json()["data"]["triggered_status"]) == (200, "FAILURE")
    assert response.json()["data"]["summary"] == {"total": 0, "triggered": 0, "failed": 0}
    assert (workspace.counts.firings, workspace.counts.refused) == (0, 1)
    assert not workspace.requests[0].accepted


@pytest.mark.parametrize("address", ["ops", "ops@example", "a b@example.com", ""])
def test_triggered_by_must_be_an_email_address(client: Client, address: str) -> None:
    _, (detail,) = v1_error(client.trigger_v1(triggered_by=address))
    assert (detail["target"], detail["message"]) == (
        "triggered_by",
        f"triggered_by - Invalid email address : '{address}'",
    )
    assert v5_error(client.trigger_v5(triggered_by=address))["target"] == "triggered_by"


@pytest.mark.parametrize(
    ("trigger", "body", "target"),
    [
        ("v1", '{"event_attributes": {}}', "event_name"),
        ("v1", '{"event_name": "Sale"}', "event_attributes"),
        ("v1", '{"event_name": "Sale", "event_attributes": null}', "event_attributes"),
        ("v1", '{"event_name": "Sale", "event_attributes": []}', "event_attributes"),
        ("v1", '{"event_name": 1, "event_attributes": {}}', "event_name"),
        ("v1", '{"event_name": "Sale", "event_attributes": {}, "more": 1}', "more"),
        ("v1", "[]", "body"),
        ("v1", "{", "body"),
        ("v5", '{"triggered_by": "ops@example.com"}', "event_name"),
        ("v5", '{"event_name": "Sale"}', "triggered_by"),
        ("v5", '{"event_name": "Sale", "triggered_by": "a@b.co", "event_attributes": null}', "event_attributes"),
        ("v5", '{"event_name": "Sale", "triggered_by": "a@b.co", "event_attributes": 1}', "event_attributes"),
        ("v5", '{"event_name": "Sale", "triggered_by": "a@b.co", "moe_request_id": "x"}', "moe_request_id"),
        ("v5", "[]", "body"),
        ("v5", "{", "body"),
    ],
)
def test_the_error_for_an_invalid_body_names_the_field(
    client: Client, workspace: Workspace, trigger: str, body: str, target: str
) -> None:
    path = {"v1": "/v1.0/business_event/trigger", "v5": "/v5/business-events/triggers"}[trigger]
    response = client.raw(body.encode(), path=path, auth=("EMULATOR", "emulator-campaign-key"))

    if trigger == "v1":
        assert v1_error(response)[1][0]["target"] == target
    else:
        assert v5_error(response)["details"][0]["field"] == target
    assert workspace.counts.firings == 0


@pytest.mark.parametrize("path", ["/v1.0/business_event/trigger", "/v5/business-events/triggers"])
def test_other_content_types_are_415_and_large_bodies_are_413(client: Client, path: str) -> None:
    auth = ("EMULATOR", "emulator-campaign-key")
    assert client.raw(b"{}", path=path, auth=auth, headers={"Content-Type": "text/plain"}).status_code == 415
    assert client.raw(b" " * 131_073, path=path, auth=auth).status_code == 413


@pytest.mark.parametrize("trigger", VERSIONS)
def test_a_trigger_takes_effect_if_its_response_is_lost(
    client: Client, workspace: Workspace, trigger: str
) -> None:
    workspace.add_fault(Fault("cut_after", path="/v"))
    workspace.add_fault(Fault("status_after", status=504))

    with pytest.raises(requests.ConnectionError):
        getattr(client, trigger)()
    assert workspace.counts.firings == 1
    assert getattr(client, trigger)().status_code == 504
    assert workspace.counts.firings == 2
    assert [(record.status, record.accepted) for record in workspace.requests] == [(None, True), (504, True)]


@pytest.mark.parametrize("trigger", VERSIONS)
def test_a_trigger_takes_effect_if_the_client_gave_up(client: Client, workspace: Workspace, trigger: str) -> None:
    workspace.add_fault(Fault("slow", seconds=30))

    with pytest.raises(requests.Timeout):
        getattr(client, trigger)(timeout=0.05)
    client.session.close()
    assert getattr(client, trigger)().status_code == 200
    assert workspace.counts.firings == 2


@pytest.mark.parametrize("trigger", VERSIONS)
@pytest.mark.parametrize("kind", ["cut_before", "status", "html"])
def test_a_trigger_that_does_not_reach_the_api_has_no_effect(
    client: Client, workspace: Workspace, trigger: str, kind: FaultKind
) -> None:
    workspace.add_fault(Fault(kind))
    if kind == "cut_before":
        with pytest.raises(requests.ConnectionError):
            getattr(client, trigger)()
    else:
        getattr(client, trigger)()
    assert workspace.counts.firings == 0


def test_a_fault_can_hit_one_version_only(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status", status=500, path="/v5/business-events/triggers"))
    assert [client.trigger_v1().status_code, client.trigger_v5().status_code] == [200, 500]


def test_faults_have_the_format_of_each_version(client: Client, workspace: Workspace) -> None:
    for status in (500, 500, 429, 429, 403, 403):
        workspace.add_fault(Fault("status", status=status))
    answers = [trigger().json() for _ in range(3) for trigger in (client.trigger_v1, client.trigger_v5)]

    assert answers[0]["title"] == "Internal Server Error"
    assert answers[1]["error"]["code"] == "INTERNAL_ERROR"
    assert answers[2] == {
        "status": "error",
        "data": {
            "code": 429,
            "title": "rate limiter exception",
            "description": "Exceeded rate limit for this app",
        },
    }
    assert answers[3]["error"]["code"] == "RATE_LIMIT_EXCEEDED"
    assert answers[4]["error"]["code"] == "403 Forbidden"
    assert answers[5]["error"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"name": ""}, "name"),
        ({"attributes": {"city": "text"}}, "city"),
        ({"campaigns": "c1"}, "campaigns"),
        ({"flows": "f1"}, "flows"),
    ],
)
def test_the_error_for_an_invalid_business_event_names_the_argument(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        BusinessEvent(**{"name": "Sale", **options})


def test_a_definition_can_be_changed_while_the_server_runs(client: Client, workspace: Workspace) -> None:
    workspace.add_business_event(BusinessEvent("Sale"))
    assert client.trigger_v1().status_code == 400
    workspace.add_business_event(BusinessEvent("Sale", campaigns=("c9",)))
    assert client.trigger_v1().status_code == 200
    assert workspace.firings[0].campaign_ids == ("c9",)


def test_a_setting_calls_a_start_a_failure_that_names_what_it_started(
    client: Client, workspace: Workspace
) -> None:
    workspace.configure(v5_failures_name_started=True)
    data = client.trigger_v5("Sale").json()["data"]

    assert (data["triggered_status"], data["summary"]["triggered"]) == ("FAILURE", 3)
    assert (data["triggered_campaign_ids"], data["triggered_flow_ids"]) == (["c1", "c2"], ["f1"])
    assert workspace.counts.campaigns_started == 2


def test_a_setting_makes_a_200_of_what_v1_refuses(client: Client, workspace: Workspace) -> None:
    workspace.configure(v1_failures_as_200=True, v1_trigger_quota=[[1, 60]])
    assert client.trigger_v1("Sale").json() == {"message": "The business event has been triggered"}
    refused = [client.trigger_v1(name) for name in ("Nothing", "Sale")]
    workspace.add_fault(Fault("status", status=503))
    refused.append(client.trigger_v1("Sale"))

    said = {"success": False, "message": "The business event was not triggered"}
    assert [(response.status_code, response.json()) for response in refused] == [(200, said)] * 3
    assert (workspace.counts.firings, workspace.counts.throttled) == (1, 1)


@pytest.mark.parametrize("status", [400, 500])
def test_a_failure_may_keep_the_data_of_the_answer_that_it_replaces(
    client: Client, workspace: Workspace, status: int
) -> None:
    workspace.add_fault(Fault("status_after", status=status, keep_data=True, times=2))
    response = client.trigger_v5("Sale")

    assert response.status_code == status
    assert response.json()["data"]["triggered_campaign_ids"] == ["c1", "c2"]
    assert response.json()["error"]["message"]
    assert "data" not in client.trigger_v1("Sale").json(), "v1's success has none"


def test_only_a_failure_after_success_keeps_data() -> None:
    with pytest.raises(ValueError, match="keep_data: only of a fault of kind 'status_after'"):
        Fault("status", keep_data=True)
