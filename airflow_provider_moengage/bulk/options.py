"""The options of a delivery, checked before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from airflow_provider_moengage.arguments import (
    flag,
    is_non_empty,
    is_unresolved,
    non_empty,
    number,
    one_of,
    whole,
)
from airflow_provider_moengage.bulk.elements.rules import MOST_IDENTIFIERS

MOST_LANES = 64
"""Connections that one run may hold at once. A few dozen are enough to reach a workspace's rate limit."""

Validation = Literal["strict", "warn", "off"]
Delivery = Literal["at_least_once", "at_most_once"]
VALIDATIONS: tuple[Validation, ...] = get_args(Validation)
DELIVERIES: tuple[Delivery, ...] = get_args(Delivery)


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """The options that every bulk operator and :meth:`MoEngageHook.bulk_import` share.

    :param concurrency: lanes, that is requests in flight at once, 1 to 64; None: as many as MoEngage's response
        time makes useful, up to 16.
    :param delivery: ``at_least_once`` sends an element again if it may not have arrived. ``at_most_once`` never
        sends an element again that may have arrived; it becomes a reject with the code ``outcome_unknown``.
    :param validation: ``warn`` counts what MoEngage would cut or ignore; ``strict`` rejects it; ``off`` checks
        only what cannot be sent at all.
    :param max_rejects: rejects up to which the run succeeds: a count, or a fraction of the elements below 1.
    :param rejects_path: where rejects are written (ObjectStoragePath URI): a path that ends in ``.ndjson`` is
        the file, any other a folder; None: they are counted and not written.
    :param identifiers: attributes that identify a user without a customer id (Identity Resolution), at most five;
        None: those of the connection, else ``moe_mobile``, ``u_em``, ``u_mb`` and ``uid``.
    :param dry_run: check, encode and pack, but send nothing.
    :raises ValueError: naming the option that is wrong.
    """

    concurrency: int | None = None
    delivery: Delivery = "at_least_once"
    validation: Validation = "warn"
    max_rejects: float = 0
    rejects_path: str | None = None
    dry_run: bool = False
    identifiers: Sequence[str] | None = None

    def __post_init__(self) -> None:
        lanes: object = self.concurrency
        if lanes in (None, "None"):  # what a template of None renders to
            self._set("concurrency", None)
        else:
            self._set("concurrency", whole("concurrency", lanes, 1, MOST_LANES))
        self._set("delivery", one_of("delivery", self.delivery, DELIVERIES))
        self._set("validation", one_of("validation", self.validation, VALIDATIONS))
        self._set("max_rejects", _count_or_fraction("max_rejects", self.max_rejects))
        self._set("dry_run", flag("dry_run", self.dry_run))
        self._set("identifiers", identifier_names("identifiers", self.identifiers))
        if self.rejects_path is not None:
            non_empty("rejects_path", self.rejects_path, "a path, or None to write no rejects")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def allows(self, rejected: int, elements: int) -> bool:
        """Return whether the run succeeds with this many rejects."""
        if 0 < self.max_rejects < 1:
            return not rejected or rejected / elements <= self.max_rejects  # 0.29 * 100 is less than 29
        return rejected <= self.max_rejects


def identifier_names(name: str, given: object) -> tuple[str, ...] | None:
    """Return the names of a workspace's identifiers; None if there are none.

    User guide, "User identity resolution": up to five String attributes.

    :param name: the argument's name, for messages.
    :param given: a list of names, or text with commas between them.
    :raises ValueError: naming the argument.
    """
    if given in (None, "", "None"):  # what a template of None renders to
        return None
    names = given.split(",") if isinstance(given, str) else given
    if not isinstance(names, list | tuple | set | frozenset) or not all(map(is_non_empty, names)):
        raise ValueError(f"{name}: expected attribute names, such as ['u_em', 'loyalty_id']")
    unique = tuple(dict.fromkeys(text.strip() for text in names))
    if len(unique) > MOST_IDENTIFIERS:
        raise ValueError(f"{name}: {len(unique)} names; a workspace has at most {MOST_IDENTIFIERS} identifiers")
    return unique or None


OPTION_NAMES = tuple(option.name for option in fields(DeliveryOptions))


def check_parsed_options(given: Mapping[str, Any]) -> None:
    """Check options when a Dag is parsed, except for those that are known only when the task runs.

    :raises ValueError: naming the option that is wrong.
    """
    DeliveryOptions(**{name: value for name, value in given.items() if not is_unresolved(value)})


def _count_or_fraction(name: str, value: object) -> float:
    expected = "a count (0, 1, 2, ...) or a fraction below 1"
    given = number(name, value, expected)
    if given < 0 or (given >= 1 and given != int(given)):
        raise ValueError(f"{name} {value!r}: expected {expected}")
    return int(given) if given == int(given) else given
