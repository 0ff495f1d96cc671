"""The segments of a workspace that other tools have set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.cohorts.sync import Sync


@dataclass(slots=True)
class Segment:
    """A segment.

    :param id: the tool's ID of it.
    :param members: IDs of the users; in the order in which they came; whether the users exist is not checked.
    :param added: members in bodies that added some, repeated ones included.
    :param removed: the same for bodies that removed some.
    """

    id: str
    name: str = ""
    description: str = ""
    members: dict[str, None] = field(default_factory=dict)
    added: int = 0
    removed: int = 0

    def apply(self, sync: Sync) -> None:
        """Do what a body asks for. Membership is a set, so a repeat changes nothing."""
        self.name = sync.cohort_name
        self.description = sync.description or self.description
        if sync.action == "add_members":
            self.members.update(dict.fromkeys(sync.members))
            self.added += len(sync.members)
        else:
            for user in sync.members:
                self.members.pop(user, None)
            self.removed += len(sync.members)
