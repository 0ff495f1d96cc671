"""The requests for campaigns and their statistics. They only read, so each is safe to repeat.

MoEngage API reference, "Get Campaign Stats" (100 requests a minute per workspace) and "Search Campaigns (V5)",
whose limit is not documented: it gets the same pace. Both need the key of the tile *Campaign report / Business
events*.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from airflow_provider_moengage.api.campaigns.models import (
    SEARCH_PAGE_SIZE,
    STATS_PAGE_SIZE,
    Campaign,
    CampaignOfPage,
    CampaignStats,
    UnreadableStatsError,
    read_campaign,
    read_stats,
)
from airflow_provider_moengage.api.campaigns.pace import Pace, Timing
from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.paging import Page, Retries, read_whole_list
from airflow_provider_moengage.api.received.success import names_errors, says_failure
from airflow_provider_moengage.api.received.values import Received, sentence
from airflow_provider_moengage.api.responses import meant_status, read_retry_after
from airflow_provider_moengage.api.session import Answer, open_session
from airflow_provider_moengage.api.transport.failures import NoAnswerError
from airflow_provider_moengage.api.workspace import Workspace

STATS_PATH = "/core-services/v1/campaign-stats"
SEARCH_PATH = "/v5/campaigns/search"

REQUESTS_PER_MINUTE = 100
"""Requests for statistics per workspace ("Get Campaign Stats", rate limit)."""

CAMPAIGNS_KEY = (
    "campaigns need the workspace id and the key of the tile Campaign report / Business events (field"
    " campaign_api_key of the connection)"
)
"""Hint shown when the key is rejected."""


class CampaignsClient:
    """A client of the campaigns of one workspace. Not thread-safe."""

    def __init__(self, workspace: Workspace, timing: Timing | None = None) -> None:
        self.workspace = workspace
        self._timing = timing or Timing()
        self._url = workspace.data_url
        self._session = open_session(self._url, workspace.workspace_id, workspace.campaign_api_key)
        self._session.headers["MOE-APPKEY"] = workspace.workspace_id.encode()
        self._session.headers.update(workspace.project_headers)
        self._scrub = workspace.scrub()
        self._paces = {path: Pace(REQUESTS_PER_MINUTE, self._timing) for path in (STATS_PATH, SEARCH_PATH)}
        self.requests = 0
        """Requests sent so far."""
        self.throttled = 0
        """Responses so far by which MoEngage throttled a request."""

    def close(self) -> None:
        """Close the connections, and cut the one on which another thread waits for a response."""
        self._session.abandon()
        self._session.close()

    def iter_stats(
        self,
        start: date,
        end: date,
        filters: Mapping[str, Any],
        retries: Retries,
    ) -> Iterator[tuple[CampaignStats, ...]]:
        """Yield the statistics of each campaign of a window, each campaign once, as their pages are read.

        :param start: first day.
        :param end: last day, at most 30 days with the first.
        :param filters: ``attribution_type``, ``metric_type`` and, optionally, ``campaign_ids``, at most ten.
        :raises ApiError: if MoEngage does not answer, or its response is not complete or cannot be read.
        """

        def ask(page: int) -> Page[CampaignOfPage]:
            return self.stats_page(start, end, filters, page=page)

        found = [0, 0]  # all campaigns, and those with statistics
        for campaigns in read_whole_list(ask, lambda campaign: campaign.campaign_id, retries):
            found = [found[0] + len(campaigns), found[1] + sum(campaign.is_known for campaign in campaigns)]
            yield from (campaign.stats for campaign in campaigns)
        if found[0] and not found[1]:
            raise self._unreadable()

    def iter_campaigns(self, filters: Mapping[str, Any], retries: Retries) -> Iterator[Campaign]:
        """Yield the campaigns of a search, each once, as their pages are read.

        :param filters: ``campaign_fields`` of the API.
        :raises ApiError: if MoEngage does not answer.
        """

        def ask(page: int) -> Page[Campaign]:
            return self.search_page(filters, page=page)

        for campaigns in read_whole_list(ask, lambda campaign: campaign.campaign_id, retries):
            yield from campaigns

    def stats_page(self, start: date, end: date, filters: Mapping[str, Any], *, page: int) -> Page[CampaignOfPage]:
        """Return one page of statistics by a single request.

        :param page: from 1; ten campaigns each.
        :raises ApiError: if MoEngage does not answer.
        """
        body = {
            "request_id": str(uuid.uuid4()),
            "start_date": start.isoformat(),
            "end_date": end.isoformat(),
            **filters,
            "offset": (page - 1) * STATS_PAGE_SIZE,
            "limit": STATS_PAGE_SIZE,
        }
        content = self._read(STATS_PATH, body, "data")
        total = content["total_campaigns"].count()
        if total is None or total < 0:
            raise ApiError(
                ErrorKind.SERVER,
                f"{self._url} does not report total_campaigns, so whether its response is complete is not known",
                status_code=200,
            )
        try:
            rows = read_stats(content["data"], start, end)
        except UnreadableStatsError:
            raise self._unreadable() from None
        if not rows and page == 1 and total:
            raise self._unreadable()
        pages = content["total_pages"].count()
        has_more = len(rows) >= STATS_PAGE_SIZE if pages is None else page < pages
        return Page(rows, has_more, total)

    def search_page(self, filters: Mapping[str, Any], *, page: int) -> Page[Campaign]:
        """Return one page of campaigns by a single request.

        Each request has an idempotency key of its own: one that is reused returns the first page again.

        :param page: from 1; 15 campaigns each.
        :raises ApiError: if MoEngage does not answer.
        """
        body: dict[str, Any] = {"limit": SEARCH_PAGE_SIZE, "page": page, "include_child_campaigns": True}
        if filters:
            body["campaign_fields"] = dict(filters)
        content = self._read(
            SEARCH_PATH, body, "data", "campaigns", headers={"Idempotency-Key": str(uuid.uuid4())}
        )
        entries = content["data"]["campaigns"].items()
        campaigns = [campaign for entry in entries if (campaign := read_campaign(entry)) is not None]
        if len(campaigns) < len(entries) or not content["data"]["campaigns"].is_list:
            raise ApiError(
                ErrorKind.SERVER, f"{self._url} returned a campaign that cannot be read", status_code=200
            )
        wanted = set(filters.get("ids", ()))
        has_more: bool | None = None  # the reference has no total, and a server may send fewer at a time
        if len(entries) >= SEARCH_PAGE_SIZE:
            has_more = True
        elif wanted and wanted <= {campaign.campaign_id for campaign in campaigns}:
            has_more = False
        places = (content["data"], content)
        total = _first_count(*(place["total_campaigns"] for place in places))
        pages = _first_count(*(place["total_pages"] for place in places))
        if pages is not None and page < pages:
            has_more = True
        return Page(campaigns, has_more, total)

    def _unreadable(self) -> ApiError:
        return ApiError(
            ErrorKind.SERVER,
            f"{self._url} reports campaigns with statistics, but its response has some that cannot be read",
            status_code=200,
        )

    def _read(
        self, path: str, body: Mapping[str, Any], *place: str, headers: Mapping[str, str] | None = None
    ) -> Received:
        """Send a request and return its response, which has an object or an array at ``place``."""
        try:
            response = self._post(path, body, headers)
        except NoAnswerError as error:
            raise ApiError(ErrorKind.SERVER, f"{self._url} could not be reached: {error.message}") from None
        content = Received.body(response.content, self._scrub)
        found = content
        for name in place:
            found = found[name]
        is_failure = says_failure(content) or names_errors(content) or content["title"].is_present
        is_answer = found.is_object or found.is_list or (found.is_null and content["total_campaigns"].count() == 0)
        if response.status_code == 200 and is_answer and not is_failure:
            return content
        raise self._refusal(response, content)

    def _post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None) -> Answer:
        pace = self._paces[path]
        pace.wait()
        self.requests += 1
        try:
            return self._session.ask(
                "POST",
                self._url + path,
                data=msgspec.json.encode(body),
                headers=dict(headers or {}),
                timeout=self.workspace.timeout,
            )
        finally:
            pace.answered()

    def _refusal(self, response: Answer, content: Received) -> ApiError:
        status = meant_status(response.status_code, _type_and_message(content))
        said = sentence(_words(content), between=": ")
        kind, advice = ErrorKind.REQUEST, f"it rejected the request ({said})" if said else _NO_ANSWER
        if status in (401, 409):
            kind, advice = ErrorKind.AUTHENTICATION, CAMPAIGNS_KEY
        elif status == 403:
            kind, advice = (
                ErrorKind.AUTHENTICATION,
                f"the account or the key has no access to campaigns; {CAMPAIGNS_KEY}",
            )
        elif status == 429:
            self.throttled += 1
            kind, advice = ErrorKind.RATE_LIMIT, "the limit of 100 requests a minute is used up"
        elif status >= 500 or status in (408, 425):
            kind, advice = ErrorKind.SERVER, "it is temporarily unavailable"
        elif response.status_code < 400:
            kind, advice = ErrorKind.SERVER, _NO_ANSWER
        return ApiError(
            kind,
            f"{self._url} answered {response.status_code}: {advice}",
            status_code=response.status_code,
            request_id=content.first("response_id", "code").request_id(),
            retry_after=read_retry_after(response.headers, now=self._timing.now()),
        )


_NO_ANSWER = "this response did not come from MoEngage's API; check host and data center"


def _first_count(*fields: Received) -> int | None:
    return next((number for field in fields if (number := field.count()) is not None), None)


def _type_and_message(content: Received) -> Sequence[Received]:
    error = content["error"]
    return [error["code"], error["message"]] if error.is_object else [content["title"], content["description"]]


def _words(content: Received) -> Sequence[Received]:
    error = content["error"]
    if error.is_object:
        return [error["message"], error["target"], error["details"]]
    return [content["title"], content["description"], content["message"], error]
