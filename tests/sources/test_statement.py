"""Where a query ends, whatever its strings, names and comments hold."""

from __future__ import annotations

import pytest

from airflow_provider_moengage.sources.statement import Quoting, one_statement, outer_words

POSTGRESQL = Quoting(nested_comments=True, dollar_strings=True)
MYSQL = Quoting(backslash_escapes=True, hash_comments=True, dashes_need_space=True)
BIGQUERY = Quoting(backslash_escapes=True, hash_comments=True, triple_quotes=True)
SNOWFLAKE = Quoting(backslash_escapes=True, dollar_strings=True, slash_comments=True)
ORACLE = Quoting(q_strings=True)
SQL_SERVER = Quoting(nested_comments=True, bracket_names=True)
STANDARD = Quoting()


@pytest.mark.parametrize("quoting", [STANDARD, POSTGRESQL, MYSQL])
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "SELECT 1;",
        "\n  SELECT 1 ; ; \n",
        "SELECT 1; -- the end",
        "SELECT 1 -- the end; really",
        "SELECT 1 /* a; b */ ;",
        "SELECT 1; /* done; */ -- and; over",
    ],
)
def test_what_follows_the_statement_is_left_out(sql: str, quoting: Quoting) -> None:
    assert one_statement(sql, quoting) == "SELECT 1"


@pytest.mark.parametrize(
    ("sql", "quoting"),
    [
        ("SELECT ';' AS a, 'it''s; so' AS b", STANDARD),
        ('SELECT 1 AS "a;b"', STANDARD),
        ("SELECT 1 AS `a;b`", MYSQL),
        ("-- first; a comment\nSELECT 1", STANDARD),
        ("/* first; */ SELECT 1", STANDARD),
        ("SELECT 1 -- x; y\n, 2", STANDARD),
        ("SELECT 'C:\\' AS a, ';' AS b", POSTGRESQL),
        ("SELECT E'it\\'s; so' AS a", POSTGRESQL),
        ("SELECT name'x;' FROM t", POSTGRESQL),
        ("SELECT 'it\\'s; so' AS a", MYSQL),
        ("SELECT 1 # a; b\n, 2", MYSQL),
        ("SELECT $$a; b$$ AS a", POSTGRESQL),
        ("SELECT $tag$a; $$ b$tag$ AS a", POSTGRESQL),
        ("SELECT 1 /* a /* b */ ; c */ + 2", POSTGRESQL),
        ("SELECT /*! SQL_NO_CACHE */ 1", MYSQL),
        ("SELECT /*+ INDEX(t i) */ 1", STANDARD),
        ("WITH a AS (SELECT 1) SELECT * FROM a UNION ALL SELECT 2 ORDER BY 1 LIMIT 3", STANDARD),
        ("SELECT a#>'{b}' FROM t", POSTGRESQL),
        ("SELECT 5--1", MYSQL),
        ("SELECT '''it's; so''' AS a", BIGQUERY),
    ],
)
def test_a_semicolon_inside_the_statement_does_not_end_it(sql: str, quoting: Quoting) -> None:
    assert one_statement(f"{sql};\n-- end", quoting).endswith(sql[-8:])
    assert one_statement(sql, quoting) == sql


@pytest.mark.parametrize(
    ("sql", "quoting"),
    [
        ("SELECT 1; SELECT 2", STANDARD),
        ("SET x = 1; SELECT 2;", STANDARD),
        ("SELECT 1; -- first\nSELECT 2", STANDARD),
        ("SELECT '\\'; SELECT 2 --'", POSTGRESQL),
        ("SELECT 1 /* a /* b */ ; SELECT 2", STANDARD),
        ("SELECT 1; $$x$$", POSTGRESQL),
    ],
)
def test_a_second_statement_is_refused(sql: str, quoting: Quoting) -> None:
    with pytest.raises(ValueError, match=r"^sql: expected one statement, found a second one after a semicolon"):
        one_statement(sql, quoting)


@pytest.mark.parametrize("sql", ["", " \n", ";", "-- nothing", "/* nothing */ ; --"])
def test_no_statement_is_refused(sql: str) -> None:
    with pytest.raises(ValueError, match=r"^sql: expected a SELECT"):
        one_statement(sql, STANDARD)


@pytest.mark.parametrize(
    ("sql", "quoting"),
    [
        ("SELECT $$ a ; 'b $$ AS x", SNOWFLAKE),
        ("SELECT 1 // it's; no\n, 2", SNOWFLAKE),
        ("SELECT q'[it's; so]' AS x", ORACLE),
        ("SELECT nq'!a;'b!' AS x, Q'<;'>' AS y FROM dual", ORACLE),
        ("SELECT freq'a;b' AS x", ORACLE),
        ("SELECT 1 AS [it's; so]", SQL_SERVER),
        ("SELECT 1 /* /* ; */ ; */ AS a", SQL_SERVER),
    ],
)
def test_what_a_dialect_quotes_ends_no_statement(sql: str, quoting: Quoting) -> None:
    assert one_statement(sql + ";", quoting) == sql


def test_the_words_outside_of_parentheses_strings_and_names() -> None:
    sql = "SELECT TOP (5) [order by], 'with' AS w /* option */ FROM (SELECT a FROM b ORDER BY a) c order  by d"

    assert outer_words(sql, SQL_SERVER) == ["SELECT", "TOP", "AS", "W", "FROM", "C", "ORDER", "BY", "D"]
