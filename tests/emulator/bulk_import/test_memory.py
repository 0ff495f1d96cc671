"""A workspace keeps a bounded number of records, but counts all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_moengage.emulator import BusinessEvent, Settings
from airflow_provider_moengage.emulator.bulk_import import counts as counts_module

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client


def customers(*ids: str) -> list[dict[str, Any]]:
    return [{"type": "customer", "customer_id": customer_id, "attributes": {}} for customer_id in ids]


def ids(workspace: Workspace) -> list[str]:
    return [received.element["customer_id"] for received in workspace.elements]


def test_only_the_last_elements_are_kept(client: Client, workspace: Workspace) -> None:
    workspace.configure(keep_elements=3)
    client.bulk(*customers("a", "b"))
    client.bulk(*customers("c", "d"))
    client.bulk(*customers("e"))

    assert ids(workspace) == ["c", "d", "e"]
    assert workspace.counts.customers == 5


def test_part_of_a_request_may_be_kept(client: Client, workspace: Workspace) -> None:
    workspace.configure(keep_elements=3)
    client.bulk(*customers("a", "b"))
    client.bulk(*customers("c", "d"))

    assert [tuple(received)[:2] for received in workspace.elements] == [(1, 1), (2, 0), (2, 1)]
    assert len(workspace.elements) == 3


@pytest.mark.parametrize(("keep", "kept"), [(0, []), (None, ["a", "b", "c"])])
def test_a_setting_keeps_no_elements_or_all(
    client: Client, workspace: Workspace, keep: int | None, kept: list[str]
) -> None:
    workspace.configure(keep_elements=keep)
    client.bulk(*customers("a", "b"))
    client.bulk(*customers("c"))
    assert ids(workspace) == kept


def test_elements_are_a_sequence(client: Client, workspace: Workspace) -> None:
    client.bulk(*customers("a", "b"))
    client.bulk(*customers("c", "d"))
    elements = workspace.elements

    assert elements[0].element["customer_id"] == "a"
    assert elements[-1].element["customer_id"] == "d"
    assert [it.element["customer_id"] for it in elements[1:3]] == ["b", "c"]
    assert [it.element["customer_id"] for it in elements[::-2]] == ["d", "b"]
    with pytest.raises(IndexError):
        _ = elements[4]


def test_elements_are_a_snapshot(client: Client, workspace: Workspace) -> None:
    client.bulk(*customers("a"))
    before = workspace.elements
    client.bulk(*customers("b"))
    assert (len(before), len(list(before)), len(workspace.elements)) == (1, 1, 2)


def test_only_the_last_request_records_are_kept(client: Client, workspace: Workspace) -> None:
    workspace.configure(keep_requests=2)
    for name in "abc":
        client.bulk(*customers(name))
    assert [record.number for record in workspace.requests] == [2, 3]
    workspace.configure(keep_requests=0)
    assert workspace.requests == []


def test_only_the_last_firings_are_kept_but_all_are_counted(client: Client, workspace: Workspace) -> None:
    workspace.add_business_event(BusinessEvent("Sale", campaigns=("c1", "c2")))
    workspace.configure(keep_firings=2)
    for _ in range(3):
        client.trigger_v1("Sale")

    assert [firing.number for firing in workspace.firings] == [2, 3]
    assert (workspace.counts.firings, workspace.counts.campaigns_started) == (3, 6)
    workspace.configure(keep_firings=0)
    assert workspace.firings == []
    assert workspace.counts.firings == 3


def test_above_the_bound_the_user_count_is_approximate(
    client: Client, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts_module, "MAX_USERS_SEEN", 2)
    client.bulk(*customers("a", "b"))
    client.bulk(*customers("a"))
    assert (workspace.counts.users, workspace.counts.users_approximate) == (2, False)
    client.bulk(*customers("c"))
    assert (workspace.counts.users, workspace.counts.users_approximate) == (2, True)


def test_above_the_bound_events_are_counted_together(
    client: Client, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts_module, "MAX_EVENT_DAYS", 1)
    for action in ("Buy", "Buy", "Sell", "Lend"):
        client.bulk({"type": "event", "customer_id": "a", "actions": [{"action": action}]})
    assert workspace.counts.events_by_day == {("Buy", "arrival"): 2, ("(other)", "(other)"): 2}


@pytest.mark.parametrize(
    "setting",
    [
        {"users_per_minute": 0},
        {"keep_elements": -1},
        {"keep_requests": -1},
        {"keep_firings": -1},
        {"v1_trigger_quota": (50, 3600)},
        {"v5_flow_quota": ((3, 0),)},
        {"body_limit": 0},
        {"body_limit_status": 99},
    ],
)
def test_the_error_for_an_invalid_value_names_the_setting(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        Settings(**setting)
