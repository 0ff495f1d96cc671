"""SqlToMoEngageFileOperator on a SQLite warehouse: an independent reader reads the files back."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.emulator import FileImport
from airflow_provider_moengage.emulator.file_imports.folder import read_folder as take_folder
from airflow_provider_moengage.exceptions import MoEngageError, MoEngageRequestError
from airflow_provider_moengage.import_files.folder import ImportFolder
from airflow_provider_moengage.transfers.sql_to_moengage_file import SqlToMoEngageFileOperator
from tests.import_files.reader import NAME, read_file, read_folder
from tests.import_files.test_folder import attach

USERS = "SELECT id AS user_id, email, tier, score FROM users ORDER BY id"
EVENTS = "SELECT user_id, at, total FROM orders ORDER BY at"


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with sqlite3.connect(path) as database:
        database.executescript(
            """
            CREATE TABLE users (id INTEGER, email TEXT, tier TEXT, score REAL);
            CREATE TABLE orders (user_id TEXT, at TEXT, total REAL);
            """
        )
        users = [(n, f"user{n}@example.com", "gold" if n % 2 else None, n / 4) for n in range(11, 31)]
        orders = [(f"u-{n}", f"2026-01-02 03:04:{n:02}", n * 1.5) for n in range(10, 22)]
        database.executemany("INSERT INTO users VALUES (?, ?, ?, ?)", users)
        database.executemany("INSERT INTO orders VALUES (?, ?, ?)", orders)
    yield database
    database.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "incoming"


def context(**changes: Any) -> Any:
    ti = {
        "dag_id": "dag",
        "run_id": "run",
        "task_id": "export",
        "map_index": -1,
        "try_number": 1,
        "start_date": dt.datetime(2026, 11, 22, 3, 10, 59, tzinfo=dt.UTC),
    }
    return {"ti": SimpleNamespace(**{**ti, **changes}), "ds": "2026-01-01", "params": {"region": "eu"}}


def operator(folder: Path | str, sql: str = USERS, **options: Any) -> SqlToMoEngageFileOperator:
    arguments = {"task_id": "export", "conn_id": "warehouse", "id_column": "user_id", **options}
    return SqlToMoEngageFileOperator(sql=sql, folder=folder, **arguments)


def export(folder: Path | str, sql: str = USERS, ti: Any = None, **options: Any) -> dict[str, Any]:
    task = operator(folder, sql, **options)
    task.render_template_fields(context(**(ti or {})))
    return task.execute(context(**(ti or {})))


def test_users_are_written_to_a_file_that_their_import_accepts(warehouse: Any, folder: Path) -> None:
    done = export(folder, attributes={"u_em": "email", "tier": "tier", "score": "score"})

    [file] = done["files"]
    path = folder / file["file_name"]
    assert path.read_text().splitlines()[:3] == [
        "user_id,u_em,tier,score",
        "11,user11@example.com,gold,2.75",
        "12,user12@example.com,,3.0",
    ]
    assert len(read_file(path)) == 20
    assert NAME.fullmatch(path.name)
    assert path.name.startswith("registered_user_data_")
    assert path.name.endswith("_20261122_0310.csv")
    assert done == {"files": [file], "rows": 20, "bytes": path.stat().st_size, "manifest": None}
    assert file == {"path": str(path), "file_name": path.name, "rows": 20, "bytes": path.stat().st_size}
    assert json.loads(json.dumps(done)) == done


def test_events_are_written_with_the_time_they_happened(warehouse: Any, folder: Path) -> None:
    done = export(folder, EVENTS, import_type="EVENTS", prefix="Purchase", time_column="at", file_format="json")

    rows = read_folder(folder)
    assert rows[0] == {"user_id": "u-10", "at": "2026-01-02T03:04:10Z", "total": 15.0}
    assert len(rows) == done["rows"] == 12
    assert done["files"][0]["file_name"].startswith("Purchase_")
    assert done["files"][0]["file_name"].endswith(".json")


@pytest.mark.parametrize("file_format", ["csv", "json"])
def test_an_import_of_the_emulator_accepts_every_row(warehouse: Any, tmp_path: Path, file_format: str) -> None:
    users, events = tmp_path / "users", tmp_path / "events"
    export(users, file_format=file_format, max_file_bytes=300)
    export(events, EVENTS, prefix="Purchase", import_type="EVENTS", time_column="at", file_format=file_format)
    imports = [
        FileImport("u", "u", folder=str(users), id_column="user_id"),
        FileImport("e", "e", import_type="EVENTS", folder=str(events), id_column="user_id", time_column="at"),
    ]

    taken = [file for of_users_or_events in imports for file in take_folder(of_users_or_events, set())]

    assert {file.steps[-1][1] for file in taken} == {"SUCCESSFUL"}
    assert sum(file.added_rows or 0 for file in taken) == 20 + 12


CELLS = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="|\0"), max_size=30)
    | st.sampled_from(
        ["", " ", '"', '""', "a,b", ",", "'", "a\nb", "\n", "\r\n", "\u2028", "\ufeff", "=1+1", "[]", "é"]
    )
)
IDS = st.integers(3, 10**6).map(str) | st.sampled_from(["zoë", "a,b", '"', " u", "🦊", "a\u2028", "007", "#"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(IDS, CELLS, CELLS), min_size=5, max_size=40),
    file_format=st.sampled_from(["csv", "json"]),
    max_file_bytes=st.integers(1, 3_000),
)
def test_what_is_read_back_is_what_the_query_returned(
    warehouse: sqlite3.Connection, folder: Path, rows: Any, file_format: str, max_file_bytes: int
) -> None:
    if file_format == "csv":
        rows = [[_without_line_breaks(cell) for cell in row] for row in rows]
    warehouse.execute("DROP TABLE IF EXISTS anything")
    warehouse.execute("CREATE TABLE anything (user_id, a, b)")
    warehouse.executemany("INSERT INTO anything VALUES (?, ?, ?)", rows)
    warehouse.commit()
    for file in folder.glob("*"):
        file.unlink()

    done = export(
        folder, "SELECT * FROM anything ORDER BY rowid", file_format=file_format, max_file_bytes=max_file_bytes
    )

    read = read_folder(folder)
    assert [_as_written(row, file_format) for row in rows] == [_as_read(row, file_format) for row in read]
    assert [file["file_name"] for file in done["files"]] == sorted(file.name for file in folder.iterdir())
    assert [file["rows"] for file in done["files"]] == [len(read_file(file)) for file in sorted(folder.iterdir())]
    assert all(file["bytes"] <= max_file_bytes or file["rows"] < 10 for file in done["files"])


def _without_line_breaks(cell: Any) -> Any:
    return cell.translate(dict.fromkeys(map(ord, "\r\n"), " ")) if isinstance(cell, str) else cell


def _as_written(row: Any, file_format: str) -> dict[str, Any]:
    cells = dict(zip(("user_id", "a", "b"), row, strict=True))
    if file_format == "json":
        return {name: cell for name, cell in cells.items() if cell is not None}
    return {
        name: "" if cell is None else cell if isinstance(cell, str) else float(cell)
        for name, cell in cells.items()
    }


def _as_read(row: dict[str, Any], file_format: str) -> dict[str, Any]:
    """Return the rows that were read, with numeric text as numbers where a number was written."""
    return row if file_format == "json" else {name: _Text(cell) for name, cell in row.items()}


class _Text(str):
    """A cell of a CSV, which has no types: equal to the number that it spells."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other)(self) == other if isinstance(other, int | float) else str.__eq__(self, other)

    def __hash__(self) -> int:
        return str.__hash__(self)


