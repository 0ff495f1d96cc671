"""The state of a task that sends only changed rows: where it is, and which run it is of."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.arguments import flag, in_utc, non_empty
from airflow_provider_moengage.bulk.changed.removed.guards import Removal
from airflow_provider_moengage.bulk.changes import ChangedOnly, Shard
from airflow_provider_moengage.bulk.mapping import CustomerMapping, DeviceMapping, ElementMapping
from airflow_provider_moengage.exceptions import MoEngageRequestError
from airflow_provider_moengage.sources.sql_key import KeyRange, key_to_json, unquoted
from airflow_provider_moengage.storage import local_or_remote, named
from airflow_provider_moengage.tasks.state import ClearEpoch
from airflow_provider_moengage.tasks.watermark import Run

if TYPE_CHECKING:
    from airflow_provider_moengage.api.workspace import Workspace
    from airflow_provider_moengage.bulk.changed.new_columns import NewColumns
    from airflow_provider_moengage.bulk.changed.sync_run import Changes

_LONGEST_NAME = 100
"""Characters of a folder's name that are readable; file systems allow 255 bytes."""


def check_changed_only(
    option: object, mappings: Sequence[ElementMapping], key_columns: object, watermark: object
) -> None:
    """Check ``changed_only``, alone and together with the other arguments.

    :param key_columns: those of a task that reads a range of keys; None: it reads all rows.

    :raises ValueError: naming what is wrong.
    """
    if not isinstance(option, ChangedOnly):
        raise ValueError(f"changed_only: expected ChangedOnly(...), not {type(option).__name__}")
    if not all(isinstance(mapping, CustomerMapping | DeviceMapping) for mapping in mappings):
        raise ValueError(
            "changed_only: expected mappings of customers and devices only. Send events with a watermark, which"
            " selects those that are new"
        )
    if option.on_removed != "keep":
        _check_removal(option.on_removed, mappings, watermark)
        if key_columns is not None:
            _check_key(option.on_removed, mappings, key_columns)


def _check_removal(action: str, mappings: Sequence[ElementMapping], watermark: object) -> None:
    """Check that a run can know who has left the query, and what to remove."""
    what = f"changed_only.on_removed={action!r}"
    if watermark is not None:
        raise ValueError(
            f"{what}: cannot be combined with watermark, with which a run reads only new rows: all others would"
            " count as removed"
        )
    [mapping, *others] = mappings
    if others or not isinstance(mapping, CustomerMapping):
        raise ValueError(f"{what}: expected exactly one CustomerMapping; send the others in a task of their own")
    if mapping.customer_id is None or mapping.user_identifiers:
        raise ValueError(
            f"{what}: expected a CustomerMapping with customer_id and without user_identifiers; users with several"
            " identities could not be recognized"
        )
    if action == "unset" and mapping.attributes is not None and not mapping.attributes:
        raise ValueError(f"{what}: there are no attributes to unset; name them in CustomerMapping.attributes")


def _check_key(action: str, mappings: Sequence[ElementMapping], key_columns: Any) -> None:
    """Check that a user's row stays in one range of keys, whatever changes: ranges are read at different times."""
    names = [key_columns] if isinstance(key_columns, str) else list(key_columns)
    user = getattr(mappings[0], "customer_id", None)
    if user is None or [unquoted(name).casefold() for name in names] != [user.casefold()]:
        raise ValueError(
            f"changed_only.on_removed={action!r}: with key_range, expected key_columns with customer_id only; a"
            " row whose key changes while other ranges are read would count as removed"
        )


def shard_of_task(key_range: KeyRange, context: Mapping[str, Any]) -> Shard | None:
    """Return which rows a mapped task reads; None: all of them.

    :raises ValueError: if nobody can know whether other tasks read the other rows.
    """
    ti = context["ti"]
    after, up_to = (
        None if key is None else json.dumps(key_to_json(key)) for key in (key_range.after, key_range.up_to)
    )
    if ti.map_index is None or ti.map_index < 0:
        if key_range == KeyRange():
            return None
        raise ValueError(
            "changed_only: key_range is only possible in a mapped task, .expand(key_range=...), so that the state"
            " is stored when all ranges are done"
        )
    if key_range.starting_at is not None:
        raise ValueError("changed_only: expected ranges of plan_shards, each of which begins after the one before")
    epoch = ClearEpoch(context)
    return Shard(
        ti.map_index,
        after,
        up_to,
        json.dumps([ti.dag_id, ti.task_id, ti.run_id]),
        clear=getattr(context["dag_run"], "clear_number", None) or 0,
        is_cleared=epoch.is_cleared,
    )


