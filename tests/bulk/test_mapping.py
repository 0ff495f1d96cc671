from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from airflow_provider_moengage.bulk.elements.checks import prepare
from airflow_provider_moengage.bulk.mapping import (
    Column,
    CustomerMapping,
    DeviceMapping,
    ElementMapping,
    EventMapping,
    compile_mappings,
)

COLUMNS = ["user_id", "email", "tier", "at"]
ROW = ("u-1", "jane@example.com", None, "2020-05-31")


def element(mapping: ElementMapping, columns: Sequence[str] = COLUMNS, row: Sequence[Any] = ROW) -> dict[str, Any]:
    return mapping.compile(columns)(row)


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        (CustomerMapping(), {"email": "jane@example.com", "at": "2020-05-31"}),
        (CustomerMapping(attributes=[]), {}),
        (CustomerMapping(attributes=["email"]), {"email": "jane@example.com"}),
        (CustomerMapping(attributes=("email", "at")), {"email": "jane@example.com", "at": "2020-05-31"}),
        (CustomerMapping(attributes={"u_em": "email", "level": "tier"}), {"u_em": "jane@example.com"}),
        (CustomerMapping(attributes={"copy": "user_id"}), {"copy": "u-1"}),
        (CustomerMapping(attributes={"a": "email", "b": "email"}), dict.fromkeys("ab", "jane@example.com")),
        (CustomerMapping(user_identifiers={"u_em": "email"}), {"at": "2020-05-31", "u_em": "jane@example.com"}),
    ],
)
def test_a_customers_attributes_are_the_chosen_columns(mapping: CustomerMapping, expected: dict[str, Any]) -> None:
    assert element(mapping) == {"type": "customer", "customer_id": "u-1", "attributes": expected}


def test_a_customer_may_be_identified_without_customer_id() -> None:
    mapping = CustomerMapping(customer_id=None, user_identifiers={"u_em": "email"}, attributes=["at"])

    assert element(mapping) == {
        "type": "customer",
        "attributes": {"at": "2020-05-31", "u_em": "jane@example.com"},
    }


def test_update_existing_only_is_sent() -> None:
    assert element(CustomerMapping(update_existing_only=True))["update_existing_only"] is True


def test_nulls_are_unset_only_with_unset_nulls() -> None:
    mapping = CustomerMapping(attributes={"u_em": "email", "level": "tier"}, unset_nulls=True)

    assert element(mapping)["unset_attributes"] == [{"type": "equals", "attr": "level", "case_sensitive": True}]
    assert "level" not in element(mapping)["attributes"]


def test_without_nulls_nothing_is_unset() -> None:
    assert "unset_attributes" not in element(CustomerMapping(attributes=["email"], unset_nulls=True))


def test_false_zero_and_empty_text_are_not_nulls() -> None:
    mapping = CustomerMapping(unset_nulls=True)

    built = element(mapping, ["user_id", "a", "b", "c"], ("u-1", 0, False, ""))

    assert (built["attributes"], "unset_attributes" in built) == ({"a": 0, "b": False, "c": ""}, False)


def test_an_event_takes_its_fields_from_columns_and_constants() -> None:
    mapping = EventMapping(
        action=Column("name"),
        time="at",
        platform="web",
        app_version=Column("version"),
        user_timezone_offset="offset",
        device_id="device",
    )
    columns = ["user_id", "name", "at", "version", "offset", "device", "price"]

    assert element(mapping, columns, ("u-1", "Buy", "2020-05-31", "1.2", 19_800, "d-1", 9.5)) == {
        "type": "event",
        "customer_id": "u-1",
        "device_id": "d-1",
        "actions": [
            {
                "action": "Buy",
                "platform": "web",
                "app_version": "1.2",
                "user_timezone_offset": 19_800,
                "current_time": "2020-05-31",
                "attributes": {"price": 9.5},
            }
        ],
    }


