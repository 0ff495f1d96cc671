"""``moengage changes``: the state of a sync that sends only changed rows."""

from __future__ import annotations

import argparse
import secrets
from typing import Any

from airflow_provider_moengage.bulk.changed.folder import Manifest, StateFolder
from airflow_provider_moengage.bulk.changed.lease import InUseError, Lease
from airflow_provider_moengage.bulk.changed.part import DamagedError, Part
from airflow_provider_moengage.bulk.clock import StopRequest, SystemClock
from airflow_provider_moengage.command.asking import is_confirmed
from airflow_provider_moengage.command.output import NOT_OK, OK, Output, table
from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.storage import local_or_remote

_RESET = "moengage changes reset"


def show(options: argparse.Namespace) -> int:
    """Show one state, or all states of a folder."""
    states = [_facts(folder) for folder in _folders(options.path)]
    columns = ("state", "users", "run", "due", "unfinished")
    rows = [[state[name] for name in columns] for state in states]
    Output(options).answer(
        {"states": states},
        [table(columns, rows, numbers=("users",))] if states else ["There is no state"],
    )
    return OK if states else NOT_OK


def reset(options: argparse.Namespace) -> int:
    """Delete a state, unless a run uses it."""
    folder = StateFolder(local_or_remote(options.path.rstrip("/")))
    if not _is_state(folder):
        raise ValueError(f"PATH {options.path!r}: holds no state; expected the folder of one sync's state")
    if not is_confirmed(
        f"Delete the state in {folder}? The next run sends every row, and removes nobody.", yes=options.yes
    ):
        return NOT_OK
    lease = Lease(folder, _RESET, secrets.token_hex(8), SystemClock())
    try:
        lease.take(StopRequest(), _Quiet())
    except InUseError as error:
        raise MoEngageError(f"PATH {options.path!r}: {error} is using the state; nothing was deleted") from None
    try:
        names = folder.own_names()
        # Without its part a state counts as damaged: the run after an interrupted reset sends every row.
        for name in sorted(names, key=_order_of_reset):
            folder.remove(name)
    finally:
        lease.release()
    Output(options).answer({"deleted": len(names)}, [f"Deleted {len(names)} files of {folder}"])
    return OK


def _order_of_reset(name: str) -> tuple[bool, bool]:
    return not name.startswith("part-"), name.startswith("manifest-")


def _folders(path: str) -> list[StateFolder]:
    place = local_or_remote(path.rstrip("/"))
    folder = StateFolder(place)
    if _is_state(folder):
        return [folder]
    return [state for name in folder.names() if _is_state(state := StateFolder(place / name))]


def _is_state(folder: StateFolder) -> bool:
    try:
        return bool(folder.generations() or folder.journals())
    except NotADirectoryError:
        return False


def _facts(folder: StateFolder) -> dict[str, Any]:
    manifest = _manifest(folder)
    consumed = set() if manifest is None else set(manifest.consumed)
    return {
        "state": str(folder),
        "users": None if manifest is None else _users(folder, manifest),
        "run": None if manifest is None else manifest.run,
        "due": None if manifest is None else manifest.moment,
        "unfinished": "yes" if any(journal.name not in consumed for journal in folder.journals()) else "no",
    }


def _manifest(folder: StateFolder) -> Manifest | None:
    try:
        return folder.newest()
    except DamagedError:
        return None


def _users(folder: StateFolder, manifest: Manifest) -> int | None:
    """Return how many users and devices MoEngage has of a sync; None if the state is damaged."""
    if manifest.part is None:
        return 0
    try:
        with folder.open(manifest.part) as stream:
            footer = Part(stream).footer
    except (DamagedError, FileNotFoundError):
        return None
    return footer.records - sum(1 for content in footer.exceptions.values() if content is None)


class _Quiet:
    """A log that says nothing."""

    def info(self, *_: object) -> None:
        """Say nothing."""

    warning = info
