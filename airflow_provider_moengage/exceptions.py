"""The provider's exceptions. The class decides whether Airflow retries.

Messages contain no key and no personal data. Every error survives pickling with its fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

if TYPE_CHECKING:
    from airflow_provider_moengage.bulk.report import DeliveryReport


class MoEngageError(AirflowException):  # type: ignore[misc, unused-ignore]
    """An error between Airflow and MoEngage, or of the storage of a task's files. This class itself: a full disk,
    a store that fails, or a run that was stopped. Airflow may retry.

    :param message: what happened and what to do.
    :param status_code: HTTP status of MoEngage's last response; None if there was none.
    :param request_id: MoEngage's ID of the request, for its support.
    :param retry_after: seconds until another attempt makes sense, if MoEngage reported them.
    """

    is_delivered = False
    """Whether everything but rejects has been delivered, so that a later run need not send it again."""

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code  # type: ignore[assignment, unused-ignore]
        self.request_id = request_id
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle message and fields; the base class would lose the fields."""
        return (type(self), (self.message,), self.__dict__)


class MoEngageRateLimitError(MoEngageError):
    """The workspace's rate limit stayed used up for longer than it makes sense to wait. Airflow may retry."""


class MoEngageServerError(MoEngageError):
    """MoEngage could not be reached, or answered 5xx, until the attempts ran out. Airflow may retry."""


class MoEngageImportFailedError(MoEngageError):
    """MoEngage read a file but could not import it, or not enough of its rows. Airflow may retry.

    :param files: the files that the task waited for, as :meth:`FileRun.to_dict` returns them.
    """

    def __init__(self, message: str, *, files: Sequence[Mapping[str, Any]] = (), **fields: Any) -> None:
        super().__init__(message, **fields)
        self.files = list(files)


class MoEngageAuthError(MoEngageError, AirflowFailException):  # type: ignore[misc, unused-ignore]
    """MoEngage does not accept the key, the workspace or the caller. No retry: somebody has to fix it."""


class MoEngageRequestError(MoEngageError, AirflowFailException):  # type: ignore[misc, unused-ignore]
    """MoEngage will never accept this request, the connection is not set up, a path of the task is wrong, or the
    state of a sync of changed rows cannot be used for this run. No retry.
    """


class MoEngageFileNotFoundError(MoEngageError, FileNotFoundError):
    """A file to read is not there. Airflow may retry: the file may still be on its way."""


class MoEngageFileFormatError(MoEngageRequestError, ValueError):
    """A file to read is not NDJSON in UTF-8, or a pattern does not reach all files that it matches. No retry."""


class MoEngageImportNotFoundError(MoEngageRequestError):
    """The workspace has no such file import, or it was deleted. No retry."""


class MoEngageOutcomeUnknownError(MoEngageError, AirflowFailException):  # type: ignore[misc, unused-ignore]
    """A request was sent and its outcome is unknown. No retry, because that could process it twice: check in
    MoEngage. For a business event: campaigns may have started. For a bulk import with ``at_most_once``: an earlier
    try may have sent what this one would send.
    """


class MoEngageVolumeError(MoEngageError):
    """A query returns other numbers of rows than ``expect`` accepts, so nothing was sent. Airflow may retry: the
    rows may only be late.
    """


class MoEngageArrivalError(MoEngageError):
    """Too many users of a sample have not arrived as they were sent. Airflow may retry: they may only be late.

    :param report: the counts of the check.
    """

    def __init__(self, message: str, *, report: Mapping[str, Any] | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.report = dict(report or {})


class MoEngageRemovalError(MoEngageError, AirflowFailException):  # type: ignore[misc, unused-ignore]
    """Users whose rows have left the query were not removed, because a guard forbids it or MoEngage refused it;
    everything else was delivered. No retry.

    :param report: the counts of the run.
    """

    def __init__(self, message: str, *, report: DeliveryReport | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.report = report


class MoEngageRejectsError(MoEngageError, AirflowFailException):  # type: ignore[misc, unused-ignore]
    """More elements were rejected than ``max_rejects`` allows, or the rejects could not be written and a retry
    would not write them; everything else was delivered. No retry.

    :param report: the counts of the run.
    """

    is_delivered = True

    def __init__(self, message: str, *, report: DeliveryReport | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.report = report
