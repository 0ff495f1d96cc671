"""What goes wrong with a state: it cannot be used, or its storage fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_moengage.bulk.clock import StoppedError
from airflow_provider_moengage.bulk.resume.fence import FencedError
from airflow_provider_moengage.bulk.resume.writer import NotStoredError
from airflow_provider_moengage.storage import cause_of


class StateError(Exception):
    """The state cannot be used for this run. The message says why, and what to do.

    :param may_heal: whether a retry may find or make it usable. If not, somebody has to do something first.
    """

    def __init__(self, message: str, *, may_heal: bool = False) -> None:
        super().__init__(message)
        self.may_heal = may_heal


@contextmanager
def storing() -> Iterator[None]:
    """Give a failure of the storage, which may raise errors of its own, a name."""
    try:
        yield
    except (FencedError, StoppedError, StateError, NotStoredError):
        raise
    except Exception as error:  # noqa: BLE001 (each storage has errors of its own)
        raise NotStoredError(cause_of(error)) from None
