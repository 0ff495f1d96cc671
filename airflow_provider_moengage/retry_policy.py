"""When Airflow tries a MoEngage task again, and when no try can help (Airflow 3.3 and later)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

try:
    from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy
except ImportError as error:
    raise ImportError(
        "MoEngageRetryPolicy needs Airflow 3.3 or later: earlier ones have no retry policies"
    ) from error

from airflow_provider_moengage.exceptions import MoEngageRateLimitError, MoEngageServerError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

LEAST_WAIT = timedelta(seconds=10)
"""Between two tries, whatever the server says."""

NEXT_WINDOW = timedelta(minutes=1)
"""Wait after a used-up limit where MoEngage does not say how long: its shortest window."""


class MoEngageRetryPolicy(RetryPolicy):  # type: ignore[misc, unused-ignore]
    """Tries again when MoEngage says so, and not at all where no try can help.

    ``retries`` still bounds how often. Bad credentials, requests that MoEngage refuses, rejects and unknown
    outcomes fail at once with and without it.

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
        """Decide by the error: its wait for a limit, the task's own for a server, none for bad input."""
        if isinstance(exception, MoEngageRateLimitError):
            hint = exception.retry_after
            wait = NEXT_WINDOW if hint is None else max(timedelta(seconds=hint), LEAST_WAIT)
            return RetryDecision.retry(delay=wait, reason="MoEngage's limit is used up until then")
        if isinstance(exception, MoEngageServerError):
            return RetryDecision.retry(reason="MoEngage could not be reached or answered 5xx")
        if isinstance(exception, ValueError | TypeError):
            return RetryDecision.fail(reason="the input is wrong, and will be so again")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return what the policy is made of: nothing."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> MoEngageRetryPolicy:  # noqa: ARG003 (Airflow's signature)
        """Make it again."""
        return cls()
