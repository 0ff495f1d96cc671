"""What happens to a column that the last complete run of a sync did not use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from airflow_provider_moengage.bulk.clock import Log
from airflow_provider_moengage.bulk.mapping import CustomerMapping, DeviceMapping, ElementMapping


class NewColumns:
    """Compares the columns of a query with those that the last complete run used, before its rows are read.

    :param action: ``send``, ``ignore`` or ``fail``.
    :param log: gets the names of the new ones.
    """

    def __init__(self, action: str, log: Log) -> None:
        self._action = action
        self._log = log
        self.known: Sequence[str] | None = None
        """The columns that the last complete run used; None before the first."""
        self.used: Sequence[str] = ()
        """The columns of this run, without those that were ignored."""
        self._selected: Sequence[ElementMapping] = ()
        self._columns: Sequence[str] = ()

    def mappings(self, mappings: Sequence[ElementMapping], columns: Sequence[str]) -> Sequence[ElementMapping]:
        """Return the mappings for a query with these columns.

        :raises ValueError: naming the new columns, if they are to fail the run.
        """
        self._columns = columns
        self._selected = selected = self._select(mappings, columns)
        return selected

    def attributes(self) -> list[str]:
        """Return the attributes of the mappings of this run."""
        return [
            name
            for mapping in self._selected
            for name, _ in getattr(mapping.compile(self._columns), "attributes", ())
        ]

    def _select(self, mappings: Sequence[ElementMapping], columns: Sequence[str]) -> Sequence[ElementMapping]:
        self.used = columns
        known = self.known
        if known is None:
            return mappings
        chosen = {name for mapping in mappings for name in _chosen(mapping, columns)}
        new = [name for name in columns if name in chosen and name not in known]
        if not new:
            return mappings
        names = ", ".join(new)
        if self._action == "fail":
            raise ValueError(
                f"changed_only: the query has new columns: {names}. Nothing was sent. Name the"
                " columns in the mapping's attributes, or set on_new_columns='send' or 'ignore'"
            )
        if self._action == "send":
            self._log.warning("New columns are sent as attributes: %s", names)
            return mappings
        self._log.warning("New columns are ignored: %s", names)
        self.used = [name for name in columns if name not in new]
        return [_without(mapping, columns, new) for mapping in mappings]


def _chosen(mapping: ElementMapping, columns: Sequence[str]) -> list[str]:
    """Return the columns that become attributes although the mapping does not name them."""
    if not isinstance(mapping, CustomerMapping | DeviceMapping) or mapping.attributes is not None:
        return []
    identifiers = getattr(mapping, "user_identifiers", None) or {}
    attributes = mapping.compile(columns).attributes
    return [name for name, at in attributes if name not in identifiers and at < len(columns)]


def _without(mapping: ElementMapping, columns: Sequence[str], new: Sequence[str]) -> ElementMapping:
    """Return a mapping that selects, of the columns that it does not name, all but the new ones."""
    if not isinstance(mapping, CustomerMapping | DeviceMapping) or mapping.attributes is not None:
        return mapping
    return replace(mapping, attributes=[name for name in _chosen(mapping, columns) if name not in new])
