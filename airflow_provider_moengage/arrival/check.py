"""Reads the users of a sample back until they are as they were sent, or the time is up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_moengage.api.campaigns.pace import Timing
from airflow_provider_moengage.api.users.reading import ID_ATTRIBUTE, User
from airflow_provider_moengage.arrival.comparison import Expected

ReadUsers = Callable[[Iterable[str], Sequence[str]], Iterator[User]]
"""Reads users by ID, with some attributes."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How many users of a sample have arrived.

    :param arrived: they are as they were sent.
    :param missing: MoEngage does not have them.
    :param allowed_missing: the same, but they were sent with ``update_existing_only``, which creates nobody.
    :param differing: MoEngage has them, with at least one attribute that is not as it was sent.
    :param by_attribute: how many of these differ in each attribute.
    """

    arrived: int
    missing: int
    allowed_missing: int
    differing: int
    by_attribute: Mapping[str, int]

    @property
    def failed(self) -> int:
        """Users who have not arrived as they were sent."""
        return self.missing + self.differing

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return {
            "arrived": self.arrived,
            "missing": self.missing,
            "allowed_missing": self.allowed_missing,
            "differing": self.differing,
            "by_attribute": dict(self.by_attribute),
        }


class ArrivalCheck:
    """Reads users until they have arrived.

    :param users: what MoEngage should have of each.
    :param read: reads users.
    :param clock: the time.
    """

    def __init__(self, users: Mapping[str, Expected], read: ReadUsers, clock: Timing) -> None:
        self._users = users
        self._read = read
        self._clock = clock
        self._fields = sorted({name for each in users.values() for name in (*each.attributes, *each.unset)})

    def run(self, timeout: float, interval: float, report: Callable[[Arrival], None]) -> Arrival:
        """Read all users, and those who have not arrived again, until the time is up.

        :param timeout: seconds from the first reading.
        :param interval: seconds between two of them.
        :param report: is told about each reading.
        """
        ends_at = self._clock.monotonic() + timeout
        late = self._late(self._users)
        arrival = self._arrival(late)
        report(arrival)
        while arrival.failed and (left := ends_at - self._clock.monotonic()) > 0:
            self._clock.pause(min(interval, left))
            late = self._late(late)
            arrival = self._arrival(late)
            report(arrival)
        return arrival

    def _late(self, users: Iterable[str]) -> dict[str, list[str] | None]:
        """Return who has not arrived, each with the attributes that differ; None for a user who is missing."""
        late: dict[str, list[str] | None] = {}
        for user in self._read(list(users), self._fields):
            names = None if user.attributes is None else self._differing(user.customer_id, user.attributes)
            if names is None or names:
                late[user.customer_id] = names
        return late

    def _differing(self, customer_id: str, found: Mapping[str, Any]) -> list[str]:
        """Return the names of a user's attributes that differ; its ID, if MoEngage returns another user."""
        expected = self._users[customer_id]
        wrong = expected.differing(found)
        uid = found.get(ID_ATTRIBUTE)
        is_other = ID_ATTRIBUTE not in expected.attributes and uid is not None and str(uid) != customer_id
        return [*wrong, ID_ATTRIBUTE] if is_other else wrong

    def _arrival(self, late: Mapping[str, list[str] | None]) -> Arrival:
        missing = [user for user, names in late.items() if names is None]
        allowed = sum(self._users[user].may_be_missing for user in missing)
        by_attribute = Counter(name for names in late.values() for name in names or ())
        return Arrival(
            arrived=len(self._users) - len(late),
            missing=len(missing) - allowed,
            allowed_missing=allowed,
            differing=len(late) - len(missing),
            by_attribute=dict(by_attribute.most_common()),
        )
