"""BigQuery, through the cursor of Airflow's Google provider.

The provider's cursor runs the query, but this module reads the result pages: that cursor returns arrays, structs,
numerics and timestamps as the API's JSON, and fails on an array of numbers. It also writes bound values into the
query without the type of numbers and timestamps, so this module writes the literals.

Tested with the provider's own connection and cursor and googleapiclient, against a server that speaks the API's
JSON. Not tested against BigQuery itself.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from typing import Any

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.sources.column_readers import read_json
from airflow_provider_moengage.sources.database import Database, SourceColumn
from airflow_provider_moengage.sources.statement import Quoting

_FLOATS = "holds floating-point numbers, which do not round-trip exactly"
_KEY_PROBLEMS = {
    "FLOAT": _FLOATS,
    "FLOAT64": _FLOATS,
    "JSON": "has no order",
    "GEOGRAPHY": "has no order",
    "RECORD": "holds structs",
    "STRUCT": "holds structs",
    "INTERVAL": "has several representations of the same duration",
    "RANGE": "has no order",
}
_KEY_ADVICE = {
    "FLOAT": "CAST({name} AS NUMERIC)",
    "FLOAT64": "CAST({name} AS NUMERIC)",
    "JSON": "JSON_VALUE({name})",
    "GEOGRAPHY": "ST_ASTEXT({name})",
}
_MICROSECONDS = 6
"""Fractional digits of a second in Python's datetime."""
_NUMERIC_DIGITS, _NUMERIC_SCALE = 29, 9
"""Digits of a NUMERIC before and after the decimal point; a BIGNUMERIC has more."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def database_of(connection: Any) -> Database:  # noqa: ARG001 (one driver)
    """Return the class for BigQuery."""
    return _BigQuery()


class _BigQuery(Database):
    name = "BigQuery"
    quoting = Quoting(backslash_escapes=True, hash_comments=True, triple_quotes=True)

    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:  # noqa: ARG002 (it holds a page)
        """Yield a cursor that reads the pages of a result."""
        with closing(connection.cursor()) as cursor:
            yield _Cursor(cursor)

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:  # noqa: ARG002
        """Describe the columns."""
        return tuple(map(_column, cursor.fields()))

    def is_lost(self, error: BaseException) -> bool:
        """Return whether the API does not answer."""
        status = int(getattr(getattr(error, "resp", None), "status", 0))
        return isinstance(error, OSError) or status >= HTTPStatus.INTERNAL_SERVER_ERROR


class _Cursor:
    """Reads a query's result page by page through the provider's cursor.

    :param cursor: the provider's cursor; its ``service`` is the API client.
    """

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._fields: Sequence[Mapping[str, Any]] = ()
        self._makers: Sequence[Callable[[Any], Any]] = ()
        self._page_token: str | None = None
        self._is_at_end = False

    def execute(self, sql: str, parameters: Any = None) -> None:
        """Run a query.

        :raises ValueError: if there are parameters and the connection uses BigQuery's legacy SQL.
        """
        if parameters:
            if not isinstance(parameters, Mapping):
                raise ValueError("parameters: expected a mapping; Airflow's BigQuery hook accepts only %(name)s")
            if self._cursor.use_legacy_sql:
                raise ValueError(
                    "conn_id: the connection uses BigQuery's legacy SQL, which lacks literals for some types; set"
                    ' {"use_legacy_sql": false} in its extra'
                )
            sql %= {name: _literal(name, value) for name, value in parameters.items()}
        self._cursor.execute(sql)
        self._fields = self._page(0).get("schema", {}).get("fields", [])
        self._makers = [_maker(field) for field in self._fields]
        self._page_token, self._is_at_end = None, False

    def fields(self) -> Sequence[Mapping[str, Any]]:
        """Return the schema of the result."""
        return self._fields

    def fetchmany(self, rows: int) -> list[tuple[Any, ...]]:
        """Return the next page, with at most this many rows; empty at the end."""
        while not self._is_at_end:
            page = self._page(rows)
            self._page_token = page.get("pageToken")
            self._is_at_end = self._page_token is None
            if given := page.get("rows"):
                makers = self._makers
                return [
                    tuple(make(cell["v"]) for make, cell in zip(makers, row["f"], strict=True)) for row in given
                ]
        return []

    def _page(self, rows: int) -> Any:
        cursor = self._cursor
        request = cursor.service.jobs().getQueryResults(
            projectId=cursor.project_id,
            jobId=cursor.job_id,
            location=cursor.location,
            pageToken=self._page_token,
            maxResults=rows,
            formatOptions_useInt64Timestamp=True,
        )
        return request.execute(num_retries=cursor.num_retries)


def _column(field: Mapping[str, Any]) -> SourceColumn:
    name, type_name = str(field["name"]), str(field["type"])
    problem = _KEY_PROBLEMS.get(type_name)
    advice = _KEY_ADVICE.get(type_name, "CAST({name} AS STRING)")
    if field.get("mode") == "REPEATED":
        type_name, problem, advice = f"ARRAY<{type_name}>", "holds lists", "TO_JSON_STRING({name})"
    elif "ci" in str(field.get("collation", "")).split(":"):
        problem, advice = "has a collation that ignores case", "COLLATE({name}, '')"
    elif int(field.get("timestampPrecision") or _MICROSECONDS) > _MICROSECONDS:
        problem, advice = "has more fractional digits than Python's datetime", "CAST({name} AS STRING)"
    return SourceColumn(name, type_name, None, problem, advice)


def _maker(field: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Return the function that converts a cell of the API's JSON to a Python value."""
    make = _maker_of_one(field)
    if field.get("mode") != "REPEATED":
        return make
    return lambda cells: _first_unreadable([make(cell["v"]) for cell in cells or ()])


