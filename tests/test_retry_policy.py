"""Whether and when Airflow retries a MoEngage task, by the error it failed with."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_moengage.exceptions import MoEngageRateLimitError, MoEngageServerError

pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="retry policies need Airflow 3.3")

from airflow.providers.common.compat.sdk import RetryAction

from airflow_provider_moengage.retry_policy import MoEngageRetryPolicy

CASES: list[tuple[BaseException, RetryAction, timedelta | None]] = [
    (MoEngageRateLimitError("x", retry_after=90), RetryAction.RETRY, timedelta(seconds=90)),
    (MoEngageRateLimitError("x"), RetryAction.RETRY, timedelta(minutes=1)),
    (MoEngageServerError("x"), RetryAction.RETRY, None),
    (ValueError("x"), RetryAction.FAIL, None),
    (RuntimeError("x"), RetryAction.DEFAULT, None),
]


@pytest.mark.parametrize(("error", "action", "delay"), CASES, ids=lambda case: type(case).__name__)
def test_the_error_decides(error: BaseException, action: RetryAction, delay: timedelta | None) -> None:
    decision = MoEngageRetryPolicy().evaluate(error, try_number=1, max_tries=3)

    assert (decision.action, decision.retry_delay) == (action, delay)


def test_a_policy_survives_serialization() -> None:
    policy = MoEngageRetryPolicy()

    assert isinstance(MoEngageRetryPolicy.deserialize(policy.serialize()), MoEngageRetryPolicy)
