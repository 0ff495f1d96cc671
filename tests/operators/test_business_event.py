"""BusinessEventOperator over real HTTP: campaigns start once, or the error reports an unknown outcome."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import logging
import threading
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.emulator import BusinessEvent, Fault
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageOutcomeUnknownError,
    MoEngageRateLimitError,
    MoEngageRequestError,
    MoEngageServerError,
)
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.operators.business_event import BusinessEventOperator
from airflow_provider_moengage.tasks.business_event_state import TriggerRecord
from tests.delivering import MoEngage, connection_to
from tests.task import Baton, Store
from tests.task import Task as BaseTask

ANN = "ann@example.com"
VERSIONS = ("v1", "v5")


class FailingStore(Store):
    """A store that accepts one more value and then fails, as if the API server were restarted."""

    def set(self, key: str, value: Any) -> None:
        if self:
            raise ConnectionError("API server")
        super().set(key, value)

    def delete(self, key: str) -> None:
        raise ConnectionError("API server")


class Task(BaseTask):
    """A task that triggers a business event."""

    def run(self, operator: BusinessEventOperator) -> dict[str, Any]:
        operator.render_template_fields(self.context)
        return operator.execute(self.context)


@pytest.fixture
def campaigns(moengage: MoEngage, monkeypatch: pytest.MonkeyPatch) -> MoEngage:
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(moengage, extra={"timeout": 1}))
    event = BusinessEvent("New movie", attributes={"title": "string", "year": "number"}, campaigns=("c1", "c2"))
    moengage.emulator.workspace.add_business_event(event)
    return moengage


def operator(version: Any = "v1", **options: Any) -> BusinessEventOperator:
    given = {"event_name": "New movie", "event_attributes": {"title": "{{ params.title }}"}, "triggered_by": ANN}
    return BusinessEventOperator(task_id="trigger", api_version=version, **{**given, **options})


def triggers(moengage: MoEngage) -> int:
    return moengage.emulator.workspace.counts.firings


@pytest.mark.parametrize("version", VERSIONS)
def test_an_event_is_triggered_once_with_its_attributes(campaigns: MoEngage, version: str) -> None:
    answer = Task().run(operator(version))

    [trigger] = campaigns.emulator.workspace.firings
    assert (trigger.event_name, trigger.event_attributes) == ("New movie", {"title": "Dune"})
    assert (answer["status"], answer["event_name"], answer["api_version"]) == ("SUCCESS", "New movie", version)
    assert json.loads(json.dumps(answer)) == answer
    if version == "v5":
        assert answer["triggered_campaign_ids"] == ["c1", "c2"]


def test_attributes_are_encoded_like_elements(campaigns: MoEngage) -> None:
    campaigns.emulator.workspace.add_business_event(BusinessEvent("Any", attributes=None, campaigns=("c",)))
    noon = dt.datetime(2026, 1, 1, 12)

    Task().run(
        operator(event_name="Any", event_attributes={"at": noon, "price": Decimal("9.5"), "day": noon.date()})
    )

    [trigger] = campaigns.emulator.workspace.firings
    assert trigger.event_attributes == {"at": "2026-01-01T12:00:00Z", "price": 9.5, "day": "2026-01-01"}


UNKNOWN = {
    "500": Fault("status", status=500),
    "502 after it was accepted": Fault("status_after", status=502),
    "504": Fault("status", status=504),
    "cut before it was accepted": Fault("cut_before"),
    "cut after it was accepted": Fault("cut_after"),
    "a proxy's page": Fault("html"),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("fault", UNKNOWN.values(), ids=UNKNOWN)
@pytest.mark.parametrize("has_store", [True, False], ids=["with a state store", "without a state store"])
def test_an_unknown_outcome_fails_without_retry_and_is_never_sent_again(
    campaigns: MoEngage, version: str, fault: Fault, has_store: bool
) -> None:
    campaigns.emulator.workspace.add_fault(fault)

    with pytest.raises(MoEngageOutcomeUnknownError, match=r"may have started.*clear this task") as caught:
        Task(has_store=has_store).run(operator(version))

    assert isinstance(caught.value, AirflowFailException), "Airflow does not retry it"
    assert campaigns.emulator.workspace.counts.requests == 1
    assert triggers(campaigns) <= 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("fault", UNKNOWN.values(), ids=UNKNOWN)
def test_with_retry_unknown_airflow_retries(campaigns: MoEngage, version: str, fault: Fault) -> None:
    campaigns.emulator.workspace.add_fault(fault)
    task = Task()

    with pytest.raises(MoEngageServerError, match="second time") as caught:
        task.run(operator(version, retry_unknown=True))
    assert not isinstance(caught.value, AirflowFailException)

    task.run(operator(version, retry_unknown=True))
    assert 1 <= triggers(campaigns) <= 2


def test_a_response_after_the_timeout_is_an_unknown_outcome(campaigns: MoEngage) -> None:
    campaigns.emulator.workspace.add_fault(Fault("slow", seconds=5))

    with pytest.raises(MoEngageOutcomeUnknownError, match="no response within the timeout"):
        Task().run(operator())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_failed_connection_is_tried_again_and_then_left_to_airflows_retries(
    campaigns: MoEngage, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(campaigns, host="http://127.0.0.1:9"))
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    task = Task()

    with pytest.raises(MoEngageServerError, match=r"refused.*nothing was started") as caught:
        task.run(operator(version))

    assert not isinstance(caught.value, AirflowFailException)
    assert not task.store, "the next try may send"


def test_a_timeout_of_the_task_during_the_request_is_an_unknown_outcome(
    campaigns: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TimedOut(BaseException):
        """Like Airflow's execution timeout, which no `except Exception` catches."""

    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise TimedOut

    monkeypatch.setattr("airflow_provider_moengage.api.client.MoEngageClient.trigger_business_event", interrupted)

    with pytest.raises(MoEngageOutcomeUnknownError, match="TimedOut during the request"):
        Task().run(operator())
    with pytest.raises(MoEngageServerError, match="TimedOut during the request"):
        Task().run(operator(retry_unknown=True))