def test_an_events_name_is_literal_and_its_nulls_are_omitted() -> None:
    mapping = EventMapping(action="at", time="at", platform=Column("tier"), device_id="tier")

    assert element(mapping) == {
        "type": "event",
        "customer_id": "u-1",
        "actions": [{"action": "at", "current_time": "2020-05-31", "attributes": {"email": "jane@example.com"}}],
    }


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (["email"], {"email": "jane@example.com"}),
        ({"mail": "email", "level": "tier"}, {"mail": "jane@example.com"}),
        ([], {}),
    ],
)
def test_an_events_attributes_are_the_chosen_columns(attributes: Any, expected: dict[str, Any]) -> None:
    mapping = EventMapping(action="Buy", time="at", attributes=attributes)

    assert element(mapping)["actions"][0]["attributes"] == expected


def test_an_event_may_identify_its_user_without_customer_id() -> None:
    mapping = EventMapping(
        action="Buy", time="at", customer_id=None, user_identifiers={"u_em": "email", "uid": "tier"}, attributes=[]
    )

    built = element(mapping)

    assert built["user_identifiers"] == {"u_em": "jane@example.com"}
    assert "customer_id" not in built


@pytest.mark.parametrize(("column", "code"), [("tier", "event_time_invalid"), ("email", "event_time_invalid")])
def test_an_event_without_a_valid_time_is_rejected(column: str, code: str) -> None:
    built = element(EventMapping(action="Buy", time=column))

    assert [finding.code for finding in prepare(built).findings] == [code]


def test_a_device_takes_its_fields_from_columns() -> None:
    columns = ["user_id", "device_id", "platform", "push_id", "model"]

    assert element(DeviceMapping(), columns, ("u-1", "d-1", "iOS", "p-1", None)) == {
        "type": "device",
        "customer_id": "u-1",
        "device_id": "d-1",
        "attributes": {"platform": "iOS", "push_id": "p-1"},
    }


def test_a_device_may_use_other_columns() -> None:
    mapping = DeviceMapping(customer_id="email", device_id="at", attributes={"push_id": "user_id"})

    assert element(mapping) == {
        "type": "device",
        "customer_id": "jane@example.com",
        "device_id": "2020-05-31",
        "attributes": {"push_id": "u-1"},
    }


@pytest.mark.parametrize(
    ("mapping", "missing"),
    [
        (CustomerMapping(customer_id="uid"), "uid"),
        (CustomerMapping(attributes=["email", "phone"]), "phone"),
        (CustomerMapping(attributes={"u_mb": "phone"}), "phone"),
        (CustomerMapping(user_identifiers={"u_mb": "phone"}), "phone"),
        (EventMapping(action="Buy", time="when"), "when"),
        (EventMapping(action=Column("name"), time="at"), "name"),
        (EventMapping(action="Buy", time="at", platform=Column("os")), "os"),
        (EventMapping(action="Buy", time="at", app_version=Column("app")), "app"),
        (EventMapping(action="Buy", time="at", user_timezone_offset="tz"), "tz"),
        (EventMapping(action="Buy", time="at", device_id="device"), "device"),
        (EventMapping(action="Buy", time="at", attributes=["price"]), "price"),
        (DeviceMapping(), "device_id"),
        (DeviceMapping(device_id="at", attributes=["model"]), "model"),
    ],
)
def test_the_error_for_a_missing_column_names_it_and_the_columns_of_the_query(
    mapping: ElementMapping, missing: str
) -> None:
    with pytest.raises(
        ValueError, match=f"{type(mapping).__name__}: .*'{missing}'; it has user_id, email, tier, at"
    ):
        mapping.compile(COLUMNS)


@pytest.mark.parametrize("columns", [["USER_ID", "EMAIL"], ["User_Id", "Email"]])
def test_a_column_is_found_if_the_database_folded_its_case(columns: list[str]) -> None:
    mapping = CustomerMapping(customer_id="user_id", attributes={"u_em": "email"})

    assert element(mapping, columns, ("u-1", "a@b")) == {
        "type": "customer",
        "customer_id": "u-1",
        "attributes": {"u_em": "a@b"},
    }


def test_a_folded_column_with_a_role_is_not_also_an_attribute() -> None:
    assert element(CustomerMapping(), ["USER_ID", "AGE"], ("u-1", 30))["attributes"] == {"AGE": 30}


def test_the_exact_name_wins_over_one_that_differs_in_case() -> None:
    mapping = CustomerMapping(customer_id="id", attributes=[])

    assert element(mapping, ["ID", "id"], ("upper", "lower"))["customer_id"] == "lower"


