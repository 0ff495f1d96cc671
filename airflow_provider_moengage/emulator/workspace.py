"""A workspace: its keys, its settings, and what arrived in it."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_moengage.emulator.bulk_import.received import (
    Batch,
    ElementLog,
    ReceivedElements,
    SentElement,
)
from airflow_provider_moengage.emulator.business_events.definitions import BusinessEvent, Catalog
from airflow_provider_moengage.emulator.business_events.firings import Firing, FiringLog
from airflow_provider_moengage.emulator.dashboard.event_chart import EventChart
from airflow_provider_moengage.emulator.dashboard.statistics import Outcome, Watch
from airflow_provider_moengage.emulator.faults import NOTHING_ACCEPTED, Fault, FaultPlan
from airflow_provider_moengage.emulator.file_imports.catalog import FileImportCatalog, FileTrigger
from airflow_provider_moengage.emulator.http import Answer, Call, basic_credentials
from airflow_provider_moengage.emulator.limits import RateLimits
from airflow_provider_moengage.emulator.quotas import Quotas

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_moengage.emulator.bulk_import.elements import Intake
    from airflow_provider_moengage.emulator.file_imports.definitions import FileImport, ImportFile
    from airflow_provider_moengage.emulator.file_imports.runs import FileRun
    from airflow_provider_moengage.emulator.settings import Settings

MAX_USERS_SEEN = 1_000_000
MAX_EVENT_DAYS = 100_000
"""(action, day) pairs counted apart; later ones are counted together under `OTHER_EVENTS`."""

OTHER_EVENTS = ("(other)", "(other)")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The id of a workspace and its keys: one for the Data APIs, one for business events."""

    workspace_id: str = "EMULATOR"
    data_api_key: str = field(default="emulator-data-key", repr=False)
    campaign_api_key: str = field(default="emulator-campaign-key", repr=False)


