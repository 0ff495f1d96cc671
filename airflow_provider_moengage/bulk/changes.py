"""The option of a sync that sends only changed rows."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

from airflow_provider_moengage.arguments import flag, is_unresolved, non_empty, one_of, path_text

ON_REMOVED = ("keep",)
ON_NEW_COLUMNS = ("send", "ignore", "fail")


@dataclass(frozen=True, slots=True)
class ChangedOnly:
    """Send only users and devices whose content differs from what MoEngage last accepted from this sync.

    The state holds 24 bytes a user: a digest of the user's ID and a digest of the element. It holds no ID and no
    value. An element that was rejected is sent again by the next run, whether it was fixed or not.

    :param path: folder for the state (ObjectStoragePath URI); each task gets a folder of its own in it. None:
        ``[moengage] changes_path`` of airflow.cfg.
    :param on_removed: what becomes of users whose rows are no longer in the query. ``keep`` leaves them in
        MoEngage and counts them.
    :param on_new_columns: what to do about a column that no earlier run had, if the mapping has
        ``attributes=None``: ``send`` it, ``ignore`` it, or ``fail`` before anything is sent. It is named in the
        log in any case.
    :param resync: send everything, and store it. May be templated.
    :raises ValueError: naming the option that is wrong.
    """

    path: str | PathLike[str] | None = None
    on_removed: str = "keep"
    on_new_columns: str = "send"
    resync: Any = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", path_text(self.path))
        if self.path is not None and not is_unresolved(self.path):
            non_empty("changed_only.path", self.path, "a folder, or None")
        one_of("changed_only.on_removed", self.on_removed, ON_REMOVED)
        one_of("changed_only.on_new_columns", self.on_new_columns, ON_NEW_COLUMNS)
        if not is_unresolved(self.resync):
            flag("changed_only.resync", self.resync)
