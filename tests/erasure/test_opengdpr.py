"""OpenGDPR: whom a request erases, and that none is repeated that may have been processed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.api.responses import Outcome
from airflow_provider_moengage.api.users.erasure import erasure_body
from airflow_provider_moengage.api.workspace import Workspace
from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.exceptions import (
    MoEngageOutcomeUnknownError,
    MoEngageRequestError,
    MoEngageServerError,
)
from tests.api.loopback import answer, loopback
from tests.erasure.conftest import Place

BY_EMAIL: dict[str, Any] = {"method": "opengdpr", "identity_type": "email", "identity": "email"}


def test_users_are_erased_by_their_id(place: Place) -> None:
    place.have("a", "b")
    place.request("a", "nobody")

    result = place.erase(method="opengdpr")

    assert place.moengage.emulator.workspace.erasure_requests == [("ID", "a"), ("ID", "nobody")]
    assert place.erased == ["a"]
    assert (result["accepted"], result["method"]) == (2, "opengdpr")
    [request_id] = set(place.execute("SELECT request_id FROM ledger WHERE identity = 'a' AND event = 'accepted'"))
    assert len(request_id[0]) == 8


def test_an_address_that_several_users_share_erases_all_of_them_and_says_so(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.have("a", "b", "stranger", u_em="we@example.com")
    place.have("c", u_em="c@example.com")
    place.request(("a", "we@example.com"), ("b", "we@example.com"), ("c", "c@example.com"))

    result = place.erase(**BY_EMAIL)

    assert sorted(place.erased) == ["a", "b", "c", "stranger"]
    assert (result["users"], result["requests"]) == (3, 2)
    assert (result["shared_identities"], result["users_with_shared_identity"]) == (1, 2)
    output = capsys.readouterr().out
    assert "2 users of the query share 1 addresses or numbers" in output
    assert "example.com" not in output
    assert set(place.ledger("identity, user_id, event")) >= {
        ("we@example.com", "a", "accepted"),
        ("we@example.com", "b", "accepted"),
    }


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [("email", "We@example.com", "we@Example.com"), ("mobile", "+41 79 000-00-01", "0041790000001")],
)
def test_addresses_that_are_written_in_two_ways_count_as_shared(
    place: Place, kind: str, one: str, other: str
) -> None:
    place.request(("a", one), ("b", other), ("a", other))

    result = place.erase(method="opengdpr", identity_type=kind, identity="email", dry_run=True)

    assert (result["users"], result["requests"]) == (2, 2)
    assert (result["shared_identities"], result["users_with_shared_identity"]) == (1, 2)


def test_without_ids_how_many_share_an_address_is_not_known(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.have("a", u_mb="+41790000000")
    place.request(("a", "+41790000000"))

    result = place.erase(method="opengdpr", identity_type="mobile", identity="email", user_id=None)

    assert place.erased == ["a"]
    assert result["users"] == 1
    assert "is not known, because user_id is None" in capsys.readouterr().out
    assert place.ledger("identity, user_id")[0] == ("+41790000000", None)


@pytest.mark.parametrize(
    ("kind", "value", "what"),
    [
        ("email", "@", "a text that is no email address"),
        ("email", "0", "the text '0'"),
        ("email", "unknown", "the text 'unknown'"),
        ("email", "ann.example.com", "a text that is no email address"),
        ("email", "ann@example", "a text that is no email address"),
        ("email", " ann@example.com", "a text that is no email address"),
        ("email", "ann@example.com, bob@example.com", "a text that is no email address"),
        ("email", 42, "a text that is no email address"),
        ("mobile", "none", "the text 'none'"),
        ("mobile", "+0000000000", "a text that is no phone number"),
        ("mobile", 99, "a text that is no phone number"),
        ("mobile", "ann@example.com", "a text that is no phone number"),
        ("mobile", "+", "a text that is no phone number"),
    ],
)
def test_what_is_no_address_stops_the_task_before_anything_is_sent(
    place: Place, kind: str, value: object, what: str
) -> None:
    place.have("a", u_em="ann@example.com", u_mb="+41 79 000 00 01")
    place.request(("a", "ann@example.com" if kind == "email" else "+41 79 000 00 01"), ("b", value))

    with pytest.raises(MoEngageRequestError, match=f"Column 'email': row 2 of the query has {what}"):
        place.erase(method="opengdpr", identity_type=kind, identity="email")
    assert place.erased == []


@pytest.mark.parametrize("kind", ["cut_after", "status_after"])
def test_a_request_that_may_have_been_processed_is_not_repeated(place: Place, kind: Any) -> None:
    place.have("a", "b")
    place.request("a", "b")
    place.moengage.emulator.workspace.add_fault(Fault(kind, status=503 if kind == "status_after" else None))

    with pytest.raises(MoEngageOutcomeUnknownError, match="1 request may have been processed"):
        place.erase(method="opengdpr")
    assert place.moengage.emulator.workspace.erasure_requests == [("ID", "a"), ("ID", "b")]
    assert place.task.xcom["return_value"]["unknown"] == 1

    place.task.clear()
    with pytest.raises(MoEngageOutcomeUnknownError):
        place.erase(method="opengdpr")
    assert len(place.moengage.emulator.workspace.erasure_requests) == 2

    assert place.erase(method="opengdpr", retry_unknown=True)["accepted"] == 1
    assert place.moengage.emulator.workspace.erasure_requests[2:] == [("ID", "a")]
    assert place.erase(method="opengdpr")["done_before"] == 2


def test_a_429_is_waited_for(place: Place) -> None:
    place.moengage.reset(opengdpr_quota=[[1, 60]])
    place.have("a", "b")
    place.request("a", "b")

    assert place.erase(method="opengdpr")["accepted"] == 2
    assert place.moengage.emulator.workspace.counts.throttled >= 1


def test_an_outage_ends_the_run_after_twelve_unknown_outcomes(place: Place) -> None:
    users = [f"user-{number}" for number in range(30)]
    place.have(*users)
    place.request(*users)
    place.moengage.emulator.workspace.add_fault(Fault("status", status=503, times=100))

    with pytest.raises(MoEngageServerError, match="a retry continues with the others"):
        place.erase(method="opengdpr")
    assert [event for _, event in place.ledger()].count("unknown") == 12


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (answer(200, b'{"request_id": "r-1"}'), Outcome.ACCEPTED),
        (answer(201, b'{"request_id": "r-1", "status": "pending"}'), Outcome.ACCEPTED),
        (answer(200, b'{"status": "success"}'), Outcome.ACCEPTED),
        (answer(200, b"<html>"), Outcome.UNKNOWN),
        (answer(200, b"{}"), Outcome.UNKNOWN),
        (
            answer(200, b'{"status": "fail", "error": {"type": "ValueError"}, "request_id": "r"}'),
            Outcome.REFUSED,
        ),
        (answer(400, b'{"status": "fail", "error": {"type": "Not Found"}}'), Outcome.ACCEPTED),
        (answer(503, b'{"request_id": "r-1"}'), Outcome.SERVER_ERROR),
        (answer(206, b'{"request_id": "r-1"}'), Outcome.UNKNOWN),
        (answer(200, b'{"request_id": "r-1", "status": "rejected"}'), Outcome.UNKNOWN),
        (answer(200, b'{"request_id": "r-1", "success": false}'), Outcome.UNKNOWN),
        (answer(200, b'{"request_id": "r-1", "message": "the identity is invalid"}'), Outcome.UNKNOWN),
        (answer(200, b'{"request_id": "r-1", "error": {"type": "NewError"}}'), Outcome.UNKNOWN),
        (answer(200, b'{"request_id": "r-1", "status": "success", "errors": ["x"]}'), Outcome.UNKNOWN),
    ],
)
def test_only_a_response_with_the_id_of_a_request_and_no_error_is_accepted(
    response: Any, outcome: Outcome
) -> None:
    with loopback(response) as server:
        client = MoEngageClient(Workspace("WS", "key", "01", server.url, 5.0, campaign_api_key="key"))
        reply = client.request_erasure(erasure_body("email", "jane@example.com", 1_750_000_000.0))
        client.close()

    assert reply.outcome is outcome
    assert server.head.startswith("POST /v1/opengdpr_requests/WS HTTP/1.1\r\n")
    assert json.loads(server.body) == {
        "request_type": "erasure",
        "submitted_time": "2025-06-15T15:06:40Z",
        "identities": [{"identity_type": "email", "identity_value": "jane@example.com"}],
        "api_version": "1.0",
    }
