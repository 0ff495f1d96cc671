"""What a trigger learns of an import, look by look, from the poller that it shares with others."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.polling.failures import FAILED_POLLS

if TYPE_CHECKING:
    from airflow_provider_moengage.api.workspace import Workspace
    from airflow_provider_moengage.polling.poller import Decide, Finding


async def findings(
    conn_id: str,
    what: tuple[str, str],
    decide: Decide,
    *,
    interval: float,
    may_be_absent: bool = False,
    failed_polls: int | None = FAILED_POLLS,
) -> AsyncGenerator[Finding, None]:
    """Yield each finding that says something new, for ever. To be closed by whoever has heard enough.

    A key that is not accepted is looked up once more: it may have been changed in the connection since.

    :param conn_id: the workspace's connection.
    :param what: ``import_id`` or ``import_name``, and its value.
    :param decide: what to make of a run history; called in a thread.
    :param interval: seconds between two looks.
    :param may_be_absent: an import that MoEngage does not know has no files yet.
    :param failed_polls: polls in a row that may fail; None for any number.
    :raises MoEngageError: where the connection is not set up, or cannot be read.
    :raises ApiError: where no more is to be hoped for.
    """
    from airflow_provider_moengage.triggers.pollers import pollers

    mine = pollers()
    refused: Workspace | None = None
    refusal: ApiError | None = None
    while True:
        workspace = await mine.workspace(conn_id, other_than=refused)
        if refusal is not None and workspace == refused:
            raise refusal
        try:
            with mine.of(workspace).watch(
                what, decide, interval=interval, may_be_absent=may_be_absent, failed_polls=failed_polls
            ) as waiter:
                while True:
                    yield await waiter.next()
        except ApiError as error:
            if error.kind is not ErrorKind.AUTHENTICATION:
                raise
            refused, refusal = workspace, error