def test_no_two_tries_runs_or_mapped_tasks_share_a_name_and_none_overwrites(warehouse: Any, folder: Path) -> None:
    tries: list[dict[str, Any]] = [
        {},
        {"try_number": 2},
        {"run_id": "run2"},
        {"map_index": 0},
        {"map_index": 1},
        {"dag_id": "dag2"},
        {"task_id": "export2"},
    ]

    names = [export(folder, ti=ti)["files"][0]["file_name"] for ti in tries]

    assert len(set(names)) == len(tries)
    assert sorted(names) == sorted(file.name for file in folder.iterdir())


def test_a_try_does_not_overwrite_files_that_it_has_published(warehouse: Any, folder: Path) -> None:
    export(folder)
    [file] = folder.iterdir()
    before = file.read_bytes()

    with pytest.raises(MoEngageError, match="MoEngage skips file names that it has seen before"):
        export(folder, "SELECT id AS user_id FROM users")

    assert [(file.name, file.read_bytes()) for file in folder.iterdir()] == [(file.name, before)]


def test_a_try_that_failed_before_publishing_may_reuse_its_name(warehouse: Any, folder: Path) -> None:
    warehouse.execute("INSERT INTO users VALUES (31, 'x', 'x', 9e999)")
    warehouse.commit()
    with pytest.raises(MoEngageRequestError):
        export(folder)
    warehouse.execute("DELETE FROM users WHERE id = 31")
    warehouse.commit()

    assert export(folder)["rows"] == 20


