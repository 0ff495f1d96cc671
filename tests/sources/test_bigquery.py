"""BigQuery: the provider's own cursor and googleapiclient, against a server that speaks the API's JSON."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.sources.sql_key import KeyColumns, KeyRange, check_key_types
from airflow_provider_moengage.sources.sql_keyset import stream_range
from airflow_provider_moengage.sources.sql_stream import stream_query
from airflow_provider_moengage.sources.statement import one_statement

provider = pytest.importorskip(
    "airflow.providers.google.cloud.hooks.bigquery", reason="the Google provider is not installed"
)


class _API(BaseHTTPRequestHandler):
    """Two methods of BigQuery's API: jobs.insert and jobs.getQueryResults."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.queries.append(body["configuration"]["query"]["query"])  # type: ignore[attr-defined]
        self._answer({"jobReference": {"projectId": "p", "jobId": "a-job", "location": "EU"}})

    def do_GET(self) -> None:
        given = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self.server.asked.append(given)  # type: ignore[attr-defined]
        schema, rows = self.server.result  # type: ignore[attr-defined]
        first = int(given.get("pageToken", 0))
        until = first + min(int(given.get("maxResults", 50)), 50)
        answer = {"jobComplete": True, "schema": {"fields": schema}, "totalRows": str(len(rows))}
        if rows[first:until]:
            answer["rows"] = rows[first:until]
        if until < len(rows):
            answer["pageToken"] = str(until)
        self._answer(answer)

    def _answer(self, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None: ...


class Hook:
    """The parts of the provider's hook that its cursor uses, with the provider's own connection."""

    labels = None
    priority = "INTERACTIVE"
    api_resource_configs: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, url: str, *, use_legacy_sql: bool = False) -> None:
        import httplib2
        from googleapiclient.discovery import build

        self.use_legacy_sql = use_legacy_sql
        self.service = build(
            "bigquery", "v2", http=httplib2.Http(), client_options={"api_endpoint": url}, static_discovery=True
        )

    def insert_job(self, *, configuration: Any, project_id: str, location: str | None) -> Any:
        job = self.service.jobs().insert(projectId=project_id, body={"configuration": configuration}).execute()
        return SimpleNamespace(job_id=job["jobReference"]["jobId"], location=job["jobReference"]["location"])

    def get_conn(self) -> Any:
        return provider.BigQueryConnection(
            service=self.service, project_id="p", use_legacy_sql=self.use_legacy_sql, hook=self
        )


@pytest.fixture
def server() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _API)
    server.queries, server.asked = [], []  # type: ignore[attr-defined]
    server.url = f"http://127.0.0.1:{server.server_address[1]}"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def row(*values: Any) -> dict[str, Any]:
    return {"f": [{"v": value} for value in values]}


def field(name: str, type_name: str, mode: str = "NULLABLE", *fields: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_name, "mode": mode, **({"fields": fields} if fields else {}), **more}


CASES = [
    (field("c", "STRING"), "u-1", "u-1"),
    (field("c", "STRING"), None, None),
    (field("c", "STRING", "REPEATED"), [{"v": "a"}], ["a"]),
    (field("c", "INTEGER", "REPEATED"), [{"v": "1"}, {"v": "2"}], [1, 2]),
    (field("c", "INTEGER", "REPEATED"), [], []),
    (
        field("c", "RECORD", "NULLABLE", field("a", "INTEGER"), field("b", "STRING", "REPEATED")),
        row("1", [{"v": "x"}]),
        {"a": 1, "b": ["x"]},
    ),
    (field("c", "RECORD", "REPEATED", field("a", "NUMERIC")), [{"v": row("1.5")}], [{"a": Decimal("1.5")}]),
    (field("c", "RECORD", "NULLABLE", field("a", "INTEGER")), None, None),
    (field("c", "INTEGER"), "1234567890123456789", 1234567890123456789),
    (field("c", "FLOAT"), "1.5", 1.5),
    (field("c", "BOOLEAN"), "true", True),
    (field("c", "NUMERIC"), "1.50", Decimal("1.50")),
    (field("c", "TIMESTAMP"), "1767605400123456", dt.datetime(2026, 1, 5, 9, 30, 0, 123456, dt.UTC)),
    (field("c", "TIMESTAMP"), "1.7676054E9", dt.datetime(2026, 1, 5, 9, 30, tzinfo=dt.UTC)),
    (field("c", "DATETIME"), "2026-01-05T09:30:00.5", dt.datetime(2026, 1, 5, 9, 30, 0, 500_000)),
    (field("c", "DATE"), "2026-01-05", dt.date(2026, 1, 5)),
    (field("c", "TIME"), "09:30:00", "09:30:00"),
    (field("c", "INTERVAL"), "0-0 1 2:3:4", "0-0 1 2:3:4"),
    (field("c", "BYTES"), "dGV4dA==", b"text"),
    (field("c", "JSON"), '{"a": [1]}', {"a": [1]}),
    (field("c", "JSON"), '"u-77"', "u-77"),
    (field("c", "GEOGRAPHY"), "POINT(1 2)", "POINT(1 2)"),
    (
        field("c", "DATE"),
        "10000-01-01",
        Unreadable("a DATE that Python cannot represent; CAST it to STRING in the query", "c"),
    ),
]


