"""Pages of a list endpoint: read one after the other, each row once, and asked again when that is safe.

The only place that repeats a query of file imports, campaigns or users; whoever calls it does not repeat it. The
poller of a triggerer reads its pages itself, because it has a budget, and counts failed polls.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from airflow_provider_moengage.api.errors import ApiError, ErrorKind

Row = TypeVar("Row")
Answer = TypeVar("Answer")

Ask = Callable[..., tuple[Sequence[Row], bool]]
"""Requests one page of a query: its rows, and whether another page follows."""

PASSES_APART = 5.0
"""Seconds until a list whose pages did not agree is read again."""

LONGEST_PAUSE = 60.0
"""Seconds: a limit of requests a minute has recovered by then."""

_LONGEST_BACKOFF = 5.0


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a page is requested.

    :param server_errors: requests while MoEngage answers 5xx or not at all, for each page.
    :param throttled: requests while MoEngage throttles, for each page after the first. Started over from the first
        page, a long list would never be read to its end.
    :param throttled_first: the same, for the first page.
    :param throttled_pause: seconds between two of these if MoEngage reports none.
    :param pause: waits for a number of seconds; it may raise to end the retries.
    """

    server_errors: int = 3
    throttled: int = 30
    throttled_first: int = 1
    throttled_pause: float = 10.0
    pause: Callable[[float], None] = lambda seconds: time.sleep(seconds)  # noqa: PLW0108 (a test may replace it)


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """A page of a list.

    :param rows: its rows.
    :param has_more: whether another page follows; None: the server does not say, so the next pages are requested
        until two in a row are empty, or the server refuses one.
    :param total: rows of the whole list, if the server reports it.
    """

    rows: Sequence[Row]
    has_more: bool | None
    total: int | None = None


MOST_PASSES = 3
"""How often a list that changes while it is read is read, at most."""

_log = logging.getLogger(__name__)


class Pages(Generic[Row]):
    """Collects the rows of one page after the other.

    :param key: identifies a row; one that moves to a later page while they are read is kept once.
    """

    def __init__(self, key: Callable[[Row], str]) -> None:
        self._key = key
        self._rows: dict[str, Row] = {}
        self._totals: set[int] = set()
        self._is_unsure = False
        self.next_page = 1

    @property
    def rows(self) -> list[Row]:
        """All rows so far."""
        return list(self._rows.values())

    def take(self, rows: Sequence[Row], *, has_more: bool, total: int | None = None) -> bool:
        """Add a page; return whether to request the next one: not if this page had no new rows.

        :param total: rows of the whole list, if the server reports it.
        """
        before = len(self._rows)
        for row in rows:
            self._rows[self._key(row)] = row
        self.next_page += 1
        if total is not None:
            self._totals.add(total)
        has_new = len(self._rows) > before
        self._is_unsure = self._is_unsure or len(self._rows) < before + len(rows) or (has_more and not has_new)
        return has_new and (has_more or len(self._rows) < max(self._totals, default=0))

    def check_complete(self, *, may_grow: bool = False) -> None:
        """Check that no row is missing, as far as the server tells.

        :param may_grow: rows that were added while the list was read may be missing, and pages may repeat.

        :raises ApiError: if one may be missing. A list that changes while it is read has fewer rows than its
            total, or rows that come twice.
        """
        if not self._totals and self._is_unsure and not may_grow:
            raise ApiError(
                ErrorKind.SERVER,
                "MoEngage returned a list without a total whose pages repeat, so some of it may be missing",
            )
        total = (min if may_grow else max)(self._totals, default=0)
        if len(self._rows) < total:
            raise ApiError(
                ErrorKind.SERVER,
                f"MoEngage reports a list of {total:,} and returned {len(self._rows):,}, so some of it is missing",
            )


def read_pages(
    ask: Ask[Row], query: Mapping[str, Any], key: Callable[[Row], str], retries: Retries
) -> Iterator[Sequence[Row]]:
    """Yield the rows of each page of a query.

    :param key: identifies a row.
    :raises ApiError: if MoEngage does not answer; of kind NOT_FOUND if it has no first page.
    """
    pages: Pages[Row] = Pages(key)
    has_next = True
    while has_next:
        try:
            rows, has_more = ask_with_retries(
                partial(ask, query, page=pages.next_page), retries, is_first=pages.next_page == 1
            )
        except ApiError as error:
            if error.kind is ErrorKind.NOT_FOUND and pages.next_page > 1:
                return  # the page is past the end
            raise
        has_next = pages.take(rows, has_more=has_more)
        yield rows


def read_complete(
    ask: Callable[[int], Page[Row]], key: Callable[[Row], str], retries: Retries, *, passes: int = 1
) -> list[Row]:
    """Return a whole list, each row once, that is known to be complete.

    :param ask: requests a page, from 1.
    :param key: identifies a row.
    :param passes: how often to read it until its pages agree with each other and with the total.
    :raises ApiError: if MoEngage does not answer, or rows of the list may be missing; of kind NOT_FOUND if it has
        no first page.
    """
    found: dict[str, Row] = {}
    for left in reversed(range(passes)):
        pages: Pages[Row] = Pages(key)
        for _ in read_into(pages, ask, retries):
            pass
        found.update((key(row), row) for row in pages.rows)
        try:
            pages.check_complete()
            break
        except ApiError:
            if not left:
                raise
        retries.pause(PASSES_APART)
    return list(found.values())


