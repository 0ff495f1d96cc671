"""Elements that only the encoder rejects: one such element is rejected, and its neighbours are sent."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.api.workspace import Workspace
from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.bulk.rate_limit.pacer import Limits
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.run.context import RunContext
from airflow_provider_moengage.bulk.run.delivery import Delivery
from airflow_provider_moengage.bulk.sources import Stream


@pytest.fixture
def client() -> Iterator[MoEngageClient]:
    client = MoEngageClient(Workspace("WS", "key", "01"))
    yield client
    client.close()


def customer(user: int, **attributes: Any) -> dict[str, Any]:
    return {"type": "customer", "customer_id": f"u-{user}", "attributes": attributes}


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (customer(1, name="\ud83d"), "value_not_encodable"),
        (customer(1, **{"\udc00": 1}), "value_not_encodable"),
        (customer(1, number=10**5_000), "value_not_encodable"),
        (customer(1) | {"customer_id": 10**5_000}, "value_not_encodable"),
        (customer(1, text="x" * 100_000), "element_too_large"),
    ],
    ids=["text", "name", "int", "id", "size"],
)
def test_an_element_that_cannot_be_encoded_is_rejected_alone(
    client: MoEngageClient, tmp_path: Path, bad: dict[str, Any], code: str
) -> None:
    path = tmp_path / "rejects.ndjson"
    context = RunContext.create(DeliveryOptions(dry_run=True), Limits(), logging.getLogger("tests.unencodable"))
    delivery = Delivery(context, Stream([customer(0), bad, customer(2)]), client, Rejects(path))

    report = delivery.run()

    [line] = [json.loads(line) for line in path.read_text().splitlines()]
    assert (report.accepted, report.rejected, line["position"]) == (2, 1, 1)
    assert code in line["codes"]
