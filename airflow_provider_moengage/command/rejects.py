"""``moengage rejects``: what a rejects file holds, and sending it again."""

from __future__ import annotations

import argparse
import json
from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.bulk.report import counted
from airflow_provider_moengage.bulk.sources import Numbered
from airflow_provider_moengage.command.asking import is_confirmed
from airflow_provider_moengage.command.output import NOT_OK, OK, Output, table
from airflow_provider_moengage.exceptions import MoEngageRejectsError
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.sources.ndjson import NdjsonFiles, is_reject

if TYPE_CHECKING:
    from rich.table import Table


def summary(options: argparse.Namespace) -> int:
    """Count the rejects of one or several files by code and message. Messages hold no values."""
    codes: Counter[str] = Counter()
    messages: Counter[tuple[str, str]] = Counter()
    total = without = 0
    for reject in _rejects(options.path):
        total += 1
        without += not reject["codes"]
        codes.update(dict.fromkeys(reject["codes"], 1))
        messages.update(dict.fromkeys(zip(reject["codes"], reject["messages"], strict=False), 1))
    rows = [(count, code, message) for (code, message), count in messages.most_common(_MOST_MESSAGES)]
    Output(options).answer(
        {
            "rejects": total,
            "codes": dict(codes.most_common()),
            "messages": [{"count": count, "code": code, "message": message} for count, code, message in rows],
        },
        [
            counted(total, "reject"),
            *([table(("count", "code", "message"), rows, numbers=["count"])] if rows else []),
            *([f"{counted(without, 'line')} without a code: not written by a task, or edited"] if without else []),
        ],
    )
    return OK if total else NOT_OK


_MOST_MESSAGES = 50
"""Messages that a summary lists; with more of them, the rarest are left out."""


def show(options: argparse.Namespace) -> int:
    """Show rejects with their elements."""
    chosen = (
        reject for reject in _rejects(options.path) if options.code is None or options.code in reject["codes"]
    )
    found = list(islice(chosen, options.rows))
    if not any(isinstance(reject["element"], dict) or reject["codes"] for reject in found):
        deque(chosen, maxlen=0)  # the rest may show that this is no file of elements
    lines: list[str | Table] = []
    for reject in found:
        lines += [f"position {reject['position']:,}" if reject["position"] is not None else "without a position"]
        lines += [f"  {code}: {text}" for code, text in zip(reject["codes"], reject["messages"], strict=False)]
        lines += [f"  {json.dumps(reject['element'], ensure_ascii=False)}", ""]
    Output(options).answer({"rejects": found}, lines or ["No such rejects"])
    return OK if found else NOT_OK


def replay(options: argparse.Namespace) -> int:
    """Send the elements of rejects files."""
    files = NdjsonFiles.matching(options.path)
    if options.rejects_path is not None:
        files.check_not_read("--rejects-path", options.rejects_path)
    count = sum(1 for _ in _rejects(options.path))
    hook = MoEngageHook(options.conn_id, project_code=options.project_code)
    if not options.dry_run:
        project = "" if hook.project_code is None else f"project {hook.project_code!r} of "
        question = (
            f"Send {counted(count, 'element')} to {project}the workspace of connection {options.conn_id!r}?"
            " Events that have arrived already become duplicates."
        )
        if not is_confirmed(question, yes=options.yes):
            return NOT_OK
    try:
        report = hook.bulk_import(
            Numbered(files),
            dry_run=options.dry_run,
            validation=options.validation,
            rejects_path=options.rejects_path,
        )
    except MoEngageRejectsError as error:
        if error.report is None:
            raise
        report = error.report
    Output(options).answer(report.to_dict(), [report.summary])
    return NOT_OK if report.rejected else OK


def _rejects(path: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of rejects files; what stands in other NDJSON files is an element without findings."""
    has_read = has_any = False
    for line in NdjsonFiles.matching(path).lines():
        has_any = has_any or isinstance(line, dict)
        if is_reject(line):
            codes, messages = (_texts(line.get(name)) for name in ("codes", "messages"))
            yield {**line, "position": _position(line.get("position")), "codes": codes, "messages": messages}
        else:
            yield {"position": None, "codes": [], "messages": [], "element": line}
        has_read = True
    if has_read and not has_any:
        raise ValueError(
            f"PATH {path!r}: no line is a JSON object; expected a rejects file, or elements as NDJSON"
        )


def _texts(given: Any) -> list[str]:
    """Return the texts of a list; somebody may have edited the file."""
    return [one for one in given if isinstance(one, str)] if isinstance(given, list) else []


def _position(given: Any) -> int | None:
    return given if isinstance(given, int) and not isinstance(given, bool) else None
