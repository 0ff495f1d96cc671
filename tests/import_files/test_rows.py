"""How a row is written: each type that a driver returns, and each value that MoEngage would not accept."""

from __future__ import annotations

import csv
import datetime as dt
import json
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from airflow_provider_moengage.import_files import rows as import_rows
from airflow_provider_moengage.import_files.rows import ImportRows

INDIA = dt.timezone(dt.timedelta(hours=5, minutes=30))


class Tier(Enum):
    GOLD = "gold"


def users(*columns: str, file_format: str = "csv", attributes: Any = None) -> ImportRows:
    return ImportRows(
        columns,
        import_type="USERS",
        id_column=columns[0],
        time_column=None,
        attributes=attributes,
        file_format=file_format,
    )


def events(*columns: str, file_format: str = "csv", **changes: Any) -> ImportRows:
    options: dict[str, Any] = {"id_column": "user_id", "time_column": "at", "attributes": None, **changes}
    return ImportRows(columns, import_type="EVENTS", file_format=file_format, **options)


def csv_cell(value: Any) -> str:
    line, findings = users("user_id", "cell").encode(("u-7", value))
    assert not findings
    [[_, cell]] = csv.reader([line.decode()], strict=True)
    return cell


def json_cell(value: Any) -> Any:
    line, findings = users("user_id", "cell", file_format="json").encode(("u-7", value))
    assert not findings
    return json.loads(line).get("cell", "absent")


def problem(value: Any, file_format: str = "csv") -> str:
    line, findings = users("user_id", "cell", file_format=file_format).encode(("u-7", value))
    assert line == b""
    [finding] = [finding for finding in findings if not finding.is_warning]
    return finding.message


VALUES: dict[str, tuple[Any, str, Any]] = {
    "nothing": (None, "", "absent"),
    "no text": ("", "", ""),
    "text": ("Zoë, \"the\" fox 🦊 'x' ", "Zoë, \"the\" fox 🦊 'x' ", "Zoë, \"the\" fox 🦊 'x' "),
    "text that looks like a number": ("007", "007", "007"),
    "whole number": (-42, "-42", -42),
    "large whole number": (2**63, "9223372036854775808", 2**63),
    "float": (1.5, "1.5", 1.5),
    "true": (True, "true", True),
    "false": (False, "false", False),
    "decimal that a double holds": (Decimal("10.50"), "10.5", 10.5),
    "whole decimal": (Decimal(7), "7", 7),
    "large whole decimal": (Decimal("12345678901234567890"), "12345678901234567890", 12345678901234567890),
    "small float": (1e-7, "0.0000001", 1e-7),
    "moment": (dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC), "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
    "moment without a zone": (dt.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
    "moment of another zone": (
        dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=INDIA),
        "2026-01-01T21:34:05Z",
        "2026-01-01T21:34:05Z",
    ),
    "fraction of a second": (
        dt.datetime(2026, 1, 2, 3, 4, 5, 678_000),
        "2026-01-02T03:04:05.678000Z",
        "2026-01-02T03:04:05.678000Z",
    ),
    "date": (dt.date(2026, 1, 2), "2026-01-02", "2026-01-02"),
    "time": (dt.time(3, 4), "03:04:00", "03:04:00"),
    "uuid": (UUID(int=7), str(UUID(int=7)), str(UUID(int=7))),
    "enum": (Tier.GOLD, "gold", "gold"),
    "bytes that are text": (b"caf\xc3\xa9", "café", "café"),
    "array of numbers": ([1, 2.5], "[1|2.5]", [1, 2.5]),
    "array of texts": (("a", "b, c"), "[a|b, c]", ["a", "b, c"]),
    "empty array": ([], "[]", []),
}


@pytest.mark.parametrize(("value", "in_csv", "in_json"), VALUES.values(), ids=VALUES)
def test_a_value_is_written_as_the_api_would_get_it(value: Any, in_csv: str, in_json: Any) -> None:
    assert csv_cell(value) == in_csv
    written = json_cell(value)
    assert (type(written), written) == (type(in_json), in_json)


def test_a_decimal_that_no_double_holds_is_rounded_with_a_warning() -> None:
    for file_format, written in (("csv", b"12345678901234567000"), ("json", b"1.2345678901234567e19")):
        line, findings = users("user_id", "cell", file_format=file_format).encode(
            ("u-1", Decimal("12345678901234567890.12"))
        )
        assert written in line
        assert [str(finding.code) for finding in findings] == ["number_rounded"]


def test_json_accepts_values_that_a_csv_cannot_represent() -> None:
    assert json_cell("a\nb\r\nc\0") == "a\nb\r\nc\0"
    assert json_cell({"city": "Pune", "tags": ["a|b", None]}) == {"city": "Pune", "tags": ["a|b", None]}
    assert json_cell([[1], ["a|b"]]) == [[1], ["a|b"]]


