"""Generates, once per run and query, the function that turns rows into checked elements.

Everything that depends only on the mapping and the query's columns is decided at generation: which names break a
rule, which field is which column. For each row only the types of its values are left to check. A row with anything
unusual goes through the full check, like an element of a list.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from airflow_provider_moengage.bulk.elements import rules
from airflow_provider_moengage.bulk.elements.checks import (
    Prepared,
    action_name,
    event_attribute_name,
    identifier,
    prepare,
    user_attribute_name,
)
from airflow_provider_moengage.bulk.elements.encoding import EPOCH, NAIVE_EPOCH
from airflow_provider_moengage.bulk.elements.fast_path import (
    CONVERTERS,
    UNCHANGED_TYPES,
    NeedsFullCheckError,
    PreparedElements,
    Preparer,
    fast_event_time,
    is_valid_event_name,
)
from airflow_provider_moengage.bulk.elements.rules import DOCUMENTED, WorkspaceRules
from airflow_provider_moengage.bulk.elements.weight import weight
from airflow_provider_moengage.bulk.mapping import RowRecipe

Rows = Sequence[Sequence[Any]]
Make = Callable[[Rows, Callable[[Any], None], Callable[[str], None], Callable[[Any], Prepared], dt.datetime], None]
"""Converts rows. The arguments after them receive each element, its user, and each row that needs a full check.
The last one is the latest time that an event may have."""


def row_preparer(recipes: Sequence[RowRecipe]) -> Preparer:
    """Return the preparer of rows: each row becomes one element per recipe, in the recipes' order."""
    makers = [_RowPreparer(recipe) for recipe in recipes]
    if len(makers) == 1:
        return makers[0]

    def make(rows: Rows, rules_apply: bool, workspace: WorkspaceRules = DOCUMENTED, /) -> PreparedElements:
        return _row_by_row([maker(rows, rules_apply, workspace) for maker in makers])

    return make


def _row_by_row(parts: Sequence[PreparedElements]) -> PreparedElements:
    number = len(parts)
    result = PreparedElements()
    result.elements = [element for row in zip(*[part.elements for part in parts], strict=True) for element in row]
    result.weights = [one for row in zip(*[part.weights for part in parts], strict=True) for one in row]
    result.users = [user for row in zip(*[part.users for part in parts], strict=True) for user in row]
    for at, part in enumerate(parts):
        result.flawed.update({row * number + at: prepared for row, prepared in part.flawed.items()})
    return result


class _RowPreparer:
    def __init__(self, recipe: RowRecipe) -> None:
        self._recipe = recipe
        self._weight = weight(recipe.kind, 1 if recipe.kind == "event" else 0)
        self._make: dict[bool, Make | None] = {}

    def __call__(
        self, rows: Rows, rules_apply: bool, workspace: WorkspaceRules = DOCUMENTED, /
    ) -> PreparedElements:
        workspace = _rules_of(self._recipe, workspace)
        result = PreparedElements()
        if not rows:
            return result
        if rules_apply not in self._make:
            self._make[rules_apply] = _generated(self._recipe, rows, rules_apply)
        make = self._make[rules_apply]
        recipe = self._recipe
        if make is None:
            for row in rows:
                result.add(prepare(recipe(row), rules_apply=rules_apply, workspace=workspace))
            return result
        fully_checked: list[tuple[int, Prepared]] = []

        def check_fully(row: Sequence[Any]) -> Prepared:
            prepared = prepare(recipe(row), rules_apply=rules_apply, workspace=workspace)
            fully_checked.append((len(result.elements), prepared))
            return prepared

        make(rows, result.elements.append, result.users.append, check_fully, workspace.latest_time())
        result.weights = [self._weight] * len(result.elements)
        for at, prepared in fully_checked:
            result.weights[at] = prepared.weight
            if prepared.findings:
                result.flawed[at] = prepared
        return result


