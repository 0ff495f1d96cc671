"""MoEngageHook.iter_users: found and not found, batches, limits, failures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageRateLimitError,
    MoEngageRequestError,
    MoEngageServerError,
)
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from devtools.fake_clock import FakeClock
from tests.api.loopback import Act, answer, in_turn, loopback
from tests.delivering import MoEngage, customer

USER = "jane@example.com"


@pytest.fixture
def users(connected: MoEngage, monkeypatch: pytest.MonkeyPatch) -> MoEngage:
    monkeypatch.setattr("airflow_provider_moengage.hooks.campaigns.SystemClock", lambda: connected.clock)
    return connected


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("airflow_provider_moengage.hooks.campaigns.SystemClock", FakeClock)

    def connect(url: str, **extra: Any) -> None:
        fields = {"conn_type": "moengage", "login": "WS", "password": "key", "host": url, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", json.dumps(fields))

    return connect


def test_found_users_and_others_come_in_the_order_of_the_ids(users: MoEngage) -> None:
    users.deliver([customer("ann", tier="gold"), customer("bea")])

    found = list(MoEngageHook().iter_users(["nobody", "ann", "bea", "ann"]))

    assert [user.customer_id for user in found] == ["nobody", "ann", "bea", "ann"]
    assert [user.is_found for user in found] == [False, True, True, True]
    assert found[0].attributes is None
    assert found[1].attributes == {"uid": "ann", "tier": "gold"}


def test_only_some_fields_are_read(users: MoEngage) -> None:
    users.deliver([customer("ann", tier="gold", city="Graz"), customer("bea")])

    found = list(MoEngageHook().iter_users(["ann", "bea"], fields=["city"]))

    assert [user.attributes for user in found] == [{"uid": "ann", "city": "Graz"}, {"uid": "bea"}]


def test_a_stream_of_ids_is_read_20_at_a_time(users: MoEngage) -> None:
    given: list[str] = []

    def ids() -> Iterator[str]:
        for number in range(50):
            given.append(str(number))
            yield f"u{number}"

    found = MoEngageHook().iter_users(ids())
    assert users.emulator.workspace.counts.requests == 0
    next(found)

    assert len(given) == 20
    assert len(list(found)) == 49
    assert users.emulator.workspace.counts.requests == 3


def test_1000_users_a_minute_are_read_without_being_throttled(users: MoEngage) -> None:
    began = users.clock.monotonic()

    assert sum(1 for _ in MoEngageHook().iter_users(f"u{number}" for number in range(2_010))) == 2_010

    assert 120 <= users.clock.monotonic() - began < 123
    assert users.emulator.workspace.counts.throttled == 0


def test_nothing_personal_is_shown(users: MoEngage) -> None:
    users.deliver([customer(USER, city="Graz")])

    [user] = MoEngageHook().iter_users([USER])

    assert repr(user) == "User()"


def test_the_request_names_workspace_project_and_users(connect: Any) -> None:
    body = {"status": "success", "data": {"users": [{"user_attributes": {}}]}}
    with loopback(answer(200, json.dumps(body).encode())) as server:
        connect(server.url, project_code="eu")
        [user] = MoEngageHook().iter_users([USER], fields=["tier", "uid"])

    assert user.is_found
    assert server.head.startswith("POST /v1/customers/export?app_id=WS HTTP/1.1\r\n")
    assert server.header("moe-project-code") == "eu"
    identifiers = [{"identifier_type": "customer_id", "identifier": USER}]
    assert json.loads(server.body) == {
        "data": {"identifiers": identifiers, "user_fields_to_export": ["tier", "uid"]}
    }


@pytest.mark.parametrize("wrong", ["ann", b"ann", {"ann": 1}])
def test_an_argument_that_is_no_list_is_refused(users: MoEngage, wrong: Any) -> None:
    with pytest.raises(ValueError, match="customer_ids: expected a list or a stream of IDs"):
        MoEngageHook().iter_users(wrong)


@pytest.mark.parametrize("wrong", ["", " ", None, 7])
def test_an_id_that_is_none_is_refused_before_its_batch_is_read(users: MoEngage, wrong: Any) -> None:
    with pytest.raises(ValueError, match="customer_ids: expected IDs of users"):
        list(MoEngageHook().iter_users(["ann", wrong]))
    assert users.emulator.workspace.counts.requests == 0


def test_wrong_fields_are_refused(users: MoEngage) -> None:
    with pytest.raises(ValueError, match="fields: expected a list of non-empty strings"):
        MoEngageHook().iter_users(["ann"], fields=["tier", ""])


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (Fault("status", status=401, times=None), MoEngageAuthError, "do not match"),
        (Fault("status", status=403, times=None), MoEngageAuthError, "Get User may not be enabled"),
        (Fault("status", status=400, times=None), MoEngageRequestError, "it rejected the request"),
        (Fault("status", status=404, times=None), MoEngageRequestError, "did not come from MoEngage's API"),
        (Fault("status", status=429, times=None), MoEngageRateLimitError, "rate limit is used up"),
        (Fault("status", status=503, times=None), MoEngageServerError, "temporarily unavailable"),
        (Fault("cut_before", times=None), MoEngageServerError, "could not be reached"),
        (Fault("html", times=None), MoEngageServerError, "reports no users"),
        (Fault("refuse", customer_id=USER, times=None), MoEngageRequestError, "it rejected the request"),
    ],
    ids=lambda value: f"{value.kind} {value.status or ''}" if isinstance(value, Fault) else None,
)
def test_a_failure_has_its_exception_and_no_id(
    users: MoEngage, fault: Fault, error: type[MoEngageError], message: str
) -> None:
    users.emulator.workspace.add_fault(fault)

    with pytest.raises(error, match=message) as caught:
        list(MoEngageHook().iter_users([USER]))

    assert USER not in str(caught.value)
    assert "the users could not be read" in str(caught.value)


@pytest.mark.parametrize("fault", [Fault("status", status=503, times=2), Fault("status", status=429, times=20)])
def test_a_request_that_is_throttled_or_not_answered_is_sent_again(users: MoEngage, fault: Fault) -> None:
    users.deliver([customer("ann")])
    users.emulator.workspace.add_fault(fault)

    assert [user.is_found for user in MoEngageHook().iter_users(["ann", "bea"])] == [True, False]


def test_a_failure_that_comes_as_a_200_is_one(users: MoEngage) -> None:
    users.emulator.workspace.configure(failures_as_200=True, export_enabled=False)

    with pytest.raises(MoEngageAuthError, match="Get User may not be enabled"):
        list(MoEngageHook().iter_users(["ann"]))


def export(users: Any, missing: Any) -> Act:
    body = {"status": "success", "data": {"users": users, "users_not_found": missing}}
    return answer(200, json.dumps(body).encode())


TOM, EVA = {"user_attributes": {"uid": "tom"}}, {"user_attributes": {"uid": "eva"}}


@pytest.mark.parametrize(
    ("users", "missing"),
    [
        ([EVA], ["tom"]),
        ([EVA], [{"identifier_type": "customer_id", "identifier": "tom"}]),
        ([{"customer_id": "eva", "user_attributes": {}}], [{"customer_id": "tom"}]),
        ([{"identifier": "eva", "user_attributes": {}}], [{"uid": "tom"}]),
        ([{"identifier": {"identifier": "eva"}}], ["tom"]),
        ([{"user_attributes": {"USER_ATTRIBUTE_UNIQUE_ID": "eva"}}], ["tom"]),
        ([{"identifier_type": "moengage_id", "identifier": "5f0c", **EVA}], ["tom"]),
    ],
)
def test_a_user_is_recognized_by_any_likely_field(connect: Any, users: Any, missing: Any) -> None:
    with loopback(export(users, missing)) as server:
        connect(server.url)
        found = list(MoEngageHook().iter_users(["tom", "eva"]))

    assert [user.is_found for user in found] == [False, True]
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("users", "missing"),
    [
        ([{"user_attributes": {"u_n": "Eva"}}, TOM], []),  # nothing says who the first one is
        ([EVA], []),  # one is left out
        ([EVA, TOM], ["tom"]),  # one is both
        ([EVA, {"user_attributes": {"uid": "max"}}], []),  # nobody has asked for one
        ([EVA], [{}]),
    ],
)
def test_users_who_are_not_told_apart_are_read_one_by_one(connect: Any, users: Any, missing: Any) -> None:
    with loopback(in_turn(export(users, missing), export([TOM], []), export([], ["eva"]))) as server:
        connect(server.url)
        found = list(MoEngageHook().iter_users(["tom", "eva"]))

    assert [(user.customer_id, user.is_found) for user in found] == [("tom", True), ("eva", False)]
    assert len(server.requests) == 3


def test_a_user_who_has_another_id_now_is_found(connect: Any) -> None:
    with loopback(export([{"user_attributes": {"uid": "eva", "u_n": "Eva"}}], [])) as server:
        connect(server.url)
        [user] = MoEngageHook().iter_users(["an old ID of hers"])

    assert user.attributes == {"uid": "eva", "u_n": "Eva"}


@pytest.mark.parametrize(
    ("users", "missing"),
    [
        ([], []),
        ([TOM, EVA], []),
        ([TOM], ["tom"]),
        ([], ["eva"]),
        ([], ["tom", "tom"]),
        ([], [{"identifier_type": "moengage_id", "identifier": "tom"}]),  # another kind of ID than was asked for
        ([], [{"identifier": {"identifier_type": "moengage_id", "identifier": "tom"}}]),
        ([], [{}]),
        ([], [None]),
        (None, None),
    ],
)
def test_an_answer_that_does_not_say_whether_a_user_exists_is_an_error(
    connect: Any, users: Any, missing: Any
) -> None:
    with loopback(export(users, missing)) as server:
        connect(server.url)
        with pytest.raises(MoEngageServerError, match="so it cannot be relied on"):
            list(MoEngageHook().iter_users(["tom"]))


def test_a_success_that_reports_an_error_is_not_relied_on(connect: Any) -> None:
    body = {"status": "success", "error": "Partial", "data": {"users": [], "users_not_found": ["tom"]}}
    with loopback(answer(200, json.dumps(body).encode())) as server:
        connect(server.url)
        with pytest.raises(MoEngageServerError, match="so it cannot be relied on"):
            list(MoEngageHook().iter_users(["tom"]))


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, b"Not Found", MoEngageRequestError),
        (400, b'{"message": "Not Found"}', MoEngageRequestError),
        (400, b'{"status": "fail", "error": {"type": "Not Found"}}', MoEngageRequestError),
        (200, b'{"message": "Not Found"}', MoEngageServerError),
    ],
)
def test_not_found_is_no_user_who_was_not_found(connect: Any, status: int, body: bytes, error: Any) -> None:
    with loopback(answer(status, body)) as server:
        connect(server.url)
        with pytest.raises(error):
            list(MoEngageHook().iter_users(["tom"]))


def test_attributes_that_are_no_object_are_none(connect: Any) -> None:
    with loopback(export([{"customer_id": "tom", "user_attributes": []}], [])) as server:
        connect(server.url)
        [user] = MoEngageHook().iter_users(["tom"])

    assert user.attributes == {}
