"""Erasing the users of a query: who is asked for, who is not, and what the ledger has."""

from __future__ import annotations

import json
import logging
import resource
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.erasure import run
from airflow_provider_moengage.erasure.ledger_file import LedgerFile
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageRemovalError,
    MoEngageRequestError,
)
from airflow_provider_moengage.transfers.sql_to_moengage_erasure import SqlToMoEngageErasureOperator
from tests.erasure.conftest import Place


def test_each_user_of_the_query_is_asked_for_once_and_recorded(place: Place) -> None:
    place.have("ann", "Bob ", "carl")
    place.request("ann", "Bob ", "ann", "nobody")

    result = place.erase()

    assert sorted(place.erased) == ["Bob ", "ann"]
    counts = {name: result[name] for name in ("users", "rows", "requests", "accepted", "not_found", "refused")}
    assert counts == {"users": 3, "rows": 4, "requests": 3, "accepted": 2, "not_found": 1, "refused": 0}
    assert sorted(place.ledger()) == [
        ("Bob ", "accepted"),
        ("Bob ", "asked"),
        ("ann", "accepted"),
        ("ann", "asked"),
        ("nobody", "asked"),
        ("nobody", "not_found"),
    ]


def today(place: Place) -> str:
    """Return the day of the clock, which the tests before have moved."""
    return f"{datetime.fromtimestamp(place.moengage.clock.time(), UTC):%Y-%m-%d}"


def test_the_ledger_says_of_each_entry_whose_it_is_and_when_it_was_made(place: Place) -> None:
    place.have("ann")
    place.request("ann")

    place.erase()

    columns = (
        "dag_id, run_id, task_id, map_index, try_number, workspace_id, method, identity_type, user_id, attempt"
    )
    [asked, accepted] = place.ledger(f"{columns}, event, status_code, recorded_at")
    assert asked[:12] == ("a_dag", "a_run", "a_task", -1, 1, "EMULATOR", "delete", "ID", "ann", 1, "asked", None)
    assert accepted[10:12] == ("accepted", 200)
    assert accepted[12].startswith(f"{today(place)} ")


def test_nothing_personal_is_logged_or_returned(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.have("jane@example.com")
    place.request("jane@example.com")

    with caplog.at_level(logging.DEBUG):
        result = place.erase()

    assert "jane" not in json.dumps(result)
    assert "jane" not in caplog.text


def test_a_query_with_more_users_than_max_users_erases_nobody(place: Place) -> None:
    place.have("a", "b", "c")
    place.request("a", "b", "a", "c")

    with pytest.raises(MoEngageRequestError, match="more than max_users=2 users, so nobody was erased"):
        place.erase(max_users=2)

    assert place.erased == []
    assert place.erase(max_users="3")["accepted"] == 3


def test_max_users_is_required() -> None:
    given: dict[str, Any] = {
        "task_id": "erase",
        "sql": "SELECT 1",
        "conn_id": "warehouse",
        "ledger_table": "ledger",
    }
    with pytest.raises(Exception, match="max_users"):
        SqlToMoEngageErasureOperator(**given)


def test_a_dry_run_counts_and_touches_nothing(place: Place) -> None:
    place.have("a", "b")
    place.request("a", "b", "a")

    result = place.erase(dry_run=True)

    assert (result["dry_run"], result["users"], result["rows"], result["requests"]) == (True, 2, 3, 2)
    assert place.moengage.emulator.workspace.counts.requests == 1  # which brought the users
    assert place.execute("SELECT name FROM sqlite_master") == [("requests",)]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "NULL"),
        ("", "an empty text"),
        (" \t", "an empty text"),
        ("None", "the text 'none', which stands for no user"),
        (" null", "the text 'null', which stands for no user"),
        ("NaN", "the text 'nan', which stands for no user"),
        ("guest", "the text 'guest', which stands for no user"),
        ("N/A", "the text 'n/a', which stands for no user"),
        ("undefined", "the text 'undefined', which stands for no user"),
        (0, "the text '0', which stands for no user"),
        ("-1", "the text '-1', which stands for no user"),
        (1.5, "a value of type float that cannot be sent"),
        ("x" * 251, "a text of 251 characters"),
        ("a\0b", "a character that a ledger cannot hold"),
    ],
)
def test_a_row_that_names_nobody_stops_the_task_before_anything_is_sent(
    place: Place, value: object, what: str
) -> None:
    place.have("ann")
    place.request("ann", (value, None))

    with pytest.raises(MoEngageRequestError, match=f"Column 'user_id': row 2 of the query has {what}"):
        place.erase()
    assert place.erased == []


def test_a_number_is_the_id_that_it_spells(place: Place) -> None:
    place.have("42", "7", "9007199254740993")
    place.request((42, None), (7.0, None), (9007199254740993, None))

    assert place.erase()["accepted"] == 3
    assert sorted(place.erased) == ["42", "7", "9007199254740993"]


