"""The hook against the emulator, with a real Airflow connection from the environment."""

from __future__ import annotations

import logging
import pickle
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage import exceptions
from airflow_provider_moengage.bulk.report import DeliveryReport
from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageRejectsError,
    MoEngageRequestError,
)
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from tests.delivering import MoEngage, connection_to, customer

DATA_KEY = "emulator-data-key"


@pytest.fixture
def connect(moengage: MoEngage, monkeypatch: pytest.MonkeyPatch) -> Any:
    def connect(**changes: Any) -> MoEngageHook:
        monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(moengage, **changes))
        return MoEngageHook()

    return connect


def test_elements_are_delivered_to_the_connections_workspace(connect: Any, moengage: MoEngage) -> None:
    report = connect().bulk_import(customer(f"user-{n}") for n in range(10))

    assert report.accepted == 10
    assert len(moengage.arrived) == 10


def test_the_test_button_shows_the_workspaces_name(connect: Any) -> None:
    ok, message = connect().test_connection()

    assert ok
    assert "accepts the Data API key" in message


@pytest.mark.parametrize("as_200", [False, True], ids=["401", "200 with an error"])
def test_the_test_button_reports_a_wrong_key_without_showing_it(
    connect: Any, moengage: MoEngage, as_200: bool
) -> None:
    moengage.emulator.workspace.configure(test_connection_errors_as_200=as_200)

    ok, message = connect(password="a-wrong-key").test_connection()

    assert not ok
    assert "Data API key" in message
    assert "a-wrong-key" not in message


def test_the_test_button_names_a_missing_field(connect: Any) -> None:
    assert connect(login="").test_connection() == (
        False,
        "Field login: is empty; expected the Workspace ID",
    )


def test_the_test_button_never_raises() -> None:
    ok, message = MoEngageHook("there_is_no_such_connection").test_connection()

    assert not ok
    assert message.startswith("The connection could not be tested (")


def test_the_test_button_reports_a_host_that_does_not_respond(connect: Any) -> None:
    ok, message = connect(host="http://127.0.0.1:9").test_connection()

    assert not ok
    assert message == "http://127.0.0.1:9 could not be reached: the connection was refused"


def test_the_test_button_sends_one_request(connect: Any, moengage: MoEngage) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind="status", status=503, times=None))

    ok, message = connect().test_connection()

    assert not ok
    assert "503" in message
    assert moengage.emulator.workspace.counts.requests == 1


def test_the_test_button_does_not_wait_for_a_silent_server(
    connect: Any, moengage: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_moengage.api.client.TEST_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hook = connect(host=f"http://127.0.0.1:{silent.getsockname()[1]}")
        ok, message = hook.test_connection()

    assert not ok
    assert "no response within the timeout" in message


@pytest.mark.parametrize("wrong", [{"type": "customer"}, "text"])
def test_an_argument_that_is_not_a_stream_of_elements_is_named(connect: Any, wrong: Any) -> None:
    with pytest.raises(ValueError, match="elements: expected a list or a stream of elements, not"):
        connect().bulk_import(wrong)


def test_a_run_can_be_stopped_from_a_signal_handler(connect: Any) -> None:
    hook = connect()

    def source() -> Iterator[dict[str, Any]]:
        for n in range(1_000_000):
            if n == 20_000:
                hook.stop_bulk_import()
            yield customer(f"user-{n}", padding="x" * 200)

    with pytest.raises(MoEngageError, match=r"The run was stopped; [\d,]+ elements were accepted before that"):
        hook.bulk_import(source())


def test_airflow_does_not_retry_after_a_rejected_key(connect: Any) -> None:
    from airflow.providers.common.compat.sdk import AirflowFailException

    with pytest.raises(
        MoEngageAuthError, match=r"MoEngage answered 401.*0 elements were accepted before that"
    ) as caught:
        connect(password="a-wrong-key").bulk_import([customer("user-1")])

    assert isinstance(caught.value, AirflowFailException)
    assert caught.value.status_code == 401
    assert "a-wrong-key" not in str(caught.value)


@pytest.mark.parametrize(("allowed", "fails"), [(0, True), (1, True), (2, False), (0.05, True), (0.2, False)])
def test_above_max_rejects_valid_elements_are_sent_and_then_the_run_fails(
    connect: Any, moengage: MoEngage, tmp_path: Path, allowed: float, fails: bool
) -> None:
    elements = [customer(f"user-{n}") for n in range(8)] + [customer("null"), customer("")]
    file = tmp_path / "deep" / "rejects.ndjson"

    def run() -> DeliveryReport:
        report: DeliveryReport = connect().bulk_import(elements, max_rejects=allowed, rejects_path=str(file))
        return report

    if fails:
        with pytest.raises(MoEngageRejectsError, match=r"2 elements rejected \(2 customer_id_refused\)") as caught:
            run()
        assert caught.value.report is not None
        assert caught.value.report.accepted == 8
        assert str(file) in str(caught.value)
    else:
        assert run().rejected == 2
    assert len(moengage.arrived) == 8
    assert len(file.read_text().splitlines()) == 2


def test_a_wrong_option_is_named(connect: Any) -> None:
    with pytest.raises(ValueError, match="concurrency 0: expected a whole number from 1 to 64"):
        connect().bulk_import([], concurrency=0)


def test_outside_a_task_rejects_path_must_be_a_file(connect: Any) -> None:
    with pytest.raises(ValueError, match=r"rejects_path '/tmp': .* ends in .ndjson"):
        connect().bulk_import([], rejects_path="/tmp")


def test_keys_are_masked_in_logs_once_they_are_read(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[str] = []
    monkeypatch.setattr("airflow.providers.common.compat.sdk.mask_secret", masked.append, raising=False)

    _ = connect(extra={"campaign_api_key": "another-key"}).settings

    assert masked == [DATA_KEY, "another-key"]


def test_logs_of_requests_contain_no_key_and_no_customer_id(
    connect: Any, moengage: MoEngage, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind="cut_before"))
    with caplog.at_level(logging.DEBUG):
        connect().bulk_import(
            [customer("ann@example.com"), customer("null", u_em="bob@example.com")], max_rejects=1
        )

    captured = capsys.readouterr()
    logged = caplog.text + captured.out + captured.err
    assert "rejected as customer_id_refused" in logged
    assert DATA_KEY not in logged
    assert "example.com" not in logged


ERRORS = [
    error for error in vars(exceptions).values() if isinstance(error, type) and issubclass(error, MoEngageError)
]


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_survives_pickling_with_its_fields(error: type[MoEngageError]) -> None:
    original = error("a message", status_code=429, request_id="r-1", retry_after=12.5)
    if isinstance(original, MoEngageRejectsError):
        original.report = DeliveryReport(accepted=3)

    copy = pickle.loads(pickle.dumps(original))

    assert type(copy) is error
    assert str(copy) == "a message"
    assert copy.__dict__ == original.__dict__


def test_airflow_retries_only_transient_errors() -> None:
    from airflow.providers.common.compat.sdk import AirflowFailException

    retried = {error.__name__ for error in ERRORS if not issubclass(error, AirflowFailException)}

    assert retried == {
        "MoEngageArrivalError",  # users may arrive later
        "MoEngageError",
        "MoEngageFileNotFoundError",
        "MoEngageRateLimitError",
        "MoEngageServerError",
        "MoEngageImportFailedError",
        "MoEngageVolumeError",
    }
    assert issubclass(MoEngageRequestError, MoEngageError)
