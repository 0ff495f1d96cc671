"""Names in a CustomerMapping that MoEngage does not accept are found once per run, not once per row."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_moengage.bulk.mapping import CustomerMapping


@pytest.mark.parametrize("attributes", [None, ["id"], {"id": "email"}])
def test_an_attribute_name_that_moengage_does_not_accept_is_an_error_before_the_first_row(attributes: Any) -> None:
    mapping = CustomerMapping(customer_id="user_id", attributes=attributes)

    with pytest.raises(
        ValueError, match=r"CustomerMapping\.attributes: MoEngage does not accept an attribute named 'id'"
    ):
        mapping.compile(["user_id", "id", "email"])