def test_a_retry_or_clear_asks_for_nobody_twice(place: Place) -> None:
    place.have("a", "b")
    place.request("a", "b")
    place.erase()
    place.task.clear()
    place.request("c")
    place.have("c")

    result = place.erase()

    assert sorted(place.erased) == ["a", "b", "c"]
    assert (result["done_before"], result["accepted"]) == (2, 1)


def test_another_run_asks_again(place: Place) -> None:
    place.have("a")
    place.request("a")
    place.erase()
    place.task.run_id = "another_run"

    assert place.erase()["accepted"] == 1
    assert place.erased == ["a", "a"]


@pytest.mark.parametrize("kind", ["cut_after", "cut_before", "status_after"])
def test_a_deletion_without_a_response_is_sent_again(place: Place, kind: Any) -> None:
    place.have("a")
    place.request("a")
    place.moengage.emulator.workspace.add_fault(Fault(kind, status=503 if kind == "status_after" else None))

    result = place.erase()

    assert result["accepted"] == 1
    assert set(place.erased) == {"a"}
    assert [event for _, event in place.ledger()][-1] == "accepted"
    assert len(place.ledger()) == 3 if kind != "cut_before" else True


def test_a_429_is_waited_for_and_recorded_as_not_processed(place: Place) -> None:
    place.have("a")
    place.request("a")
    place.moengage.emulator.workspace.add_fault(Fault("status", status=429))

    assert place.erase()["accepted"] == 1
    assert place.ledger("event, attempt") == [
        ("asked", 1),
        ("not_processed", 1),
        ("asked", 2),
        ("accepted", 2),
    ]
    assert place.erased == ["a"]


def test_a_refused_user_fails_the_task_after_all_others(place: Place) -> None:
    users = [f"user-{number}" for number in range(20)]
    place.have(*users)
    place.request(*users)
    place.moengage.emulator.workspace.add_fault(Fault("refuse", customer_id="user-3", error_type="ValueError"))

    with pytest.raises(MoEngageRemovalError, match="MoEngage refused 1 erasure; all others are done"):
        place.erase()

    assert len(place.erased) == 19
    assert ("user-3", "refused") in place.ledger()
    assert place.task.xcom["return_value"]["refused"] == 1


def test_a_rejected_key_ends_the_run_and_a_retry_continues(place: Place) -> None:
    place.have("a", "b")
    place.request("a", "b")
    place.moengage.emulator.workspace.add_fault(Fault("status", status=401, times=10))

    with pytest.raises(MoEngageAuthError, match="a retry continues with the others"):
        place.erase()
    assert place.erased == []

    place.moengage.emulator.workspace.clear_faults()
    assert place.erase()["accepted"] == 2
    assert sorted(place.erased) == ["a", "b"]


@pytest.mark.parametrize("method", ["delete", "opengdpr"])
@pytest.mark.parametrize(
    ("status", "body"),
    [(404, "Not Found"), (400, '{"message": "Not Found"}'), (400, '{"title": "Not Found", "status": 400}')],
)
def test_not_found_of_a_gateway_is_not_a_user_who_is_gone(
    place: Place, method: str, status: int, body: str
) -> None:
    place.have("a", "b")
    place.request("a", "b")
    place.moengage.emulator.workspace.add_fault(Fault("status", status=status, body=body, times=10))

    with pytest.raises(MoEngageRequestError, match="did not come from MoEngage's API"):
        place.erase(method=method)
    assert {event for _, event in place.ledger()} == {"asked", "not_processed"}

    place.moengage.emulator.workspace.clear_faults()
    assert place.erase(method=method)["accepted"] == 2


def test_the_limit_of_5000_a_minute_is_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PER_MINUTE", 50)
    place.moengage.reset(delete_quota=[[50, 60]])
    users = [f"user-{number}" for number in range(130)]
    place.have(*users)
    place.request(*users)
    began_at = place.moengage.clock.time()

    result = place.erase()

    assert result["accepted"] == 130
    assert place.moengage.emulator.workspace.counts.throttled == 0
    assert place.moengage.clock.time() - began_at >= 120
    assert result["throttled_seconds"] > 100


def test_a_run_that_is_stopped_records_what_was_in_flight_and_a_retry_continues(place: Place) -> None:
    users = [f"user-{number}" for number in range(200)]
    place.have(*users)
    place.request(*users)
    operator = place.operator()
    monkeypatched = run.ErasureRun._log_progress

    def stopping(self: run.ErasureRun, record: Any) -> None:
        monkeypatched(self, record)
        if sum(record.counts.values()) > 20:
            operator.on_kill()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.ErasureRun, "_log_progress", stopping)
        patch.setattr(run, "_LAST_WAIT", 60.0)
        with pytest.raises(MoEngageError, match=r"The erasure was stopped; .* accepted before that, and a retry"):
            operator.execute(place.task.context)
    done = len(place.erased)
    events = [event for _, event in place.ledger()]
    assert 0 < done < 200
    assert events.count("accepted") == done

    assert place.erase()["accepted"] == 200 - done
    assert sorted(place.erased) == sorted(users)


