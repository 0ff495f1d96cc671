"""The policy that decides whether and when Airflow retries a MoEngage task (Airflow 3.3 and later)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

try:
    from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy
except ImportError as error:
    raise ImportError(
        "MoEngageRetryPolicy needs Airflow 3.3 or later: earlier versions have no retry policies"
    ) from error

from airflow_provider_moengage.exceptions import MoEngageRateLimitError, MoEngageServerError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

LEAST_WAIT = timedelta(seconds=10)
"""Shortest wait between two tries, even if the server asks for less."""

NEXT_WINDOW = timedelta(minutes=1)
"""Wait after a used-up limit if MoEngage does not report how long: its shortest window."""


class MoEngageRetryPolicy(RetryPolicy):  # type: ignore[misc, unused-ignore]
    """Retries after the wait that MoEngage asks for, and fails at once if a retry cannot help.

    ``retries`` still limits the number of retries. Bad credentials, requests that MoEngage refuses, rejects and
    unknown outcomes fail at once with and without this policy.

    .. code-block:: python

        BulkImportOperator(..., retries=5, retry_policy=MoEngageRetryPolicy())
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002 (Airflow's signature)
        max_tries: int,  # noqa: ARG002
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        """Decide by the error: a rate limit waits as long as MoEngage asks for, a server error as long as the
        task's ``retry_delay``, and bad input is not retried.
        """
        if isinstance(exception, MoEngageRateLimitError):
            hint = exception.retry_after
            wait = NEXT_WINDOW if hint is None else max(timedelta(seconds=hint), LEAST_WAIT)
            return RetryDecision.retry(delay=wait, reason="MoEngage's rate limit is used up until then")
        if isinstance(exception, MoEngageServerError):
            return RetryDecision.retry(reason="MoEngage could not be reached or answered 5xx")
        if isinstance(exception, ValueError | TypeError):
            return RetryDecision.fail(reason="the input is invalid; a retry would not change that")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return the policy's arguments: it has none."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> MoEngageRetryPolicy:  # noqa: ARG003 (Airflow's signature)
        """Return the policy of a serialized Dag."""
        return cls()