def changes_of_task(  # noqa: PLR0913 (what the operator knows)
    option: ChangedOnly,
    path: str | None,
    context: Mapping[str, Any],
    workspace: Workspace,
    *,
    mappings: Sequence[ElementMapping],
    columns: NewColumns,
    unique: Sequence[str],
    reads_all: bool,
    shard: Shard | None = None,
) -> Changes:
    """Return what a task's rows are compared with.

    :param path: URI of the folder with the states of tasks.
    :param unique: columns that are unique together, also as text; empty if that is not known.
    :param reads_all: whether the query returns every user, not only those of a window of time.
    :param shard: which rows of the query the task reads; None: all.
    :raises ValueError: naming the option that is wrong or missing.
    :raises StorageError: if the path has an unknown scheme.
    """
    from airflow_provider_moengage.bulk.changed.folder import StateFolder
    from airflow_provider_moengage.bulk.changed.sync_run import Changes, SyncRun
    from airflow_provider_moengage.bulk.elements.encoding import ENCODING_VERSION
    from airflow_provider_moengage.bulk.resume.fingerprint import fingerprint

    state_path = state_path_of_task(path, context, option.task_id, is_shared=shard is not None)
    ti, dag_run = context["ti"], context["dag_run"]
    removal = None
    if option.on_removed != "keep":
        if ti.map_index is not None and ti.map_index >= 0 and shard is None:
            raise MoEngageRequestError(
                f"changed_only.on_removed={option.on_removed!r} is not possible in a mapped task, so nothing was"
                " sent: a user whose row moves to another map index would count as removed. Use one task, or"
                " expand key_range"
            )
        removal = Removal(option.on_removed, option.max_removed, columns.attributes)
    moment = _due_at(dag_run)
    owner = f"{workspace.data_url}\0{workspace.workspace_id}"
    epoch = ClearEpoch(context)
    run = SyncRun(
        run=name_of_run(context),
        tries=json.dumps(
            [ti.dag_id, ti.task_id, ti.run_id, epoch.max_tries, *([] if shard is None else [shard.number])]
        ),
        moment=moment,
        workspace=_digest(owner),
        mapping=fingerprint(list(mappings)),
        encoding=ENCODING_VERSION,
        project=_digest(workspace.project_code or ""),
        reads_all=reads_all and not Run.of(context).is_backfill,
        resync=flag("changed_only.resync", option.resync),
        elements_per_row=len(mappings),
    )
    return Changes(
        StateFolder(state_path),
        run,
        columns,
        # Nobody is removed because of what a database says about its keys.
        may_repeat=removal is not None
        or len({type(mapping) for mapping in mappings}) < len(mappings)
        or not all(_is_unique(mapping, unique) for mapping in mappings),
        removal=removal,
        shard=shard,
    )


def name_of_run(context: Mapping[str, Any]) -> str:
    """Return how a state names the run of a task: in messages, and to tell runs apart."""
    ti = context["ti"]
    return f"{ti.dag_id}.{ti.task_id}, run {ti.run_id}"


def state_path_of_task(
    path: str | None, context: Mapping[str, Any], task_id: str | None = None, *, is_shared: bool = False
) -> Any:
    """Return the folder of a task's state.

    :param path: URI of the folder with the states of tasks.
    :param task_id: the task; None: that of the context.
    :param is_shared: whether all map indexes of the task have one.
    :raises ValueError: if there is none.
    :raises StorageError: if it has an unknown scheme.
    """
    if path is None:
        raise ValueError(
            "changed_only.path: expected a folder for the state, here or as [moengage] changes_path in airflow.cfg"
        )
    folder = non_empty("changed_only.path", path, "a folder").rstrip("/")
    with named("changed_only.path", folder, "opened"):
        return local_or_remote(f"{folder}/{_folder_name(context['ti'], task_id, is_shared=is_shared)}")


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest() if text else ""


def _folder_name(ti: Any, task_id: str | None, *, is_shared: bool) -> str:
    """Return a name that is unique to a task, short, and safe in file systems and URLs."""
    identity = [ti.dag_id, task_id or ti.task_id]
    if not is_shared and ti.map_index is not None and ti.map_index >= 0:
        identity.append(str(ti.map_index))
    readable = "__".join(re.sub(r"[^A-Za-z0-9_.-]+", "-", part) for part in identity)[:_LONGEST_NAME]
    return f"{readable}__{sha256(chr(0).join(identity).encode()).hexdigest()[:8]}"


def _due_at(dag_run: Any) -> str | None:
    """Return when a run was due. The logical date of a scheduled run is the start of its data interval, so a
    manual run before it may have a later one.
    """
    moments = [getattr(dag_run, name, None) for name in ("logical_date", "data_interval_end")]
    due = [_in_utc(moment) for moment in moments if moment is not None]
    if due:
        return max(due)
    moment = getattr(dag_run, "run_after", None)
    return None if moment is None else _in_utc(moment)


def _in_utc(moment: datetime) -> str:
    return in_utc(moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat(timespec="microseconds")


def _is_unique(mapping: ElementMapping, unique: Sequence[str]) -> bool:
    """Return whether no two rows are of the same user or device, because part of who it is is the query's key."""
    names = [unique] if isinstance(unique, str) else unique
    keys = {name.casefold() for name in names}
    if isinstance(mapping, DeviceMapping):
        return bool(keys) and keys <= {mapping.customer_id.casefold(), mapping.device_id.casefold()}
    user = getattr(mapping, "customer_id", None)
    return user is not None and keys == {user.casefold()}
