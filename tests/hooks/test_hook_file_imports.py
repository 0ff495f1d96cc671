"""The hook's file imports against the emulator, with a real Airflow connection from the environment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import msgspec
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_moengage.api.file_imports import FileRun, ImportDetails
from airflow_provider_moengage.emulator import Fault, FileImport, ImportFile
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageImportNotFoundError,
    MoEngageRateLimitError,
    MoEngageRequestError,
    MoEngageServerError,
)
from airflow_provider_moengage.hooks import file_imports
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from tests.api.loopback import Act, Loopback, answer, loopback
from tests.delivering import MoEngage, connection_to

USERS = "users-import"
DATA_KEY = "emulator-data-key"
ORDERS = ("newest", "oldest", "shuffled")


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds between two tries, which nobody waits for here."""
    slept: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", slept.append)
    return slept


@pytest.fixture
def imports(connected: MoEngage, monkeypatch: pytest.MonkeyPatch) -> Iterator[MoEngage]:
    monkeypatch.setenv(
        "AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(connected, extra={"import_time_zone": "UTC"})
    )
    workspace = connected.emulator.workspace
    workspace.clear_file_imports()
    workspace.configure(file_history_quota=None, file_imports_quota=None)
    workspace.add_file_import(FileImport(USERS, "Users"))
    yield connected
    workspace.clear_file_imports()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[Loopback], MoEngageHook]:
    def connect(server: Loopback) -> MoEngageHook:
        connection = {"conn_type": "moengage", "login": "WS", "password": DATA_KEY, "host": server.url}
        monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", msgspec.json.encode(connection).decode())
        return MoEngageHook()

    return connect


def in_turn(*answers: Act) -> Act:
    """One answer after the other; the last one again and again."""
    left = list(answers)
    return lambda connection: (left.pop(0) if len(left) > 1 else left[0])(connection)


def page(*rows: Any, **fields: Any) -> Act:
    return answer(200, msgspec.json.encode({"status": "success", "data": rows, "more_files": False, **fields}))


def bodies(server: Loopback) -> list[dict[str, Any]]:
    return [msgspec.json.decode(request.partition(b"\r\n\r\n")[2]) for request in server.requests]


def pass_time(moengage: MoEngage, **time: float) -> datetime:
    """Let time pass, and return what time it is."""
    moengage.clock.wait(threading.Event(), timedelta(**time).total_seconds())
    return datetime.fromtimestamp(moengage.clock.time(), UTC)


def run(moengage: MoEngage, *names: str, status: str = "SUCCESSFUL") -> list[str]:
    """Let the import run, and return the ids of its files."""
    files = [ImportFile(name, steps=((0, status),)) for name in names]
    return [file.id for file in moengage.emulator.workspace.run_file_import(USERS, files).files]


def requests(moengage: MoEngage) -> list[int | None]:
    return [request.status for request in moengage.emulator.workspace.requests]


def names(runs: Iterable[FileRun]) -> list[str]:
    return sorted(run.file_name for run in runs)


def test_an_import_is_triggered(imports: MoEngage) -> None:
    MoEngageHook().trigger_file_import(USERS)

    assert [trigger.import_id for trigger in imports.emulator.workspace.file_triggers] == [USERS]


def test_an_import_that_ran_just_now_is_a_limit_that_opens_in_five_minutes(imports: MoEngage) -> None:
    run(imports, "a.csv")

    with pytest.raises(MoEngageRateLimitError, match=r"last 5 min.*it was not triggered") as caught:
        MoEngageHook().trigger_file_import(USERS)

    assert (caught.value.status_code, caught.value.retry_after) == (400, 300)
    assert requests(imports) == [400]


@pytest.mark.parametrize("state", ["deleted", "expired"])
def test_an_import_that_is_gone_fails_without_retry(imports: MoEngage, state: Any) -> None:
    imports.emulator.workspace.add_file_import(FileImport(USERS, "Users", state=state))

    with pytest.raises(MoEngageRequestError, match=rf"Import '{USERS}'.*deleted or expired") as caught:
        MoEngageHook().trigger_file_import(USERS)

    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("fault", ["cut_after", "status_after"])
