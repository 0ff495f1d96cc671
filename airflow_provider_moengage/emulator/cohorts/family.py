"""``POST /v1/integrations/cohortsync``: adds members to a segment, or removes them.

MoEngage API reference, "Cohort Sync": at most 128 kB a body and 300 requests a minute; the first request creates
the segment. Which names are refused is documented in several ways, so each is taken.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

from airflow_provider_moengage.emulator.cohorts.segments import Segment
from airflow_provider_moengage.emulator.cohorts.sync import PATH, read_sync
from airflow_provider_moengage.emulator.family import Context, Endpoint, Family, Result
from airflow_provider_moengage.emulator.http import (
    Answer,
    Call,
    basic_credentials,
    failure,
    is_json,
    json_answer,
)
from airflow_provider_moengage.emulator.limits import Quota, limit_headers

MOST_SHOWN = 50
FIRST_MEMBERS = 5


class Cohorts(Family):
    """Accepts or refuses bodies, and keeps the members of each segment."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.endpoints = (Endpoint(PATH, "Cohort sync", self._sync),)
        self.reset()

    def reset(self) -> None:
        """Delete all segments, and reset the quota."""
        self.segments: dict[str, Segment] = {}
        self._quota = Quota()

    def snapshot(self, now: float) -> dict[str, Any]:
        """Return the segments, and what is used of the quota."""
        shown = [
            {
                "id": segment.id,
                "name": segment.name,
                "members": len(segment.members),
                "added": segment.added,
                "removed": segment.removed,
                "first": list(islice(segment.members, FIRST_MEMBERS)),
            }
            for _, segment in zip(range(MOST_SHOWN), self.segments.values(), strict=False)
        ]
        uses = self._quota.used(self._context.settings.cohort_quota, now)
        return {
            "segments": {
                "shown": shown,
                "left_off": max(len(self.segments) - MOST_SHOWN, 0),
                "quota": [{"seconds": seconds, "limit": limit, "used": used} for limit, seconds, used in uses],
            }
        }

    def _sync(self, call: Call, now: float) -> Result:
        settings, windows = self._context.settings, self._context.settings.cohort_quota
        refused = self._refused(call)
        if refused is not None:
            return Result(refused, "refused")
        if self._quota.opens_at(windows, 1, now) > now:
            headers = limit_headers(self._quota.reading(windows, now), settings, now, refused=True)
            message = "The workspace's limit for this minute is spent"
            return Result(failure(429, message, "Rate Limits Exceeded", headers=headers), "throttled")
        self._quota.spend(1, windows, now)
        headers = limit_headers(self._quota.reading(windows, now), settings, now, refused=False)
        sync = read_sync(call.body)
        if isinstance(sync, Answer):
            return Result(replace(sync, headers=headers), "refused")
        fault = self._context.fault_plan.refusing([{"customer_id": uid} for uid in sync.members])
        if fault is not None:
            answer = failure(400, "uid is not valid", fault.error_type, attribute="uid", headers=headers)
            return Result(answer, "refused", fault=fault)
        if sync.action == "add_members" or sync.cohort_id in self.segments:
            self.segments.setdefault(sync.cohort_id, Segment(sync.cohort_id)).apply(sync)
        success = {"status": "success", "message": "Your request has been accepted and will be processed soon."}
        return Result(json_answer(200, success, headers), "accepted")

    def _refused(self, call: Call) -> Answer | None:
        """Return the failure of a request that is refused before its body is read."""
        settings, credentials = self._context.settings, self._context.credentials
        if basic_credentials(call.headers) != (credentials.workspace_id, credentials.data_api_key):
            return failure(401, "Workspace id and Data API key do not match", "Authentication Required")
        app_key = call.headers.get("moe-appkey")
        if app_key is None:
            return failure(400, "MOE-APPKEY is missing", "Missing header value", attribute="MOE-APPKEY")
        if app_key != credentials.workspace_id:
            return failure(409, "MOE-APPKEY differs from the login", "Authentication Mismatch")
        if not is_json(call.headers):
            return failure(415, "Content-Type should be application/json", "Unsupported Media Type")
        limits = (settings.cohort_body_limit, settings.hard_body_limit)
        if any(limit is not None and call.size > limit for limit in limits):
            return failure(413, "Payload too large", "Payload too large")
        return None
