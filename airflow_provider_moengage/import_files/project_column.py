"""The column that names the project of a portfolio, in every row of a file.

MoEngage user guide, "Portfolio: Data Ingestion and Management": a file names its project in a column that the
import maps to ``moe_project_name``. Rows without it belong to the portfolio as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_moengage.bulk.mapping import Attributes, Column

PROJECT_COLUMN = "moe_project_name"


@dataclass(frozen=True, slots=True)
class ProjectColumn:
    """A column after those of the query, with the same value in every row.

    :param project_code: the value; None: there is no such column.
    :param of_query: the query's columns.
    :raises ValueError: if a file cannot contain the value, or the query has such a column.
    """

    project_code: str | None
    of_query: Sequence[str]

    def __post_init__(self) -> None:
        if self.project_code is None:
            return
        if "|" in self.project_code:
            raise ValueError("project_code: contains a vertical bar, which MoEngage does not accept in files")
        if any(column.casefold() == PROJECT_COLUMN for column in self.of_query):
            raise ValueError(f"project_code: the query has a column {PROJECT_COLUMN} already; use one of them")

    @property
    def columns(self) -> Sequence[str]:
        """The columns of the query, and this one."""
        return self.of_query if self.project_code is None else [*self.of_query, PROJECT_COLUMN]

    def attributes(self, attributes: Attributes) -> Attributes:
        """Return the attributes with this column.

        :raises ValueError: if one of them has its name.
        """
        if self.project_code is None or attributes is None:
            return attributes
        names = [column.name if isinstance(column, Column) else column for column in attributes]
        if PROJECT_COLUMN in names:
            raise ValueError(f"project_code: attributes has {PROJECT_COLUMN} already; use one of them")
        if isinstance(attributes, Mapping):
            return {**attributes, PROJECT_COLUMN: PROJECT_COLUMN}
        return [*attributes, PROJECT_COLUMN]

    def row(self, row: Sequence[Any]) -> Sequence[Any]:
        """Return a row with the value.

        :param row: the values of the query's columns, then those that were read as a type.
        """
        if self.project_code is None:
            return row
        own = len(self.of_query)
        return (*row[:own], self.project_code, *row[own:])
