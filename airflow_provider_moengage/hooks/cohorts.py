"""What a run that sets the members of a segment sends, and within which limits."""

from __future__ import annotations

from airflow_provider_moengage.api.users.cohorts import PER_MINUTE, CohortSync
from airflow_provider_moengage.bulk.rate_limit.pacer import Limits
from airflow_provider_moengage.bulk.run.lane import Requests, cohort_request


def requests_of(sync: CohortSync) -> tuple[Limits, Requests]:
    """Return the limits, of which each request takes one, and the requests."""
    add, remove = (cohort_request(sync.cohort, action) for action in ("add_members", "remove_members"))
    return Limits(PER_MINUTE, PER_MINUTE), Requests(remove if sync.removes else add, remove)