def test_a_retry_after_a_kill_during_the_request_does_not_trigger(campaigns: MoEngage) -> None:
    task = Task()
    record = {"status": "sending", "is_reported": False, "life": task.max_tries}
    assert task.store is not None
    task.store.set("moengage_business_event", record)

    with pytest.raises(
        MoEngageOutcomeUnknownError, match="an earlier try of this task ended while it was sending the request"
    ):
        task.run(operator())
    assert triggers(campaigns) == 0

    with pytest.raises(MoEngageOutcomeUnknownError):
        task.run(operator())
    assert triggers(campaigns) == 0, "nor does any later retry"

    task.clear()
    task.run(operator())
    assert triggers(campaigns) == 1, "a Clear triggers it again"


def test_a_clear_after_a_kill_during_the_request_first_reports_an_unknown_outcome(campaigns: MoEngage) -> None:
    task = Task()
    assert task.store is not None
    task.store.set("moengage_business_event", {"status": "sending", "is_reported": False, "life": task.max_tries})
    task.clear()

    with pytest.raises(MoEngageOutcomeUnknownError):
        task.run(operator())

    task.clear()
    task.run(operator())
    assert triggers(campaigns) == 1


def test_a_clear_after_an_unknown_outcome_triggers_again(campaigns: MoEngage) -> None:
    campaigns.emulator.workspace.add_fault(Fault("cut_before"))
    task = Task()
    with pytest.raises(MoEngageOutcomeUnknownError):
        task.run(operator())

    task.clear()
    task.run(operator())

    assert triggers(campaigns) == 1


