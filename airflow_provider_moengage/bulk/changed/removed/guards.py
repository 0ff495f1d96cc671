"""Whether users whose rows have left the query may be removed. A wrong removal can hardly be undone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from airflow_provider_moengage.bulk.report import counted


@dataclass(frozen=True, slots=True)
class Removal:
    """What becomes of users whose rows have left the query, if they do not stay as they are.

    :param action: ``unset``, ``delete``, or ``leave`` (a segment).
    :param max_removed: how many may be removed in a run: a count (int), or a fraction of the users known (float).
    :param attributes: returns the attributes to unset. Called when all rows were read.
    :param option: the name of the argument with ``max_removed``, for messages.
    :param to_keep: what to do so that those who have left stay as they are: ends a sentence.
    :param why_without_ids: why IDs may be missing: begins a sentence.
    """

    action: str
    max_removed: float
    attributes: Callable[[], Sequence[str]]
    option: str = "changed_only.max_removed"
    to_keep: str = "to let these users stay in MoEngage, set changed_only.on_removed='keep' for one run"
    why_without_ids: str = (
        "A run with on_removed='keep', which stores no IDs, ended early, or a file of the state was damaged or"
        " missing"
    )


@dataclass(frozen=True, slots=True)
class Left:
    """The users who seem to have left.

    :param count: how many they are; those whom an earlier try of the run has removed are among them.
    :param known: how many users the last run had.
    :param without_id: those of whom only a digest is known.
    :param is_empty: whether the query returned no rows.
    :param has_unreadable_ids: whether the ID of a row could not be read.
    """

    count: int
    known: int
    without_id: int = 0
    is_empty: bool = False
    has_unreadable_ids: bool = False


def objection(left: Left, removal: Removal) -> str | None:
    """Return why none of them may be removed, and what to do; None if they may be."""
    if not left.count:
        return None
    max_removed, option = removal.max_removed, removal.option
    users = counted(left.count, "user")
    if left.is_empty and not (isinstance(max_removed, float) and max_removed == 1.0):
        why = (
            f"The query returned no rows, so nobody was removed: {users} would be. Check the query; if it is"
            f" right, set {option}=1.0 for one run"
        )
    elif left.has_unreadable_ids:
        why = (
            f"The ID of a row could not be read, so nobody was removed: {users} would be, and the row may be of"
            " one of them. Fix the rejected rows, or exclude them in the query"
        )
    elif left.without_id:
        why = (
            f"The IDs of {counted(left.without_id, 'user')} are not in the state, so nobody was removed: {users}"
            f" would be. {removal.why_without_ids}; {removal.to_keep}"
        )
    elif isinstance(max_removed, int) and left.count > max_removed:
        why = (
            f"{users} would be removed, more than the count of {option}={max_removed} allows, so"
            " nobody was removed. Check the query; if they have left, raise max_removed for one run"
        )
    elif isinstance(max_removed, float) and _share(left) > max_removed:
        why = (
            f"{users} of {left.known:,} would be removed, more than the fraction of"
            f" {option}={max_removed:g} allows, so nobody was removed. Check the query; if they"
            " have left, raise max_removed for one run"
        )
    else:
        return None
    return why


def _share(left: Left) -> float:
    """Return the fraction of the users known, at most 1: failed runs may have sent further ones."""
    return min(left.count / left.known, 1.0) if left.known else 1.0
