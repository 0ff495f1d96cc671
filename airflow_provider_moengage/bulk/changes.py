"""The option of a sync that sends only changed rows, and which of them a task reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, Literal, get_args

from airflow_provider_moengage.arguments import flag, is_unresolved, non_empty, one_of, path_text

OnRemoved = Literal["keep", "unset", "delete"]
OnNewColumns = Literal["send", "ignore", "fail"]
ON_REMOVED: tuple[OnRemoved, ...] = get_args(OnRemoved)
ON_NEW_COLUMNS: tuple[OnNewColumns, ...] = get_args(OnNewColumns)


@dataclass(frozen=True, slots=True)
class ChangedOnly:
    """Send only users and devices whose content differs from what MoEngage last accepted from this sync.

    The state holds 24 bytes a user: a digest of the user's ID and a digest of the element. It holds no ID and no
    value; with another ``on_removed`` than ``keep``, IDs are in a file of their own. An element that was rejected
    is sent again by the next run, whether it was fixed or not.

    :param path: folder for the state (ObjectStoragePath URI); each task gets a folder of its own in it. None:
        ``[moengage] changes_path`` of airflow.cfg.
    :param on_removed: what becomes of users whose rows are no longer in the query. ``keep`` leaves them in
        MoEngage and counts them. ``unset`` takes the mapping's attributes off their profiles; MoEngage offers this
        in early access, for custom attributes only. ``delete`` deletes the users, which cannot be undone. Both
        need exactly one CustomerMapping, with a ``customer_id`` and without ``user_identifiers``.
    :param max_removed: how many users a run may remove: a count (int), or a fraction of the users known (float, up
        to 1.0 for all). If more have left the query, the task fails and removes nobody.
    :param on_new_columns: what to do about a column that the last complete run did not use, if the mapping has
        ``attributes=None``: ``send`` it, ``ignore`` it, or ``fail`` before anything is sent. A column that was
        dropped and comes back counts as new, so ``ignore`` leaves it out from then on. It is named in the log in
        any case.
    :param resync: send everything, and store it. May be templated.
    :param task_id: for a dry run only: compare with the state of this task of the Dag, which sends later, instead
        of one's own.
    :raises ValueError: naming the option that is wrong.
    """

    path: str | PathLike[str] | None = None
    on_removed: OnRemoved = "keep"
    max_removed: float = 0.05
    on_new_columns: OnNewColumns = "send"
    resync: Any = False
    task_id: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", path_text(self.path))
        if self.path is not None and not is_unresolved(self.path):
            non_empty("changed_only.path", self.path, "a folder, or None")
        if self.task_id is not None:
            non_empty("changed_only.task_id", self.task_id, "a task of the Dag, or None")
        one_of("changed_only.on_removed", self.on_removed, ON_REMOVED)
        check_max_removed("changed_only.max_removed", self.max_removed)
        one_of("changed_only.on_new_columns", self.on_new_columns, ON_NEW_COLUMNS)
        if not is_unresolved(self.resync):
            flag("changed_only.resync", self.resync)

    def rendered(self, render: Callable[[Any], Any]) -> ChangedOnly:
        """Return the option with its templates rendered.

        :raises ValueError: naming the option that rendered to something else.
        """
        return replace(self, path=render(self.path), resync=render(self.resync))


@dataclass(frozen=True, slots=True)
class Shard:
    """Which rows of a run a task reads.

    :param number: of the task among those of the run.
    :param after: the key after which its rows begin, as JSON; None: they begin with the first one.
    :param up_to: the key up to which its rows go, as JSON; None: they go to the last one.
    :param run: equal for all shards of the run.
    :param clear: how often the Dag run was cleared, as far as Airflow counts that.
    :param is_cleared: whether the task was certainly cleared.
    """

    number: int
    after: str | None
    up_to: str | None
    run: str
    clear: int = 0
    is_cleared: bool = False


def check_max_removed(name: str, given: object) -> None:
    """Check a count or a fraction. 1 is one user, and 1.0 is all of them, so the type matters.

    :raises ValueError: if it is neither.
    """
    is_count = isinstance(given, int) and not isinstance(given, bool) and given >= 0
    is_fraction = isinstance(given, float) and 0.0 <= given <= 1.0
    if not (is_count or is_fraction):
        raise ValueError(f"{name} {given!r}: expected a count (0, 1, 2, ...) or a fraction from 0.0 to 1.0")
