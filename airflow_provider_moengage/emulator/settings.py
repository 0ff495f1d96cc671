"""The id, the keys and the settings of a workspace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

DetailForm = Literal["field", "target"]
FileData = Literal["data", "items", "nowhere"]

Windows = tuple[tuple[int, int], ...] | None
"""A quota: (count, seconds) of each sliding window; ``None`` or empty lifts it."""

_QUOTAS = (
    "v1_trigger_quota",
    "v1_flow_quota",
    "v5_campaign_quota",
    "v5_flow_quota",
    "list_quota",
    "search_quota",
    "file_history_quota",
    "file_imports_quota",
    "campaign_stats_quota",
    "campaign_search_quota",
    "delete_quota",
    "export_quota",
    "opengdpr_quota",
    "cohort_quota",
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The id of a workspace and its keys: one for the Data APIs, one for business events."""

    workspace_id: str = "EMULATOR"
    data_api_key: str = field(default="emulator-data-key", repr=False)
    campaign_api_key: str = field(default="emulator-campaign-key", repr=False)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one workspace; the defaults are what MoEngage documents today.

    :param users_per_minute: users in a sliding minute; ``None`` lifts the limit
        (MoEngage API reference, Rate Limits: 60,000).
    :param events_per_minute: events in a sliding minute, one per action; ``None`` lifts the limit.
    :param body_limit: maximum bytes of a bulk request's body, envelope included (Bulk Import: 100 kB);
        ``None`` lifts it.
    :param body_limit_status: HTTP status for a body over ``body_limit``.
    :param hard_body_limit: maximum bytes of any Data API body (Data API overview: 128 KB); ``None`` lifts it.
    :param hard_body_limit_status: HTTP status for a body over ``hard_body_limit``.
    :param failures_as_200: answer every failed bulk request with HTTP 200, also injected faults that have no body
        of their own; the Bulk Import page documents 200 for all bulk requests.
    :param failures_as_400: the same with HTTP 400: a failure is what its type says (Bulk Import, error codes).
    :param future_events: what becomes of events in the future, which are not accepted (Bulk Import): ``drop`` them
        after a 200, or ``refuse`` the body. How is not documented, nor a tolerance.
    :param test_connection_errors_as_200: answer a failed Test Connection with HTTP 200 and
        ``"status": "error"``.
    :param reset_header: meaning of ``x-ratelimit-reset``: seconds left, or UTC epoch seconds. Both are
        documented.
    :param retry_after: the ``Retry-After`` header of a 429: none, seconds, or an HTTP date.
    :param envoy: a 429 carries ``x-envoy-ratelimited: true`` and no ``x-ratelimit-*`` header.
    :param identifiers: attributes that identify a user without ``customer_id`` (User Identity Resolution);
        if empty, every customer needs a ``customer_id``.
    :param one_key: the Data API key is valid for business events too, like a key with both scopes.
    :param v1_trigger_quota: business event triggers by v1, as (count, seconds) of sliding windows
        (Trigger Business Event, rate limits: 50 an hour, 200 a day); ``None`` or empty lifts it.
    :param v1_failures_as_200: a trigger that v1 refuses gets a 200 that says that nothing was triggered, also an
        injected failure without a body of its own.
    :param v1_flow_quota: flows that v1 may start (5 an hour, 20 a day). A trigger that exceeds one of v1's
        quotas gets a 429 and starts nothing.
    :param v5_campaign_quota: campaigns that v5 may start (Trigger Business Event (V5), rate limits: 10 in 5
        minutes, 50 an hour, 200 a day). Those over the quota are skipped.
    :param v5_flow_quota: flows that v5 may start (3 an hour, 10 a day).
    :param v5_over_quota: ``skip``: campaigns and flows over a quota are skipped, as documented; ``429``: a trigger
        that exceeds a quota gets a 429 and starts nothing.
    :param v5_failures_name_started: v5 calls a trigger a FAILURE also if it has started campaigns or flows; the
        ids tell which.
    :param v5_details: fields of the details of v5's errors: ``field``, ``issue``, ``message``, or ``code``,
        ``target``, ``message``. Both are documented.
    :param list_quota: requests for the list of business events (60 a minute, 1,000 an hour).
    :param search_quota: searches (30 a minute, 500 an hour).
    :param file_cooldown_seconds: seconds after the start of an import's run in which triggers are refused (Trigger
        File Imports: once every five minutes).
    :param file_history_quota: requests for the file run history (Import File Run History: 50 a minute).
    :param file_imports_quota: requests for the import details (Import Details: 50 a minute).
    :param file_page_size: files, or imports, per page.
    :param file_order: order of the files in the history, which is not documented: by ``scheduled_at``, or in a
        random but constant order.
    :param file_no_match: the history's answer if its filters match no file: an ``empty`` page, or the 400 of a
        ``missing`` import.
    :param file_numbers_as_text: counts are strings, and ``more_files`` is ``"true"`` or ``"false"``. Both are
        documented.
    :param file_null_data: an empty page's ``data`` is null. Both are documented.
    :param file_data: where the history has its files: in ``data``; in ``items.properties`` with a null ``data``,
        one file a page, as in the sample response of Import File Run History; or ``nowhere``, although
        ``total_count`` counts them.
    :param file_dates: ``refuse``: every ``date`` filter is an Invalid Date format, in words that ask for
        ``YYYY-MM-DDTHH:MM:SS.ssssss``, which is none of the documented formats.
    :param file_not_found: the field of a query's 404 that has its text. Both are documented.
    :param file_partial_word: status of a partially imported file. Both are documented.
    :param file_time_zone: IANA name of the zone of the times in the history, the details and their ``date``
        filter, which carry none. MoEngage does not document it: in the reference's samples the details have the
        workspace's local time, but ``next_scheduled_at`` in UTC.
    :param file_imports_by_name: how the import details compare ``import_name``.
    :param campaign_stats_quota: requests for campaign statistics (Get Campaign Stats: 100 a minute).
    :param campaign_search_quota: searches for campaigns; their limit is not documented, so it is the same here.
    :param delete_quota: deletions of users (Delete User: 5,000 a minute).
    :param export_quota: users that may be read (Get User: 1,000 a minute).
    :param opengdpr_quota: OpenGDPR requests; None, because no limit is documented.
    :param export_enabled: whether MoEngage has enabled Get User for the workspace; if not, it answers 403.
    :param export_not_found: how Get User names users that do not exist, which is not documented: as ``objects`` of
        type and identifier, or as ``ids``.
    :param ingestion_seconds: seconds from accepting an element until Get User has it: a 200 means accepted, not
        ingested.
    :param cohort_quota: requests that add members to a segment, or remove them (Cohort Sync: 300 a minute).
    :param cohort_body_limit: maximum bytes of such a request's body (128 kB); ``None`` lifts it.
    :param keep_elements: accepted elements to keep; ``None`` keeps all, 0 none.
    :param keep_requests: request records to keep; ``None`` keeps all, 0 none.
    :param keep_firings: business event firings to keep; ``None`` keeps all, 0 none.
    :param keep_file_runs: runs to keep of each file import, and triggers to keep; ``None`` keeps all, 0 none.
    """

    users_per_minute: int | None = 60_000
    events_per_minute: int | None = 60_000
    body_limit: int | None = 100_000
    body_limit_status: int = 400
    hard_body_limit: int | None = 131_072
    hard_body_limit_status: int = 413
    failures_as_200: bool = False
    failures_as_400: bool = False
    future_events: Literal["drop", "refuse"] = "drop"
    test_connection_errors_as_200: bool = False
    reset_header: Literal["seconds", "epoch"] = "seconds"
    retry_after: Literal["none", "seconds", "date"] = "none"
    envoy: bool = False
    identifiers: tuple[str, ...] = ()
    one_key: bool = False
    v1_failures_as_200: bool = False
    v1_trigger_quota: Windows = ((50, 3_600), (200, 86_400))
    v1_flow_quota: Windows = ((5, 3_600), (20, 86_400))
    v5_campaign_quota: Windows = ((10, 300), (50, 3_600), (200, 86_400))
    v5_flow_quota: Windows = ((3, 3_600), (10, 86_400))
    v5_over_quota: Literal["skip", "429"] = "skip"
    v5_failures_name_started: bool = False
    v5_details: DetailForm = "field"
    list_quota: Windows = ((60, 60), (1_000, 3_600))
    search_quota: Windows = ((30, 60), (500, 3_600))
    file_cooldown_seconds: float = 300
    file_history_quota: Windows = ((50, 60),)
    file_imports_quota: Windows = ((50, 60),)
    file_page_size: int = 50
    file_order: Literal["newest", "oldest", "shuffled"] = "newest"
    file_no_match: Literal["empty", "missing"] = "empty"
    file_numbers_as_text: bool = False
    file_null_data: bool = False
    file_data: FileData = "data"
    file_dates: Literal["documented", "refuse"] = "documented"
    file_not_found: Literal["data", "message"] = "data"
    file_partial_word: Literal["PARTIAL_SUCCESS", "PARTIAL_FAILURE"] = "PARTIAL_SUCCESS"
    file_time_zone: str = "UTC"
    file_imports_by_name: Literal["exact", "contains"] = "exact"
    campaign_stats_quota: Windows = ((100, 60),)
    campaign_search_quota: Windows = ((100, 60),)
    delete_quota: Windows = ((5_000, 60),)
    export_quota: Windows = ((1_000, 60),)
    opengdpr_quota: Windows = None
    export_enabled: bool = True
    export_not_found: Literal["objects", "ids"] = "objects"
    ingestion_seconds: float = 0
    cohort_quota: Windows = ((300, 60),)
    cohort_body_limit: int | None = 128_000
    keep_elements: int | None = 100_000
    keep_requests: int | None = 10_000
    keep_firings: int | None = 10_000
    keep_file_runs: int | None = 10_000

    def __post_init__(self) -> None:
        for name in (
            "users_per_minute",
            "events_per_minute",
            "body_limit",
            "hard_body_limit",
            "cohort_body_limit",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} {value!r}: expected a whole number above 0, or None to lift the limit")
        for name in _QUOTAS:
            value = getattr(self, name)
            if not _is_windows(value):
                raise ValueError(
                    f"{name} {value!r}: expected (count, seconds) pairs above 0, or None to lift the quota"
                )
        for name in ("keep_elements", "keep_requests", "keep_firings", "keep_file_runs"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} {value!r}: expected 0 or more, or None to keep all")
        self._check_single_values()

    def _check_single_values(self) -> None:
        for name in ("file_cooldown_seconds", "ingestion_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)!r}: expected 0 or more")
        if self.file_page_size < 1:
            raise ValueError(f"file_page_size {self.file_page_size!r}: expected a whole number above 0")
        if not _is_zone(self.file_time_zone):
            raise ValueError(
                f"file_time_zone {self.file_time_zone!r}: expected the IANA name of a time zone, as Asia/Kolkata"
            )
        if self.failures_as_200 and self.failures_as_400:
            raise ValueError("failures_as_200, failures_as_400: expected at most one of them")
        for name in ("body_limit_status", "hard_body_limit_status"):
            value = getattr(self, name)
            if not 200 <= value <= 599:
                raise ValueError(f"{name} {value!r}: expected an HTTP status from 200 to 599")

    def changed(self, /, **changes: Any) -> Settings:
        """Return these settings with ``changes`` applied.

        :raises ValueError: if a setting does not exist or a value is invalid.
        """
        try:
            return msgspec.convert(msgspec.structs.asdict(self) | changes, Settings)
        except msgspec.ValidationError as error:
            raise ValueError(f"settings: {error}") from error


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a folder of zones, such as Asia, is an OSError
        return False
    return True


def _is_windows(value: Any) -> bool:
    return value is None or (
        isinstance(value, tuple)
        and all(isinstance(window, tuple) and len(window) == 2 and min(window) >= 1 for window in value)
    )
