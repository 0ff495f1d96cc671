"""Databricks SQL, through its own connector, which fetches the result in chunks while it is read.

Tested with the connector's own conversion of Arrow tables and its description. Not tested with a Databricks
workspace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_moengage.sources.column_readers import read_json, reject
from airflow_provider_moengage.sources.database import Database, Reader, SourceColumn, is_operational
from airflow_provider_moengage.sources.statement import Quoting

_FLOATS = "holds floating-point numbers, which do not round-trip exactly"
_KEY_PROBLEMS = {
    "float": _FLOATS,
    "double": _FLOATS,
    "array": "holds lists",
    "map": "holds maps",
    "struct": "holds structs",
    "variant": "holds values of several types",
    "geometry": "has no order",
    "geography": "has no order",
    "interval_day_time": "holds durations, which the driver returns in another form",
    "interval_year_month": "holds durations, which the driver returns in another form",
}
_KEY_ADVICE = {
    "float": "CAST({name} AS DECIMAL(38, 10))",
    "double": "CAST({name} AS DECIMAL(38, 10))",
    "array": "to_json({name})",
    "map": "to_json({name})",
    "struct": "to_json({name})",
}


def database_of(connection: Any) -> Database:  # noqa: ARG001 (one driver)
    """Return the class for Databricks."""
    return _Databricks()


class _Databricks(Database):
    name = "Databricks"
    quoting = Quoting(backslash_escapes=True, nested_comments=True)

    def close(self, connection: Any) -> None:
        """Leave the connection open: the hook reuses it, and closes it at its own end."""

    def is_lost(self, error: BaseException) -> bool:
        """Return whether an error means that the query or its connection is lost."""
        return isinstance(error, OSError) or is_operational(error)

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:  # noqa: ARG002
        """Describe the columns."""
        return tuple(_column(str(column[0]), str(column[1])) for column in cursor.description or ())


def _column(name: str, type_name: str) -> SourceColumn:
    problem, advice = _KEY_PROBLEMS.get(type_name), _KEY_ADVICE.get(type_name, "CAST({name} AS STRING)")
    return SourceColumn(name, type_name, _reader(name, type_name), problem, advice)


def _reader(name: str, type_name: str) -> Reader | None:
    if type_name in ("geometry", "geography"):
        return reject(f"a {type_name}; use ST_AsText({name}) in the query", name)
    return {"variant": read_json, "array": _read_nested, "struct": _read_nested, "map": _read_map}.get(type_name)


def _read_map(value: Any) -> Any:
    """Return a MAP as an object. It arrives as a list of pairs, or as JSON text if the connection is set so."""
    made = _read_nested(value)
    return {} if made == [] else made


def _read_nested(value: Any) -> Any:
    """Return lists and objects. Only the entries of a MAP are tuples, so a list of pairs is a MAP."""
    if isinstance(value, str):
        return read_json(value)
    return _nested(value)


def _nested(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _nested(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # numpy's arrays and scalars
        value = value.tolist()
    if not isinstance(value, list):
        return value
    if value and all(isinstance(item, tuple) for item in value):
        return {str(key): _nested(item) for key, item in value}
    return [_nested(item) for item in value]
