# ruff: noqa: F811 (fixtures of another module)
"""Answers of MoEngage that are not complete, or not what its reference describes: the day stays as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_provider_moengage.exceptions import MoEngageServerError
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from tests.api.loopback import Loopback, answer, loopback
from tests.transfers.test_campaign_stats import (  # noqa: F401 (fixtures)
    Warehouse,
    campaigns,
    load,
    warehouse,
)

IDS = [f"{number:024x}" for number in range(25)]

Change = Callable[[int, dict[str, Any]], Any]


def nested(groups: Any) -> Any:
    return [{"platforms": {"WEB": {"locales": {"all_locales": {"variations": {"A": groups}}}}}}]


def page_of(body: Any, groups: Any = None) -> tuple[int, dict[str, Any]]:
    """Return the page that a request for statistics gets from a server that does as the reference says."""
    offset, limit = body["offset"], body["limit"]
    stats = nested(groups or {"performance_stats": {"sent": 1}})
    return offset // limit + 1, {
        "response_id": "r",
        "total_campaigns": len(IDS),
        "current_page": offset // limit + 1,
        "total_pages": 3,
        "data": dict.fromkeys(IDS[offset : offset + limit], stats),
    }


@contextmanager
def moengage(change: Callable[[dict[str, Any]], Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """Serve what ``change`` makes of the body of a request."""

    def act(connection: Any) -> None:
        body = json.loads(server.requests[-1].partition(b"\r\n\r\n")[2])
        answer(200, json.dumps(change(body)).encode())(connection)

    with loopback(act) as server:
        connection = {"conn_type": "moengage", "login": "WS", "password": "k", "host": server.url}
        monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", json.dumps(connection))
        yield server


def changed(change: Change, groups: Any = None) -> Callable[[dict[str, Any]], Any]:
    def answered(body: dict[str, Any]) -> Any:
        number, page = page_of(body, groups)
        return change(number, page)

    return answered


def without(page: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in page.items() if name not in names}


def some(page: dict[str, Any], count: int) -> dict[str, Any]:
    return {**page, "data": dict(list(page["data"].items())[:count])}


INCOMPLETE: dict[str, Change] = {
    "an empty page in the middle": lambda number, page: some(page, 0) if number == 2 else page,
    "half a page": lambda number, page: some(page, 4) if number == 2 else page,
    "pages of nine, without total_pages": lambda _, page: without(some(page, 9), "total_pages"),
    "pages of five": lambda _, page: some(page, 5),
    "the last page is empty": lambda number, page: some(page, 0) if number == 3 else page,
    "no data and no total": lambda _, page: {"status": "success", "data": {}},
    "no total": lambda _, page: without(page, "total_campaigns"),
    "a total that is no number": lambda _, page: {**page, "total_campaigns": "many"},
    "an error and no campaigns": lambda *_: {
        "total_campaigns": 0,
        "data": {},
        "title": "Server Error",
        "code": "500",
    },
    "errors and no campaigns": lambda *_: {"total_campaigns": 0, "data": {}, "errors": ["late"]},
    "no success and no campaigns": lambda *_: {"total_campaigns": 0, "data": {}, "success": False},
    "a list instead of an object": lambda _, page: {**page, "data": [{"id": "c1"}], "total_campaigns": 0},
}
UNREADABLE: dict[str, Any] = {
    "variations have another name": [
        {"platforms": {"WEB": {"locales": {"all_locales": {"variation": {"A": {}}}}}}}
    ],
    "locales have another name": [{"platforms": {"WEB": {"languages": {"en": {}}, "locale_count": 1}}}],
    "platforms have another name": [{"channels": {"WEB": {"locales": {}}}}],
    "platforms are a list": [{"platforms": [{"name": "WEB", "locales": {}}]}],
    "variations are a list": [{"platforms": {"WEB": {"locales": {"en": {"variations": [{"sent": 1}]}}}}}],
    "groups are a list": nested([{"sent": 1}]),
    "versions are numbers": [1, 2],
    "statistics are text": "see the dashboard",
    "nothing": None,
    "no versions": [],
    "empty versions": [{}],
}


@pytest.mark.usefixtures("campaigns")
@pytest.mark.parametrize("change", INCOMPLETE.values(), ids=INCOMPLETE)
def test_a_list_that_is_not_complete_leaves_the_day_as_it_was(
    change: Change,
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with moengage(changed(lambda _, page: page), monkeypatch):
        load(campaign_details=False)
    before = warehouse.select("SELECT * FROM stats ORDER BY id")
    assert len(before) == 25

    with moengage(changed(change), monkeypatch):
        with pytest.raises(MoEngageServerError):
            load(campaign_details=False)
        with pytest.raises(MoEngageServerError):
            list(MoEngageHook().iter_campaign_stats("2026-11-01", "2026-11-01"))

    assert warehouse.select("SELECT * FROM stats ORDER BY id") == before


@pytest.mark.usefixtures("campaigns")
@pytest.mark.parametrize("stats", UNREADABLE.values(), ids=UNREADABLE)
def test_statistics_that_cannot_be_read_leave_the_day_as_it_was(
    stats: Any,
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with moengage(changed(lambda _, page: page), monkeypatch):
        load(campaign_details=False)
    before = warehouse.select("SELECT * FROM stats ORDER BY id")

    def unreadable(_: int, page: dict[str, Any]) -> Any:
        return {**page, "data": dict.fromkeys(page["data"], stats)}

    with (
        moengage(changed(unreadable), monkeypatch),
        pytest.raises(MoEngageServerError, match="some that cannot be read"),
    ):
        load(campaign_details=False)

    assert warehouse.select("SELECT * FROM stats ORDER BY id") == before


@pytest.mark.usefixtures("campaigns")
@pytest.mark.parametrize("pages", [0, 1, "1", None, 99])
def test_total_pages_that_are_wrong_hide_no_campaign(
    pages: Any,
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with moengage(changed(lambda _, page: {**page, "total_pages": pages}), monkeypatch):
        assert load(campaign_details=False)["rows"] == 25


CAMPAIGNS = [{"id": f"c{number}", "basic_details": {"name": f"n{number}"}} for number in range(40)]


def searched(size: int, **more: Any) -> Callable[[dict[str, Any]], Any]:
    def answered(body: dict[str, Any]) -> Any:
        begin = (body["page"] - 1) * size
        return {"data": {"campaigns": CAMPAIGNS[begin : begin + size], **more}}

    return answered


@pytest.mark.usefixtures("campaigns")
@pytest.mark.parametrize(
    ("size", "more"), [(15, {}), (10, {}), (10, {"total_campaigns": 40, "total_pages": 4}), (1, {})]
)
def test_a_search_with_smaller_pages_is_read_to_its_end(
    size: int, more: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with moengage(searched(size, **more), monkeypatch):
        assert len(list(MoEngageHook().iter_campaigns())) == 40


@pytest.mark.usefixtures("campaigns")
def test_an_empty_page_of_a_search_is_not_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def answered(body: dict[str, Any]) -> Any:
        return {"data": {"campaigns": []}} if body["page"] == 2 else searched(15)(body)

    with moengage(answered, monkeypatch):
        assert len(list(MoEngageHook().iter_campaigns())) == 25


@pytest.mark.usefixtures("campaigns")
@pytest.mark.parametrize("total", [41, "41"])
def test_a_search_with_fewer_campaigns_than_it_reports_is_an_error(
    total: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with moengage(searched(15, total_campaigns=total), monkeypatch), pytest.raises(MoEngageServerError):
        list(MoEngageHook().iter_campaigns())


@pytest.mark.usefixtures("campaigns")
@pytest.mark.parametrize("entry", [{"name": "no ID"}, None, "c1"], ids=repr)
def test_a_campaign_of_a_search_without_an_id_is_an_error(entry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        moengage(lambda _: {"data": {"campaigns": [*CAMPAIGNS[:3], entry]}}, monkeypatch),
        pytest.raises(MoEngageServerError, match="returned a campaign that cannot be read"),
    ):
        list(MoEngageHook().iter_campaigns())


@pytest.mark.usefixtures("campaigns")
def test_a_page_past_the_end_of_a_search_may_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(connection: Any) -> None:
        body = json.loads(server.requests[-1].partition(b"\r\n\r\n")[2])
        if body["page"] == 1:
            answer(200, json.dumps(searched(3)(body)).encode())(connection)
        else:
            answer(404, b'{"title": "Not found", "description": "no such page", "code": "x"}')(connection)

    with loopback(act) as server:
        connection = {"conn_type": "moengage", "login": "WS", "password": "k", "host": server.url}
        monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", json.dumps(connection))
        assert len(list(MoEngageHook().iter_campaigns())) == 3
