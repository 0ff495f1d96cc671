"""Elements are encoded in the same bytes as in every release with this encoding version.

A sync of changed rows compares digests of these bytes. If they change, raise ``ENCODING_VERSION`` and write the
new bytes here: each such sync then sends all users once.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from uuid import UUID

from airflow_provider_moengage.bulk.elements.encoding import ENCODING_VERSION, Encoder
from airflow_provider_moengage.bulk.elements.fast_path import prepare_elements
from airflow_provider_moengage.bulk.elements.row_codegen import row_preparer
from airflow_provider_moengage.bulk.mapping import CustomerMapping, DeviceMapping, compile_mappings

VALUES = {
    "text": 'Zoë "quoted" \n \u2028 🎉',
    "whole": 42,
    "large": 2**63,
    "number": 1.5,
    "tiny": 1e-07,
    "round": 3.0,
    "exact": Decimal("12.5"),
    "fraction": Decimal("0.1234567890123456789"),
    "flag": True,
    "moment": dt.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=dt.UTC),
    "naive": dt.datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001 (what a driver returns)
    "offset": dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
    "day": dt.date(2026, 1, 2),
    "id": UUID(int=7),
    "list": ["a", "b"],
    "object": {"b": 1, "a": None},
    "bytes": b"text",
}
ATTRIBUTES = (
    '"text":"Zoë \\"quoted\\" \\n \u2028 🎉","whole":42,"large":9223372036854775808,"number":1.5,"tiny":1e-7,'
    '"round":3.0,"exact":12.5,"fraction":0.12345678901234568,"flag":true,"moment":"2026-01-02T03:04:05.678000Z",'
    '"naive":"2026-01-02T03:04:05Z","offset":"2026-01-01T21:34:05Z","day":"2026-01-02",'
    '"id":"00000000-0000-0000-0000-000000000007","list":["a","b"],"object":{"b":1,"a":null},"bytes":"text"'
)


def test_the_bytes_of_elements_and_rows_have_not_changed() -> None:
    values = {name: value for name, value in VALUES.items() if name != "id"} | {"uuid": VALUES["id"]}
    attributes = ATTRIBUTES.replace('"id":"00000000-0000-0000-0000-000000000007",', "")
    attributes += ',"uuid":"00000000-0000-0000-0000-000000000007"'
    columns = ["user_id", *values]
    preparer = row_preparer(compile_mappings([CustomerMapping()], columns))
    rows = preparer([("u-7", *values.values())], True).elements
    given = prepare_elements([{"type": "customer", "customer_id": "u-7", "attributes": values}], True).elements

    expected = f'{{"type":"customer","customer_id":"u-7","attributes":{{{attributes}}}}}'
    assert ENCODING_VERSION == 1
    for elements in (rows, given):
        assert [line.decode() for line in Encoder().lines(elements).splitlines()] == [expected]


def test_the_bytes_of_devices_have_not_changed() -> None:
    columns = ["user_id", "device_id", "platform", "push_id"]
    preparer = row_preparer(compile_mappings([DeviceMapping()], columns))

    [line] = Encoder().lines(preparer([(7, "phone", "iOS", "p")], True).elements).splitlines()

    assert line == (
        b'{"type":"device","customer_id":"7","device_id":"phone","attributes":{"platform":"iOS","push_id":"p"}}'
    )
