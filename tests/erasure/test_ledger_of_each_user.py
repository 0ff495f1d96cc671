# ruff: noqa: F811 (fixtures of other modules)
"""The ledger is the proof of each user: who has an entry, who is asked for again, and whom the sensor misses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.exceptions import MoEngageOutcomeUnknownError, MoEngageRequestError
from tests.delivering import connection_to
from tests.erasure.conftest import Place
from tests.erasure.test_kills import Worker, worker  # noqa: F401 (fixtures)
from tests.erasure.test_sensor import DAY, advance, clock, sensor  # noqa: F401 (fixtures)

BY_EMAIL: dict[str, Any] = {"method": "opengdpr", "identity_type": "email", "identity": "email"}
SHARED = "we@example.com"


def again(place: Place, *rows: Any, **arguments: Any) -> dict[str, Any]:
    """Clear the task and let it run with other rows."""
    place.execute("DELETE FROM requests")
    place.request(*rows)
    place.task.clear()
    return place.erase(**arguments)


def test_a_new_user_with_an_address_that_is_done_is_asked_for(place: Place) -> None:
    place.have("a", u_em=SHARED)
    place.request(("a", SHARED))
    place.erase(**BY_EMAIL)
    place.have("b", u_em=SHARED)

    result = again(place, ("a", SHARED), ("b", SHARED), **BY_EMAIL)

    assert (result["requests"], result["accepted"], result["done_before"]) == (1, 1, 0)
    assert place.ledger("user_id, attempt, event") == [
        ("a", 1, "asked"),
        ("a", 1, "accepted"),
        ("b", 2, "asked"),
        ("b", 2, "accepted"),
    ]
    assert again(place, ("a", SHARED), ("b", SHARED), **BY_EMAIL)["done_before"] == 1
    assert len(place.moengage.emulator.workspace.erasure_requests) == 2


def test_a_new_user_whose_address_has_an_unknown_outcome_gets_an_entry_and_no_request(
    place: Place, clock: Any
) -> None:
    place.have("a", u_em=SHARED)
    place.request(("a", SHARED))
    place.moengage.emulator.workspace.add_fault(Fault("cut_after"))
    with pytest.raises(MoEngageOutcomeUnknownError):
        place.erase(**BY_EMAIL)
    place.have("b", u_em=SHARED)

    for _ in range(2):
        with pytest.raises(MoEngageOutcomeUnknownError, match="1 request may have been processed"):
            again(place, ("a", SHARED), ("b", SHARED), **BY_EMAIL)

    assert len(place.moengage.emulator.workspace.erasure_requests) == 1
    assert place.ledger("user_id, attempt, event") == [
        ("a", 1, "asked"),
        ("a", 1, "unknown"),
        ("b", 1, "unknown"),
    ]
    advance(clock, DAY + 1)
    proof = sensor(place.task.xcom["return_value"], deferrable=False).poke(place.task.context)
    assert not proof.is_done
    assert proof.xcom_value == {"users": 2, "gone": 1, "remaining": 1}
    assert again(place, ("a", SHARED), ("b", SHARED), retry_unknown=True, **BY_EMAIL)["accepted"] == 1
    assert place.ledger("user_id, attempt, event")[-2:] == [("b", 2, "asked"), ("b", 2, "accepted")]


def test_an_address_that_was_asked_for_without_ids_is_asked_for_with_them(place: Place) -> None:
    place.request(("a", SHARED))
    place.erase(user_id=None, **BY_EMAIL)

    assert again(place, ("a", SHARED), **BY_EMAIL)["requests"] == 1
    assert again(place, ("a", SHARED), user_id=None, **BY_EMAIL)["done_before"] == 1


def test_max_users_counts_the_users_of_a_shared_address_over_all_tries(place: Place) -> None:
    place.request(("a", SHARED))
    place.erase(max_users=1, **BY_EMAIL)

    with pytest.raises(MoEngageRequestError, match="Earlier tries of this run have asked for 1 users"):
        again(place, ("b", SHARED), max_users=1, **BY_EMAIL)


def test_a_user_with_two_addresses_is_one(place: Place, clock: Any) -> None:
    place.have("a", "b", u_em=SHARED)
    place.request(("a", SHARED), ("a", "a@example.com"), ("b", "b@example.com"))
    result = place.erase(**BY_EMAIL)
    advance(clock, DAY + 1)
    requests = place.moengage.emulator.workspace.counts.requests

    assert sensor(result).execute(place.task.context) == {"users": 2, "gone": 2, "remaining": 0}
    assert place.moengage.emulator.workspace.counts.requests == requests + 1
    assert [event for _, event in place.ledger()].count("gone") == 3
    place.execute("DELETE FROM ledger WHERE user_id = 'b'")
    with pytest.raises(MoEngageRequestError, match="has 1 of the 2 users of the erasure"):
        sensor(result).execute(place.task.context)


def test_a_ledger_with_as_many_other_users_proves_nothing(
    place: Place, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.have("a", "b")
    place.request("a", "b")
    result = place.erase()
    advance(clock, DAY + 1)
    place.execute("UPDATE ledger SET user_id = 'c', identity = 'c' WHERE user_id = 'b'")

    with pytest.raises(MoEngageRequestError, match="has other users than the erasure"):
        sensor(result).execute(place.task.context)
    assert not {"a", "b"} & set(json.dumps(result["in_ledger"]).split('"'))

    monkeypatch.setenv("AIRFLOW_CONN_RENEWED", connection_to(place.moengage, password="another-key"))
    workspace = place.moengage.emulator.workspace
    monkeypatch.setattr(workspace, "credentials", replace(workspace.credentials, data_api_key="another-key"))
    assert sensor(result, moengage_conn_id="renewed").execute(place.task.context)["gone"] == 2


def test_whom_an_earlier_try_has_asked_for_must_be_in_the_ledger_too(place: Place, clock: Any) -> None:
    place.have("a", "b")
    place.request("a")
    place.erase()
    result = again(place, "b")
    advance(clock, DAY + 1)
    place.execute("DELETE FROM ledger WHERE user_id = 'b'")

    with pytest.raises(MoEngageRequestError, match="has 1 of the 2 users of the erasure"):
        sensor(result).execute(place.task.context)


def test_the_xcom_of_a_version_before_compares_numbers(place: Place, clock: Any) -> None:
    place.have("a")
    place.request("a")
    result = place.erase()
    del result["in_ledger"]
    advance(clock, DAY + 1)

    assert sensor(result).execute(place.task.context)["gone"] == 1


@pytest.mark.parametrize("points", [1, 2, 3, 4, 5, 6])
def test_a_kill_and_a_new_user_of_the_address_repeat_no_request_and_leave_nobody_out(
    place: Place, worker: Worker, points: int
) -> None:
    place.have("a", "b", u_em=SHARED)
    place.request(("a", SHARED))
    worker.is_killed(lambda: place.erase(**BY_EMAIL), after=points)
    answered = "accepted" in [event for _, event in place.ledger()]

    try:
        again(place, ("a", SHARED), ("b", SHARED), **BY_EMAIL)
    except MoEngageOutcomeUnknownError:
        assert not answered

    requests = place.moengage.emulator.workspace.erasure_requests
    assert len(requests) <= (2 if answered else 1)
    assert {user for [user] in place.ledger("user_id")} == {"a", "b"}
    entries = place.ledger("user_id, attempt, event")
    assert len(entries) == len(set(entries))
    assert [event for user, _, event in entries if user == "a"].count("asked") == 1
