"""Rules of MoEngage that a mapping follows: identifiers, edits of lists, and how many attributes there are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_moengage.bulk.elements.encoding import Encoder
from airflow_provider_moengage.bulk.elements.row_codegen import row_preparer
from airflow_provider_moengage.bulk.elements.rules import DOCUMENTED, WorkspaceRules
from airflow_provider_moengage.bulk.mapping import CustomerMapping

LOYALTY = WorkspaceRules(identifiers=frozenset({"loyalty_id"}))


def checked(
    mapping: CustomerMapping, columns: list[str], row: tuple[Any, ...], workspace: WorkspaceRules = DOCUMENTED
) -> tuple[Any, list[str]]:
    prepared = row_preparer([mapping.compile(columns)])([row], True, workspace)
    [line] = Encoder().lines(prepared.elements).splitlines()
    return json.loads(line), [str(finding.code) for one in prepared.flawed.values() for finding in one.findings]


def test_a_row_without_the_id_that_its_mapping_names_is_rejected_whatever_its_attributes_are() -> None:
    mapping = CustomerMapping(customer_id="id", attributes={"u_em": "email"})

    for missing in (None, float("nan")):
        assert checked(mapping, ["id", "email"], (missing, "a@b"))[1] == ["customer_id_missing"]
    assert checked(mapping, ["id", "email"], ("u-1", "a@b"))[1] == []


def test_a_row_without_an_id_is_sent_if_its_mapping_names_identifiers() -> None:
    mapping = CustomerMapping(customer_id="id", user_identifiers={"u_em": "email"})

    assert checked(mapping, ["id", "email"], (None, "a@b")) == (
        {"type": "customer", "attributes": {"u_em": "a@b"}},
        [],
    )
    assert checked(mapping, ["id", "email"], (None, None))[1] == ["customer_id_missing"]


def test_a_mapping_may_name_any_identifier_of_the_workspace() -> None:
    mapping = CustomerMapping(customer_id=None, user_identifiers={"loyalty_id": "card"}, attributes=[])

    assert checked(mapping, ["card"], ("L-1",), LOYALTY)[1] == []
    assert checked(mapping, ["card"], ("L-1",))[1] == ["customer_id_missing"]


def test_values_are_added_to_lists_and_removed_from_them() -> None:
    mapping = CustomerMapping(
        customer_id="id", attributes=["tier"], add_to_lists={"tags": "tag"}, remove_from_lists={"offers": "offer"}
    )
    columns = ["id", "tier", "tag", "offer"]

    assert checked(mapping, columns, ("u-1", "gold", "new", 5)) == (
        {
            "type": "customer",
            "customer_id": "u-1",
            "attributes": {
                "tier": "gold",
                "addValueToArrayField": {"tags": "new"},
                "removeValueFromArrayField": {"offers": 5},
            },
        },
        [],
    )
    assert checked(mapping, columns, ("u-1", "gold", None, None))[0]["attributes"] == {"tier": "gold"}


def test_a_column_of_a_list_edit_is_not_an_attribute_as_well() -> None:
    mapping = CustomerMapping(customer_id="id", add_to_lists={"tags": "tag"})

    assert checked(mapping, ["id", "tag"], ("u-1", "new"))[0]["attributes"] == {
        "addValueToArrayField": {"tags": "new"}
    }


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"add_to_lists": {"tags": "a"}, "remove_from_lists": {"tags": "b"}}, "tags"),
        ({"add_to_lists": {"tags": "a"}, "attributes": ["tags"]}, "tags"),
        ({"remove_from_lists": {"tags": "a"}, "attributes": {"tags": "b"}}, "tags"),
        ({"add_to_lists": {"u_em": "a"}}, "u_em"),
        ({"add_to_lists": ["tags"]}, "add_to_lists"),
        ({"remove_from_lists": {"tags": 5}}, "remove_from_lists"),
        ({"attributes": [f"a{number}" for number in range(257)]}, "257 custom attributes"),
        ({"user_identifiers": {f"i{number}": "a" for number in range(6)}}, "at most 5"),
    ],
)
def test_what_moengage_would_refuse_is_an_error_when_the_dag_is_parsed(
    arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=rf"CustomerMapping\..*{named}"):
        CustomerMapping(**arguments)


def test_conflicts_and_too_many_attributes_are_found_when_the_columns_are_known() -> None:
    with pytest.raises(ValueError, match="tags"):
        CustomerMapping(customer_id="id", add_to_lists={"tags": "tag"}).compile(["id", "tags", "tag"])
    columns = [f"a{number}" for number in range(256)]
    mapping = CustomerMapping(customer_id="id")
    mapping.compile(["id", "u_em", *columns])
    with pytest.raises(ValueError, match="257 custom attributes"):
        mapping.compile(["id", "one_more", *columns])