NOT_IN_CSV: dict[str, tuple[Any, str]] = {
    "line feed": ("a\nb", "cell: contains a line break or NUL"),
    "carriage return": ("a\rb", "cell: contains a line break or NUL"),
    "NUL": ("a\0b", "cell: contains a line break or NUL"),
    "object": ({"a": 1}, "cell: a CSV file accepts only simple arrays"),
    "array of arrays": ([[1]], "cell: a CSV file accepts only simple arrays"),
    "array of objects": ([{"a": 1}], "cell: a CSV file accepts only simple arrays"),
    "array with nothing": ([1, None], "cell: a CSV file accepts only simple arrays"),
    "array whose item would be two": (["a|b"], "cell: a CSV file accepts only simple arrays"),
    "array with a line break": (["a\nb"], "cell: a CSV file accepts only simple arrays"),
}


@pytest.mark.parametrize(("value", "message"), NOT_IN_CSV.values(), ids=NOT_IN_CSV)
def test_a_csv_refuses_values_that_would_break_a_row_or_change(value: Any, message: str) -> None:
    assert problem(value).startswith(message)
    assert "file_format='json'" in problem(value)


REFUSED: dict[str, tuple[Any, str]] = {
    "bar": ("a|b", "cell: contains a |, which MoEngage accepts only in arrays"),
    "NaN": (float("nan"), "cell: NaN or infinity"),
    "infinity": (float("-inf"), "cell: NaN or infinity"),
    "decimal NaN": (Decimal("NaN"), "cell: NaN or infinity"),
    "bytes that are no text": (b"\xff", "cell: bytes that are not UTF-8 text"),
    "half a surrogate pair": ("\ud800", "cell: cannot be written (UnicodeEncodeError)"),
    "array with half a surrogate pair": (["\ud800"], "cell: cannot be written (UnicodeEncodeError)"),
    "int of thousands of digits": (10**5_000, "cell: cannot be written (ValueError)"),
    "unknown type": (object(), "cell: a value of type builtins.object"),
    "cell of 128 kB": ("é" * 64_000, "cell: 128,000 bytes; MoEngage accepts cells of less than 128,000"),
}


@pytest.mark.parametrize("file_format", ["csv", "json"])
@pytest.mark.parametrize(("value", "message"), REFUSED.values(), ids=REFUSED)
def test_a_value_that_moengage_would_not_accept_is_reported_by_its_column(
    value: Any, message: str, file_format: str
) -> None:
    line, findings = users("user_id", "cell", file_format=file_format).encode(("u-7", value))

    assert line == b""
    assert [finding.message.startswith(message) for finding in findings if not finding.is_warning] == [True]


def test_a_row_that_fails_for_no_known_reason_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_rows, "_find_not_encodable", lambda cells, findings: None)

    with pytest.raises(UnicodeEncodeError):
        users("user_id", "cell").encode(("u-7", "\ud800"))


def test_a_row_may_be_larger_than_a_cell() -> None:
    rows = users("user_id", "a", "b")

    line, findings = rows.encode(("u-7", "é" * 63_999, "x" * 127_999))

    assert len(line) > 250_000
    assert {finding.code for finding in findings} == {"value_truncated"}


@pytest.mark.parametrize(
    ("value", "text"), [(42, "42"), (42.0, "42"), (Decimal("42.00"), "42"), ("42", "42"), (2**60, str(2**60))]
)
@pytest.mark.parametrize("file_format", ["csv", "json"])
def test_an_id_is_text_as_it_is_for_the_api(value: Any, text: str, file_format: str) -> None:
    line, findings = users("user_id", "tier", file_format=file_format).encode((value, "gold"))

    assert not findings
    assert line == (b'{"user_id":"%s","tier":"gold"}\n' if file_format == "json" else b"%s,gold\n") % text.encode()


@pytest.mark.parametrize("value", ["", " ", 0, 1, "Guest", "null", None, float("nan"), True])
def test_an_id_that_moengage_drops_is_refused_by_its_column(value: Any) -> None:
    line, [finding] = users("user", "tier").encode((value, "gold"))

    assert line == b""
    assert finding.message.startswith("user: ")
    assert str(finding.code) in {"customer_id_refused", "customer_id_missing"}


@pytest.mark.parametrize(
    "value",
    [
        dt.datetime(2026, 1, 2, 3, 4, 5),
        "2026-01-02 03:04:05",
        "2026-01-02T04:04:05+01:00",
        1_767_323_045,
        "1767323045000",
    ],
)
def test_an_events_time_is_read_as_for_the_api(value: Any) -> None:
    rows = events("user_id", "at", "total")

    line, findings = rows.encode(("u-7", value, 9.5))

    assert not findings
    assert (rows.header, line) == (b"user_id,at,total\n", b"u-7,2026-01-02T03:04:05Z,9.5\n")


@pytest.mark.parametrize("value", [None, "soon", 20260102, float("nan")])
def test_an_event_without_a_time_is_refused(value: Any) -> None:
    line, [finding] = events("user_id", "at").encode(("u-7", value))

    assert line == b""
    assert finding.message.startswith("at: expected a time")


