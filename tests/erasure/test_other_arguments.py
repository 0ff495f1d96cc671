# ruff: noqa: F811 (fixtures of other modules)
"""A retry with another workspace, project, method or query: nobody is erased whom it does not name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_moengage.emulator import Emulator, Fault
from airflow_provider_moengage.emulator.settings import Credentials
from airflow_provider_moengage.exceptions import MoEngageError, MoEngageOutcomeUnknownError
from tests.delivering import MoEngage, connection_to
from tests.docs.blocks import PROJECT
from tests.erasure.conftest import Place
from tests.erasure.test_kills import Worker, worker  # noqa: F401 (fixtures)
from tests.erasure.test_sensor import DAY, advance, clock, sensor  # noqa: F401 (fixtures)

BY_EMAIL: dict[str, Any] = {"method": "opengdpr", "identity_type": "email", "identity": "email"}


def other_query(place: Place, *rows: Any) -> None:
    place.execute("DELETE FROM requests")
    place.request(*rows)
    place.task.clear()


def attempt(erase: Callable[..., Any], *args: Any, **options: Any) -> Any:
    try:
        return erase(*args, **options)
    except MoEngageError:
        return None


@pytest.fixture
def prod(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with Emulator(clock=place.moengage.clock.time, credentials=Credentials(workspace_id="PROD")) as emulator:
        monkeypatch.setenv(
            "AIRFLOW_CONN_PROD", connection_to(MoEngage(emulator, place.moengage.clock), login="PROD")
        )
        yield emulator.workspace


def test_an_address_is_never_deleted_as_an_id(place: Place) -> None:
    place.have("v@x.com", "z")  # v@x.com is the ID of somebody whom no query returned
    place.have("a", u_em="v@x.com")
    place.request(("a", "v@x.com"))
    place.moengage.emulator.workspace.add_fault(Fault("cut_after"))
    with pytest.raises(MoEngageOutcomeUnknownError):
        place.erase(**BY_EMAIL)
    other_query(place, "z")
    attempt(place.erase, max_users=1)
    assert "v@x.com" not in place.erased


def test_a_request_to_one_workspace_is_not_repeated_in_another(place: Place, prod: Any) -> None:
    place.have("a")
    place.request("a")
    place.moengage.emulator.workspace.add_fault(
        Fault("status", status=503, times=None, path="/v1/customer/delete")
    )
    assert attempt(place.erase) is None
    other_query(place, "b")
    attempt(place.erase, moengage_conn_id="prod", max_users=1)
    asked = {row for row in place.ledger("workspace_id, identity") if row[0] == "PROD"}
    assert asked <= {("PROD", "b")}


def test_a_request_to_one_project_is_not_repeated_in_another(place: Place) -> None:
    place.have("a", "b")
    place.request("a")
    place.moengage.emulator.workspace.add_fault(
        Fault("status", status=503, times=None, path="/v1/customer/delete")
    )
    assert attempt(place.erase, project_code="brand-a") is None
    place.moengage.emulator.workspace.clear_faults()
    other_query(place, "b")
    attempt(place.erase, project_code="brand-b", max_users=1)
    assert place.erased == ["b"]


def test_done_and_proved_in_one_workspace_is_not_done_in_another(place: Place, clock: Any, prod: Any) -> None:
    place.have("a")
    place.request("a")
    staging = place.erase()
    advance(clock, DAY + 1)
    sensor(staging).execute(place.task.context)
    result = attempt(place.erase, moengage_conn_id="prod")  # the same dag_id and run_id, e.g. a second Airflow
    if result is not None:
        assert result["requests"] == 1, "reported as done in PROD, which got no request"


def test_another_project_is_asked(place: Place) -> None:
    place.have("a")
    place.request("a")
    place.erase(project_code="brand-a")
    place.task.clear()
    assert (attempt(place.erase, project_code="brand-b") or {"requests": 1})["requests"] == 1


@pytest.mark.parametrize("project_code", [None, "brand-b"])
def test_the_sensor_proves_nothing_with_another_project(
    place: Place, clock: Any, project_code: str | None
) -> None:
    place.have("a")
    place.request("a")
    result = place.erase(project_code="brand-a")
    advance(clock, DAY + 1)
    with pytest.raises(MoEngageError):
        sensor(result, project_code=project_code).execute(place.task.context)


def test_an_id_is_not_done_because_the_same_address_was(place: Place) -> None:
    place.request(("a@x.com", "a@x.com"))
    place.erase(**BY_EMAIL)
    place.task.clear()
    assert place.erase(method="opengdpr")["requests"] == 1


def test_a_killed_try_and_a_corrected_query_erase_only_whom_that_returns(place: Place, worker: Worker) -> None:
    place.have("innocent", "right")
    place.request("innocent")
    assert worker.is_killed(place.erase, after=2)  # after the entry, before the request
    assert place.erased == []
    other_query(place, "right")
    attempt(place.erase, max_users=1)
    assert set(place.erased) <= {"right"}


def test_max_users_holds_for_all_tries_of_a_run(place: Place) -> None:
    place.have(*"abcd")
    place.request("a", "b")
    place.erase(max_users=2)
    other_query(place, "c", "d")
    attempt(place.erase, max_users=2)
    assert len(set(place.erased)) <= 2


def test_max_users_0_erases_nobody(place: Place) -> None:
    place.have("a")
    place.request("a")
    place.moengage.emulator.workspace.add_fault(
        Fault("status", status=503, times=None, path="/v1/customer/delete")
    )
    assert attempt(place.erase) is None
    place.moengage.emulator.workspace.clear_faults()
    place.execute("DELETE FROM requests")
    place.task.clear()
    attempt(place.erase, max_users=0)
    assert place.erased == []


def test_the_query_of_the_docs_shows_what_each_workspace_has_last_done(
    place: Place, clock: Any, prod: Any
) -> None:
    place.have("a")
    place.request("a")
    staging = place.erase()
    advance(clock, DAY + 1)
    sensor(staging).execute(place.task.context)
    prod.add_fault(Fault("status", status=503, times=None, path="/v1/customer/delete"))
    attempt(place.erase, moengage_conn_id="prod")

    sections = (PROJECT / "docs" / "erasure.md").read_text()
    [query] = re.findall(r"```sql\n(SELECT user_id, event.*?)```", sections, re.DOTALL)

    last = place.execute(query.replace("moengage_erasures", "ledger"))
    assert sorted(event for _, event, *_ in last) == ["asked", "gone"]
