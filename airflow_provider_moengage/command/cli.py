"""The arguments of ``moengage``, and its exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime
from typing import Any

from airflow_provider_moengage.api.received.scrub import printable
from airflow_provider_moengage.storage import StorageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    :param argv: arguments; None: those of the process.
    """
    options = _parser().parse_args(argv)
    if sys.stdout is None:  # closed; another place must not get the personal data of the answer
        print("moengage: the standard output is closed; leave it open, for the answer", file=sys.stderr)
        return 2
    options.out = sys.stdout
    _be_a_server_process()
    try:
        with redirect_stdout(sys.stderr):  # for Airflow's log, and what a Dag file prints
            return _action(options.action)(options)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if options.traceback:
            raise
        from airflow_provider_moengage.command.output import NOT_OK, WRONG_USE

        print(f"moengage: {printable(_explained(error))}", file=sys.stderr)
        return NOT_OK if _is_about_rejects(error) else WRONG_USE


def _explained(error: Exception) -> str:
    """Return what to do about an error. The text of a driver or a store may quote what it was given."""
    from airflow.providers.common.compat.sdk import AirflowException

    if isinstance(error, AirflowException | ValueError | FileNotFoundError | StorageError):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)  # the system's own words: the disk is full
    return f"it ended with {type(error).__name__}; --traceback shows where"


def _is_about_rejects(error: Exception) -> bool:
    from airflow_provider_moengage.exceptions import MoEngageRejectsError

    return isinstance(error, MoEngageRejectsError)


def _be_a_server_process() -> None:
    """Let Airflow read connections from its database, as its own commands do: outside a task it would only look
    into the environment.
    """
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="moengage",
        description="Look at elements before they are sent, and at what earlier runs have left.",
        epilog="Exit status: 0 done; 1 with rejects, or nothing to show; 2 it could not be done.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_preview(commands)
    _add_rejects(commands)
    _add_changes(commands)
    _add_watermark(commands)
    return parser


def _add_preview(commands: Any) -> None:
    preview = commands.add_parser(
        "preview",
        help="show the first elements of a task, as they would be sent",
        description="Read the first rows of a task's source, and show the elements and what is wrong with them."
        " Nothing is sent. Elements are personal data: they are shown on this terminal only.",
    )
    preview.add_argument("dag_file", metavar="DAG_FILE", help="the Dag's Python file")
    preview.add_argument("task_id", metavar="TASK_ID", help="a BulkImportOperator or SqlToMoEngageOperator")
    preview.add_argument("--dag-id", help="the Dag, if the file defines several with this task")
    preview.add_argument("--rows", type=_count, default=10, help="rows or elements to read (default: 10)")
    preview.add_argument("--since", type=_moment, help="its data interval's start (default: a day before)")
    preview.add_argument("--until", type=_moment, help="its end (default: now)")
    preview.add_argument("--params", metavar="JSON", help="params of the run, as a JSON object")
    _finish(preview, "preview")


def _add_rejects(commands: Any) -> None:
    rejects = commands.add_parser("rejects", help="count, show or replay the lines of a rejects file")
    actions = rejects.add_subparsers(title="actions", required=True, metavar="ACTION")
    path = "the rejects file or files: any URI that Airflow reads, with wildcards"
    summary = actions.add_parser("summary", help="count rejects by code, without personal data")
    summary.add_argument("path", metavar="PATH", help=path)
    _finish(summary, "rejects_summary")
    show = actions.add_parser("show", help="show rejects with their elements, which are personal data")
    show.add_argument("path", metavar="PATH", help=path)
    show.add_argument("--code", help="only rejects with this code")
    show.add_argument("--rows", type=_count, default=10, help="rejects to show (default: 10)")
    _finish(show, "rejects_show")
    replay = actions.add_parser("replay", help="send the elements of a rejects file, after it was fixed")
    replay.add_argument("path", metavar="PATH", help=path)
    replay.add_argument("--conn-id", default="moengage_default", help="the workspace's connection")
    replay.add_argument("--project-code", help="the project of a portfolio; default: the connection's")
    replay.add_argument("--rejects-path", help="file for what is rejected again; it must end in .ndjson")
    replay.add_argument("--validation", choices=("warn", "strict", "off"), default="warn")
    replay.add_argument("--dry-run", action="store_true", help="check only; send nothing")
    replay.add_argument("--yes", action="store_true", help="do not ask")
    _finish(replay, "rejects_replay")


def _add_changes(commands: Any) -> None:
    changes = commands.add_parser("changes", help="show or reset the state of a sync that sends only changed rows")
    actions = changes.add_subparsers(title="actions", required=True, metavar="ACTION")
    path = "the folder of a sync's state, or the folder of all states (changed_only.path)"
    show = actions.add_parser("show", help="show how many users a state knows, and of which run it is")
    show.add_argument("path", metavar="PATH", help=path)
    _finish(show, "changes_show")
    reset = actions.add_parser("reset", help="delete a state: the next run sends every row, and removes nobody")
    reset.add_argument("path", metavar="PATH", help="the folder of one sync's state")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    _finish(reset, "changes_reset")


def _add_watermark(commands: Any) -> None:
    watermark = commands.add_parser(
        "watermark", help="show, set or reset a task's watermark (Airflow 3.3 and later)"
    )
    actions = watermark.add_subparsers(title="actions", required=True, metavar="ACTION")
    for name, text in (
        ("show", "show where the next run begins"),
        ("set", "let the next run begin at another moment"),
        ("reset", "forget it: the next run begins as the first one did"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("dag_id", metavar="DAG_ID")
        action.add_argument("task_id", metavar="TASK_ID")
        action.add_argument("--map-index", type=_index, help="of a mapped task")
        if name == "set":
            action.add_argument("moment", metavar="MOMENT", type=_moment, help="ISO 8601; without a zone: UTC")
        if name != "show":
            action.add_argument("--yes", action="store_true", help="do not ask")
        _finish(action, f"watermark_{name}")


def _finish(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from, and its text")
    parser.set_defaults(action=name)


def _action(name: str) -> Callable[[argparse.Namespace], int]:
    """Return what a command does. What it needs takes a second to import, so it is imported only then."""
    from airflow_provider_moengage.command import changes, preview, rejects, watermark

    acts: dict[str, Callable[[argparse.Namespace], int]] = {
        "preview": preview.show,
        "rejects_summary": rejects.summary,
        "rejects_show": rejects.show,
        "rejects_replay": rejects.replay,
        "changes_show": changes.show,
        "changes_reset": changes.reset,
        "watermark_show": watermark.show,
        "watermark_set": watermark.set_to,
        "watermark_reset": watermark.reset,
    }
    return acts[name]


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = 0
    if not 1 <= count <= 10_000:
        raise argparse.ArgumentTypeError("expected a whole number from 1 to 10,000")
    return count


def _index(text: str) -> int:
    try:
        index = int(text)
    except ValueError:
        index = -1
    if index < 0:
        raise argparse.ArgumentTypeError("expected 0 or more")
    return index


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError("expected a time such as 2026-01-01T00:00:00+00:00") from None
