"""The placeholder style of each driver. No driver accepts two kinds of placeholders in one query, so the
provider's placeholders are of the same kind as the user's.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from airflow_provider_moengage.sources.sql_stream import DatabaseHook, Parameters

_BY_NAME = {"named": ":{name}", "pyformat": "%({name})s", "format": "%({name})s", "qmark": ":{name}"}
_BY_POSITION = {"qmark": "?", "numeric": ":{number}", "format": "%s", "pyformat": "%s"}
_STYLES = {*_BY_NAME, *_BY_POSITION}


def paramstyle_of(driver: Any, hook: DatabaseHook | None = None) -> str:
    """Return the style of a driver's placeholders, a name of PEP 249.

    :param driver: its connection, or its module.
    :param hook: the connection's hook, which is asked if the driver does not report its style.
    """
    modules = (
        sys.modules.get(".".join(parts[:length]))
        for kind in type(driver).__mro__  # the connection class may be the user's own subclass
        for parts in [kind.__module__.split(".")]
        for length in range(len(parts), 0, -1)
    )
    for place in (driver, *modules):  # Snowflake's connections have a style of their own
        style = getattr(place, "paramstyle", None)
        if isinstance(style, str) and style in _STYLES:
            return str(style)
    # BigQuery's hook does not report its style, and accepts only %(name)s.
    return "qmark" if getattr(hook, "placeholder", None) == "?" else "pyformat"


def placeholder_form(sql: str, parameters: Parameters, paramstyle: str) -> str:
    """Return the form of a placeholder, with ``{name}`` or ``{number}`` to fill in.

    :param parameters: the user's; they determine the kind of placeholder.
    :raises ValueError: if the driver cannot bind further values next to the user's parameters.
    """
    if parameters is not None and not isinstance(parameters, Mapping | list | tuple):
        raise ValueError("parameters: expected a list or a mapping")
    if not parameters:
        return (_BY_NAME if paramstyle in ("named", "pyformat") else _BY_POSITION)[paramstyle]
    if isinstance(parameters, Mapping):
        return _form_by_name(sql, parameters, paramstyle)
    return _form_by_position(sql, paramstyle)


def _form_by_name(sql: str, parameters: Mapping[str, Any], paramstyle: str) -> str:
    if paramstyle == "numeric":
        raise ValueError("parameters: this driver uses numbered placeholders (:1, :2); expected a list of values")
    if paramstyle == "qmark" and any(f"${name}" in sql for name in parameters):
        return "${name}"  # DuckDB
    return _BY_NAME[paramstyle]


def _form_by_position(sql: str, paramstyle: str) -> str:
    if paramstyle == "qmark" and "?" not in sql and re.search(r"\$\d", sql):
        return "${number}"  # DuckDB
    if paramstyle != "named":
        return _BY_POSITION[paramstyle]
    # With a list, each of these drivers has its own placeholders: Oracle :1 or :name, Databricks ?, Vertica %s.
    for placeholder, form in ((r"(?<![\w:]):\w", ":{number}"), (r"\?", "?"), ("%s", "%s")):
        if re.search(placeholder, sql):
            return form
    raise ValueError(
        "parameters: this driver uses named placeholders (:name); expected a mapping of name to value"
    )
