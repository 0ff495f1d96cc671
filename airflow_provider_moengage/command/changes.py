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
    folders = _folders(options.path)
    states = [facts_of(folder) for folder in folders]
    damaged = [
        f"The state in {folder} is damaged; the next run sends all users again whose records cannot be read"
        for folder, facts in zip(folders, states, strict=True)
        if _is_damaged(folder, facts)
    ]
    columns = ("state", "users", "run", "due", "unfinished")
    rows = [[state[name] for name in columns] for state in states]
    Output(options).answer(
        {"states": states},
        [table(columns, rows, numbers=("users",)), *damaged] if states else ["There is no state"],
    )
    return OK if states and not damaged else NOT_OK


def reset(options: argparse.Namespace) -> int:
    """Delete a state, unless a run uses it."""
    folder = StateFolder(local_or_remote(options.path.rstrip("/")))
    if not is_state(folder):
        raise ValueError(f"PATH {options.path!r}: holds no state; expected the folder of one sync's state")
    if not is_confirmed(
        f"Delete the state in {folder}? The next run sends every row, and removes nobody.", yes=options.yes
    ):
        return NOT_OK
    count = delete_state(folder, _RESET)
    Output(options).answer({"deleted": count}, [f"Deleted {count} files of {folder}"])
    return OK


def delete_state(folder: StateFolder, owner: str) -> int:
    """Delete a state; return of how many files.

    :param owner: who deletes it, in the message of a run that begins meanwhile.
    :raises MoEngageError: if a run is using it.
    """
    lease = Lease(folder, owner, secrets.token_hex(8), SystemClock())
    try:
        lease.take(StopRequest(), _Quiet())
    except InUseError as error:
        raise MoEngageError(f"PATH {str(folder)!r}: {error} is using the state; nothing was deleted") from None
    try:
        names = folder.own_names()
        # Without its part a state counts as damaged: the run after an interrupted reset sends every row.
        for name in sorted(names, key=_order_of_reset):
            folder.remove(name)
    finally:
        lease.release()
    return len(names)


def _order_of_reset(name: str) -> tuple[bool, bool]:
    return not name.startswith("part-"), name.startswith("manifest-")


def _folders(path: str) -> list[StateFolder]:
    place = local_or_remote(path.rstrip("/"))
    folder = StateFolder(place)
    if is_state(folder):
        return [folder]
    return [state for name in folder.names() if is_state(state := StateFolder(place / name))]


def is_state(folder: StateFolder) -> bool:
    """Return whether a folder holds a state."""
    try:
        return bool(folder.generations() or folder.journals())
    except NotADirectoryError:
        return False


def facts_of(folder: StateFolder) -> dict[str, Any]:
    """Return what a state holds, without any ID."""
    manifest = _manifest(folder)
    consumed = set() if manifest is None else set(manifest.consumed)
    return {
        "state": str(folder),
        "users": None if manifest is None else _users(folder, manifest),
        "run": None if manifest is None else manifest.run,
        "due": None if manifest is None else manifest.moment,
        "unfinished": "yes" if any(journal.name not in consumed for journal in folder.journals()) else "no",
    }


def _is_damaged(folder: StateFolder, facts: dict[str, Any]) -> bool:
    try:
        return folder.newest() is not None and facts["users"] is None
    except DamagedError:
        return True


def _manifest(folder: StateFolder) -> Manifest | None:
    try:
        return folder.newest()
    except DamagedError:
        return None


def _users(folder: StateFolder, manifest: Manifest) -> int | None:
    """Return how many users and devices MoEngage has of a sync; None if the state is damaged."""
    if manifest.part is None:
        return 0
    users = 0
    try:
        for name in manifest.all_parts:
            with folder.open(name) as stream:
                footer = Part(stream).footer
            users += footer.records - sum(1 for content in footer.exceptions.values() if content is None)
    except (DamagedError, FileNotFoundError):
        return None
    return users


class _Quiet:
    """A log that says nothing."""

    def info(self, *_: object) -> None:
        """Say nothing."""

    warning = info