def test_a_split_names_its_parts_in_order(warehouse: Any, folder: Path) -> None:
    done = export(folder, max_file_bytes=250)

    names = [file["file_name"] for file in done["files"]]
    assert [name[-22:-18] for name in names] == [f"{part:04}" for part in range(1, len(names) + 1)]
    assert len({(name[:-22], name[-18:]) for name in names}) == 1
    assert [row["user_id"] for row in read_folder(folder)] == [str(n) for n in range(11, 31)]
    assert all(file["rows"] >= 5 for file in done["files"])
    assert done["rows"] == 20


def test_a_row_that_cannot_be_written_in_the_middle_leaves_the_folder_empty(
    warehouse: sqlite3.Connection, folder: Path
) -> None:
    warehouse.executemany(
        "INSERT INTO users VALUES (?, ?, ?, ?)",
        [(1, "private@example.com", "gold", 1), (99, "b|ar", "secret\nline", 9e999), (100, "ok", "ok", 1)],
    )
    warehouse.commit()
    folder.mkdir()

    with pytest.raises(MoEngageRequestError) as caught:
        export(folder, max_file_bytes=100)

    assert list(folder.iterdir()) == []
    assert isinstance(caught.value, AirflowFailException)
    assert str(caught.value).splitlines() == [
        "2 of 23 rows cannot be written, so no file was created. Fix them in the query or exclude them."
        " Positions count from 0.",
        "position 0: user_id: MoEngage treats this id as invalid and drops the record; send the user's real id",
        "position 21: score: NaN or infinity cannot be sent; send a valid value or null; email: contains a |,"
        " which MoEngage accepts only in arrays; tier: contains a line break or NUL, which MoEngage may treat as"
        " the end of a row; remove it in the query, or use file_format='json'",
    ]


def test_many_rows_that_cannot_be_written_are_counted(warehouse: sqlite3.Connection, folder: Path) -> None:
    with pytest.raises(MoEngageRequestError, match=r"(?s)^20 of 20 rows .*position 19") as caught:
        export(folder, "SELECT id AS user_id, 'a|b' AS a, 'a|b' AS b, 'a|b' AS c, 'a|b' AS d FROM users")
    assert str(caught.value).count("\nposition ") == 20
    assert str(caught.value).count("contains a |") == 60
    assert str(caught.value).count("; ...") == 20

    warehouse.execute("INSERT INTO users SELECT * FROM users")
    warehouse.commit()
    with pytest.raises(MoEngageRequestError, match=r"(?s)^40 of 40 rows .*\nand 20 more$"):
        export(folder, "SELECT id AS user_id, 'a|b' AS a FROM users")