Verdict = Literal["accepted", "answered", "refused", "throttled"]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What an endpoint made of a call.

    :param verdict: ``accepted``: elements were taken in, a business event fired, or a file import was triggered;
        ``answered``: it was well, and has no effect; ``refused``; ``throttled``.
    :param intake: what the body holds, as far as it was read.
    :param fault: the fault that refused it.
    """

    answer: Answer
    verdict: Verdict
    intake: Intake | None = None
    fault: Fault | None = None


Endpoint = Callable[["Workspace", Call, float], Ruling]
"""Makes a ruling on a call at a time (epoch seconds)."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One API request, without what it held.

    :param number: from 1, in the order in which requests took effect.
    :param received_at: epoch seconds of the emulator's clock.
    :param status: HTTP status answered; ``None``: the connection was cut.
    :param size: bytes of the body.
    :param elements: elements of the body, 0 where it was refused or never read.
    :param users: of these, customers and devices.
    :param events: actions of its events.
    :param accepted: its elements were taken in, or it fired a business event or triggered a file import, whatever
        was answered.
    :param fault: kind of the fault that hit it.
    """

    number: int
    received_at: float
    path: str
    status: int | None
    size: int
    elements: int
    users: int
    events: int
    accepted: bool
    fault: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """What a workspace saw since it began or was reset.

    :param requests: API requests of any kind and end.
    :param accepted_requests: those whose elements were taken in, or that fired a business event or triggered a
        file import.
    :param refused: those refused with a failure, 429 apart.
    :param throttled: those that a rate limit answered with 429.
    :param faulted: those that a fault hit.
    :param bytes: body bytes of accepted bulk requests.
    :param elements: accepted elements; ``customers + events + devices`` is the same number.
    :param actions: actions inside the accepted events.
    :param dropped: accepted elements that MoEngage drops after its 200, by the refused customer id.
    :param events_by_day: kept actions by (name, UTC day of ``current_time``); the day is ``arrival`` without
        ``current_time``, and ``unreadable`` where it has no documented form.
    :param users: distinct users of the kept elements.
    :param users_approximate: there were more than the million that are told apart.
    :param firings: triggers of business events that took effect.
    :param campaigns_started: campaigns that these started.
    :param flows_started: flows that these started.
    :param file_triggers: triggers of file imports that took effect.
    :param file_runs: runs of file imports; these triggers and those by the dashboard's schedule.
    """

    requests: int = 0
    accepted_requests: int = 0
    refused: int = 0
    throttled: int = 0
    faulted: int = 0
    bytes: int = 0
    elements: int = 0
    customers: int = 0
    events: int = 0
    devices: int = 0
    actions: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    events_by_day: Mapping[tuple[str, str], int] = field(default_factory=dict)
    users: int = 0
    users_approximate: bool = False
    firings: int = 0
    campaigns_started: int = 0
    flows_started: int = 0
    file_triggers: int = 0
    file_runs: int = 0


class Workspace:
    """One workspace of the emulator; safe to use from any thread while the server runs."""

    def __init__(self, credentials: Credentials, settings: Settings, clock: Callable[[], float]) -> None:
        self.credentials = credentials
        self.limits = RateLimits()
        self.quotas = Quotas()
        self.plan = FaultPlan()
        self.catalog = Catalog()
        self.firing_log = FiringLog()
        self.imports = FileImportCatalog()
        self._settings = settings
        self._clock = clock
        self._lock = threading.RLock()
        self._tally = _Tally()
        self._watch = Watch()
        self._chart = EventChart()
        self._requests: deque[RequestRecord] = deque()
        self._log = ElementLog()

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    def configure(self, /, **changes: Any) -> Settings:
        """Change settings from the next request on, and return them all.

        :raises ValueError: for a setting that doesn't exist, or a value it can't have.
        """
        with self._lock:
            self._settings = self._settings.changed(**changes)
            self._log.trim(self._settings.keep_elements)
            self.firing_log.trim(self._settings.keep_firings)
            self.imports.trim(self._settings.keep_file_runs)
            self._trim_requests()
            return self._settings

    @property
    def counts(self) -> Counts:
        """What arrived so far: a snapshot."""
        with self._lock:
            return replace(self._counts(), events_by_day=dict(self._tally.days))

    @property
    def requests(self) -> list[RequestRecord]:
        """The last API requests, oldest first."""
        with self._lock:
            return list(self._requests)

    @property
    def elements(self) -> ReceivedElements:
        """The last accepted elements, oldest first: a snapshot, decoded when looked at."""
        with self._lock:
            return self._log.snapshot(self._settings.keep_elements)

    def last_elements(self, count: int) -> list[SentElement]:
        """Return the last accepted elements as they were sent, oldest first, at most ``count`` of those kept."""
        with self._lock:
            keep = self._settings.keep_elements
            return self._log.last(count if keep is None else min(count, keep))

    @contextmanager
    def looked_at(self) -> Iterator[tuple[float, Counts, Watch]]:
        """Let nothing change for a look: at the time, at the counts without ``events_by_day``, at the requests."""
        with self._lock:
            yield self._clock(), self._counts(), self._watch

    def event_chart(self) -> dict[str, Any]:
        """Return the events that arrived, as bars over their own time."""
        with self._lock:
            return self._chart.look(self._tally.days)

    @property
    def business_events(self) -> tuple[BusinessEvent, ...]:
        """The business events that it defines."""
        with self._lock:
            return tuple(defined.event for defined in self.catalog)

    def add_business_event(self, event: BusinessEvent) -> None:
        """Define a business event, or change the one of that name."""
        with self._lock:
            self.catalog.add(event, self._clock())

    def clear_business_events(self) -> None:
        """Define no business event."""
        with self._lock:
            self.catalog.clear()

    @property
    def firings(self) -> list[Firing]:
        """The last firings of business events, oldest first."""
        with self._lock:
            return self.firing_log.snapshot()

    @property
    def file_imports(self) -> tuple[FileImport, ...]:
        """The file imports that it has."""
        with self._lock:
            return tuple(known.definition for known in self.imports)

    def add_file_import(self, file_import: FileImport) -> None:
        """Set up a file import, or change the one of that id; its runs stay.

        :raises ValueError: when another one has its name.
        """
        with self._lock:
            self.imports.add(file_import, self._clock())

    def clear_file_imports(self) -> None:
        """Have no file import, and forget their runs."""
        with self._lock:
            self.imports.clear()

    def run_file_import(self, import_id: str, files: Iterable[ImportFile] | None = None) -> FileRun:
        """Let the dashboard's own schedule run a file import now.

        :param files: those that this run takes; ``None``: those that the import is set up with.
        :raises ValueError: when there is none of that id, or it is deleted or expired.
        """
        with self._lock:
            return self.imports.run(import_id, files, self._clock(), self._settings.keep_file_runs)

    @property
    def file_triggers(self) -> list[FileTrigger]:
        """The last accepted triggers of file imports, oldest first."""
        with self._lock:
            return self.imports.triggers()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that have hits left."""
        with self._lock:
            return self.plan.pending()

    def add_fault(self, fault: Fault) -> None:
        """Let ``fault`` happen to the API requests to come."""
        with self._lock:
            self.plan.add(fault)

    def clear_faults(self) -> None:
        """Let nothing more go wrong."""
        with self._lock:
            self.plan.clear()

    def reset(self) -> None:
        """Forget what arrived and ran, the spent limits and the faults.

        Settings, business events and file imports stay.
        """
        with self._lock:
            self.limits = RateLimits()
            self.quotas = Quotas()
            self.firing_log = FiringLog()
            self.imports.forget_runs()
            self.plan.clear()
            self._tally = _Tally()
            self._watch = Watch()
            self._chart = EventChart()
            self._requests.clear()
            self._log = ElementLog()

    def next_fault(self, path: str) -> Fault | None:
        """Return the fault that hits the request at hand, to ``path``."""
        with self._lock:
            return self.plan.next(path)

    def serve(self, call: Call, endpoint: Endpoint, fault: Fault | None) -> Answer | None:
        """Let a request take effect, record it, and return its answer; ``None``: cut the connection."""
        with self._lock:
            now = self._clock()
            ruling = None
            answer: Answer | None = Answer(200, b"")
            if fault is None or fault.kind not in NOTHING_ACCEPTED:
                ruling = endpoint(self, call, now)
                answer = ruling.answer
                fault = fault or ruling.fault
            if fault is not None and answer is not None:
                answer = fault.replaced(answer, call.path)
            self._record(call, ruling, answer, fault, now)
            return answer

    def _record(
        self, call: Call, ruling: Ruling | None, answer: Answer | None, fault: Fault | None, now: float
    ) -> None:
        number = self._tally.add(call, ruling, fault)
        intake = ruling.intake if ruling else None
        accepted = ruling is not None and ruling.verdict == "accepted"
        record = RequestRecord(
            number=number,
            received_at=now,
            path=call.path,
            status=answer.status if answer else None,
            size=call.size,
            elements=intake.elements if intake else 0,
            users=intake.users if intake else 0,
            events=intake.actions if intake else 0,
            accepted=accepted,
            fault=fault.kind if fault else None,
        )
        self._requests.append(record)
        self._trim_requests()
        outcome: Outcome = "faulted" if fault else "well"
        if fault is None and ruling is not None and ruling.verdict in ("throttled", "refused"):
            outcome = ruling.verdict
        brought = (intake, call.size) if accepted and intake is not None else None
        self._watch.add(call.path, outcome, record.fault, answer, brought, self._settings.body_limit, now)
        if accepted and intake is not None:
            self._log.append(Batch(number, intake.elements, call.body), self._settings.keep_elements)

    def _counts(self) -> Counts:
        fired = self.firing_log
        return replace(
            self._tally.snapshot(),
            firings=fired.next_number - 1,
            campaigns_started=fired.campaigns_started,
            flows_started=fired.flows_started,
            file_triggers=self.imports.triggers_accepted,
            file_runs=self.imports.runs_begun,
        )

    def _trim_requests(self) -> None:
        keep = self._settings.keep_requests
        while keep is not None and len(self._requests) > keep:
            self._requests.popleft()