def test_a_lost_answer_to_a_trigger_is_asked_again_and_triggers_once(imports: MoEngage, fault: Any) -> None:
    imports.emulator.workspace.add_fault(Fault(kind=fault))

    MoEngageHook().trigger_file_import(USERS)

    assert imports.emulator.workspace.counts.file_triggers == 1
    assert len(requests(imports)) == 2


def test_a_trigger_that_did_not_arrive_is_sent_again(imports: MoEngage) -> None:
    imports.emulator.workspace.add_fault(Fault(kind="cut_before", times=2))

    MoEngageHook().trigger_file_import(USERS)

    assert requests(imports) == [None, None, 200]


def test_a_trigger_without_any_answer_may_have_triggered_and_says_so(imports: MoEngage) -> None:
    imports.emulator.workspace.add_fault(Fault(kind="status", status=503, times=None))

    with pytest.raises(MoEngageServerError, match=r"may have been triggered.*safe to try again") as caught:
        MoEngageHook().trigger_file_import(USERS)

    assert not isinstance(caught.value, AirflowFailException)
    assert requests(imports) == [503, 503, 503]


REFUSALS: dict[str, tuple[int, type[MoEngageError]]] = {
    "401": (401, MoEngageAuthError),
    "403": (403, MoEngageAuthError),
    "404": (404, MoEngageRequestError),
    "405": (405, MoEngageRequestError),
    "429": (429, MoEngageRateLimitError),
}


@pytest.mark.parametrize(("status", "error"), REFUSALS.values(), ids=REFUSALS)
def test_a_trigger_that_is_refused_is_not_repeated(
    imports: MoEngage, status: int, error: type[MoEngageError]
) -> None:
    imports.emulator.workspace.add_fault(Fault(kind="status", status=status, headers={"Retry-After": "7"}))

    with pytest.raises(error, match="was not triggered") as caught:
        MoEngageHook().trigger_file_import(USERS)

    assert (caught.value.status_code, caught.value.retry_after) == (status, 7)
    assert requests(imports) == [status]


@pytest.mark.parametrize("wrong", ["", "  ", None, 7, ["i1"]])
def test_what_is_no_import_id_is_named(imports: MoEngage, wrong: Any) -> None:
    with pytest.raises(ValueError, match="import_id"):
        MoEngageHook().trigger_file_import(wrong)

    assert requests(imports) == []


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("as_text", [False, True])
def test_all_pages_are_read_and_each_file_comes_once(imports: MoEngage, order: Any, as_text: bool) -> None:
    imports.emulator.workspace.configure(file_page_size=3, file_order=order, file_numbers_as_text=as_text)
    expected = []
    for number in range(4):
        expected += run(imports, f"a{number}.csv", f"b{number}.csv")
        pass_time(imports, minutes=6)

    assert sorted(run.id for run in MoEngageHook().iter_file_runs(USERS)) == sorted(expected)
    assert requests(imports) == [200, 200, 200]


@pytest.mark.parametrize("order", ORDERS)
def test_a_file_that_comes_while_pages_are_read_makes_none_come_twice(imports: MoEngage, order: Any) -> None:
    imports.emulator.workspace.configure(file_page_size=2, file_order=order)
    expected = run(imports, *(f"{n}.csv" for n in range(6)))
    pass_time(imports, minutes=6)

    runs = MoEngageHook().iter_file_runs(USERS)
    got = [run.id for run in islice(runs, 2)]
    run(imports, "late.csv")
    got += [run.id for run in runs if run.file_name != "late.csv"]

    assert len(got) == len(set(got))
    if order != "shuffled":  # there a file may take a place on a page that was read
        assert sorted(got) == sorted(expected)


def test_a_history_with_fewer_files_than_it_reports_is_an_error_after_the_last_file(connect: Any) -> None:
    with loopback(page({"id": "f1", "file_name": "a.csv"}, total_count=3)) as server:
        runs = connect(server).iter_file_runs(USERS)
        assert next(runs).file_name == "a.csv"
        with pytest.raises(
            MoEngageServerError, match="reports a list of 3 and returned 1, so some of it is missing"
        ):
            next(runs)