@pytest.mark.parametrize(("column", "given", "right"), CASES)
def test_a_value_arrives_by_its_field(server: Any, column: dict[str, Any], given: Any, right: Any) -> None:
    server.result = ([column], [row(given)])

    with stream_query(Hook(server.url), "SELECT c FROM t", fetch_size=10) as result:
        assert list(result.read()) == [(right,)]


def test_every_page_is_read_and_no_more_than_one_is_held(server: Any) -> None:
    server.result = ([field("n", "INTEGER")], [row(str(n)) for n in range(230)])

    with stream_query(Hook(server.url), "SELECT n FROM t;", fetch_size=40) as result:
        assert [value for (value,) in result.rows] == list(range(230))

    assert {int(asked["maxResults"]) for asked in server.asked[2:]} == {40}
    assert server.queries == ["SELECT n FROM t"]


def test_values_of_keys_are_literals_of_their_types(server: Any) -> None:
    server.result = ([field("k", "TIMESTAMP")], [])
    columns = KeyColumns(["a", "b", "c", "d", "e", "f"])
    key = (
        dt.datetime(2026, 1, 5, 9, 30, tzinfo=dt.UTC),
        Decimal("1.50"),
        "it's 100%",
        dt.date(2026, 1, 5),
        7,
        dt.datetime(2026, 1, 5, 9, 30),
    )

    with stream_range(
        Hook(server.url), "SELECT '%' AS a FROM t", None, columns, KeyRange(after=key), fetch_size=5
    ):
        pass

    [query] = server.queries
    for literal in (
        "TIMESTAMP '2026-01-05 09:30:00+00:00'",
        "NUMERIC '1.50'",
        "'it\\'s 100%'",
        "DATE '2026-01-05'",
        "e > 7",
        "DATETIME '2026-01-05 09:30:00'",
        "SELECT '%' AS a FROM t",
    ):
        assert literal in query


@pytest.mark.parametrize(
    "column",
    [
        field("k", "FLOAT"),
        field("k", "JSON"),
        field("k", "STRING", "REPEATED"),
        field("k", "RECORD", "NULLABLE", field("a", "STRING")),
        field("k", "STRING", collation="und:ci"),
        field("k", "TIMESTAMP", timestampPrecision="12"),
    ],
)
def test_a_column_that_cannot_be_a_key_is_refused(server: Any, column: dict[str, Any]) -> None:
    server.result = ([column], [])

    with (
        stream_query(Hook(server.url), "SELECT k FROM t", fetch_size=10) as result,
        pytest.raises(
            ValueError, match=r"^key_columns: column 'k' of type .* cannot be a key in BigQuery .* AS k_key"
        ),
    ):
        check_key_types(result.described, result.database.name)


def test_keys_need_standard_sql(server: Any) -> None:
    hook = Hook(server.url, use_legacy_sql=True)

    with (
        pytest.raises(ValueError, match=r'^conn_id: .*"use_legacy_sql": false'),
        stream_range(hook, "SELECT a FROM t", None, KeyColumns("a"), KeyRange(after=(1,)), fetch_size=5),
    ):
        pass

    assert not server.queries


@pytest.mark.parametrize("text", ['"""a ; "b" """', "'''a ; '''", "'it\\'s ; so'", "1 # ; no\n"])
def test_a_semicolon_in_a_string_or_comment_ends_no_statement(text: str) -> None:
    from airflow_provider_moengage.sources.databases import bigquery

    sql = f"SELECT {text} AS x"

    assert one_statement(sql + "; # end", bigquery.database_of(None).quoting) == sql
