"""Lineage for OpenLineage: the tables or files that a task has read, and what it has written to MoEngage.

It contains names and counts only: no value of a row, and no parameter of a query. Without
``apache-airflow-providers-openlineage`` nothing is reported.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing import TypeAlias

    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_moengage.bulk.mapping import ElementMapping
    from airflow_provider_moengage.bulk.report import DeliveryReport

    Lineage: TypeAlias = OperatorLineage[Any, Any]

logger = logging.getLogger(__name__)

_GLOB = re.compile(r"[*?\[]")


def is_installed() -> bool:
    """Return whether the OpenLineage provider is installed."""
    try:
        return find_spec("airflow.providers.openlineage") is not None
    except ImportError:
        return False


def tables_of(hook: Any, sql: str, conn_id: str, parameters: object = None) -> Lineage:
    """Return the text of a query, and its tables if the database's hook can name them.

    :param parameters: of the query; only their type is used.
    """
    from airflow.providers.common.compat.openlineage.facet import SQLJobFacet
    from airflow.providers.common.compat.openlineage.utils.sql import get_openlineage_facets_with_sql
    from airflow.providers.openlineage.extractors import OperatorLineage

    job_facets = {"sql": SQLJobFacet(query=sql)}
    readable = _without_placeholders(sql, parameters)
    try:
        found = get_openlineage_facets_with_sql(hook=hook, sql=readable, conn_id=conn_id, database=None)
    except Exception as error:  # noqa: BLE001 (it queries the database, which may be down; outputs are still reported)
        logger.info(
            "OpenLineage: the tables of connection %r could not be determined (%s)", conn_id, type(error).__name__
        )
        found = None
    if found is None:
        return OperatorLineage(job_facets=job_facets)
    return OperatorLineage(
        inputs=found.inputs, run_facets=found.run_facets, job_facets={**found.job_facets, **job_facets}
    )


def files_of(paths: Iterable[str]) -> Lineage:
    """Return files as datasets; a glob becomes the folder that it searches."""
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    names = dict.fromkeys(map(_file, paths))
    return OperatorLineage(inputs=[Dataset(namespace=namespace, name=name) for namespace, name in names])


def table_of(hook: Any, table: str, conn_id: str) -> list[Any]:
    """Return a table as a dataset, if the database's hook can name it."""
    return list(tables_of(hook, f"SELECT * FROM {table}", conn_id).inputs)  # noqa: S608 (it is parsed, not run)


def from_campaigns(workspace_id: str, written: Iterable[Any], rows: int | None = None) -> Lineage:
    """Return the campaigns of a workspace as input, and datasets that were written.

    :param rows: how many rows were written, if there is one dataset.
    """
    from airflow.providers.common.compat.openlineage.facet import (
        Dataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
    )
    from airflow.providers.openlineage.extractors import OperatorLineage

    facets: dict[str, Any] = {}
    if rows is not None:
        facets["outputStatistics"] = OutputStatisticsOutputDatasetFacet(rowCount=rows)
    return OperatorLineage(
        inputs=[Dataset(namespace=f"moengage://{workspace_id}", name="campaigns")],
        outputs=[
            OutputDataset(namespace=each.namespace, name=each.name, facets=each.facets, outputFacets=facets)
            for each in written
        ],
    )


def with_outputs(
    lineage: Lineage,
    workspace_id: str,
    report: DeliveryReport | None,
    mappings: Sequence[ElementMapping] | None = None,
) -> Lineage:
    """Add the datasets that were written in a workspace, with the number of elements that MoEngage accepted.

    :param report: None if the task failed before it had one.
    :param mappings: the elements that rows become; without them, the kinds of elements that the report counts.
    """
    from airflow.providers.common.compat.openlineage.facet import OutputDataset, OutputStatisticsOutputDatasetFacet

    written = _by_report(report) if mappings is None else _by_mappings(mappings, report)
    for name, rows in written.items():
        facets: dict[str, Any] = (
            {} if rows is None else {"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=rows)}
        )
        dataset = OutputDataset(namespace=f"moengage://{workspace_id}", name=name, outputFacets=facets)
        lineage.outputs.append(dataset)
    return lineage


def _by_report(report: DeliveryReport | None) -> dict[str, int | None]:
    kinds = ("customers", "events", "devices")
    return {} if report is None else {kind: count for kind in kinds if (count := getattr(report, kind))}


def _by_mappings(mappings: Sequence[ElementMapping], report: DeliveryReport | None) -> dict[str, int | None]:
    from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping

    names: dict[str, str] = {}
    for mapping in mappings:
        if isinstance(mapping, EventMapping):
            action = mapping.action
            names[f"events/{action}" if isinstance(action, str) else "events"] = "events"
        elif isinstance(mapping, CustomerMapping):
            names["customers"] = "customers"
        else:
            names["devices"] = "devices"
    kinds = list(names.values())
    return {  # for several events the report has only the sum
        name: getattr(report, kind) if report is not None and kinds.count(kind) == 1 else None
        for name, kind in names.items()
    }


def _without_placeholders(sql: str, parameters: object) -> str:
    """Return a query that OpenLineage's parser can read: it does not know most drivers' placeholders."""
    if not parameters:
        return sql
    placeholder = r"%\(\w+\)s" if isinstance(parameters, Mapping) else r"%s|\?"
    return re.sub(placeholder, "NULL", sql).replace("%%", "%")


def _file(path: str) -> tuple[str, str]:
    parts = path.split("/")
    plain = next((at for at, part in enumerate(parts) if _GLOB.search(part)), len(parts))
    uri = urlsplit("/".join(parts[:plain]), allow_fragments=False)
    host = uri.netloc.rpartition("@")[2]  # without the connection or user in front
    if uri.scheme in ("", "file"):
        return "file", os.path.abspath(uri.path)  # noqa: PTH100 (it follows no link and needs no file)
    return f"{uri.scheme}://{host}", uri.path.strip("/") or "/"
