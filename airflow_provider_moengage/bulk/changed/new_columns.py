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
        new = [name for name in columns if name not in known]
        if not new or all(getattr(mapping, "attributes", ()) is not None for mapping in mappings):
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
        self.used = [name for name in columns if name in known]
        return [_with_known(mapping, columns, known) for mapping in mappings]


def _with_known(mapping: ElementMapping, columns: Sequence[str], known: Sequence[str]) -> ElementMapping:
    """Return a mapping that selects, of the columns that it does not name, only the known ones."""
    if not isinstance(mapping, CustomerMapping | DeviceMapping) or mapping.attributes is not None:
        return mapping
    identifiers = getattr(mapping, "user_identifiers", None) or {}
    selected = [
        name for name, at in mapping.compile(columns).attributes if name not in identifiers and at < len(columns)
    ]
    return replace(mapping, attributes=[name for name in selected if name in known])
