"""The base class of the API families.

A family is one folder with everything specific to its endpoints: routes and names, failure bodies, quotas, state,
and its part of the page. To add a family, write its folder and add its class to `FAMILIES` in `workspace.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from airflow_provider_moengage.emulator.faults import Fault, FaultPlan
from airflow_provider_moengage.emulator.http import Answer, Call, failure, phrase
from airflow_provider_moengage.emulator.settings import Credentials, Settings

ResultKind = Literal["accepted", "answered", "refused", "throttled"]


class Context(Protocol):
    """What a family may use of its workspace."""

    @property
    def credentials(self) -> Credentials:
        """The workspace's id and keys."""
        ...

    @property
    def settings(self) -> Settings:
        """The current settings."""
        ...

    @property
    def fault_plan(self) -> FaultPlan:
        """The pending faults."""
        ...

    @property
    def request_number(self) -> int:
        """The number of the request that is being handled."""
        ...


@dataclass(frozen=True, slots=True)
class Contents:
    """What the body of a request holds: elements, customers and devices, actions of events."""

    elements: int = 0
    users: int = 0
    events: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a request.

    :param kind: ``accepted``: elements were accepted, or a business event or a file import was triggered;
        ``answered``: the request was valid and has no effect; ``refused``; ``throttled``.
    :param contents: what the body holds, as far as it was read.
    :param reason: why the request was refused, if the answer's body does not contain it.
    :param fault: the fault that refused the request.
    """

    answer: Answer
    kind: ResultKind
    contents: Contents = Contents()
    reason: str | None = None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint of a family, bound to the state of one workspace.

    :param path: URL path in Starlette's syntax.
    :param name: shown on the page; several endpoints may share one.
    :param handle: handles a call at a time (epoch seconds).
    """

    path: str
    name: str
    handle: Callable[[Call, float], Result]
    method: str = "POST"

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the endpoint in every workspace."""
        return self.method, self.path


class Family(ABC):
    """An API family with the state of one workspace. All methods are called with the workspace's lock held."""

    base_path: ClassVar[str | None] = None
    """Requests to unknown paths below it are answered with this family's failure bodies."""

    endpoints: tuple[Endpoint, ...]

    def failure(self, status: int, path: str, headers: Mapping[str, str] | None = None) -> Answer:  # noqa: ARG002 - for overrides
        """Return the failure that ``path`` documents for a status; by default the Data API's."""
        return failure(status, phrase(status), phrase(status), headers=headers)

    @abstractmethod
    def reset(self) -> None:
        """Delete everything received and reset the quotas; keep definitions."""

    def trim(self) -> None:  # noqa: B027 - most families keep nothing that a setting limits
        """Delete the oldest entries beyond the settings' limits, which may have changed."""

    def counts(self) -> dict[str, Any]:
        """Return the family's fields of `Counts`."""
        return {}

    def snapshot(self, now: float) -> dict[str, Any]:  # noqa: ARG002 - for overrides
        """Return the family's part of what the page shows, as JSON-ready values."""
        return {}