def test_with_filters_it_is_a_warning_because_what_the_total_counts_is_not_documented(
    connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with loopback(page({"id": "f1", "file_name": "a.csv", "file_status": "FAILED"}, total_count=3)) as server:
        assert names(connect(server).iter_file_runs(USERS, file_status="FAILED")) == ["a.csv"]

    assert "reports a list of 3 and returned 1" in caplog.text


def test_an_import_is_named_by_its_name_and_the_id_wins(imports: MoEngage) -> None:
    imports.emulator.workspace.add_file_import(FileImport("orders", "Orders"))
    run(imports, "users.csv")

    assert names(MoEngageHook().iter_file_runs(import_name="Users")) == ["users.csv"]
    assert names(MoEngageHook().iter_file_runs(USERS, "Orders")) == ["users.csv"]


def test_nothing_is_asked_before_the_first_file_is_wanted(imports: MoEngage) -> None:
    MoEngageHook().iter_file_runs(USERS)

    assert requests(imports) == []


def test_a_client_is_closed_also_when_not_all_files_are_wanted(
    imports: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = MoEngageHook()
    client = hook.get_file_imports_conn()
    closed: list[bool] = []
    close = client.close

    def close_and_record() -> None:
        close()
        closed.append(True)

    monkeypatch.setattr(client, "close", close_and_record)
    monkeypatch.setattr(hook, "get_file_imports_conn", lambda: client)
    run(imports, "a.csv", "b.csv")

    runs = hook.iter_file_runs(USERS)
    next(runs)
    runs.close()  # type: ignore[attr-defined]

    assert closed == [True]


def test_files_are_filtered_by_status_in_either_spelling(imports: MoEngage) -> None:
    imports.emulator.workspace.configure(file_partial_word="PARTIAL_FAILURE")
    run(imports, "bad.csv", status="FAILED")
    run(imports, "good.csv", status="SUCCESSFUL")
    run(imports, "half.csv", status="PARTIAL_SUCCESS")

    hook = MoEngageHook()

    assert names(hook.iter_file_runs(USERS, file_status="FAILED")) == ["bad.csv"]
    assert names(hook.iter_file_runs(USERS, file_status="PARTIAL_FAILURE")) == ["half.csv"]
    assert names(hook.iter_file_runs(USERS, file_status=["failed", "partial success"])) == ["bad.csv", "half.csv"]


def test_filters_are_sent_as_moengage_documents_them(connect: Any) -> None:
    with loopback(page()) as server:
        runs = connect(server).iter_file_runs(
            USERS, file_status="Failed", start="2025-01-01T06:30:00Z", end=datetime(2025, 1, 2, 18)
        )
        assert list(runs) == []

    dates = {
        "start_date": "2024-12-31 06:30:00",
        "end_date": "2025-01-03 18:00:00",
        "format": "YYYY-MM-DD hh:mm:ss",
    }
    assert bodies(server) == [{"import_id": USERS, "file_status": ["FAILED"], "date": dates, "offset": 1}]


def test_what_a_server_returns_too_much_is_left_out(connect: Any) -> None:
    rows = [
        {"id": "early", "file_name": "a", "file_status": "FAILED", "scheduled_at": "2024-12-31T23:59:59"},
        {"id": "first", "file_name": "a", "file_status": "FAILED", "scheduled_at": "2025-01-01T00:00:00"},
        {"id": "other", "file_name": "a", "file_status": "QUEUED", "scheduled_at": "2025-01-01T12:00:00"},
        {"id": "timeless", "file_name": "a", "file_status": "FAILED"},
        {"id": "last", "file_name": "a", "file_status": "FAILED", "scheduled_at": "2025-01-02T00:00:00"},
        {"id": "late", "file_name": "a", "file_status": "FAILED", "scheduled_at": "2025-01-02T00:00:00.000001"},
    ]
    with loopback(page(*rows)) as server:
        runs = connect(server).iter_file_runs(USERS, file_status="FAILED", start="2025-01-01", end="2025-01-02")

        assert [run.id for run in runs] == ["first", "timeless", "last"]


@pytest.mark.parametrize("order", ORDERS)
def test_start_and_end_are_exact_after_the_days_margin(imports: MoEngage, order: Any) -> None:
    imports.emulator.workspace.configure(file_order=order, file_page_size=2)
    start = pass_time(imports, hours=2)
    run(imports, "on-start.csv")
    pass_time(imports, hours=12)
    run(imports, "between.csv")
    end = pass_time(imports, hours=12)
    run(imports, "on-end.csv")
    pass_time(imports, seconds=1)
    run(imports, "after.csv")
    hook = MoEngageHook()

    def between(first: datetime, last: datetime) -> list[str]:
        return names(hook.iter_file_runs(USERS, start=first, end=last))

    second = timedelta(seconds=1)
    assert between(start, end) == ["between.csv", "on-end.csv", "on-start.csv"]
    assert between(start + second, end - second) == ["between.csv"]


def test_2nd_dates_of_a_format_that_is_refused_are_compared_here(imports: MoEngage) -> None:
    run(imports, "before.csv")
    start = pass_time(imports, days=3)
    run(imports, "after.csv")
    imports.emulator.workspace.configure(file_dates="refuse")

    assert names(MoEngageHook().iter_file_runs(USERS, start=start - timedelta(days=1))) == ["after.csv"]


def test_an_end_alone_is_exact_as_well(imports: MoEngage) -> None:
    run(imports, "before.csv")
    end = pass_time(imports, hours=1)
    pass_time(imports, hours=1)
    run(imports, "after.csv")

    assert names(MoEngageHook().iter_file_runs(USERS, end=end)) == ["before.csv"]


@pytest.mark.parametrize("no_match", ["empty", "missing"])
def test_more_than_thirty_days_take_several_questions(imports: MoEngage, no_match: Any) -> None:
    imports.emulator.workspace.configure(file_no_match=no_match)
    start = pass_time(imports, days=1)
    run(imports, "first.csv")
    pass_time(imports, days=29, hours=12)
    run(imports, "month.csv")
    end = pass_time(imports, days=60)
    run(imports, "last.csv")

    found = names(MoEngageHook().iter_file_runs(USERS, start=start, end=end))

    assert found == ["first.csv", "last.csv", "month.csv"]
    assert len(requests(imports)) == 4, "the days between and one more at both ends"


def test_each_question_for_a_long_time_spans_thirty_days_at_most(connect: Any) -> None:
    with loopback(page()) as server:
        list(connect(server).iter_file_runs(import_name="Users", start="2025-01-01", end="2025-04-01"))

    form = "%Y-%m-%d %H:%M:%S"
    spans = [
        [datetime.strptime(body["date"][name], form) for name in ("start_date", "end_date")]
        for body in bodies(server)
    ]
    assert spans[0][0] == datetime(2024, 12, 31)
    assert spans[-1][1] == datetime(2025, 4, 2)
    assert all(end - begin <= timedelta(days=30) for begin, end in spans)
    assert {body["import_name"] for body in bodies(server)} == {"Users"}


def test_a_file_that_two_questions_return_comes_once(connect: Any) -> None:
    row = {"id": "f1", "file_name": "a.csv", "file_status": "FAILED", "scheduled_at": "2025-02-01T00:00:00"}
    with loopback(page(row)) as server:
        runs = list(connect(server).iter_file_runs(USERS, start="2025-01-01", end="2025-04-01"))

    assert len(server.requests) > 1
    assert [run.id for run in runs] == ["f1"]


def test_a_start_without_an_end_asks_until_now(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Then(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2025, 1, 10, tzinfo=tz)

    monkeypatch.setattr(file_imports, "datetime", Then)
    with loopback(page()) as server:
        list(connect(server).iter_file_runs(USERS, start=date(2025, 1, 2)))

    [body] = bodies(server)
    assert (body["date"]["start_date"], body["date"]["end_date"]) == ("2025-01-01 00:00:00", "2025-01-11 00:00:00")


def test_a_start_in_the_future_finds_nothing(imports: MoEngage) -> None:
    run(imports, "a.csv")

    assert list(MoEngageHook().iter_file_runs(USERS, start="2999-01-01")) == []
    assert requests(imports) == [200]


@pytest.mark.parametrize("no_match", ["empty", "missing"])
@pytest.mark.parametrize("filters", [{"file_status": "FAILED"}, {"start": "2020-01-01", "end": "2020-01-02"}])
def test_filters_that_no_file_passes_find_nothing(imports: MoEngage, filters: Any, no_match: Any) -> None:
    imports.emulator.workspace.configure(file_no_match=no_match)
    run(imports, "a.csv")

    assert list(MoEngageHook().iter_file_runs(USERS, **filters)) == []


@pytest.mark.parametrize("as_null", [False, True])
def test_an_import_without_files_has_none(imports: MoEngage, as_null: bool) -> None:
    imports.emulator.workspace.configure(file_null_data=as_null)

    assert list(MoEngageHook().iter_file_runs(USERS)) == []


@pytest.mark.parametrize("which", [{"import_id": "nobody"}, {"import_name": "Nobody"}])
def test_an_unknown_import_is_named_and_not_retried(imports: MoEngage, which: Any) -> None:
    [value] = which.values()
    with pytest.raises(
        MoEngageRequestError, match=rf"Import '{value}': .*connection 'moengage_default' has no such import"
    ) as caught:
        list(MoEngageHook().iter_file_runs(**which))

    assert isinstance(caught.value, AirflowFailException)
    assert requests(imports) == [400]


def test_history_pages_that_end_with_a_400_are_all_there_is(connect: Any) -> None:
    row = {"id": "f1", "file_name": "a.csv", "file_status": "FAILED"}
    gone = answer(400, b'{"error_type":"Import Doesn\'t Exist"}')
    with loopback(in_turn(page(row, more_files=True), gone)) as server:
        assert [run.id for run in connect(server).iter_file_runs(USERS)] == ["f1"]

    assert [body["offset"] for body in bodies(server)] == [1, 2]


def test_a_server_that_has_always_more_is_asked_no_further_than_it_tells_news(connect: Any) -> None:
    row = {"id": "f1", "file_name": "a.csv", "file_status": "FAILED"}
    with loopback(page(row, more_files="true")) as server:
        assert [run.id for run in connect(server).iter_file_runs(USERS)] == ["f1"]

    assert [body["offset"] for body in bodies(server)] == [1, 2]


def ask_files() -> list[Any]:
    return list(MoEngageHook().iter_file_runs(USERS))


def ask_imports() -> list[Any]:
    return list(MoEngageHook().iter_imports())


QUESTIONS = {"files": ask_files, "imports": ask_imports}
both_questions = pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)


@both_questions
@pytest.mark.parametrize(
    "fault",
    [Fault(kind="status", status=503, times=2), Fault(kind="cut_before", times=2), Fault(kind="html", times=2)],
)
def test_a_question_without_an_answer_is_asked_again(
    imports: MoEngage, ask: Any, fault: Fault, slept: list[float]
) -> None:
    run(imports, "a.csv")
    imports.emulator.workspace.add_fault(fault)

    assert len(ask()) == 1
    assert len(requests(imports)) == 3
    assert all(0 <= seconds <= 5 for seconds in slept)


@both_questions
def test_three_questions_without_an_answer_are_an_error_that_airflow_retries(imports: MoEngage, ask: Any) -> None:
    imports.emulator.workspace.add_fault(Fault(kind="status", status=502, times=None))

    with pytest.raises(MoEngageServerError, match=r"Connection 'moengage_default': .* answered 502: ") as caught:
        ask()

    assert not isinstance(caught.value, AirflowFailException)
    assert requests(imports) == [502, 502, 502]


@both_questions
def test_a_throttled_question_is_not_asked_again(imports: MoEngage, ask: Any) -> None:
    imports.emulator.workspace.add_fault(Fault(kind="status", status=429, headers={"Retry-After": "17"}))

    with pytest.raises(MoEngageRateLimitError, match="50 requests a minute") as caught:
        ask()

    assert (caught.value.status_code, caught.value.retry_after) == (429, 17)
    assert requests(imports) == [429]


@both_questions
@pytest.mark.parametrize(
    ("status", "error"), [(401, MoEngageAuthError), (403, MoEngageAuthError), (404, MoEngageRequestError)]
)
def test_a_refused_question_is_not_asked_again(
    imports: MoEngage, ask: Any, status: int, error: type[MoEngageError]
) -> None:
    imports.emulator.workspace.add_fault(Fault(kind="status", status=status))

    with pytest.raises(error, match=f"answered {status}: ") as caught:
        ask()

    assert isinstance(caught.value, AirflowFailException)
    assert requests(imports) == [status]


def test_a_wrong_key_says_which_key_is_needed_and_does_not_show_it(
    imports: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(imports, password="a-wrong-key"))

    with pytest.raises(MoEngageAuthError, match="key of the Data tile") as caught:
        ask_files()

    assert "a-wrong-key" not in str(caught.value)


def test_a_failure_on_a_later_page_is_an_error_after_the_files_before(imports: MoEngage) -> None:
    imports.emulator.workspace.configure(file_page_size=1)
    imports.emulator.workspace.add_fault(Fault(kind="status", status=503, times=3, after=1))
    run(imports, "a.csv", "b.csv")

    runs = MoEngageHook().iter_file_runs(USERS)
    next(runs)
    with pytest.raises(MoEngageServerError):
        next(runs)


WRONG_QUESTIONS = {
    "no import": ({}, "import_id, import_name: expected one of them"),
    "empty id": ({"import_id": ""}, "import_id '': expected a non-empty string"),
    "blank name": ({"import_name": "  "}, "import_name '  ': expected a non-empty string"),
    "id of another type": ({"import_id": 7}, "import_id 7: expected a non-empty string"),
    "unknown status": (
        {"import_id": USERS, "file_status": "DONE"},
        "file_status 'DONE': expected SUCCESSFUL, FAILED, PARTIAL_SUCCESS, PROCESSING, QUEUED, WAITING",
    ),
    "unknown status among others": ({"import_id": USERS, "file_status": ["FAILED", "x"]}, "file_status 'x': "),
    "empty status": ({"import_id": USERS, "file_status": ""}, "file_status '': "),
    "status of another type": ({"import_id": USERS, "file_status": 7}, "file_status 7: "),
    "no time": ({"import_id": USERS, "start": "yesterday"}, "start 'yesterday': expected a datetime"),
    "number as time": ({"import_id": USERS, "end": 1_750_000_000}, "end 1750000000: expected a datetime"),
    "start after end": ({"import_id": USERS, "start": "2025-01-02", "end": "2025-01-01"}, "is after end"),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG_QUESTIONS.values(), ids=WRONG_QUESTIONS)
def test_a_wrong_argument_is_named_at_once(imports: MoEngage, arguments: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MoEngageHook().iter_file_runs(**arguments)

    assert requests(imports) == []


@pytest.fixture
def many_imports(imports: MoEngage) -> MoEngage:
    workspace = imports.emulator.workspace
    workspace.add_file_import(FileImport("orders", "Orders", import_type="EVENTS", import_source="SFTP"))
    workspace.add_file_import(FileImport("once", "Users once", schedule_type="ONETIME", import_source="CSV"))
    workspace.add_file_import(FileImport("old", "Old users", state="expired"))
    workspace.add_file_import(FileImport("gone", "Gone users", state="deleted"))
    return imports


def found(**filters: Any) -> list[str]:
    return [details.import_id for details in MoEngageHook().iter_imports(**filters)]


def test_imports_come_with_their_details(imports: MoEngage) -> None:
    at = pass_time(imports, hours=1)
    run(imports, "a.csv", "b.csv", status="FAILED")

    [details] = MoEngageHook().iter_imports()

    assert isinstance(details, ImportDetails)
    assert (details.import_id, details.import_name, details.last_run_status) == (USERS, "Users", "FAILED")
    assert (details.total_files, details.processed_files, details.last_run_at) == (2, 2, at)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [USERS, "orders", "once", "old"]),
        ({"import_name": "Orders"}, ["orders"]),
        ({"import_type": "EVENTS"}, ["orders"]),
        ({"import_type": "events"}, ["orders"]),
        ({"schedule_type": "ONETIME"}, ["once"]),
        ({"file_source": "SFTP"}, ["orders"]),
        ({"schedule_status": "ARCHIVED"}, ["old"]),
        ({"schedule_status": ["ARCHIVED", "SCHEDULED"], "import_type": "USERS"}, [USERS, "once", "old"]),
        ({"import_name": "Nobody"}, []),
    ],
)
def test_imports_are_filtered(many_imports: MoEngage, filters: Any, expected: list[str]) -> None:
    assert found(**filters) == expected


