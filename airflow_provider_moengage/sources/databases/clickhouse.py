"""ClickHouse, through clickhouse-connect (Airflow's own provider) and clickhouse-driver.

clickhouse-connect's cursor holds a whole result, so rows are read through its client, block by block. Both drivers
report the database's own type names.

Tested with clickhouse-connect and its chdb backend, which runs ClickHouse in this process. Not tested with a
server or with clickhouse-driver.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from airflow_provider_moengage.sources.column_readers import read_json, read_time
from airflow_provider_moengage.sources.database import Database, SourceColumn, is_operational
from airflow_provider_moengage.sources.statement import Quoting

_FLOATS = "holds floating-point numbers, which do not round-trip exactly"
_BY_NUMBER = "sorts by index but compares as text"
_SEVERAL_TYPES = "holds values of several types"
_KEY_PROBLEMS = {
    "Float32": _FLOATS,
    "Float64": _FLOATS,
    "BFloat16": _FLOATS,
    "Enum8": _BY_NUMBER,
    "Enum16": _BY_NUMBER,
    "IPv4": "sorts as a number but is bound as text",
    "IPv6": "sorts as bytes but is bound as text",
    "UUID": "sorts by its second half but is bound as text",
    "Array": "holds lists",
    "Tuple": "holds structs",
    "Nested": "holds structs",
    "Map": "holds maps",
    "JSON": "has no order",
    "Object": "has no order",
    "Variant": _SEVERAL_TYPES,
    "Dynamic": _SEVERAL_TYPES,
    "Time": "holds durations, which the driver returns in another form",
    "Time64": "holds durations, which the driver returns in another form",
}
_WRAPPED = re.compile(r"(?:Nullable|LowCardinality)\((.*)\)", re.DOTALL)
_DIGITS = re.compile(r"DateTime64\(([1-9])")


def database_of(connection: Any) -> Database:
    """Return the class for a connection's driver."""
    is_native = any(kind.__module__.partition(".")[0] == "clickhouse_driver" for kind in type(connection).__mro__)
    return _Native() if is_native else _Connect()


class _ClickHouse(Database):
    name = "ClickHouse"
    quoting = Quoting(backslash_escapes=True, hash_comments=True, nested_comments=True)

    def is_lost(self, error: BaseException) -> bool:
        """Return whether an error means that the query or its connection is lost."""
        return isinstance(error, OSError) or is_operational(error)

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:  # noqa: ARG002
        """Describe the columns."""
        return tuple(_column(str(column[0]), str(column[1])) for column in cursor.description or ())


class _Connect(_ClickHouse):
    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:  # noqa: ARG002 (it holds a block)
        """Yield a cursor that reads the blocks of a result."""
        client = getattr(connection, "client", None) or connection._client  # noqa: SLF001 (Airflow's provider)
        with ExitStack() as stack:
            yield _BlockCursor(client, stack)


class _BlockCursor:
    """Reads a query's result block by block.

    :param client: clickhouse-connect's client.
    :param stack: closes the result.
    """

    def __init__(self, client: Any, stack: ExitStack) -> None:
        self._client = client
        self._stack = stack
        self._blocks: Iterator[Sequence[Any]] = iter(())
        self.description: list[tuple[str, str]] = []

    def execute(self, sql: str, parameters: Any = None) -> None:
        """Run a query. Without parameters, a % in it stays a %."""
        stream = self._client.query_row_block_stream(sql, parameters=parameters)
        self._blocks = iter(self._stack.enter_context(stream))
        result = stream.source
        self.description = [
            (str(name), str(kind.name))
            for name, kind in zip(result.column_names, result.column_types, strict=True)
        ]
        if not self.description:  # a result without rows may have no columns
            described = self._client.query(f"DESCRIBE TABLE (\n{sql}\n)", parameters=parameters)
            self.description = [(str(row[0]), str(row[1])) for row in described.result_rows]

    def fetchmany(self, rows: int) -> Sequence[Any]:  # noqa: ARG002 (the server decides)
        """Return the rows of the next block; empty at the end."""
        return next((block for block in self._blocks if block), ())


class _Native(_ClickHouse):
    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:
        """Yield a cursor that streams."""
        with closing(connection.cursor()) as cursor:
            cursor.set_stream_results(True, fetch_size)
            yield cursor


def _column(name: str, declared: str) -> SourceColumn:
    type_name = declared
    while wrapped := _WRAPPED.fullmatch(type_name):
        type_name = wrapped.group(1)
    has_digits = _DIGITS.match(type_name) is not None
    type_name = type_name.partition("(")[0]
    problem = _KEY_PROBLEMS.get(type_name)
    if has_digits:
        problem = "has fractional seconds, which the driver does not bind"
    advice = "toDecimal128({name}, 10)" if problem == _FLOATS else "toString({name})"
    return SourceColumn(name, type_name, _READERS.get(type_name), problem, advice)


def _read_nested(value: Any) -> Any:
    """Return lists and objects, with keys converted to text."""
    if isinstance(value, Mapping):
        return {str(key): _read_nested(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_read_nested(item) for item in value]
    return read_time(value) if isinstance(value, dt.timedelta) else value


_READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("Array", "Tuple", "Nested", "Map", "Variant", "Dynamic"), _read_nested),
    **dict.fromkeys(("Time", "Time64"), read_time),
    **dict.fromkeys(("JSON", "Object"), read_json),
}