def _rules_of(recipe: RowRecipe, workspace: WorkspaceRules) -> WorkspaceRules:
    """Return the rules for a mapping's rows: only what the mapping names as an identifier identifies its users."""
    if recipe.kind != "customer":
        return workspace
    known = rules.IDENTIFYING_ATTRIBUTES if workspace.identifiers is None else workspace.identifiers
    return replace(workspace, identifiers=known & frozenset(recipe.identified_by))


def _generated(recipe: RowRecipe, rows: Rows, rules_apply: bool) -> Make | None:
    """Return the function for rows of a mapping, or None if every row needs the full check.

    :param rows: a sample, to see which types the columns have.
    """
    if not _can_generate(recipe) or (rules_apply and action_name(recipe.constants.get("action", "any"))):
        return None
    try:
        scope = {**_SCOPE, **_classes(recipe)}
    except ValueError:  # names that need escaping, or duplicate names
        return None
    kinds = [_likely_type(values) for values in zip(*rows, strict=True)]
    exec(_code(recipe, kinds, rules_apply), scope)  # noqa: S102 (names are in the classes, never in the code)
    make: Make = scope["make"]
    return make


def _likely_type(values: Sequence[Any]) -> type:
    return next((type(value) for value in values if value is not None), type(None))


def _can_generate(recipe: RowRecipe) -> bool:
    """Return whether code can be generated: for customers and events with an id, without rarely used fields."""
    return (
        recipe.kind in ("customer", "event")
        and recipe.customer_id is not None
        and recipe.device_id is None
        and not (recipe.identifiers or recipe.optional or recipe.list_edits)
        and (recipe.kind == "customer" or len(recipe.attributes) <= rules.MOST_EVENT_ATTRIBUTES)
        and all(type(value) in (str, bool) for value in recipe.constants.values())
    )


def _classes(recipe: RowRecipe) -> dict[str, Any]:
    """Return classes whose instances encode to the mapping's elements.

    :raises ValueError: if msgspec does not accept the attributes' names.
    """
    names = [name for name, _ in recipe.attributes]
    constants = [(name, Any, value) for name, value in recipe.constants.items()]
    return {
        "Attributes": msgspec.defstruct(
            "Attributes",
            [(f"a{number}", Any, None) for number in range(len(names))],
            rename={f"a{number}": name for number, name in enumerate(names)},
            omit_defaults=True,  # a NULL
            gc=False,
        ),
        "Action": msgspec.defstruct(
            "Action", [*(name for name, _ in recipe.always), "attributes", *constants], gc=False
        ),
        "Event": msgspec.defstruct("Event", ["customer_id", "actions"], tag_field="type", tag="event", gc=False),
        "Customer": msgspec.defstruct(
            "Customer", ["customer_id", "attributes", *constants], tag_field="type", tag="customer", gc=False
        ),
    }


def _code(recipe: RowRecipe, kinds: Sequence[type], rules_apply: bool) -> str:
    """Return the function's source. A column is named by its index in the row, ``c0``."""
    is_event = recipe.kind == "event"
    always = {name: f"c{at}" for name, at in recipe.always}
    attributes = {name: f"c{at}" for name, at in recipe.attributes}
    user = f"c{recipe.customer_id}"
    used = {user, *always.values(), *attributes.values()}
    columns = ", ".join(f"c{at}" if f"c{at}" in used else "_" for at in range(len(kinds)))
    lines = [f"{columns}, = row", *_id_lines(user, rules_apply)]
    if is_event:
        lines += _time_lines(always["current_time"], rules_apply)
        if name := always.get("action"):
            lines += [
                f"if {name}.__class__ is not str or not is_valid_event_name({name}): raise NeedsFullCheckError"
            ]
    for at in sorted({at for _, at in recipe.attributes}):
        lines += _value_lines(f"c{at}", kinds[at], rules_apply)
    if rules_apply:
        flawed = [column for name, column in attributes.items() if _breaks_a_rule(name, is_event)]
        lines += [f"if {column} is not None: raise NeedsFullCheckError" for column in flawed]
    if recipe.unset_nulls:
        lines += [f"if {column} is None: raise NeedsFullCheckError" for column in attributes.values()]
    new_attributes = f"Attributes({', '.join(attributes.values())})"
    if is_event:
        fields = {**always, "current_time": "time"}
        lines += [f"element = Event(user, (Action({', '.join([*fields.values(), new_attributes])}),))"]
    else:
        lines += [f"element = Customer(user, {new_attributes})"]
    return _FUNCTION.format(lines="\n            ".join(lines))