def test_progress_is_logged(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "_PROGRESS_INTERVAL", 0.0)
    place.have("a")
    place.request("a")
    place.erase()
    assert "of 1 requests have an outcome" in capsys.readouterr().out


def test_a_killed_task_sends_nothing(place: Place) -> None:
    place.have("a")
    place.request("a")
    operator = place.operator()
    operator.on_kill()

    with pytest.raises(MoEngageError, match="killed before it sent anything"):
        operator.execute(place.task.context)
    assert place.erased == []


class TestLedgerFile:
    def test_it_has_a_line_for_each_entry_and_only_its_owner_can_read_it(
        self, place: Place, tmp_path: Path
    ) -> None:
        place.have("a")
        place.request("a")

        result = place.erase(ledger_path=tmp_path / "ledgers")

        file = Path(result["ledger"]["path"])
        assert file.parent == tmp_path / "ledgers"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert [line["event"] for line in lines] == ["asked", "accepted"]
        assert lines[1]["recorded_at"].startswith(f"{today(place)}T")
        assert lines[1]["run_id"] == "a_run"

    def test_several_runs_may_share_a_file(self, place: Place, tmp_path: Path) -> None:
        place.have("a")
        place.request("a")
        path = str(tmp_path / "all.ndjson")
        place.erase(ledger_path=path)
        place.task.run_id = "another_run"

        assert place.erase(ledger_path=path)["accepted"] == 1
        assert place.erase(ledger_path=path)["done_before"] == 1
        assert len(Path(path).read_text().splitlines()) == 4

    def test_a_line_that_a_killed_process_left_is_removed(self, place: Place, tmp_path: Path) -> None:
        place.have("a", "b")
        place.request("a")
        path = tmp_path / "all.ndjson"
        place.erase(ledger_path=path)
        with path.open("ab") as stream:
            stream.write(b'{"recorded_at": "2025-' + b"x" * 5_000)
        place.request("b")

        assert place.erase(ledger_path=path)["done_before"] == 1
        assert all(json.loads(line) for line in path.read_text().splitlines())

    @pytest.mark.parametrize("line", [b"{}\n", b"[1]\n", b"rubbish\n"])
    def test_a_damaged_line_stops_the_task(self, place: Place, tmp_path: Path, line: bytes) -> None:
        place.request("a")
        path = tmp_path / "all.ndjson"
        path.write_bytes(line)

        with pytest.raises(MoEngageError, match="line 1 cannot be read; restore the file; nobody was erased"):
            place.erase(ledger_path=path)
        assert place.erased == []

    def test_two_tries_cannot_use_it_at_once(self, place: Place, tmp_path: Path) -> None:
        import fcntl

        place.request("a")
        path = tmp_path / "all.ndjson"
        with path.open("ab") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(MoEngageError, match="another try of this task, or another task, is writing to it"):
                place.erase(ledger_path=path)

    def test_a_full_disk_is_named(self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        users = [f"user-{number}" for number in range(40)]
        place.have(*users)
        place.request(*users)
        opened = LedgerFile.open

        def open_almost_full(file: LedgerFile) -> None:
            opened(file)
            resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, most[1]))

        most = resource.getrlimit(resource.RLIMIT_FSIZE)
        monkeypatch.setattr(LedgerFile, "open", open_almost_full)
        try:
            with pytest.raises(MoEngageError, match=r"ledger_path .*this try has sent \d+ requests"):
                place.erase(ledger_path=tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, most)
        monkeypatch.setattr(LedgerFile, "open", opened)

        place.erase(ledger_path=tmp_path)
        assert set(place.erased) == set(users)

    def test_a_path_that_cannot_be_written_stops_the_task(self, place: Place, tmp_path: Path) -> None:
        place.request("a")
        (tmp_path / "file").write_text("")

        with pytest.raises(MoEngageRequestError, match="could not be written"):
            place.erase(ledger_path=tmp_path / "file" / "ledgers")
        assert place.erased == []