def test_an_ambiguous_column_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="no column 'Id'"):
        CustomerMapping(customer_id="Id").compile(["ID", "id"])


def test_columns_with_the_same_name_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"several columns named email, tier; rename them \(AS\)"):
        compile_mappings([CustomerMapping()], ["user_id", "tier", "email", "tier", "email", "at"])


def test_a_row_becomes_one_element_per_mapping_in_order() -> None:
    recipes = compile_mappings(
        [CustomerMapping(attributes=["email"]), EventMapping(action="Buy", time="at")], COLUMNS
    )

    assert [recipe(ROW)["type"] for recipe in recipes] == ["customer", "event"]


def test_elements_of_different_rows_share_no_state() -> None:
    make = EventMapping(action="Buy", time="at").compile(COLUMNS)
    first, second = make(ROW), make(("u-2", "b@c", "gold", "2021-01-01"))

    assert (first["customer_id"], first["actions"][0]["current_time"]) == ("u-1", "2020-05-31")
    assert (second["customer_id"], second["actions"][0]["current_time"]) == ("u-2", "2021-01-01")


def test_an_attribute_unset_by_one_row_is_not_unset_by_the_next() -> None:
    make = CustomerMapping(attributes=["tier"], unset_nulls=True).compile(COLUMNS)
    first, second = make(ROW), make(("u-2", "b@c", "gold", "2021-01-01"))

    assert (first["customer_id"], "unset_attributes" in first) == ("u-1", True)
    assert (second["customer_id"], "unset_attributes" in second) == ("u-2", False)


BAD_COLUMNS: list[Any] = ["", "  ", 5, [], b"user_id"]
EVENT: dict[str, Any] = {"action": "Buy", "time": "at"}


@pytest.mark.parametrize(
    ("mapping", "given", "argument"),
    [
        *((CustomerMapping, {"customer_id": bad}, "customer_id") for bad in BAD_COLUMNS),
        (CustomerMapping, {"customer_id": None}, "customer_id"),
        (CustomerMapping, {"customer_id": None, "user_identifiers": {}}, "customer_id"),
        *((EventMapping, {**EVENT, "customer_id": bad}, "customer_id") for bad in [*BAD_COLUMNS, None]),
        *((EventMapping, {**EVENT, "action": bad}, "action") for bad in [*BAD_COLUMNS, None]),
        *((EventMapping, {**EVENT, "time": bad}, "time") for bad in [*BAD_COLUMNS, None, Column("at")]),
        *((EventMapping, {**EVENT, "device_id": bad}, "device_id") for bad in BAD_COLUMNS),
        *((EventMapping, {**EVENT, "user_timezone_offset": bad}, "user_timezone_offset") for bad in BAD_COLUMNS),
        *((EventMapping, {**EVENT, "platform": bad}, "platform") for bad in ["ios", "android", "", 5]),
        *((DeviceMapping, {"customer_id": bad}, "customer_id") for bad in [*BAD_COLUMNS, None]),
        *((DeviceMapping, {"device_id": bad}, "device_id") for bad in [*BAD_COLUMNS, None]),
        *(
            (mapping, {**needed, "attributes": bad}, "attributes")
            for mapping, needed in ((CustomerMapping, {}), (EventMapping, EVENT), (DeviceMapping, {}))
            for bad in ("email", ["email", ""], [5], {"u_em": ""}, {"": "email"}, {"u_em": 5}, 5, iter(["email"]))
        ),
        (CustomerMapping, {"user_identifiers": ["email"]}, "user_identifiers"),
        (CustomerMapping, {"user_identifiers": {"u_em": None}}, "user_identifiers"),
        (EventMapping, {**EVENT, "user_identifiers": {"": "email"}}, "user_identifiers"),
    ],
)
def test_the_error_for_a_bad_argument_names_it(mapping: Any, given: Any, argument: str) -> None:
    with pytest.raises(ValueError, match=rf"^{mapping.__name__}\.{argument}\b"):
        mapping(**given)


@pytest.mark.parametrize("missing", ["action", "time"])
def test_an_event_mapping_requires_action_and_time(missing: str) -> None:
    with pytest.raises(TypeError, match=missing):
        EventMapping(**{name: value for name, value in EVENT.items() if name != missing})