@pytest.mark.parametrize("as_text", [False, True])
def test_all_pages_of_imports_are_read(many_imports: MoEngage, as_text: bool) -> None:
    many_imports.emulator.workspace.configure(file_page_size=2, file_numbers_as_text=as_text)

    assert found() == [USERS, "orders", "once", "old"]
    assert requests(many_imports) == [200, 200]


def test_filters_for_imports_are_sent_as_moengage_documents_them(connect: Any) -> None:
    with loopback(page()) as server:
        list(connect(server).iter_imports("Users", import_type="USERS", schedule_status="Successful"))

    assert bodies(server) == [
        {"import_name": "Users", "import_type": "USERS", "schedule_status": ["SUCCESSFUL"], "offset": 1}
    ]


def test_fifty_imports_without_a_word_on_more_are_all_there_is(connect: Any) -> None:
    rows = [{"import_id": f"i{n}", "import_name": f"n{n}"} for n in range(50)]
    end = answer(400, b'{"status":"FAILURE","error_type":"Invalid Offset Value","message":"Correct the offset."}')
    with loopback(in_turn(page(*rows, more_files=None), end)) as server:
        assert len(list(connect(server).iter_imports())) == 50

    assert [body["offset"] for body in bodies(server)] == [1, 2]


def test_an_import_that_moves_to_another_page_comes_once(connect: Any) -> None:
    first, second, third = ({"import_id": f"i{n}", "import_name": f"n{n}"} for n in range(3))
    with loopback(in_turn(page(first, second, more_files=True), page(second, third))) as server:
        assert [details.import_id for details in connect(server).iter_imports()] == ["i0", "i1", "i2"]


