"""Finds the time zone of file imports, whose times carry none.

From the first of these that tells: the setting of the connection; ids of the files beside their times; the import
details, which name a zone, and whose ids are compared with their times as well. Otherwise UTC, with a warning.

The details are asked once an hour for an import, and only if neither the setting nor ids tell.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.received.local_times import IN_UTC, Hint, LocalTimes, agreed, named_zone
from airflow_provider_moengage.api.received.values import LONGEST_WORD, Received

HINTS_KEPT = 60
"""Of an import: its next page may hold a single file, which shows nothing alone."""

MOST_PAGES = 4
"""Pages of import details that are searched for an import; 50 imports each."""

KEPT = 3_600.0
"""Seconds for which the zone of an import is kept: a workspace's zone hardly ever changes."""

BREAK = 300.0
"""Seconds until import details that could not be read are asked again."""

MOST_KNOWN = 20_000
"""Imports and names whose zone is kept."""

Query = Mapping[str, Any]
AskDetails = Callable[[Query, int], tuple[Sequence[Received], bool]]
"""Requests one page of import details."""

_ASSUMED = LocalTimes(UTC, is_assumed=True)

_log = logging.getLogger(__name__)


_KNOWN: dict[tuple[str, ...], tuple[LocalTimes, float]] = {}
"""By workspace and import, and until when: a sensor makes a client for each poll."""

_FAILURE = ("failure",)
"""In place of an import: the details cannot be read at the moment."""

_WARNED: set[tuple[str, ...]] = set()
"""Workspaces. A task is a process of its own, and a triggerer is one."""


class ImportZones:
    """The zones of the imports of one workspace.

    :param workspace: its URL, ID and project.
    :param zone: the name that the connection has; None if it has none.
    :param ask_details: raises ApiError if MoEngage does not answer.
    :param now: UTC epoch seconds.
    :raises ValueError: if there is no zone with this name.
    """

    def __init__(
        self, workspace: tuple[str, ...], zone: str | None, ask_details: AskDetails, now: Callable[[], float]
    ) -> None:
        self._workspace = workspace
        self._given = None if zone is None else LocalTimes(_checked(zone))
        self._ask_details = ask_details
        self._now = now
        self._hints: dict[tuple[str, ...], list[Hint]] = {}

    def of_runs(self, query: Query, rows: Sequence[Received], *, is_needed: bool) -> LocalTimes:
        """Return how to read the times of one page of a run history.

        :param query: what was asked for: it names the import.
        :param is_needed: what the caller decides depends on the times, so it rather waits than guesses.
        :raises ApiError: with ``is_needed``, if MoEngage does not answer at the moment.
        """
        if self._given is not None:
            return self._given
        if not _have_local(rows, "scheduled_at", "completed_at"):
            return IN_UTC  # nothing to assume
        ref = _ref(query)
        kept = self._hints.get(ref, ())
        hints = dict.fromkeys([*kept, *_hints(rows, "id", "scheduled_at")])
        self._hints[ref] = list(hints)[-HINTS_KEPT:]
        if relied := agreed(hints):
            return LocalTimes(None, relied)
        return self._warned(self._of_details(ref, is_needed=is_needed))

    def of_imports(self, rows: Sequence[Received]) -> list[LocalTimes]:
        """Return how to read the times of each of these imports."""
        if self._given is not None:
            return [self._given] * len(rows)
        found = self._learned(rows)
        if _have_local(rows, "created_at", "last_run_at"):
            for times in found:
                self._warned(times)
        return found

    def _of_details(self, ref: tuple[str, ...], *, is_needed: bool) -> LocalTimes:
        known = self._known(ref) or (None if is_needed else self._known(_FAILURE))
        if known is not None:
            return known
        try:
            times = self._asked(ref)
        except ApiError as error:
            if error.kind in (ErrorKind.SERVER, ErrorKind.RATE_LIMIT):
                if is_needed:
                    raise
                self._keep(_FAILURE, _ASSUMED, BREAK)
                return _ASSUMED
            times = _ASSUMED
        self._keep(ref, times)
        return times

    def _asked(self, ref: tuple[str, ...]) -> LocalTimes:
        """Return what the import details show about an import, or about all imports if it is not among them."""
        query = {"import_name": ref[1]} if ref[0] == "import_name" else {}
        all_found: list[LocalTimes] = []
        for page in range(1, MOST_PAGES + 1):
            try:
                rows, has_more = self._ask_details(query, page)
            except ApiError as error:
                if error.kind is not ErrorKind.NOT_FOUND:
                    raise
                break  # the page is past the end
            found = self._learned(rows)
            for row, times in zip(rows, found, strict=True):
                if row[ref[0]].equals(ref[1]):
                    return times
            all_found += found
            if not has_more:
                break
        zones = {times.zone for times in all_found}
        return all_found[0] if len(zones) == 1 and None not in zones else _ASSUMED

    def _learned(self, rows: Sequence[Received]) -> list[LocalTimes]:
        hints = agreed(_hints(rows, "import_id", "created_at"))
        found = [_of_import(row, hints) for row in rows]
        for row, times in zip(rows, found, strict=True):
            for field in ("import_id", "import_name"):
                if (name := row[field].name()) is not None:
                    self._keep((field, name), times)
        return found

    def _known(self, ref: tuple[str, ...]) -> LocalTimes | None:
        times, until = _KNOWN.get((*self._workspace, *ref), (None, 0.0))
        return times if self._now() < until else None

    def _keep(self, ref: tuple[str, ...], times: LocalTimes, seconds: float = KEPT) -> None:
        if len(_KNOWN) >= MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[*self._workspace, *ref] = times, self._now() + seconds

    def _warned(self, times: LocalTimes) -> LocalTimes:
        if times.is_assumed and self._workspace not in _WARNED:
            _WARNED.add(self._workspace)
            _log.warning(
                "MoEngage's times of file imports carry no time zone, and it is not certain which one they are in;"
                " reading them %s. Set import_time_zone of the connection, for example to Asia/Kolkata",
                "with the offset that the IDs of imports show" if times.hints else "as UTC",
            )
        return times


def _checked(name: str) -> ZoneInfo:
    zone = named_zone(name)
    if zone is None:
        raise ValueError("import_time_zone: expected the IANA name of a time zone, for example Asia/Kolkata")
    return zone


def _ref(query: Query) -> tuple[str, ...]:
    """Return the field that names the import, and its value; the id takes precedence, as at MoEngage."""
    field = "import_id" if "import_id" in query else "import_name"
    return field, str(query.get(field))


def _hints(rows: Sequence[Received], id_field: str, time_field: str) -> list[Hint]:
    hints = (Hint.of(row[id_field], row[time_field]) for row in rows)
    return [hint for hint in hints if hint is not None]


def _have_local(rows: Sequence[Received], *fields: str) -> bool:
    moments = (row[field].moment() for row in rows for field in fields)
    return any(moment is not None and moment.tzinfo is None for moment in moments)


def _of_import(row: Received, hints: Sequence[Hint]) -> LocalTimes:
    """Return how to read the times of an import: by the zone that it names, unless ids of imports refute it."""
    zone = named_zone(row["time_zone"].text(LONGEST_WORD))
    if zone is None:
        # Imports may be old, and the zone may have another offset by now.
        return LocalTimes(None, tuple(hints), is_assumed=True) if hints else _ASSUMED
    refuting = [hint for hint in hints if hint.offset != hint.created_at.astimezone(zone).utcoffset()]
    return LocalTimes(None, tuple(hints)) if 2 * len(refuting) > len(hints) else LocalTimes(zone)