CHOSEN: dict[str, tuple[Any, bytes, bytes]] = {
    "all others": (None, b"email,id", b"a@b.c,x"),
    "a list": (["id", "email"], b"id,email", b"x,a@b.c"),
    "MoEngage's names": ({"u_em": "email"}, b"u_em", b"a@b.c"),
    "a column under two names": ({"a": "email", "b": "email"}, b"a,b", b"a@b.c,a@b.c"),
    "a copy of the id": ({"copy": "user_id"}, b"copy", b"u-7"),
}


@pytest.mark.parametrize(("attributes", "header", "cells"), CHOSEN.values(), ids=CHOSEN)
def test_attributes_choose_the_columns_and_name_them(attributes: Any, header: bytes, cells: bytes) -> None:
    rows = events("at", "email", "user_id", "id", attributes=attributes)

    line, _ = rows.encode((1_767_323_045, "a@b.c", "u-7", "x"))

    assert rows.header == b"user_id,at,%s\n" % header
    assert line == b"u-7,2026-01-02T03:04:05Z,%s\n" % cells


def test_a_file_may_have_no_attributes() -> None:
    rows = users("user_id", "email", attributes=[])

    assert (rows.header, rows.encode(("u-7", "a@b.c"))[0]) == (b"user_id\n", b"u-7\n")


def test_a_column_is_found_in_any_case_and_keeps_the_name_as_given() -> None:
    rows = events("USER_ID", "AT", "TOTAL", attributes=["total"])

    assert rows.header == b"user_id,at,total\n"


WRONG_COLUMNS: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "not there": (("user_id",), ["tier"], "sql: the query has no column 'tier'; it has user_id"),
    "twice in the query": (("user_id", "a", "a"), None, "sql: the query has several columns named a"),
    "twice in the file": (("user_id", "a"), ["user_id"], "attributes: the file would have several columns named"),
    "blocked by MoEngage": (
        ("user_id", "id"),
        None,
        "attributes: attribute 'id': MoEngage does not accept this name",
    ),
    "without a name": (("user_id", ""), None, "attributes: attribute '': MoEngage does not accept an empty name"),
    "a line break": (("user_id", "a\nb"), None, "attributes: column name '.*' contains a line break"),
    "too many": (("user_id", *(f"a{n}" for n in range(100))), None, "attributes: the file would have 101 columns"),
}


@pytest.mark.parametrize(("columns", "attributes", "message"), WRONG_COLUMNS.values(), ids=WRONG_COLUMNS)
def test_columns_that_a_file_cannot_contain_are_an_error(
    columns: tuple[str, ...], attributes: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        users(*columns, attributes=attributes)


def test_a_hundred_columns_are_accepted() -> None:
    assert len(users("user_id", *(f"a{n}" for n in range(99))).names) == 100


def test_names_that_moengage_reserves_are_warnings() -> None:
    assert {str(finding.code) for finding in users("user_id", "moe_x", "status").name_warnings} == {
        "attribute_name_moe_prefix",
        "attribute_name_reserved",
    }


def test_the_mapping_has_the_types_of_the_columns_values() -> None:
    columns = ("user_id", "name", "total", "vip", "born", "seen", "exactly", "tags", "mixed", "empty")
    rows = users(*columns, attributes={"u_n": "name", **{name: name for name in columns[2:]}})
    moment = dt.datetime(2026, 1, 2, 3, 4, 5)
    rows.encode(("u-7", "Ann", 1, True, moment.date(), moment, moment.replace(microsecond=1), [1], "1", None))
    rows.encode(("u-8", "Bob", 1.5, False, None, moment, moment, [2], 1, None))
    rows.encode((None, 7, "lost", "lost", "lost", "lost", "lost", "lost", "lost", "lost"))  # is not written

    [user_id, *attributes] = rows.mapping(id_attribute="uid")["mapping"]

    assert user_id == {"column": "user_id", "moe_attr": "uid", "type": "string", "is_skipped": False}
    assert [entry["moe_attr"] for entry in attributes] == ["u_n", *columns[2:]]
    assert all(entry["column"] == entry["moe_attr"] and entry["is_skipped"] is False for entry in attributes)
    assert [(entry.get("type"), entry.get("datetime_format")) for entry in attributes] == [
        ("string", None),
        ("double", None),
        ("bool", None),
        ("datetime", "YYYY-MM-DD"),
        ("datetime", "YYYY-MM-DDThh:mm:ssTZD"),
        ("datetime", "YYYY-MM-DDThh:mm:ss.sTZD"),
        (None, None),
        (None, None),
        (None, None),
    ]
    assert rows.mixed == {
        "exactly": ["YYYY-MM-DDThh:mm:ss.sTZD", "YYYY-MM-DDThh:mm:ssTZD"],
        "mixed": ["double", "string"],
    }


def test_the_mapping_of_events_does_not_contain_the_time() -> None:
    rows = events("user_id", "at", "total")

    assert [entry["column"] for entry in rows.mapping(id_attribute="uid")["mapping"]] == ["user_id", "total"]
    assert [entry["column"] for entry in rows.mapping(id_attribute=None)["mapping"]] == ["total"]
