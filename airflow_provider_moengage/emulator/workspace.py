"""A workspace: its families, its settings, and the requests that it received."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_moengage.emulator.bulk_import.family import BulkImport
from airflow_provider_moengage.emulator.business_events.family import BusinessEvents
from airflow_provider_moengage.emulator.campaigns.family import Campaigns
from airflow_provider_moengage.emulator.cohorts.family import Cohorts
from airflow_provider_moengage.emulator.connection_test.family import ConnectionTest
from airflow_provider_moengage.emulator.counts import Counts
from airflow_provider_moengage.emulator.dashboard.statistics import RequestOutcome, Statistics
from airflow_provider_moengage.emulator.faults import NOTHING_ACCEPTED, Fault, FaultPlan
from airflow_provider_moengage.emulator.file_imports.family import FileImports
from airflow_provider_moengage.emulator.http import Answer, Call, basic_credentials
from airflow_provider_moengage.emulator.request_log import RequestLog, RequestRecord
from airflow_provider_moengage.emulator.settings import Credentials, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_moengage.emulator.bulk_import.profiles import Profile
    from airflow_provider_moengage.emulator.bulk_import.received import ReceivedElements, SentElement
    from airflow_provider_moengage.emulator.business_events.definitions import BusinessEvent
    from airflow_provider_moengage.emulator.business_events.firings import Firing
    from airflow_provider_moengage.emulator.campaigns.definitions import Campaign
    from airflow_provider_moengage.emulator.cohorts.segments import Segment
    from airflow_provider_moengage.emulator.family import Endpoint, Family, Result
    from airflow_provider_moengage.emulator.file_imports.catalog import FileTrigger
    from airflow_provider_moengage.emulator.file_imports.definitions import FileImport, ImportFile
    from airflow_provider_moengage.emulator.file_imports.runs import FileRun

__all__ = ["Counts", "Credentials", "RequestRecord", "Workspace", "Workspaces"]

FAMILIES: tuple[Callable[[Workspace], Family], ...] = (
    BulkImport,
    ConnectionTest,
    BusinessEvents,
    FileImports,
    Campaigns,
    Cohorts,
)
"""The API families that the emulator serves, in the order of the page."""

AnyFamily = TypeVar("AnyFamily", bound="Family")


class Workspace:
    """One workspace of the emulator; safe to use from any thread while the server runs."""

    def __init__(self, credentials: Credentials, settings: Settings, clock: Callable[[], float]) -> None:
        self.credentials = credentials
        self.fault_plan = FaultPlan()
        self._settings = settings
        self._clock = clock
        self._lock = threading.RLock()
        self._log = RequestLog()
        self._statistics = Statistics()
        self.families = tuple(family(self) for family in FAMILIES)
        self._endpoints = {
            endpoint.key: (family, endpoint) for family in self.families for endpoint in family.endpoints
        }

    def time(self) -> float:
        """Return the workspace's time: UTC epoch seconds."""
        return self._clock()

    @property
    def endpoints(self) -> list[Endpoint]:
        """The endpoints of all families."""
        return [endpoint for _, endpoint in self._endpoints.values()]

    @property
    def settings(self) -> Settings:
        """The current settings."""
        return self._settings

    @property
    def request_number(self) -> int:
        """The number of the request that is being handled, or of the next one."""
        return self._log.next_number

    def configure(self, /, **changes: Any) -> Settings:
        """Change settings, from the next request on, and return all of them.

        :raises ValueError: if a setting does not exist or a value is invalid.
        """
        with self._lock:
            self._settings = self._settings.changed(**changes)
            for family in self.families:
                family.trim()
            self._log.trim(self._settings.keep_requests)
            return self._settings

    @property
    def counts(self) -> Counts:
        """A snapshot of what was received so far."""
        with self._lock:
            days = dict(self._family(BulkImport).element_counts.days)
            return Counts(**self._totals(), events_by_day=days)

    @property
    def requests(self) -> list[RequestRecord]:
        """The last API requests, oldest first."""
        with self._lock:
            return self._log.records()

    @property
    def elements(self) -> ReceivedElements:
        """A snapshot of the last accepted elements, oldest first; they are decoded when accessed."""
        with self._lock:
            return self._family(BulkImport).log.snapshot(self._settings.keep_elements)

    @property
    def erasure_requests(self) -> list[tuple[str, str]]:
        """Type and value of each identity that OpenGDPR requests have named, in their order."""
        with self._lock:
            return list(self._family(BulkImport).deletions.requested)

    @property
    def deleted_users(self) -> list[str]:
        """IDs of the users whose deletion was accepted, in the order of the requests."""
        with self._lock:
            return list(self._family(BulkImport).deletions.accepted)

    def find_user(self, customer_id: str) -> Profile | None:
        """Return what the workspace knows of a user; None if there is no such user."""
        with self._lock:
            return self._family(BulkImport).find_user(customer_id, self._clock())

    def last_elements(self, count: int) -> list[SentElement]:
        """Return the last ``count`` accepted elements as they were sent, oldest first, if that many are kept."""
        with self._lock:
            keep = self._settings.keep_elements
            return self._family(BulkImport).log.last(count if keep is None else min(count, keep))

    @contextmanager
    def locked(self) -> Iterator[tuple[float, Counts, Statistics]]:
        """Allow no change inside the block; yield time, counts without ``events_by_day``, and statistics."""
        with self._lock:
            yield self._clock(), Counts(**self._totals()), self._statistics

    @property
    def business_events(self) -> tuple[BusinessEvent, ...]:
        """The defined business events."""
        with self._lock:
            return tuple(defined.event for defined in self._family(BusinessEvents).state.catalog)

    def add_business_event(self, event: BusinessEvent) -> None:
        """Define a business event, or replace the one with its name."""
        with self._lock:
            self._family(BusinessEvents).state.catalog.add(event, self._clock())

    def clear_business_events(self) -> None:
        """Delete all definitions of business events."""
        with self._lock:
            self._family(BusinessEvents).state.catalog.clear()

    @property
    def firings(self) -> list[Firing]:
        """The last firings of business events, oldest first."""
        with self._lock:
            return self._family(BusinessEvents).state.firings.snapshot()

    @property
    def file_imports(self) -> tuple[FileImport, ...]:
        """The file imports of the workspace."""
        with self._lock:
            return tuple(known.definition for known in self._family(FileImports).state.catalog)

    def add_file_import(self, file_import: FileImport) -> None:
        """Add a file import, or replace the one with its id and keep its runs.

        :raises ValueError: if another import has its name.
        """
        with self._lock:
            self._family(FileImports).state.catalog.add(file_import, self._clock())

    def clear_file_imports(self) -> None:
        """Delete all file imports and their runs."""
        with self._lock:
            self._family(FileImports).state.catalog.clear()

    def run_file_import(self, import_id: str, files: Iterable[ImportFile] | None = None) -> FileRun:
        """Run a file import now, as the dashboard's schedule does.

        :param files: files of this run; ``None``: the import's own.
        :raises ValueError: if no import has that id, or it is deleted or expired.
        """
        with self._lock:
            catalog = self._family(FileImports).state.catalog
            return catalog.run(import_id, files, self._clock(), self._settings.keep_file_runs)

    @property
    def file_triggers(self) -> list[FileTrigger]:
        """The last accepted triggers of file imports, oldest first."""
        with self._lock:
            return self._family(FileImports).state.catalog.triggers()

    @property
    def campaigns(self) -> tuple[Campaign, ...]:
        """The campaigns of the workspace."""
        with self._lock:
            return tuple(self._family(Campaigns).state.catalog)

    def add_campaign(self, campaign: Campaign) -> None:
        """Add a campaign, or replace the one with its id."""
        with self._lock:
            self._family(Campaigns).state.catalog.add(campaign)

    def remove_campaign(self, campaign_id: str) -> None:
        """Remove a campaign, if it is there."""
        with self._lock:
            self._family(Campaigns).state.catalog.remove(campaign_id)

    def clear_campaigns(self) -> None:
        """Remove all campaigns."""
        with self._lock:
            self._family(Campaigns).state.catalog.clear()

    @property
    def segments(self) -> dict[str, frozenset[str]]:
        """The members of each segment, by the ID that the tool gave it."""
        with self._lock:
            segments = self._family(Cohorts).segments
            return {name: frozenset(segment.members) for name, segment in segments.items()}

    def find_segment(self, cohort_id: str) -> Segment | None:
        """Return a copy of a segment; None if no body has added members to it."""
        with self._lock:
            segment = self._family(Cohorts).segments.get(cohort_id)
            return None if segment is None else replace(segment, members=dict(segment.members))

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The pending faults."""
        with self._lock:
            return self.fault_plan.pending()

    def add_fault(self, fault: Fault) -> None:
        """Inject ``fault`` into the next API requests."""
        with self._lock:
            self.fault_plan.add(fault)

    def clear_faults(self) -> None:
        """Remove all faults."""
        with self._lock:
            self.fault_plan.clear()

    def reset(self) -> None:
        """Delete everything received, all runs, segments and faults, and reset the limits and quotas.

        Settings, business events, file imports and campaigns stay.
        """
        with self._lock:
            for family in self.families:
                family.reset()
            self.fault_plan.clear()
            self._log = RequestLog()
            self._statistics = Statistics()

    def next_fault(self, path: str) -> Fault | None:
        """Return the fault that hits the current request, to ``path``."""
        with self._lock:
            return self.fault_plan.next(path)

    def serve(self, call: Call, endpoint_key: tuple[str, str], fault: Fault | None) -> Answer | None:
        """Handle and record a request, and return its answer; ``None``: cut the connection."""
        family, endpoint = self._endpoints[endpoint_key]
        with self._lock:
            now = self._clock()
            result = None
            answer: Answer | None = Answer(200, b"")
            if fault is None or fault.kind not in NOTHING_ACCEPTED:
                result = endpoint.handle(call, now)
                answer = result.answer
                fault = fault or result.fault
            if fault is not None and answer is not None:
                answer = fault.replaced(answer, lambda status, headers: family.failure(status, call.path, headers))
            record = self._log.add(call, result, answer, fault, now)
            self._log.trim(self._settings.keep_requests)
            self._statistics.add(endpoint.name, record, _outcome(result, fault), answer, result)
            return answer

    def _totals(self) -> dict[str, Any]:
        """Return the counts without ``events_by_day``, which may be large."""
        totals: dict[str, Any] = self._log.counts()
        for family in self.families:
            totals |= family.counts()
        return totals

    def _family(self, kind: type[AnyFamily]) -> AnyFamily:
        return next(family for family in self.families if isinstance(family, kind))


def _outcome(result: Result | None, fault: Fault | None) -> RequestOutcome:
    if fault is not None:
        return "faulted"
    match result.kind if result else None:
        case "throttled" | "refused" as kind:
            return kind
        case _:
            return "well"


class Workspaces:
    """The workspaces of one emulator; the first is the default one."""

    def __init__(self, default: Workspace) -> None:
        self.default = default
        self._by_id = {default.credentials.workspace_id: default}

    def get(self, workspace_id: str | None) -> Workspace | None:
        """Return the workspace with that id; the default one for ``None``."""
        return self.default if workspace_id is None else self._by_id.get(workspace_id)

    def __iter__(self) -> Iterator[Workspace]:
        return iter(self._by_id.values())

    def add(self, workspace: Workspace) -> None:
        """Add a workspace.

        :raises ValueError: if its id is taken.
        """
        workspace_id = workspace.credentials.workspace_id
        if workspace_id in self._by_id:
            raise ValueError(f"workspace_id {workspace_id!r}: this emulator already has a workspace with this id")
        self._by_id[workspace_id] = workspace

    def addressed(self, workspace_id: str | None, headers: Mapping[str, str]) -> Workspace:
        """Return the workspace of a request: by its URL, else by its login, else the default one.

        A request that names no known workspace goes to the default one, which answers 401.
        """
        login = basic_credentials(headers)
        for known in (workspace_id, login[0] if login else None):
            if known in self._by_id:
                return self._by_id[known]
        return self.default
