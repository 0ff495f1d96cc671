"""What a run of a sync is, what it compares its elements with, and what it has read in the end."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_moengage.bulk.changed.folder import StateFolder
from airflow_provider_moengage.bulk.changed.new_columns import NewColumns
from airflow_provider_moengage.bulk.changed.removed.guards import Removal
from airflow_provider_moengage.bulk.changes import Shard


@dataclass(frozen=True, slots=True)
class SyncRun:
    """A run of a sync, as its state records it.

    :param run: Dag, task and run, for messages.
    :param tries: equal for all tries of the run, until somebody clears it.
    :param moment: when it was due, ISO 8601 in UTC; None if that is unknown.
    :param workspace: digest of the workspace.
    :param mapping: fingerprint of the mappings.
    :param project: digest of the portfolio's project; empty without one.
    :param reads_all: whether the query has every user. False for a window of time.
    :param resync: whether to send everything.
    :param elements_per_row: how many elements each row makes.
    """

    run: str
    tries: str
    moment: str | None
    workspace: str
    mapping: str
    encoding: int
    project: str = ""
    reads_all: bool = True
    resync: bool = False
    elements_per_row: int = 1


@dataclass(frozen=True, slots=True)
class RowsRead:
    """What a run has learned when all of its rows were read and sent.

    :param any: whether there were any.
    :param whole: whether they were read to their end.
    :param interrupted: whether the connection to the database was lost meanwhile.
    :param unidentified: whether the ID of a row could not be read.
    """

    any: bool
    whole: bool
    interrupted: bool
    unidentified: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """What a run compares its elements with.

    :param folder: of the state.
    :param run: the run.
    :param columns: gets the columns of the query.
    :param may_repeat: whether a user may be in several rows: not if users are the key of the query.
    :param removal: what becomes of users whose rows have left the query; None: they stay as they are.
    :param shard: which rows the run reads; None: all.
    """

    folder: StateFolder
    run: SyncRun
    columns: NewColumns
    may_repeat: bool
    removal: Removal | None = None
    shard: Shard | None = None