@pytest.mark.parametrize("name", ["import_name", "import_type", "schedule_type", "file_source", "schedule_status"])
@pytest.mark.parametrize("wrong", ["", 7, ["DONE"]])
def test_a_wrong_filter_for_imports_is_named_at_once(imports: MoEngage, name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} "):
        MoEngageHook().iter_imports(**{name: wrong})

    assert requests(imports) == []


def test_a_wrong_filter_says_what_is_expected(imports: MoEngage) -> None:
    with pytest.raises(ValueError, match=r"^file_source 'ftp': expected SFTP, S3, CSV$"):
        MoEngageHook().iter_imports(file_source="ftp")


def test_a_filter_that_takes_one_word_says_so(imports: MoEngage) -> None:
    with pytest.raises(ValueError, match=r"^import_type .*: expected one of USERS, EVENTS, AUX_DATA$"):
        MoEngageHook().iter_imports(import_type=["USERS", "EVENTS"])  # type: ignore[arg-type]


@pytest.mark.parametrize("by_name", ["exact", "contains"])
def test_the_import_of_a_name_is_found_exactly(imports: MoEngage, by_name: Any) -> None:
    imports.emulator.workspace.configure(file_imports_by_name=by_name)
    imports.emulator.workspace.add_file_import(FileImport("all", "All Users"))

    assert MoEngageHook().find_import("Users").import_id == USERS


def test_an_import_that_is_found_by_no_name_is_named(imports: MoEngage) -> None:
    imports.emulator.workspace.configure(file_imports_by_name="contains")

    with pytest.raises(
        MoEngageImportNotFoundError, match=r"^Import 'User': MoEngage has no import with this name$"
    ):
        MoEngageHook().find_import("User")


def test_imports_of_one_name_are_told_by_their_ids(connect: Any) -> None:
    rows = [{"import_id": f"i{n}", "import_name": "Users"} for n in range(2)]
    with (
        loopback(page(*rows)) as server,
        pytest.raises(MoEngageRequestError, match=r"several imports with this name \(i0, i1\); use import_id"),
    ):
        connect(server).find_import("Users")