def _first_unreadable(values: list[Any]) -> Any:
    return next((value for value in values if isinstance(value, Unreadable)), values)


def _maker_of_one(field: Mapping[str, Any]) -> Callable[[Any], Any]:
    name, type_name = str(field["name"]), str(field["type"])
    if type_name in ("RECORD", "STRUCT"):
        fields = field.get("fields", ())
        names, makers = [part["name"] for part in fields], [_maker(part) for part in fields]
        return partial(_structure, names, makers)
    make = _MAKERS.get(type_name)
    if make is None:
        return lambda text: text
    unreadable = Unreadable(f"a {type_name} that Python cannot represent; CAST it to STRING in the query", name)

    def make_or_reject(text: Any) -> Any:
        if text is None:
            return None
        try:
            return make(text)
        except (ValueError, ArithmeticError):
            return unreadable

    return make_or_reject


def _structure(names: Sequence[str], makers: Sequence[Callable[[Any], Any]], value: Any) -> Any:
    if value is None:
        return None
    made = [make(cell["v"]) for make, cell in zip(makers, value["f"], strict=True)]
    unreadable = _first_unreadable(made)
    return unreadable if unreadable is not made else dict(zip(names, made, strict=True))


def _timestamp(text: str) -> dt.datetime:
    """Read a TIMESTAMP: microseconds since 1970, or decimal seconds, the API's default format."""
    micros = int(text) if text.lstrip("-").isdigit() else round(Decimal(text) * 1_000_000)
    return _EPOCH + dt.timedelta(microseconds=micros)


_MAKERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("INTEGER", "INT64"), int),
    **dict.fromkeys(("FLOAT", "FLOAT64"), float),
    **dict.fromkeys(("BOOLEAN", "BOOL"), lambda text: str(text).lower() == "true"),
    **dict.fromkeys(("NUMERIC", "BIGNUMERIC"), Decimal),
    "TIMESTAMP": _timestamp,
    "DATETIME": dt.datetime.fromisoformat,
    "DATE": dt.date.fromisoformat,
    "BYTES": base64.b64decode,
    "JSON": read_json,
}


def _literal(name: str, value: Any) -> str:
    """Return a value as a literal of its type.

    :raises ValueError: naming the parameter whose type has no literal.
    """
    for kind, write in _LITERALS:
        if isinstance(value, kind):
            return write(value)
    raise ValueError(f"parameters: {name} is of type {type(value).__name__}, for which BigQuery has no literal")


def _text(value: str) -> str:
    special = {"\\": "\\\\", "'": "\\'", '"': '\\"', "\n": "\\n", "\r": "\\r", "\0": "\\0"}
    return "'" + "".join(special.get(character, character) for character in value) + "'"


def _decimal(value: Decimal) -> str:
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError("parameters: a decimal that is not finite")
    is_numeric = -exponent <= _NUMERIC_SCALE and len(digits) + exponent <= _NUMERIC_DIGITS
    return f"{'NUMERIC' if is_numeric else 'BIGNUMERIC'} '{value:f}'"


def _datetime(value: dt.datetime) -> str:
    kind = "DATETIME" if value.tzinfo is None else "TIMESTAMP"
    return f"{kind} '{value.isoformat(sep=' ')}'"


_LITERALS: tuple[tuple[Any, Callable[[Any], str]], ...] = (
    (type(None), lambda _: "NULL"),
    (bool, lambda value: "TRUE" if value else "FALSE"),
    (int, str),
    (float, lambda value: f"CAST('{value!r}' AS FLOAT64)"),
    (Decimal, _decimal),
    (str, _text),
    (dt.datetime, _datetime),
    (dt.date, lambda value: f"DATE '{value.isoformat()}'"),
    (dt.time, lambda value: f"TIME '{value.isoformat()}'"),
    (bytes, lambda value: f"FROM_HEX('{value.hex()}')"),
)
"""Literals by type. The first match applies: a bool is also an int, and a datetime is also a date."""