def test_the_intent_is_recorded_before_the_request_is_sent(
    campaigns: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task()
    recorded: list[Any] = []
    send = MoEngageClient.trigger_business_event

    def spy(*args: Any, **kwargs: Any) -> Any:
        assert task.store is not None
        recorded.append(task.store["moengage_business_event"]["status"])
        return send(*args, **kwargs)

    monkeypatch.setattr(MoEngageClient, "trigger_business_event", spy)
    task.run(operator())

    assert recorded == ["sending"]


def test_a_retry_after_success_does_not_even_check_the_event(campaigns: MoEngage) -> None:
    task = Task()
    first = task.run(operator(check_event=True))
    campaigns.emulator.workspace.clear_business_events()

    assert task.run(operator(check_event=True)) == first


def test_the_response_is_returned_even_if_the_store_then_fails(campaigns: MoEngage) -> None:
    task = Task()
    task.store = FailingStore()
    assert task.run(operator())["status"] == "SUCCESS"

    campaigns.emulator.workspace.add_fault(Fault("status", status=502))
    task.store = FailingStore()
    with pytest.raises(MoEngageOutcomeUnknownError, match="may have started"):
        task.run(operator())


def test_nothing_is_sent_if_the_store_fails_first(campaigns: MoEngage) -> None:
    task = Task()
    task.store = FailingStore({"another": "value"})

    with pytest.raises(ConnectionError):
        task.run(operator())

    assert campaigns.emulator.workspace.counts.requests == 0


def test_an_unreadable_record_is_an_unknown_outcome(campaigns: MoEngage) -> None:
    task = Task()
    assert task.store is not None
    task.store["moengage_business_event"] = None

    with pytest.raises(MoEngageOutcomeUnknownError):
        task.run(operator())

    assert campaigns.emulator.workspace.counts.requests == 0


def test_the_first_clear_after_a_change_of_retries_reports_it_and_the_second_triggers(campaigns: MoEngage) -> None:
    task = Task()
    task.run(operator())
    task.retries = 2  # Airflow sets max_tries to the try number plus retries, which is the same value here
    task.clear()

    with pytest.raises(MoEngageOutcomeUnknownError, match="clear it once more"):
        task.run(operator())

    task.clear()
    task.run(operator())
    assert triggers(campaigns) == 2


@pytest.mark.parametrize("options", [{"check_event": True}, {"event_attributes": {"year": float("nan")}}])
def test_an_unknown_outcome_of_an_earlier_try_is_reported_before_any_check(
    campaigns: MoEngage, options: dict[str, Any]
) -> None:
    campaigns.emulator.workspace.add_fault(Fault("status", status=503))
    task = Task()
    assert task.store is not None
    task.store.set("moengage_business_event", {"status": "sending", "is_reported": False, "life": task.max_tries})

    with pytest.raises(MoEngageOutcomeUnknownError):
        task.run(operator(**options))


def test_a_killed_task_sends_nothing(campaigns: MoEngage) -> None:
    what = operator()
    what.on_kill()

    with pytest.raises(MoEngageError, match="killed before it was triggered"):
        Task().run(what)

    assert triggers(campaigns) == 0


def test_the_next_attempt_waits_half_a_minute_even_if_the_server_asks_for_less(campaigns: MoEngage) -> None:
    campaigns.emulator.workspace.add_fault(Fault("status", status=429, headers={"Retry-After": "0"}))

    waiting = deferred(Task(), operator())

    _, arguments = waiting.trigger.serialize()
    assert arguments["moment"] - dt.datetime.now(dt.UTC) > dt.timedelta(seconds=25)


def test_an_invalid_string_is_named_before_anything_is_sent(campaigns: MoEngage) -> None:
    with pytest.raises(ValueError, match="event_name, event_attributes: a value cannot be written as JSON"):
        Task().run(operator(event_attributes={"title": "\ud800"}))

    assert campaigns.emulator.workspace.counts.requests == 0


def test_the_hook_checks_encoded_values(campaigns: MoEngage) -> None:
    MoEngageHook().check_business_event("New movie", {"year": Decimal(2021), "title": None})


def test_a_check_with_the_wrong_key_names_the_right_one(
    campaigns: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = connection_to(campaigns, extra={"campaign_api_key": "emulator-data-key"})
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", wrong)

    with pytest.raises(MoEngageAuthError, match="campaign_api_key"):
        MoEngageHook().check_business_event("New movie")


def test_a_response_of_a_proxy_to_a_check_is_an_error(campaigns: MoEngage) -> None:
    campaigns.emulator.workspace.add_fault(Fault("html"))

    with pytest.raises(MoEngageError, match="did not come from MoEngage's API"):
        MoEngageHook().check_business_event("New movie")


def test_a_retry_after_success_returns_the_response_and_triggers_nothing(campaigns: MoEngage) -> None:
    task = Task()
    first = task.run(operator())

    assert task.run(operator()) == first
    assert triggers(campaigns) == 1


def test_a_response_that_was_not_reported_is_returned_by_the_next_try(campaigns: MoEngage) -> None:
    task = Task()
    first = task.run(operator())
    assert task.store is not None
    task.store["moengage_business_event"]["is_reported"] = False
    task.clear()  # even a Clear does not trigger an event whose outcome was not reported

    assert task.run(operator()) == first
    assert triggers(campaigns) == 1


def test_a_clear_of_an_ended_task_triggers_again(campaigns: MoEngage) -> None:
    task = Task()
    task.run(operator())
    task.clear()
    task.run(operator())

    assert triggers(campaigns) == 2


REFUSALS: dict[str, tuple[dict[str, Any], type[MoEngageError], str]] = {
    "unknown event": ({"event_name": "No such"}, MoEngageRequestError, "MoEngage answered 400"),
    "unknown attribute": ({"event_attributes": {"colour": "red-value"}}, MoEngageRequestError, "answered 400"),
    "wrong type": ({"event_attributes": {"year": "a-value"}}, MoEngageRequestError, "answered 400"),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("options", "error", "message"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_one_line_and_nothing_was_started(
    campaigns: MoEngage, version: str, options: dict[str, Any], error: type[MoEngageError], message: str
) -> None:
    task = Task()

    with pytest.raises(error, match=message) as caught:
        task.run(operator(version, **options))

    text = str(caught.value)
    assert "Nothing was started" in text
    assert "Request id" in text
    assert "{" not in text
    assert "\n" not in text
    assert "-value" not in text, "values of the request are not quoted"
    assert triggers(campaigns) == 0
    assert not task.store


@pytest.mark.parametrize("version", VERSIONS)
def test_an_event_without_campaigns_fails(campaigns: MoEngage, version: str) -> None:
    campaigns.emulator.workspace.add_business_event(BusinessEvent("Lonely", attributes=None))

    with pytest.raises(MoEngageRequestError):
        Task().run(operator(version, event_name="Lonely"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_wrong_key_names_the_tile_whose_key_is_needed(
    campaigns: MoEngage, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = connection_to(campaigns, extra={"campaign_api_key": "emulator-data-key"})
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", wrong)

    with pytest.raises(MoEngageAuthError, match="campaign_api_key") as caught:
        Task().run(operator(version))

    assert "emulator-data-key" not in str(caught.value)


def deferred(task: Task, what: BusinessEventOperator) -> TaskDeferred:
    what.render_template_fields(task.context)
    with pytest.raises(TaskDeferred) as caught:
        what.execute(task.context)
    return caught.value


def used_up(moengage: MoEngage, version: str, **settings: Any) -> None:
    quota = {"v1_trigger_quota": ((1, 3600),)} if version == "v1" else {"v5_campaign_quota": ((2, 300),)}
    moengage.emulator.workspace.configure(**quota, **settings)
    Task().run(operator(version))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_used_up_quota_defers_the_task_and_the_worker_triggers_later(campaigns: MoEngage, version: str) -> None:
    used_up(campaigns, version)
    task, what = Task(), operator(version)

    waiting = deferred(task, what)

    assert triggers(campaigns) == 1
    assert not task.store, "the resumed try may send"
    _, arguments = waiting.trigger.serialize()
    wait = arguments["moment"] - dt.datetime.now(dt.UTC)
    assert dt.timedelta(minutes=4) < wait <= dt.timedelta(minutes=60)
    campaigns.clock.wait(SimpleNamespace(is_set=bool), 3_601)  # type: ignore[arg-type]
    what.execute_complete(task.context, event=None, **(waiting.kwargs or {}))
    assert triggers(campaigns) == 2


def test_the_wait_is_the_one_that_the_server_reports(campaigns: MoEngage) -> None:
    headers = {"Retry-After": "77"}
    campaigns.emulator.workspace.add_fault(Fault("status", status=429, headers=headers))

    waiting = deferred(Task(), operator())

    _, arguments = waiting.trigger.serialize()
    wait = arguments["moment"] - dt.datetime.now(dt.UTC)
    assert dt.timedelta(seconds=70) < wait <= dt.timedelta(seconds=77)


@pytest.mark.parametrize("version", VERSIONS)
def test_on_quota_fail_raises_an_error_with_retry_after(campaigns: MoEngage, version: str) -> None:
    used_up(campaigns, version)

    with pytest.raises(MoEngageRateLimitError, match="quota") as caught:
        Task().run(operator(version, on_quota="fail"))
    assert caught.value.retry_after == 300, "the shortest window if MoEngage does not report one"

    assert not isinstance(caught.value, AirflowFailException)
    assert triggers(campaigns) == 1


def test_deferring_ends_at_the_quota_timeout(campaigns: MoEngage) -> None:
    used_up(campaigns, "v1")

    with pytest.raises(MoEngageRateLimitError, match="quota_timeout"):
        Task().run(operator(quota_timeout=dt.timedelta(minutes=1)))


def partly_used_up(moengage: MoEngage) -> None:
    moengage.emulator.workspace.configure(v5_campaign_quota=((1, 300),))


def test_a_partial_trigger_fails_reports_what_was_skipped_and_is_never_repeated(campaigns: MoEngage) -> None:
    partly_used_up(campaigns)
    task = Task()

    for _ in range(2):  # the try and a possible retry
        with pytest.raises(MoEngageRequestError, match=r"skipped because of a quota: campaigns \['c2'\]"):
            task.run(operator("v5"))

    assert triggers(campaigns) == 1
    assert task.xcom["return_value"]["failed_campaign_ids"] == ["c2"]


def test_a_partial_trigger_may_be_accepted(campaigns: MoEngage) -> None:
    partly_used_up(campaigns)

    answer = Task().run(operator("v5", fail_on_partial=False))

    assert (answer["status"], answer["failed_campaign_ids"]) == ("PARTIAL_SUCCESS", ["c2"])


CHECKS: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"event_attributes": {"title": "Dune", "year": 2021}}, None),
    ({"event_name": "No such"}, "MoEngage has no business event with this name"),
    ({"event_attributes": {"colour": "x"}}, r"has no attribute 'colour' \(it has: title, year\)"),
    ({"event_attributes": {"year": "x"}}, r"attribute 'year' is a number, and the value is not \(str\)"),
]


@pytest.mark.parametrize(("options", "message"), CHECKS)
@pytest.mark.parametrize("dry_run", [True, False])
def test_check_event_compares_event_and_attributes_with_moengage_first(
    campaigns: MoEngage, options: dict[str, Any], message: str | None, dry_run: bool
) -> None:
    what = operator("v5", check_event=True, dry_run=dry_run, **options)

    if message is None:
        assert Task().run(what)["dry_run"] is dry_run
    else:
        with pytest.raises(MoEngageRequestError, match=message):
            Task().run(what)

    assert triggers(campaigns) == (1 if message is None and not dry_run else 0)


def test_an_event_is_found_on_a_later_page(campaigns: MoEngage) -> None:
    for n in range(45):
        campaigns.emulator.workspace.add_business_event(BusinessEvent(f"New movie {n}", campaigns=("c",)))
    campaigns.emulator.workspace.add_business_event(BusinessEvent("New movie 99", campaigns=("c",)))

    Task().run(operator(event_name="New movie 99", event_attributes={}, check_event=True, dry_run=True))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"event_name": ""}, "event_name ''"),
    ({"version": "v2"}, "api_version 'v2': expected 'v1' or 'v5'"),
    ({"version": "v5", "triggered_by": None}, "triggered_by: v5 requires"),
    ({"triggered_by": "ann"}, "triggered_by: expected an email address"),
    ({"event_attributes": ["x"]}, "event_attributes: expected a mapping"),
    ({"on_quota": "wait"}, "on_quota 'wait'"),
    ({"quota_timeout": 5}, "quota_timeout 5"),
    ({"retry_unknown": "yes"}, "retry_unknown 'yes'"),
    ({"dry_run": "perhaps"}, "dry_run 'perhaps'"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_argument_is_named_when_the_dag_is_parsed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        operator(**options)


def test_a_value_that_cannot_be_sent_is_named_before_anything_is_sent(campaigns: MoEngage) -> None:
    with pytest.raises(ValueError, match=r"event_attributes\['year'\]: NaN or infinity cannot be sent"):
        Task().run(operator(event_attributes={"year": float("nan")}))

    assert campaigns.emulator.workspace.counts.requests == 0


def test_2nd_check_event_compares_only_names_for_v1_whose_types_differ_from_those_of_the_list(
    campaigns: MoEngage,
) -> None:
    Task().run(operator(check_event=True, dry_run=True, event_attributes={"title": ["a", "list"]}))

    with pytest.raises(MoEngageRequestError, match="it has no attribute 'size'"):
        Task().run(operator(check_event=True, event_attributes={"size": 1}))


class Interrupted(BusinessEventOperator):
    """Does something else between its checks and the request."""

    meanwhile: Any = None

    def _checked_request(self, hook: MoEngageHook) -> Any:
        request = super()._checked_request(hook)
        if self.meanwhile is not None:
            self.meanwhile()
        return request


def test_a_try_that_another_one_overtook_during_its_checks_sends_nothing(campaigns: MoEngage) -> None:
    task = Task()
    slow = Interrupted(task_id="trigger", event_name="New movie", check_event=True)
    slow.meanwhile = lambda: task.run(operator())

    with pytest.raises(MoEngageOutcomeUnknownError, match="another try of this task"):
        task.run(slow)

    assert triggers(campaigns) == 1
    assert task.run(operator())["status"] == "SUCCESS"
    assert triggers(campaigns) == 1, "the record of the try that sent it is intact"


def test_a_try_from_before_a_clear_leaves_the_record_of_a_later_one_alone(campaigns: MoEngage) -> None:
    task = Task()
    old = TriggerRecord(task.context, logging.getLogger("old"))
    assert old.answer_of_earlier_try("e", may_repeat=False) is None
    old.about_to_send("e")
    task.clear()
    with pytest.raises(MoEngageOutcomeUnknownError):
        task.run(operator())
    task.clear()
    assert task.run(operator())["status"] == "SUCCESS"

    old.nothing_started()

    task.retry()
    task.run(operator())
    assert triggers(campaigns) == 1


def test_of_two_tries_at_once_at_most_one_sends_in_every_order_of_their_steps() -> None:
    steps = 7
    orders = [
        "".join("a" if n in chosen else "b" for n in range(2 * steps))
        for chosen in itertools.combinations(range(2 * steps), steps)
    ]
    for order in orders[::4]:
        task = Task()
        task.store = store = Baton(order)
        may_send: list[str] = []

        def attempt() -> None:
            try:
                record = TriggerRecord(task.context, logging.getLogger("t"))  # noqa: B023 (joined below)
                record.answer_of_earlier_try("e", may_repeat=False)
                record.about_to_send("e")
                may_send.append(threading.current_thread().name)  # noqa: B023
            except MoEngageOutcomeUnknownError:
                pass
            finally:
                store.leave()  # noqa: B023

        threads = [threading.Thread(target=attempt, name=name) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(may_send) <= 1, order


@pytest.mark.parametrize("retry_unknown", [False, True])
@pytest.mark.parametrize("status", [400, 429, 500])
def test_2nd_a_failure_that_names_started_campaigns_is_never_triggered_again(
    campaigns: MoEngage, status: int, retry_unknown: bool
) -> None:
    campaigns.emulator.workspace.add_fault(Fault("status_after", status=status, keep_data=True))
    assert_is_never_triggered_again(campaigns, retry_unknown=retry_unknown)


@pytest.mark.parametrize("retry_unknown", [False, True])
def test_2nd_a_200_with_a_failure_that_names_started_campaigns_is_not_either(
    campaigns: MoEngage, retry_unknown: bool
) -> None:
    campaigns.emulator.workspace.configure(v5_failures_name_started=True)
    assert_is_never_triggered_again(campaigns, retry_unknown=retry_unknown)


def assert_is_never_triggered_again(moengage: MoEngage, *, retry_unknown: bool) -> None:
    task = Task()
    with pytest.raises(MoEngageOutcomeUnknownError, match="names campaigns or flows that have started"):
        task.run(operator("v5", retry_unknown=retry_unknown))
    task.retry()
    if not retry_unknown:
        with pytest.raises(MoEngageOutcomeUnknownError):
            task.run(operator("v5"))

    assert triggers(moengage) == moengage.emulator.workspace.counts.requests == 1


NO_SUCCESS = {
    "success: false": Fault("status", status=200),
    "was not triggered": Fault("status", status=200, body='{"message": "The business event was not triggered"}'),
    "trigger failed": Fault("status", status=200, body='{"message": "Business event trigger failed"}'),
}


@pytest.mark.parametrize("fault", NO_SUCCESS.values(), ids=NO_SUCCESS)
def test_2nd_a_200_that_is_no_success_fails_without_retry_and_is_never_sent_again(
    campaigns: MoEngage, fault: Fault
) -> None:
    campaigns.emulator.workspace.add_fault(fault)
    task = Task()

    for _ in range(2):
        with pytest.raises(MoEngageOutcomeUnknownError) as caught:
            task.run(operator())
        assert isinstance(caught.value, AirflowFailException)
        task.retry()

    assert (triggers(campaigns), campaigns.emulator.workspace.counts.requests) == (0, 1)


def test_2nd_a_refusal_that_comes_as_a_200_is_no_success(campaigns: MoEngage) -> None:
    campaigns.emulator.workspace.configure(v1_failures_as_200=True)

    with pytest.raises(MoEngageOutcomeUnknownError):
        Task().run(operator(event_name="There is no such event"))
    assert triggers(campaigns) == 0