def read_into(pages: Pages[Row], ask: Callable[[int], Page[Row]], retries: Retries) -> Iterator[Sequence[Row]]:
    """Yield the rows of each page of a list, once they are in ``pages``.

    :param ask: requests a page, from 1.
    :raises ApiError: if MoEngage does not answer; of kind NOT_FOUND if it has no first page.
    """
    has_next = True
    while has_next:
        try:
            page = ask_with_retries(partial(ask, pages.next_page), retries, is_first=pages.next_page == 1)
        except ApiError as error:
            if error.kind is ErrorKind.NOT_FOUND and pages.next_page > 1:
                break  # the page is past the end
            raise
        has_next = pages.take(page.rows, has_more=page.has_more is not False, total=page.total)
        yield page.rows


def read_whole_list(
    ask: Callable[[int], Page[Row]], key: Callable[[Row], str], retries: Retries
) -> Iterator[list[Row]]:
    """Yield the rows of a list as its pages are read, each row once. Only the rows' keys are kept in memory.

    Rows move to other pages if the list changes meanwhile, and one could be skipped. So if a row came twice, the
    total changed, or there were fewer rows than the total, the list is read again for what is missing, up to three
    times. A list that then still has fewer rows than its total is an error: whoever replaces what was there by it
    would lose the rest.

    :param ask: requests a page, from 1.
    :param key: identifies a row.
    :raises ApiError: if MoEngage does not answer, or returns fewer rows than it reports.
    """
    seen: dict[str, int] = {}  # key to the pass that had it last
    for this_pass in range(MOST_PASSES):
        totals: set[int | None] = set()
        has_moved, number, has_next, read = False, 1, True, 0
        page: Page[Row] | None = None
        while has_next:
            before = page
            try:
                page = ask_with_retries(partial(ask, number), retries, is_first=number == 1)
            except ApiError as error:
                if before is None or not _is_past_the_end(error, before):
                    raise
                break
            keys = {key(row): row for row in page.rows}
            fresh = [row for found, row in keys.items() if found not in seen]
            new_in_this_pass = [found for found in keys if seen.get(found) != this_pass]
            has_moved = has_moved or len(new_in_this_pass) < len(page.rows)
            totals.add(page.total)
            seen.update(dict.fromkeys(keys, this_pass))
            if fresh:
                yield fresh
            number += 1
            read += len(new_in_this_pass)
            has_next = _goes_on(page, before, read, has_new=bool(new_in_this_pass))
        is_stable = len(totals) == 1 and not has_moved
        total = None if page is None else page.total
        is_short = total is not None and (read if is_stable else len(seen)) < total
        if is_stable and not is_short:
            return
    if is_short:
        raise ApiError(
            ErrorKind.SERVER,
            f"MoEngage reports a list of {total:,} and returned fewer, {MOST_PASSES} times, so the list is not"
            " complete",
        )
    _log.warning("The list changed each of %d times that it was read; a row may be missing", MOST_PASSES)


def _goes_on(page: Page[Row], before: Page[Row] | None, read: int, *, has_new: bool) -> bool:
    """Return whether to request the next page.

    :param before: the page before this one.
    :param read: rows of this pass so far.
    """
    if page.total is not None:
        return has_new and (bool(page.has_more) or read < page.total)
    if page.has_more is None and not page.rows:
        return before is None or bool(before.rows)
    return has_new and page.has_more is not False


def _is_past_the_end(error: ApiError, before: Page[Row]) -> bool:
    """Return whether a refusal means that the list has ended: if nothing has said that this page exists."""
    is_refused = error.kind in (ErrorKind.REQUEST, ErrorKind.NOT_FOUND)
    return is_refused and before.has_more is None and before.total is None


def ask_with_retries(ask: Callable[[], Answer], retries: Retries, *, is_first: bool = False) -> Answer:
    """Send a request, again if MoEngage throttles it or does not answer, and return the response.

    :param is_first: whether it is for the first page, for which ``throttled_first`` counts.
    :raises ApiError: if the retries are used up.
    """
    left = {
        ErrorKind.SERVER: retries.server_errors,
        ErrorKind.RATE_LIMIT: retries.throttled_first if is_first else retries.throttled,
    }
    failed = 0
    while True:
        try:
            return ask()
        except ApiError as error:
            left[error.kind] = left.get(error.kind, 1) - 1
            if left[error.kind] <= 0:
                raise
            if error.kind is ErrorKind.RATE_LIMIT:
                pause = min(error.retry_after or retries.throttled_pause, LONGEST_PAUSE)
            else:
                failed += 1
                pause = random.uniform(0, min(2.0**failed, _LONGEST_BACKOFF))  # noqa: S311 (jitter)
        retries.pause(pause)