def test_while_a_file_is_written_no_name_in_the_folder_matches_an_import(
    warehouse: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    publish = ImportFolder.publish

    def look_then_publish(self: ImportFolder) -> None:
        seen.extend(file.name for file in folder.iterdir())
        publish(self)

    monkeypatch.setattr(ImportFolder, "publish", look_then_publish)
    export(folder, max_file_bytes=250)

    assert len(seen) == len(list(folder.iterdir())) > 1
    assert not any(NAME.fullmatch(name) for name in seen)
    assert all(name.startswith(".") for name in seen)


def test_an_empty_result_writes_nothing_and_succeeds(
    warehouse: Any, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    with caplog.at_level("INFO"):
        done = export(folder, f"SELECT * FROM ({USERS}) WHERE 1 = 0", manifest_path=tmp_path / "mapping.json")

    assert done == {"files": [], "rows": 0, "bytes": 0, "manifest": None}
    assert not folder.exists()
    assert not (tmp_path / "mapping.json").exists()
    captured = capsys.readouterr()
    assert "The query has no rows: no file was written" in caplog.text + captured.out + captured.err


@pytest.mark.parametrize("rows", [1, 4])
def test_fewer_than_five_rows_are_an_error_that_says_so(warehouse: Any, folder: Path, rows: int) -> None:
    with pytest.raises(MoEngageRequestError, match="at least 5"):
        export(folder, f"{USERS} LIMIT {rows}")

    assert not folder.exists()


def test_more_files_than_moengage_reads_are_an_error_and_none_is_left(
    warehouse: sqlite3.Connection, folder: Path
) -> None:
    numbers = (
        "WITH RECURSIVE t(n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM t WHERE n < 600) SELECT n AS user_id FROM t"
    )

    with pytest.raises(MoEngageRequestError, match="100 files"):
        export(folder, numbers, max_file_bytes=1)

    assert list(folder.iterdir()) == []


def test_the_mapping_for_the_dashboard_is_written_outside_the_folder(warehouse: Any, folder: Path) -> None:
    path = folder.parent / "setup" / "users.json"

    done = export(folder, attributes={"u_em": "email", "score": "score"}, manifest_path=path)

    assert done["manifest"] == str(path)
    assert json.loads(path.read_text()) == {
        "mapping": [
            {"column": "user_id", "moe_attr": "uid", "type": "string", "is_skipped": False},
            {"column": "u_em", "moe_attr": "u_em", "type": "string", "is_skipped": False},
            {"column": "score", "moe_attr": "score", "type": "double", "is_skipped": False},
        ]
    }
    assert [entry["column"] for entry in json.loads(path.read_text())["mapping"]] == list(read_folder(folder)[0])


def test_the_mapping_of_anonymous_users_does_not_contain_their_id(warehouse: Any, folder: Path) -> None:
    path = folder.parent / "mapping.json"

    export(
        folder, USERS, id_column="email", attributes=["score"], prefix="anonymous_user_data", manifest_path=path
    )

    assert [entry["column"] for entry in json.loads(path.read_text())["mapping"]] == ["score"]


def test_a_mapping_that_cannot_be_written_fails_the_task_before_anything_appears(
    warehouse: Any, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(MoEngageRequestError, match=r"manifest_path .*could not be written \(Not a directory\)"):
        export(folder, manifest_path=f"{tmp_path}/file/mapping.json")

    assert not folder.exists()


def test_files_go_to_an_object_store(warehouse: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = attach("s3", monkeypatch)

    done = export("s3://bucket/users/", max_file_bytes=250)

    assert store.names() == [file["file_name"] for file in done["files"]]
    assert [file["path"] for file in done["files"]] == [f"s3://bucket/users/{name}" for name in store.names()]
    for name in store.names():
        (tmp_path / name).write_bytes(store.cat_file(f"/bucket/users/{name}"))
        (tmp_path / name).rename(_made(tmp_path / "fetched") / name)
    assert len(read_folder(tmp_path / "fetched")) == 20


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_templates_are_rendered_and_then_checked(warehouse: Any, folder: Path) -> None:
    done = export(
        "{{ '" + str(folder) + "' }}",
        "SELECT id AS user_id FROM users WHERE id > ? AND '{{ ds }}' = '2026-01-01';",
        prefix="users_{{ params.region }}",
        parameters=[15],
        max_file_bytes="{{ 1_000 }}",
        fetch_size="{{ 7 }}",
        manifest_path=str(folder.parent) + "/{{ ds }}.json",
    )

    assert done["rows"] == 15
    assert done["files"][0]["file_name"].startswith("users_eu_")
    assert done["manifest"] == f"{folder.parent}/2026-01-01.json"

    with pytest.raises(ValueError, match=r"^prefix 'users-eu'"):
        export(folder, prefix="users-{{ params.region }}")
    with pytest.raises(ValueError, match=r"^folder "):
        export("{{ '/a b' }}")


def test_a_percent_sign_in_a_query_without_parameters_is_one(warehouse: Any, folder: Path) -> None:
    assert export(folder, "SELECT id AS user_id FROM users WHERE email LIKE 'user2%'")["rows"] == 10


def test_a_retry_of_the_same_operator_writes_all_again_under_new_names(warehouse: Any, folder: Path) -> None:
    task = operator(folder)

    first = task.execute(context())
    second = task.execute(context(try_number=2))

    assert first["rows"] == second["rows"] == 20
    assert len(list(folder.iterdir())) == 2


def test_columns_that_the_query_does_not_have_are_an_error(warehouse: Any, folder: Path) -> None:
    with pytest.raises(ValueError, match="sql: the query has no column 'customer'; it has user_id, email"):
        export(folder, id_column="customer")
    with pytest.raises(ValueError, match="sql: expected one SELECT, found a statement that begins with"):
        export(folder, "UPDATE users SET tier = 'x'")
    assert not folder.exists()


def test_a_connection_that_is_not_to_a_database_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "moengage", "login": "EMULATOR"}))

    with pytest.raises(
        ValueError, match="conn_id 'warehouse': expected a database connection, but its hook is MoEngageHook"
    ):
        export(folder)


WRONG_ARGUMENTS: dict[str, dict[str, Any]] = {
    "sql": {"sql": " "},
    "conn_id": {"conn_id": None},
    "folder": {"folder": "/data/my users"},
    "prefix": {"prefix": "users-eu"},
    "import_type": {"import_type": "users"},
    "id_column": {"id_column": ""},
    "time_column": {"time_column": "at"},
    "time_column ": {"import_type": "EVENTS", "prefix": "Purchase"},
    "time_column  ": {"import_type": "EVENTS", "prefix": "Purchase", "time_column": "user_id"},
    "prefix 'registered_user_data'": {"import_type": "EVENTS", "time_column": "at"},
    "attributes": {"attributes": "email"},
    "file_format": {"file_format": "parquet"},
    "manifest_path": {"manifest_path": "/data/users/mapping.json"},
    "max_file_bytes": {"max_file_bytes": 200_000_000},
    "max_file_bytes ": {"max_file_bytes": 0},
    "fetch_size": {"fetch_size": 0},
}


@pytest.mark.parametrize(("argument", "changes"), WRONG_ARGUMENTS.items(), ids=WRONG_ARGUMENTS)
def test_a_wrong_argument_is_an_error_when_the_dag_is_parsed(argument: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{argument.strip()}"):
        operator(**{"folder": "/data/users", **changes})


def test_templated_arguments_are_checked_when_the_task_runs() -> None:
    template = "{{ params.x }}"

    operator(
        template,
        template,
        conn_id=template,
        prefix=template,
        manifest_path=template,
        max_file_bytes=template,
        fetch_size=template,
        parameters=template,
    )


def test_logs_contain_names_and_counts_but_no_values(
    warehouse: Any, folder: Path, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    warehouse.execute("UPDATE users SET tier = 'private@example.com ' || hex(zeroblob(300)) WHERE id = 11")
    warehouse.execute("UPDATE users SET score = 'private@example.com' WHERE id = 12")
    warehouse.commit()

    with caplog.at_level("DEBUG"):
        done = export(folder, "SELECT id AS user_id, email, tier, score, 1 AS moe_own FROM users")

    captured = capsys.readouterr()
    said = caplog.text + captured.out + captured.err
    [file] = done["files"]
    assert f"{file['file_name']}: 20 rows, {file['bytes']} bytes" in said
    assert "value_truncated: 1 row(s)" in said
    assert (
        "attribute 'moe_own': MoEngage reserves the prefix moe_; rename the attribute (attribute_name_moe_prefix)"
        in said
    )
    assert "score: mixed types (double, string)" in said
    assert "example.com" not in said


@pytest.mark.no_cover
def test_memory_does_not_grow_with_the_result(warehouse: sqlite3.Connection, folder: Path) -> None:
    numbers = (
        "WITH RECURSIVE t(n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM t WHERE n < ?)"
        " SELECT 'u-' || n AS user_id, 'user' || n || '@example.com' AS email, n / 7.0 AS score FROM t"
    )
    options: dict[str, Any] = {"fetch_size": 200, "max_file_bytes": 60_000}
    export(folder, numbers, parameters=[500], ti={"try_number": 9}, **options)
    peaks = []
    for rows in (2_000, 40_000):
        tracemalloc.start()
        done = export(folder, numbers, parameters=[rows + 9], ti={"run_id": str(rows)}, **options)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert done["rows"] == rows

    assert len(done["files"]) > 20
    few, many = peaks
    assert many - few < 200_000  # 38,000 more rows are some 1.5 MB


def test_the_module_loads_nothing_heavy_on_top_of_airflow() -> None:
    script = (
        "import sys\n"
        "from airflow.providers.common.compat.sdk import BaseOperator\n"
        "before = set(sys.modules)\n"
        "import airflow_provider_moengage.transfers.sql_to_moengage_file\n"
        "print('LOADED', *sorted({name.partition('.')[0] for name in set(sys.modules) - before}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("LOADED ")]

    third_party = set(line.split()[1:]) - set(sys.stdlib_module_names)
    assert third_party <= {"airflow", "airflow_provider_moengage", "msgspec"}