class TestLedgerTable:
    def test_one_that_lacks_a_column_stops_the_task(self, place: Place) -> None:
        place.request("a")
        place.execute("CREATE TABLE ledger (entry_id TEXT PRIMARY KEY)")

        with pytest.raises(MoEngageError, match=r"it lacks dag_id, .*; nobody was erased"):
            place.erase()

    def test_one_without_its_key_stops_the_task(self, place: Place) -> None:
        place.request("a")
        place.execute("CREATE TABLE ledger (dag_id TEXT)")

        with pytest.raises(MoEngageError, match="it lacks entry_id, which identify a row; nobody"):
            place.erase()

    def test_one_that_fails_ends_the_run_before_the_next_request(self, place: Place) -> None:
        place.have("a", "b")
        place.request("a")
        place.erase()
        place.execute("CREATE TRIGGER refuse BEFORE INSERT ON ledger BEGIN SELECT RAISE(FAIL, 'b is secret'); END")
        place.request("b")

        with pytest.raises(MoEngageError, match="the database refused it") as raised:
            place.erase()
        assert "secret" not in str(raised.value)
        assert "nobody was erased by this try" in str(raised.value)
        assert place.erased == ["a"]

    def test_one_that_fails_later_does_not_say_that_nobody_was_erased(self, place: Place) -> None:
        place.request("a")
        place.erase()
        users = [f"user-{number}" for number in range(40)]
        place.have(*users)
        place.request(*users)
        accepted = "(SELECT COUNT(*) FROM ledger WHERE event = 'accepted')"
        place.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT ON ledger WHEN {accepted} > 9 BEGIN SELECT RAISE(FAIL, ''); END"
        )

        with pytest.raises(MoEngageError, match=r"this try has sent (\d+) requests.* outcome of \d+") as raised:
            place.erase()
        assert "nobody was erased" not in str(raised.value)
        place.execute("DROP TRIGGER refuse")
        assert place.erase()["unknown"] == 0
        assert set(place.erased) == set(users)

    def test_an_entry_of_a_run_whose_id_differs_in_case_is_not_of_this_run(self, place: Place) -> None:
        place.have("a")
        place.request("a")
        place.erase()
        [[creation]] = place.execute("SELECT sql FROM sqlite_master WHERE name = 'ledger'")
        place.execute("DROP TABLE ledger")
        place.execute(creation.replace("VARCHAR(250)", "VARCHAR(250) COLLATE NOCASE"))  # as MariaDB's are
        place.erase()
        place.task.run_id = "A_Run"

        assert (result := place.erase())["accepted"] == 1, result
        assert place.erase()["done_before"] == 1


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"sql": " "}, "sql ' '"),
            ({"conn_id": ""}, "conn_id ''"),
            ({"max_users": -1}, "max_users -1: expected a whole number from 0"),
            ({"max_users": "many"}, "max_users 'many'"),
            ({"method": "drop"}, "method 'drop': expected 'delete' or 'opengdpr'"),
            ({"identity_type": "name"}, "identity_type 'name'"),
            ({"identity_type": "email", "identity": "email"}, "set method='opengdpr'"),
            ({"identity_type": "email", "method": "opengdpr"}, "identity None: expected the column for"),
            ({"identity": "email"}, "identity: does not apply to identity_type='ID'"),
            ({"user_id": None}, "user_id: expected the name of a column"),
            ({"user_id": ""}, "user_id '': expected the name of a column"),
            ({"ledger_table": None}, "ledger_table, ledger_path: expected one of them"),
            ({"ledger_table": "l", "ledger_path": "/tmp"}, "ledger_table, ledger_path: expected one of them"),
            ({"ledger_path": "s3://bucket/ledgers"}, "on a disk that all workers share"),
            ({"ledger_path": "/l", "ledger_conn_id": "x"}, "ledger_conn_id: does not apply to ledger_path"),
            ({"ledger_conn_id": ""}, "ledger_conn_id ''"),
            ({"dry_run": "perhaps"}, "dry_run 'perhaps'"),
            ({"retry_unknown": 1}, "retry_unknown 1"),
        ],
    )
    def test_a_wrong_one_is_named_when_the_dag_is_parsed(
        self, place: Place, arguments: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message.replace("(", r"\(")):
            place.operator(**arguments)

    def test_templates_are_checked_when_the_task_runs(self, place: Place) -> None:
        place.request("a")
        names = ("sql", "max_users", "method", "dry_run", "ledger_table", "ledger_conn_id", "retry_unknown")
        operator = place.operator(**dict.fromkeys(names, "{{ x }}"))
        operator.sql, operator.max_users, operator.is_dry_run = "SELECT user_id FROM requests", 1, False
        operator.retry_unknown, operator.method = True, "drop"  # type: ignore[assignment]
        with pytest.raises(ValueError, match="method 'drop'"):
            operator.execute(place.task.context)

    def test_the_column_must_be_in_the_query_once(self, place: Place) -> None:
        place.request("a")
        with pytest.raises(ValueError, match="expected one column 'id', but the query returns user_id, email"):
            place.erase(user_id="id")
        with pytest.raises(ValueError, match="expected one column 'user_id'"):
            place.erase(sql="SELECT user_id, user_id FROM requests")
        assert place.erase(user_id="USER_ID")["not_found"] == 1
