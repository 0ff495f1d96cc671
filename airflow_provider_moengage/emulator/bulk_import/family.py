"""``POST /v1/transition/{workspace_id}`` and ``POST /v1/transition?app_id=...&project_code=...``.

MoEngage API reference, "Bulk Import", and user guide, "Portfolio: Data Ingestion and Management". No refusal of a
project is documented, so any project code is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from airflow_provider_moengage.emulator.bulk_import import opengdpr
from airflow_provider_moengage.emulator.bulk_import.counts import ElementCounts, Fill
from airflow_provider_moengage.emulator.bulk_import.deletion import PATH as DELETE_PATH
from airflow_provider_moengage.emulator.bulk_import.deletion import (
    Deletions,
    accepted,
    not_found,
    read_deletion,
    throttled,
)
from airflow_provider_moengage.emulator.bulk_import.elements import Intake, Refusal, read_envelope, take_in
from airflow_provider_moengage.emulator.bulk_import.export import PATH as EXPORT_PATH
from airflow_provider_moengage.emulator.bulk_import.export import exported, read_export
from airflow_provider_moengage.emulator.bulk_import.profiles import Profile, Profiles
from airflow_provider_moengage.emulator.bulk_import.received import Batch, ElementLog
from airflow_provider_moengage.emulator.dashboard.event_chart import EventChart
from airflow_provider_moengage.emulator.family import Contents, Context, Endpoint, Family, Result
from airflow_provider_moengage.emulator.http import (
    Answer,
    Call,
    basic_credentials,
    failure,
    is_json,
    json_answer,
    new_request_id,
    phrase,
)
from airflow_provider_moengage.emulator.limits import Quota, RateLimits, Reading, limit_headers, throttle_headers

PATH = "/v1/transition"

_ERROR_TYPES = {
    401: "Authentication required",
    403: "Account Suspended",
    409: "Authentication Mismatch",
    413: "Payload too large",
    415: "Unsupported Media Type",
    429: "Rate Limits Exceeded",
    500: "Server Error",
}
"""Types of the failures, by status (MoEngage API reference, "Bulk Import" and "Error codes")."""

_ACCEPTED = "Your request has been accepted and will be processed soon."


class BulkImport(Family):
    """Accepts or refuses bulk bodies, keeps the last elements, and counts all of them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.endpoints = (
            *(Endpoint(path, "Bulk import", self._bulk_import) for path in (f"{PATH}/{{workspace_id}}", PATH)),
            Endpoint(DELETE_PATH, "Delete user", self._delete),
            Endpoint(EXPORT_PATH, "Get user", self._export),
            Endpoint(f"{opengdpr.PATH}/{{workspace_id}}", "OpenGDPR", self._erase),
        )
        self.reset()

    def failure(self, status: int, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the failure of a status; if it is wrapped in another, only its type tells it from others."""
        if status == 429 and path == DELETE_PATH:
            return throttled(headers or {})
        return self._wrapped(
            failure(status, phrase(status), _ERROR_TYPES.get(status, phrase(status)), headers=headers)
        )

    def reset(self) -> None:
        """Delete all elements, and reset the rate limits."""
        self.limits = RateLimits()
        self.element_counts = ElementCounts()
        self.log = ElementLog()
        self.deletions = Deletions()
        self.profiles = Profiles()
        self._delete_quota = Quota()
        self._export_quota = Quota()
        self._opengdpr_quota = Quota()
        self._fill = Fill()
        self._chart = EventChart()

    def trim(self) -> None:
        """Delete the elements beyond the last ``keep_elements``."""
        self.log.trim(self._context.settings.keep_elements)
        self.profiles.trim(self._context.settings.keep_elements)

    def find_user(self, user: str, now: float) -> Profile | None:
        """Return the profile of a user who exists and whose elements are ingested."""
        self._carry_out_deletions(now)
        profile = self.profiles.find(user, now - self._context.settings.ingestion_seconds)
        if profile is None and not self.profiles.is_complete and user in self.element_counts.users:
            return Profile({"uid": user})
        return profile

    def counts(self) -> dict[str, Any]:
        """Return the counts of elements, without ``events_by_day``."""
        return self.element_counts.totals()

    def snapshot(self, now: float) -> dict[str, Any]:
        """Return the rate limits, the chart of events, how full bodies were, the dropped ids, and the projects."""
        settings = self._context.settings
        users, events = self.limits.readings(settings, now)
        return {
            "limits": {"users": _reading(users), "events": _reading(events)},
            "events": self._chart.current(self.element_counts.days),
            "fill": self._fill.snapshot(settings.body_limit),
            "dropped": self.element_counts.totals()["dropped"],
            "projects": self.element_counts.projects(),
        }

    def _bulk_import(self, call: Call, now: float) -> Result:
        """Accept all elements of a bulk request, or none."""
        refused = self._check_request(call)
        if refused is not None:
            return self._refuse(refused, now)
        settings = self._context.settings
        try:
            elements = read_envelope(call.body)
            refuses_future = settings.future_events == "refuse"
            intake = take_in(elements, now, settings.identifiers, refuses_future=refuses_future)
        except Refusal as refusal:
            return self._refuse(self._body_failure(refusal), now)
        fault = self._context.fault_plan.refusing(elements)
        if fault is not None:
            injected = Refusal(fault.error_type, "expected string", "customer_id")
            return replace(self._refuse(self._body_failure(injected), now), fault=fault)
        decision = self.limits.admit(intake.users, intake.actions, settings, now)
        headers = limit_headers(decision.tightest, settings, now, refused=not decision.admitted)
        contents = Contents(intake.elements, intake.users, intake.actions)
        if not decision.admitted:
            message = "The workspace's limit for this minute is spent"
            answer = failure(429, message, _ERROR_TYPES[429], headers=headers)
            return Result(self._wrapped(answer), "throttled", contents)
        self._accept(call, intake, now)
        success = {"status": "success", "message": _ACCEPTED, "request_id": new_request_id()}
        return Result(json_answer(200, success, headers), "accepted", contents)

    def _delete(self, call: Call, now: float) -> Result:
        """Accept the deletion of a user who exists."""
        settings, counts = self._context.settings, self.element_counts
        refused = self._check_request(call)
        deletion = refused if refused is not None else read_deletion(call.body)
        if isinstance(deletion, Answer):
            return Result(self._wrapped(deletion), "refused")
        user = deletion.identity_value
        fault = self._context.fault_plan.refusing([{"customer_id": user}])
        if fault is not None:
            answer = failure(400, "identity_value is not valid", fault.error_type, attribute="identity_value")
            return Result(self._wrapped(answer), "refused", fault=fault)
        if self._delete_quota.room(settings.delete_quota, now) == 0:
            opens_at = self._delete_quota.opens_at(settings.delete_quota, 1, now)
            return Result(throttled(throttle_headers(opens_at, settings, now)), "throttled")
        self._delete_quota.spend(1, settings.delete_quota, now)
        self._carry_out_deletions(now)
        if deletion.identity_type != "customer_id" or not (user in counts.users or counts.users_approximate):
            return Result(self._wrapped(not_found()), "refused")
        self.deletions.add(user, now)
        return Result(accepted(), "accepted")

    def _erase(self, call: Call, now: float) -> Result:
        """Accept the erasure of everybody who has an identity."""
        settings, windows = self._context.settings, self._context.settings.opengdpr_quota
        refused = self._check_request(call)
        erasure = refused if refused is not None else opengdpr.read_erasure(call.body)
        if isinstance(erasure, Answer):
            return Result(self._wrapped(erasure), "refused")
        named = [{"customer_id": each.identity_value} for each in erasure.identities]
        fault = self._context.fault_plan.refusing(named)
        if fault is not None:
            answer = failure(400, "identity_value is not valid", fault.error_type, attribute="identity_value")
            return Result(self._wrapped(answer), "refused", fault=fault)
        opens_at = self._opengdpr_quota.opens_at(windows, 1, now)
        if opens_at > now:
            headers = throttle_headers(opens_at, settings, now)
            message = "The workspace's limit for this minute is spent"
            return Result(self._wrapped(failure(429, message, _ERROR_TYPES[429], headers=headers)), "throttled")
        self._opengdpr_quota.spend(1, windows, now)
        self._carry_out_deletions(now)
        for identity in erasure.identities:
            self.deletions.requested.append((identity.identity_type, identity.identity_value))
            for user in self._users_with(identity):
                self.deletions.add(user, now)
        return Result(opengdpr.accepted(), "accepted")

    def _users_with(self, identity: opengdpr.Identity) -> list[str]:
        attribute = opengdpr.ATTRIBUTES.get(identity.identity_type)
        if attribute is None:
            counts, user = self.element_counts, identity.identity_value
            return [user] if user in counts.users or counts.users_approximate else []
        return self.profiles.users_with(attribute, identity.identity_value)

    def _export(self, call: Call, now: float) -> Result:
        """Answer the profiles of users."""
        settings, windows = self._context.settings, self._context.settings.export_quota
        refused = self._check_request(call)
        if refused is None and not settings.export_enabled:
            refused = failure(403, "Get User is not enabled for this workspace", "Forbidden")
        export = refused if refused is not None else read_export(call.body)
        if isinstance(export, Answer):
            return Result(self._wrapped(export), "refused")
        users = [each.identifier for each in export.data.identifiers]
        fault = self._context.fault_plan.refusing([{"customer_id": user} for user in users])
        if fault is not None:
            answer = failure(400, "identifier is not valid", fault.error_type, attribute="identifier")
            return Result(self._wrapped(answer), "refused", fault=fault)
        opens_at = self._export_quota.opens_at(windows, len(users), now)
        if opens_at > now:
            reading = self._export_quota.reading(windows, now)
            headers = limit_headers(reading, settings, now, refused=True)
            message = "The workspace's limit for this minute is spent"
            return Result(self._wrapped(failure(429, message, _ERROR_TYPES[429], headers=headers)), "throttled")
        self._export_quota.spend(len(users), windows, now)
        headers = limit_headers(self._export_quota.reading(windows, now), settings, now, refused=False)

        def attributes_of(user: str) -> Mapping[str, Any] | None:
            profile = self.find_user(user, now)
            return None if profile is None else profile.attributes

        return Result(exported(export, attributes_of, settings.export_not_found, headers), "answered")

    def _check_request(self, call: Call) -> Answer | None:
        """Return the failure of a request that is refused before its body is read."""
        settings, credentials = self._context.settings, self._context.credentials
        if (
            call.workspace_id != credentials.workspace_id
            or basic_credentials(call.headers) != (credentials.workspace_id, credentials.data_api_key)
        ):  # fmt: skip
            return failure(401, "Workspace id and Data API key do not match", "Authentication Required")
        if call.headers.get("moe-appkey", call.workspace_id) != call.workspace_id:
            return failure(409, "MOE-APPKEY differs from the workspace id in the URL", "Authentication Mismatch")
        if not is_json(call.headers):
            return failure(415, "Content-Type should be application/json", "Unsupported Media Type")
        if settings.hard_body_limit is not None and call.size > settings.hard_body_limit:
            return failure(settings.hard_body_limit_status, "Payload too large", "Payload too large")
        if settings.body_limit is not None and call.size > settings.body_limit:
            return failure(settings.body_limit_status, "Payload too large", "Payload too large")
        return None

    def _body_failure(self, refusal: Refusal) -> Answer:
        return failure(400, refusal.message, refusal.error_type, attribute=refusal.attribute)

    def _wrapped(self, answer: Answer) -> Answer:
        settings = self._context.settings
        if settings.failures_as_200 or settings.failures_as_400:
            return replace(answer, status=200 if settings.failures_as_200 else 400)
        return answer

    def _refuse(self, answer: Answer, now: float) -> Result:
        settings = self._context.settings
        headers = limit_headers(self.limits.tightest(settings, now), settings, now, refused=False)
        return Result(replace(self._wrapped(answer), headers=headers), "refused")

    def _accept(self, call: Call, intake: Intake, now: float) -> None:
        settings = self._context.settings
        self._carry_out_deletions(now)
        self.element_counts.add(intake, call.size, call.project_code)
        self._fill.add(call.size, settings.body_limit)
        self.log.append(Batch(self._context.request_number, intake.elements, call.body), settings.keep_elements)
        self.profiles.accept(call.body, intake.elements, now, settings.keep_elements)

    def _carry_out_deletions(self, now: float) -> None:
        if gone := self.deletions.carry_out(self.element_counts.users, now):
            self.profiles.delete(gone)


def _reading(reading: Reading | None) -> dict[str, Any] | None:
    if reading is None:
        return None
    used = reading.limit - reading.remaining
    return {"limit": reading.limit, "used": used, "frees_at": reading.resets_at}
