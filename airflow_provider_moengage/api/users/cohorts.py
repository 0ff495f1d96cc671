"""The members of a segment: the request that adds or removes some.

MoEngage API reference, "Cohort Sync" (``POST /v1/integrations/cohortsync``): at most 128 kB a request, and 300
requests a minute. The first request creates the segment. Members are users who exist, by their ID. Segments that
were made in the dashboard or from a file cannot be changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

PATH = "/v1/integrations/cohortsync"

PER_MINUTE = 300
"""Requests per minute and workspace (MoEngage API reference, "Cohort Sync")."""

PARTNER = "airflow-provider-moengage"
"""Our name, which each request carries."""

LARGEST_BODY = 128_000
"""Bytes of a request ("128 kB")."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """A segment.

    :param cohort_id: what identifies it; chosen by the sender.
    :param name: shown in the dashboard.
    :param description: None: none.
    """

    cohort_id: str
    name: str
    description: str | None = None

    def envelope(self, action: str) -> tuple[bytes, bytes]:
        """Return what is before and after the members in a body.

        :param action: ``add_members`` or ``remove_members``.
        """
        parameters = {"cohort_id": self.cohort_id, "cohort_name": self.name}
        if self.description is not None:
            parameters["cohort_description"] = self.description
        before = msgspec.json.encode({"action": action, "partner": PARTNER})
        return before[:-1] + b',"parameters":' + msgspec.json.encode(parameters)[:-1] + b',"members":[', b"]}}"


@dataclass(frozen=True, slots=True)
class CohortSync:
    """A segment, and what becomes of the users of a run.

    :param removes: whether they are removed from the segment, not added.
    """

    cohort: Cohort
    removes: bool = False


def member_line(user: str) -> bytes:
    """Return a member, as JSON."""
    return msgspec.json.encode({"uid": user})
