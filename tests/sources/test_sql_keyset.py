"""Queries read by key on a real SQLite and PostgreSQL: wherever they are cut, each row is in exactly one part."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import chain
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.sources.sql_key import KeyColumns, KeyRange
from airflow_provider_moengage.sources.sql_keyset import null_key_exists, ranged_query, stream_range
from airflow_provider_moengage.sources.sql_stream import UnreadableRowError
from devtools.postgres import postgres_server
from tests.sources.test_sql_stream import WAYS, url

ROWS = [
    (number, text, date(2026, 1, 1) + timedelta(days=day))
    for number in (-2, 7)
    for text in ("", "'", '"', "%", "%s", "?", ":a", "$a", "a", "B", "é", "ß", "🦊", "\\", "a b")
    for day in (0, 400)
]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with postgres_server() as port:
        with psycopg.connect(url(port)) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE rows (n int, t text, d date, at timestamptz, u uuid, x numeric, r bytea)")
            cursor.execute("CREATE EXTENSION citext")
            cursor.executemany("INSERT INTO rows (n, t, d) VALUES (%s, %s, %s)", ROWS)
            cursor.execute("""
                UPDATE rows SET at = d + n * interval '0.000001 s', u = md5(t || d || n)::uuid, x = n / 3::numeric,
                    r = convert_to(t || d || n, 'UTF8')
            """)
        yield port


def sqlite_with(rows: Sequence[tuple[Any, ...]], columns: str = "n INT, t TEXT, d TEXT") -> Any:
    def get_conn() -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:")
        connection.execute(f"CREATE TABLE rows ({columns})")
        connection.executemany(f"INSERT INTO rows VALUES ({', '.join('?' * len(columns.split(',')))})", rows)
        return connection

    return SimpleNamespace(get_conn=get_conn)


SQLITE = sqlite_with([(n, t, str(d)) for n, t, d in ROWS])


@pytest.fixture(params=["SQLite", *(way for way in WAYS if way != "PostgresHook")])
def hook(request: pytest.FixtureRequest) -> Any:
    if request.param == "SQLite":
        return SQLITE
    return WAYS[request.param](request.getfixturevalue("port"))


def keys(
    hook: Any,
    names: str | list[str],
    sql: str = "SELECT * FROM rows",
    parameters: Any = None,
    **bounds: tuple[Any, ...] | None,
) -> list[tuple[Any, ...]]:
    """Return the keys in a range that was stored as JSON."""
    columns = KeyColumns(names)
    stored = json.dumps(KeyRange(**bounds).to_dict())
    key_range = KeyRange.from_dict(json.loads(stored))
    with stream_range(hook, sql, parameters, columns, key_range, fetch_size=7) as result:
        at = columns.indexes(result.columns)
        return [tuple(row[index] for index in at) for row in result.rows]


def assert_cut_anywhere(hook: Any, names: str | list[str], *query: Any) -> list[tuple[Any, ...]]:
    """Assert that at whichever key a query is cut, the parts are its rows in order; return the keys."""
    whole = keys(hook, names, *query)
    for at, key in enumerate(whole):
        assert keys(hook, names, *query, up_to=key) == whole[: at + 1]
        assert keys(hook, names, *query, after=key) == whole[at + 1 :]
        assert keys(hook, names, *query, starting_at=key) == whole[at:]
        assert keys(hook, names, *query, after=whole[0], up_to=key) == whole[1 : at + 1]
    return whole


@settings(max_examples=60, deadline=None)
@given(
    st.sets(
        st.tuples(
            st.integers(-3, 3) | st.sampled_from([2**63 - 1, -(2**63)]),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=2),
            st.dates().map(str),
        ),
        max_size=7,
    )
)
def test_a_random_table_can_be_cut_at_any_key(rows: set[tuple[int, str, str]]) -> None:
    assert assert_cut_anywhere(sqlite_with(list(rows)), ["n", "t", "d"]) == sorted(rows)


@settings(max_examples=15, deadline=None)
@given(
    st.sets(
        st.tuples(
            st.integers(-3, 3),
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=2),
            st.dates(),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_random_table_of_postgresql_can_be_cut_at_any_key(port: int, rows: set[tuple[int, str, date]]) -> None:
    sql = "SELECT * FROM unnest(%s::int[], %s::text[], %s::date[]) AS rows (n, t, d)"
    parameters = [list(column) for column in zip(*rows, strict=True)]

    assert assert_cut_anywhere(WAYS["psycopg 3"](port), ["n", "t", "d"], sql, parameters) == sorted(rows)


def test_rows_come_in_the_order_of_their_keys_and_no_other_columns(hook: Any) -> None:
    numbers = [n for n, _ in keys(hook, ["n", "t"], "SELECT t, n FROM rows WHERE d < '2026-02-01'")]
    texts = [t for t, _ in keys(hook, ["t", "n"], "SELECT t, n FROM rows WHERE d < '2026-02-01'")]

    assert numbers == sorted(numbers)
    assert texts == sorted(texts)


def test_each_row_is_in_one_of_three_ranges(hook: Any) -> None:
    names = ["n", "t", "d"]
    whole = keys(hook, names)
    low, high = whole[20], whole[40]

    parts = [keys(hook, names, up_to=low), keys(hook, names, after=low, up_to=high), keys(hook, names, after=high)]

    assert [len(part) for part in parts] == [21, 20, 19]
    assert list(chain.from_iterable(parts)) == whole


@pytest.mark.parametrize("name", ["at", "u", "x::numeric(30, 20) || ''", "r", "t", "at::time", "d", "n > 0"])
def test_keys_of_every_type_of_postgresql_are_exact_after_json(port: int, name: str) -> None:
    for way in ("psycopg 2", "psycopg 3"):
        sql = f"SELECT DISTINCT {name} AS key FROM rows WHERE t IN ('', '%%', 'é') AND n = ANY(%(of)s)"
        assert assert_cut_anywhere(WAYS[way](port), "key", sql, {"of": [-2, 7]})


def test_a_timestamp_with_its_zone_is_exact_whatever_the_sessions_zone(port: int) -> None:
    sql = "SELECT '2026-10-25 00:30Z'::timestamptz + n * interval '1 hour' AS at FROM generate_series(0, 2) n"
    hook = SimpleNamespace(get_conn=lambda: psycopg.connect(url(port), options="-c timezone=Europe/Berlin"))

    assert len(assert_cut_anywhere(hook, "at", sql)) == 3


@pytest.mark.parametrize("collation", ["BINARY", "NOCASE", "RTRIM"])
def test_text_is_cut_in_the_order_of_sqlites_collation(collation: str) -> None:
    hook = sqlite_with([("a",), ("B",), ("c",), ("Ab",), (" d",), ("É",)], f"t TEXT COLLATE {collation}")

    whole = assert_cut_anywhere(hook, "t")

    assert (whole.index(("a",)) < whole.index(("B",))) is (collation == "NOCASE")


@pytest.mark.parametrize("way", ["psycopg 2", "psycopg 3"])
def test_text_is_cut_in_the_order_of_its_type(port: int, way: str) -> None:
    sql = "SELECT t::citext AS t FROM unnest(ARRAY['a', 'B', 'c', 'Ab', 'é', 'É!', '']) t"

    whole = assert_cut_anywhere(WAYS[way](port), "t", sql)

    assert whole.index(("a",)) < whole.index(("B",)) < whole.index(("c",))


def test_a_statement_of_a_file_is_read_as_a_table(hook: Any) -> None:
    sql = "WITH whole AS (SELECT * FROM rows) SELECT n, t, d FROM whole ORDER BY d -- the newest last ;\n ; \n"

    whole = keys(hook, ["n", "t", "d"], sql)

    assert keys(hook, ["n", "t", "d"], sql, after=whole[10]) == whole[11:]


@pytest.mark.parametrize("bounds", [{}, {"after": (-2, "%", "2026-01-01")}], ids=["open", "cut"])
def test_a_percent_sign_of_a_query_without_parameters_is_one(hook: Any, bounds: Any) -> None:
    found = keys(hook, ["n", "t", "d"], "SELECT * FROM rows WHERE t LIKE '%s' AND n % 3 = 1", **bounds)

    assert [(n, t) for n, t, _ in found] == [(7, "%s")] * 2


def test_the_users_parameters_are_kept(hook: Any) -> None:
    by_name = "%(day)s" if hook is not SQLITE else ":day"
    by_position = "%s" if hook is not SQLITE else "?"
    after = {"after": (7, "a")}

    for mark, parameters in ((by_name, {"day": "2026-01-01", "of": 1}), (by_position, ["2026-01-01"])):
        found = keys(hook, ["n", "t"], f"SELECT n, t FROM rows WHERE d = {mark}", parameters, **after)
        assert {t for _, t in found} == {"a b", "é", "ß", "🦊"}


def test_an_error_of_the_database_does_not_quote_the_key(port: int) -> None:
    with pytest.raises(UnreadableRowError) as error:
        keys(WAYS["psycopg 2"](port), "n", "SELECT 1 / 0 AS n", after=(12345,))

    assert "12345" not in str(error.value)


def test_a_column_in_quotes_is_found_in_the_result(hook: Any) -> None:
    sql = """SELECT n AS "Order Id", t, d AS "when" FROM rows"""

    assert keys(hook, ['"Order Id"', "T", '"when"'], sql, after=(7, "é", "2026-12-31")) == keys(
        hook, ["n", "t", "d"], after=(7, "é", "2026-12-31")
    )


def test_a_driver_whose_cursors_have_no_arraysize_is_read() -> None:
    class Cursor:
        __slots__ = ("close", "description", "execute", "fetchmany")
        close: Any
        execute: Any
        fetchmany: Any

    def cursor_of(connection: sqlite3.Connection) -> Any:
        of_sqlite, cursor = sqlite3.Connection.cursor(connection), Cursor()
        cursor.close, cursor.fetchmany = of_sqlite.close, of_sqlite.fetchmany
        cursor.execute = lambda *query: setattr(cursor, "description", of_sqlite.execute(*query).description)
        return cursor

    class Connection(sqlite3.Connection):
        cursor: Any = cursor_of

    assert keys(
        SimpleNamespace(get_conn=lambda: sqlite3.connect(":memory:", factory=Connection)), "n", "SELECT 1 n"
    )


@pytest.mark.parametrize(("row", "is_there"), [((None, "a"), True), ((1, None), True), ((1, "a"), False)])
def test_null_keys_are_found(row: tuple[Any, ...], is_there: bool) -> None:
    hook = sqlite_with([(2, "b"), row], "n INT, t TEXT")

    assert null_key_exists(hook, "SELECT * FROM rows;", None, KeyColumns(["n", "t"])) is is_there
    assert not null_key_exists(hook, "SELECT * FROM rows WHERE n = ?", [2], KeyColumns(["n", "t"]))


RANGE = KeyRange(after=(1, "x"), up_to=(2, "y"))


def made(sql: str, parameters: Any, paramstyle: str, key_range: KeyRange = RANGE) -> tuple[str, Any]:
    return ranged_query(sql, KeyColumns(["a", "b"]), key_range, parameters, paramstyle)


def test_a_range_is_a_condition_that_an_index_serves() -> None:
    assert made("SELECT 1", None, "qmark") == (
        "SELECT * FROM (\nSELECT 1\n) moengage_rows"
        " WHERE (a >= ? AND (a > ? OR (b > ?))) AND (a <= ? AND (a < ? OR (b <= ?))) ORDER BY a, b",
        (1, 1, "x", 2, 2, "y"),
    )


def test_only_the_last_value_of_a_key_may_be_the_same() -> None:
    columns = KeyColumns(["a", "b", "c"])

    text, parameters = ranged_query("S", columns, KeyRange(starting_at=(1, 2, 3)), None, "qmark")

    assert "WHERE (a >= ? AND (a > ? OR (b >= ? AND (b > ? OR (c >= ?))))) ORDER BY" in text
    assert parameters == (1, 1, 2, 2, 3)


def test_without_bounds_a_query_has_its_own_parameters_only() -> None:
    for parameters in (None, [1], []):
        text, kept = made("SELECT '%'", parameters, "numeric", KeyRange())
        assert text == "SELECT * FROM (\nSELECT '%'\n) moengage_rows ORDER BY a, b"
        assert kept is parameters


@pytest.mark.parametrize(
    ("paramstyle", "sql", "parameters", "placeholders", "merged"),
    [
        ("qmark", "S", None, "? ?", (1, 1)),
        ("qmark", "S ?", ["u"], "? ?", ("u", 1, 1)),
        ("qmark", "S :day", {"day": "u"}, ":moengage_1 :moengage_2", "u"),
        ("qmark", "S $day", {"day": "u"}, "$moengage_1 $moengage_2", "u"),
        ("numeric", "S", None, ":1 :2", (1, 1)),
        ("numeric", "S :1 :2", ("u", "v"), ":3 :4", ("u", "v", 1, 1)),
        ("named", "S", None, ":moengage_1 :moengage_2", None),
        ("named", "S", [], ":moengage_1 :moengage_2", None),
        ("named", "S :day", {"day": "u"}, ":moengage_1 :moengage_2", "u"),
        ("named", "S '10:30' :1", ["u"], ":2 :3", ("u", 1, 1)),
        ("named", "S :day", ["u"], ":2 :3", ("u", 1, 1)),
        ("named", "S '10:30' n::int ?", ["u"], "? ?", ("u", 1, 1)),
        ("named", "S %s", ["u"], "%s %s", ("u", 1, 1)),
        ("format", "S", None, "%s %s", (1, 1)),
        ("format", "S %s", ["u"], "%s %s", ("u", 1, 1)),
        ("format", "S %(day)s", {"day": "u"}, "%(moengage_1)s %(moengage_2)s", "u"),
        ("pyformat", "S", None, "%(moengage_1)s %(moengage_2)s", None),
        ("pyformat", "S", {}, "%(moengage_1)s %(moengage_2)s", None),
        ("pyformat", "S %s", ["u"], "%s %s", ("u", 1, 1)),
        ("pyformat", "S %(day)s", {"day": "u"}, "%(moengage_1)s %(moengage_2)s", "u"),
    ],
)
def test_values_are_bound_in_the_style_of_the_driver_and_the_parameters(
    paramstyle: str, sql: str, parameters: Any, placeholders: str, merged: Any
) -> None:
    if not isinstance(merged, tuple):
        merged = {**({"day": merged} if merged else {}), "moengage_1": 1, "moengage_2": 1}
    text, bound = ranged_query(
        sql, KeyColumns("a"), KeyRange(starting_at=(1,), up_to=(1,)), parameters, paramstyle
    )

    first, second = placeholders.split()
    assert text == f"SELECT * FROM (\n{sql}\n) moengage_rows WHERE (a >= {first}) AND (a <= {second}) ORDER BY a"
    assert bound == merged


@pytest.mark.parametrize(
    ("paramstyle", "parameters", "doubled"),
    [
        ("pyformat", None, True),
        ("format", None, True),
        ("pyformat", {}, False),
        ("format", ["u"], False),
        ("qmark", None, False),
        ("named", None, False),
    ],
)
def test_a_percent_sign_is_doubled_only_if_the_driver_did_not_interpret_it(
    paramstyle: str, parameters: Any, doubled: bool
) -> None:
    text, _ = made("SELECT 5 % 2", parameters, paramstyle)

    assert ("5 %% 2" in text) is doubled


def test_names_of_placeholders_do_not_clash_with_the_users() -> None:
    text, bound = made("SELECT :MOENGAGE_1, :Moengage_k2", {"MOENGAGE_1": "u", "Moengage_k2": "v"}, "named")

    assert len(bound) == 8
    assert bound["moengage_kk1"] == 1
    assert ":moengage_kk6" in text


@pytest.mark.parametrize(
    ("paramstyle", "parameters", "message"),
    [
        ("numeric", {"day": "secret"}, r"parameters: .* expected a list"),
        ("named", ["secret"], r"parameters: .* expected a mapping"),
        ("qmark", "secret", r"parameters: expected a list or a mapping"),
        ("qmark", 5, r"parameters: expected a list or a mapping"),
    ],
)
def test_parameters_next_to_which_nothing_can_be_bound_are_refused(
    paramstyle: str, parameters: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        made("SELECT 1", parameters, paramstyle)

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("key", [(1,), (1, "x", 2), (1, None), ()])
def test_a_key_with_other_columns_or_a_null_is_refused(key: Any) -> None:
    with pytest.raises(ValueError, match=r"key_range.up_to: expected a non-NULL value for each of .*\(a, b\)"):
        made("SELECT 1", None, "qmark", KeyRange(up_to=key))


@pytest.mark.parametrize(("parameters", "style"), [({"a": 1}, "numeric"), ([1], "named")])
def test_parameters_that_a_retry_could_not_add_keys_to_are_refused_by_the_first_try(
    parameters: Any, style: str
) -> None:
    with pytest.raises(ValueError, match=r"^parameters: this driver uses"):
        ranged_query("SELECT 1 AS k", KeyColumns("k"), KeyRange(), parameters, style)