_FUNCTION = """\
def make(rows, add, add_user, check_fully, latest):
    for row in rows:
        try:
            {lines}
        except Exception:
            prepared = check_fully(row)
            element, user = prepared.element, prepared.user
        add(element)
        add_user(user)
"""


def _breaks_a_rule(name: str, is_event: bool) -> bool:
    """Return whether a name breaks a rule, so that every row with such an attribute does."""
    if is_event:
        return bool(event_attribute_name(name))
    return name in rules.STRUCTURED_ATTRIBUTES or bool(user_attribute_name(name))


def _id_lines(column: str, rules_apply: bool) -> list[str]:
    lines = [f"user = {column} if {column}.__class__ is str else fast_id({column})"]
    if rules_apply:
        lines += ["if user.strip().casefold() in REFUSED: raise NeedsFullCheckError"]
    return lines


def _time_lines(column: str, rules_apply: bool) -> list[str]:
    if not rules_apply:
        line = "if time.__class__ not in UNCHANGED_TYPES: time = CONVERTERS[time.__class__](time)"
        return [f"time = {column}", line]
    return [
        f"time = {column}",
        "if time.__class__ is not datetime or time.tzinfo is not UTC: time = fast_event_time(time, latest)",
        "elif time > latest: raise NeedsFullCheckError",
    ]


def _value_lines(column: str, kind: type, rules_apply: bool) -> list[str]:
    """Return the checks of a column's value; the ones for its likely type come first."""
    checks = [_CHECKS_BY_TYPE[kind]] if kind in _CHECKS_BY_TYPE else []
    if rules_apply:
        checks += [_TEXT]
    lines = [line.format(column) for check in [*checks, _OTHER] for line in check]
    return [f"el{line}" if at and line.startswith("if") else line for at, line in enumerate(lines)]


_TEXT = [
    "if {0}.__class__ is str:",
    f"    if len({{0}}) > {rules.SHORTEST_TIME} and"
    f" ({{0}}[13] == ':' and is_time_as_text({{0}}) or len({{0}}) > {rules.LONGEST_VALUE}):"
    " raise NeedsFullCheckError",
]
_CHECKS_BY_TYPE: dict[type, list[str]] = {
    float: ["if {0}.__class__ is float:", "    if {0} - {0} != 0: raise NeedsFullCheckError"],
    dt.datetime: [
        "if {0}.__class__ is datetime:",
        "    zone = {0}.tzinfo",
        "    if zone is None: {0} = EPOCH + ({0} - NAIVE_EPOCH)",
        "    elif zone is not UTC: {0} = CONVERTERS[datetime]({0})",
    ],
}
_OTHER = ["if {0}.__class__ not in UNCHANGED_TYPES: {0} = CONVERTERS[{0}.__class__]({0})"]
"""A type without a converter is a KeyError, and the row gets the full check."""


def _fast_id(value: Any) -> str:
    findings: list[Any] = []
    user = identifier("customer_id", value, findings)
    if findings or type(user) is not str:
        raise NeedsFullCheckError
    return user


_SCOPE = {
    "UNCHANGED_TYPES": UNCHANGED_TYPES,
    "CONVERTERS": CONVERTERS,
    "REFUSED": rules.REFUSED_CUSTOMER_IDS,
    "UTC": dt.UTC,
    "EPOCH": EPOCH,
    "NAIVE_EPOCH": NAIVE_EPOCH,
    "NeedsFullCheckError": NeedsFullCheckError,
    "datetime": dt.datetime,
    "is_valid_event_name": is_valid_event_name,
    "is_time_as_text": rules.is_time_as_text,
    "fast_id": _fast_id,
    "fast_event_time": fast_event_time,
}