class Workspaces:
    """The workspaces of one emulator; the first is the default one."""

    def __init__(self, default: Workspace) -> None:
        self.default = default
        self._by_id = {default.credentials.workspace_id: default}

    def get(self, workspace_id: str | None) -> Workspace | None:
        """Return the workspace of that id, the default one for ``None``."""
        return self.default if workspace_id is None else self._by_id.get(workspace_id)

    def __iter__(self) -> Iterator[Workspace]:
        return iter(self._by_id.values())

    def add(self, workspace: Workspace) -> None:
        """Add a workspace.

        :raises ValueError: when its id is taken.
        """
        workspace_id = workspace.credentials.workspace_id
        if workspace_id in self._by_id:
            raise ValueError(f"workspace_id {workspace_id!r}: this emulator has one of that id already")
        self._by_id[workspace_id] = workspace

    def addressed(self, workspace_id: str | None, headers: Mapping[str, str]) -> Workspace:
        """Return the workspace that a request is for: by its URL, else its login, else the default one.

        The default one also gets the requests that name none of them, and answers 401.
        """
        login = basic_credentials(headers)
        for known in (workspace_id, login[0] if login else None):
            if known in self._by_id:
                return self._by_id[known]
        return self.default


class _Tally:
    """The running counts of a workspace."""

    def __init__(self) -> None:
        self._verdicts: Counter[Verdict] = Counter()
        self._requests = self._faulted = self._bytes = 0
        self._customers = self._events = self._devices = self._actions = 0
        self._dropped: Counter[str] = Counter()
        self.days: Counter[tuple[str, str]] = Counter()
        self._seen: set[str] = set()
        self._users_approximate = False

    def add(self, call: Call, ruling: Ruling | None, fault: Fault | None) -> int:
        """Count a request and return its number."""
        self._requests += 1
        self._faulted += fault is not None
        if ruling is not None:
            self._verdicts[ruling.verdict] += 1
            if ruling.verdict == "accepted" and ruling.intake is not None:
                self._bytes += call.size
                self._take(ruling.intake)
        return self._requests

    def _take(self, intake: Intake) -> None:
        self._customers += intake.customers
        self._events += intake.events
        self._devices += intake.devices
        self._actions += intake.actions
        self._dropped.update(intake.dropped)
        if len(self.days) < MAX_EVENT_DAYS:
            self.days.update(intake.days)
        else:
            for day, count in intake.days.items():
                self.days[day if day in self.days else OTHER_EVENTS] += count
        if len(self._seen) < MAX_USERS_SEEN:
            self._seen |= intake.seen
        elif not self._users_approximate:
            self._users_approximate = not intake.seen <= self._seen

    def snapshot(self) -> Counts:
        """Return the counts, without ``events_by_day``: these may be very many."""
        return Counts(
            requests=self._requests,
            accepted_requests=self._verdicts["accepted"],
            refused=self._verdicts["refused"],
            throttled=self._verdicts["throttled"],
            faulted=self._faulted,
            bytes=self._bytes,
            elements=self._customers + self._events + self._devices,
            customers=self._customers,
            events=self._events,
            devices=self._devices,
            actions=self._actions,
            dropped=dict(self._dropped),
            users=len(self._seen),
            users_approximate=self._users_approximate,
        )
