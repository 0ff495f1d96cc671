"""Maps the rows of a query to elements: which column is the user, which the time, which an attribute.

A mapping is written once in a Dag, checked against the query's columns once per run, and compiled into a function
that turns a row into an element.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from airflow_provider_moengage.arguments import is_non_empty
from airflow_provider_moengage.bulk.elements.instructions import array_edit_conflicts
from airflow_provider_moengage.bulk.elements.rules import (
    ADD_TO_LISTS,
    BLOCKED_ATTRIBUTE_NAMES,
    EVENT_PLATFORMS,
    MOENGAGE_OWN_ATTRIBUTES,
    MOST_IDENTIFIERS,
    MOST_USER_ATTRIBUTES,
    REMOVE_FROM_LISTS,
    STANDARD_ATTRIBUTES,
)
from airflow_provider_moengage.bulk.typed_values import TYPES

Row = Sequence[Any]
Element = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column, for arguments that take a plain string literally, or to read its values as a certain type.

    :param name: the column's name in the query.
    :param type: how to read its values, whatever the database says: ``"text"``, ``"integer"``, ``"number"``,
        ``"boolean"``, ``"datetime"``, ``"date"`` or ``"json"``. A row whose value cannot be read as this type is
        rejected. None: as the database's driver describes the column.
    :raises ValueError: naming the argument that is wrong.
    """

    name: str
    type: str | None = None

    def __post_init__(self) -> None:
        if not is_non_empty(self.name):
            raise ValueError("Column.name: expected the name of a column")
        if self.type is not None and self.type not in TYPES:
            raise ValueError(f"Column.type {self.type!r}: expected one of {', '.join(TYPES)}, or None")


ColumnName = str | Column
Attributes = Sequence[ColumnName] | Mapping[str, ColumnName] | None

Typed = dict[tuple[int, str], int]
"""Columns that a mapping reads as a type: their index and type, and the index of the converted values in the row.

Converted values follow the query's own columns in the row, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRecipe:
    """How to build an element from a row: which field is which column, by index. Call it with a row."""

    kind: str
    customer_id: int | None = None
    device_id: int | None = None
    attributes: Sequence[tuple[str, int]] = ()
    """Attributes of the user, event or device; a NULL is left out."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Constant fields of the element, or of an event's action."""
    always: Sequence[tuple[str, int]] = ()
    """Further fields of an event's action, sent even if NULL."""
    optional: Sequence[tuple[str, int]] = ()
    """Further fields of an event's action; a NULL is left out."""
    identifiers: Sequence[tuple[str, int]] = ()
    """Identifiers of an event's user."""
    identified_by: Sequence[str] = ()
    """Attributes of a customer that identify the user if there is no customer id."""
    list_edits: Sequence[tuple[str, Sequence[tuple[str, int]]]] = ()
    """Fields inside a customer's attributes that edit lists, each with its attributes; a NULL is left out."""
    unset_nulls: bool = False

    def __call__(self, row: Row) -> Element:
        """Return the element of a row."""
        element: Element = {"type": self.kind}
        if self.customer_id is not None:
            element["customer_id"] = row[self.customer_id]
        if self.identifiers:
            element["user_identifiers"] = _not_null(self.identifiers, row)
        if self.device_id is not None and (self.kind == "device" or row[self.device_id] is not None):
            element["device_id"] = row[self.device_id]
        attributes = _not_null(self.attributes, row)
        if self.kind == "event":
            always = {name: row[at] for name, at in self.always}
            action = {**self.constants, **always, **_not_null(self.optional, row), "attributes": attributes}
            return {**element, "actions": [action]}
        for name, edits in self.list_edits:
            if values := _not_null(edits, row):
                attributes[name] = values
        element.update(self.constants, attributes=attributes)
        if self.unset_nulls and (nulls := [name for name, at in self.attributes if row[at] is None]):
            element["unset_attributes"] = [
                {"type": "equals", "attr": name, "case_sensitive": True} for name in nulls
            ]
        return element


def _not_null(named: Sequence[tuple[str, int]], row: Row) -> dict[str, Any]:
    return {name: row[at] for name, at in named if row[at] is not None}


class ElementMapping(Protocol):
    """Describes how a row becomes an element."""

    def compile(self, columns: Sequence[str], typed: Typed | None = None) -> RowRecipe:
        """Return the recipe for rows with these columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerMapping:
    """Each row is a customer: it creates or updates a user profile.

    :param customer_id: column with the user's id; None if ``user_identifiers`` identify the user.
    :param attributes: which columns become attributes: a list of columns, a mapping of MoEngage's attribute
        name to column (``{"u_em": "email"}``), or None for every column that has no other role.
    :param update_existing_only: do not create users who do not exist yet.
    :param unset_nulls: remove an attribute from the profile if its column is NULL. Otherwise a NULL leaves
        the profile unchanged. MoEngage offers this in early access: its customer success team switches it on, and
        it works for custom attributes that the workspace has already.
    :param user_identifiers: identifying attribute name to column (``{"u_em": "email"}``), for workspaces with
        Identity Resolution; sent as attributes. At most five. Names other than ``moe_mobile``, ``u_em``, ``u_mb``
        and ``uid`` must be among the ``identifiers`` of the connection or the operator. Without them, a row whose
        customer id is NULL is rejected, whatever its attributes are.
    :param add_to_lists: attribute name to the column with a value that is added to the attribute's list. A NULL
        adds nothing. A list in ``attributes`` replaces the stored one instead.
    :param remove_from_lists: the same for a value that is removed from the list.
    """

    customer_id: str | None = "user_id"
    attributes: Attributes = None
    update_existing_only: bool = False
    unset_nulls: bool = False
    user_identifiers: Mapping[str, ColumnName] | None = None
    add_to_lists: Mapping[str, ColumnName] | None = None
    remove_from_lists: Mapping[str, ColumnName] | None = None

    def __post_init__(self) -> None:
        _check_user(self)
        check_attributes(f"{type(self).__name__}.attributes", self.attributes)
        _check_named("CustomerMapping.add_to_lists", self.add_to_lists or {})
        _check_named("CustomerMapping.remove_from_lists", self.remove_from_lists or {})
        named = [] if self.attributes is None else [str.__str__(_name_of(name)) for name in self.attributes]
        self._check_names([*named, *(self.user_identifiers or ())])

    def _check_names(self, names: Sequence[str]) -> None:
        """Check which attributes the rows set, and whose lists they edit."""
        for message in array_edit_conflicts(self.add_to_lists or (), self.remove_from_lists or (), names):
            raise ValueError(f"CustomerMapping.add_to_lists, remove_from_lists: {message}")
        edited = [*(self.add_to_lists or ()), *(self.remove_from_lists or ())]
        custom = {*names, *edited} - STANDARD_ATTRIBUTES - MOENGAGE_OWN_ATTRIBUTES
        if len(custom) > MOST_USER_ATTRIBUTES:
            raise ValueError(
                f"CustomerMapping.attributes: {len(custom)} custom attributes, and a MoEngage workspace holds"
                f" {MOST_USER_ATTRIBUTES}; name the columns that are needed"
            )

    def compile(self, columns: Sequence[str], typed: Typed | None = None) -> RowRecipe:
        """Return the recipe that turns a row into a customer.

        :param columns: the query's columns, in the row's order.
        :param typed: receives the columns to read as a type.
        :raises ValueError: naming the columns that the query does not have.
        """
        index = QueryColumns(type(self).__name__, columns, typed)
        identifiers = index.of_mapping(self.user_identifiers)
        customer_id = None if self.customer_id is None else index.of(self.customer_id)
        list_edits = [
            (name, index.of_mapping(edits))
            for name, edits in ((ADD_TO_LISTS, self.add_to_lists), (REMOVE_FROM_LISTS, self.remove_from_lists))
            if edits
        ]
        attributes = index.of_attributes(self.attributes) + identifiers
        if blocked := [name for name, _ in attributes if name in BLOCKED_ATTRIBUTE_NAMES]:
            raise ValueError(
                f"CustomerMapping.attributes: MoEngage does not accept an attribute named {blocked[0]!r}; leave"
                " the column out, or rename it ({'other_name': 'column'}, or AS in the query)"
            )
        self._check_names([name for name, _ in attributes])
        return RowRecipe(
            kind="customer",
            customer_id=customer_id,
            attributes=attributes,
            constants={"update_existing_only": True} if self.update_existing_only else {},
            identified_by=[name for name, _ in identifiers],
            list_edits=list_edits,
            unset_nulls=self.unset_nulls,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMapping:
    """Each row is an event of a user.

    :param action: the event's name (``"Purchase"``), or ``Column("event_name")`` for the name in a column.
    :param time: column with the time it happened: a datetime, a date, ISO 8601 text or epoch seconds; UTC
        if it has no time zone. Required, because MoEngage would use the time of arrival instead.
    :param customer_id: column with the user's id; None if ``user_identifiers`` identify the user.
    :param attributes: as in :class:`CustomerMapping`. A NULL is left out.
    :param platform: ``"ANDROID"``, ``"iOS"``, ``"web"``, ``"TV"``, ``"unknown"``, or a :class:`Column`.
    :param app_version: the app's version, or a :class:`Column`.
    :param user_timezone_offset: column with the user's offset from UTC in seconds, -54000 to 54000.
    :param device_id: column with the device's id.
    :param user_identifiers: identifier name to column (``{"u_em": "email"}``), in place of ``customer_id``.
    """

    action: str | Column
    time: str
    customer_id: str | None = "user_id"
    attributes: Attributes = None
    platform: str | Column | None = None
    app_version: str | Column | None = None
    user_timezone_offset: str | None = None
    device_id: str | None = None
    user_identifiers: Mapping[str, ColumnName] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.action, Column) and not is_non_empty(self.action):
            raise ValueError("EventMapping.action: expected the event's name, or Column('event_name')")
        if not is_non_empty(self.time):
            raise ValueError("EventMapping.time: expected the name of the column with the time of the event")
        for name in ("user_timezone_offset", "device_id"):
            if getattr(self, name) is not None and not is_non_empty(getattr(self, name)):
                raise ValueError(f"EventMapping.{name}: expected the name of a column, or None")
        if (
            not (self.platform is None or isinstance(self.platform, Column))
            and self.platform not in EVENT_PLATFORMS
        ):
            known = ", ".join(EVENT_PLATFORMS)
            raise ValueError(f"EventMapping.platform {self.platform!r}: expected one of {known}, or a Column")
        _check_user(self)
        check_attributes(f"{type(self).__name__}.attributes", self.attributes)

    def compile(self, columns: Sequence[str], typed: Typed | None = None) -> RowRecipe:
        """Return the recipe that turns a row into an event.

        :param columns: the query's columns, in the row's order.
        :param typed: receives the columns to read as a type.
        :raises ValueError: naming the columns that the query does not have.
        """
        index = QueryColumns(type(self).__name__, columns, typed)
        identifiers = index.of_mapping(self.user_identifiers)
        customer_id = None if self.customer_id is None else index.of(self.customer_id)
        device_id = None if self.device_id is None else index.of(self.device_id)
        constants: Element = {}
        always = [("current_time", index.of(self.time))]
        optional: list[tuple[str, int]] = []
        if isinstance(self.action, Column):
            always.append(("action", index.of(self.action)))
        else:
            constants["action"] = self.action
        for name, value in (("platform", self.platform), ("app_version", self.app_version)):
            if isinstance(value, Column):
                optional.append((name, index.of(value)))
            elif value is not None:
                constants[name] = value
        if self.user_timezone_offset is not None:
            optional.append(("user_timezone_offset", index.of(self.user_timezone_offset)))
        return RowRecipe(
            kind="event",
            customer_id=customer_id,
            device_id=device_id,
            attributes=index.of_attributes(self.attributes),
            constants=constants,
            always=always,
            optional=optional,
            identifiers=identifiers,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMapping:
    """Each row is a device of an existing user, with its push token.

    :param customer_id: column with the user's id.
    :param device_id: column with the device's id.
    :param attributes: as in :class:`CustomerMapping`; MoEngage requires ``platform`` and ``push_id``.
    """

    customer_id: str = "user_id"
    device_id: str = "device_id"
    attributes: Attributes = None

    def __post_init__(self) -> None:
        for name in ("customer_id", "device_id"):
            if not is_non_empty(getattr(self, name)):
                raise ValueError(f"DeviceMapping.{name}: expected the name of a column")
        check_attributes(f"{type(self).__name__}.attributes", self.attributes)

    def compile(self, columns: Sequence[str], typed: Typed | None = None) -> RowRecipe:
        """Return the recipe that turns a row into a device.

        :param columns: the query's columns, in the row's order.
        :param typed: receives the columns to read as a type.
        :raises ValueError: naming the columns that the query does not have.
        """
        index = QueryColumns(type(self).__name__, columns, typed)
        customer_id, device_id = index.of(self.customer_id), index.of(self.device_id)
        return RowRecipe(
            kind="device",
            customer_id=customer_id,
            device_id=device_id,
            attributes=index.of_attributes(self.attributes),
        )


MAPPINGS = (CustomerMapping, EventMapping, DeviceMapping)


def compile_mappings(
    mappings: Sequence[ElementMapping], columns: Sequence[str], typed: Typed | None = None
) -> list[RowRecipe]:
    """Return the recipes of the mappings, in their order.

    :param mappings: at least one.
    :param columns: the query's columns, in the row's order.
    :param typed: receives the columns to read as a type, for all mappings together.
    :raises ValueError: naming the columns that the query does not have, or has more than once.
    """
    check_columns(columns)
    return [mapping.compile(columns, typed) for mapping in mappings]


def check_columns(columns: Sequence[str]) -> None:
    """Check that the names of a query's columns are unique.

    :raises ValueError: naming those that are not.
    """
    twice = sorted({name for name in columns if list(columns).count(name) > 1})
    if twice:
        raise ValueError(f"sql: the query has several columns named {', '.join(twice)}; rename them (AS)")


class QueryColumns:
    """The columns of a query, and which of them have a role already.

    :param mapping: the mapping's name, for messages.
    :param columns: the query's columns, in the row's order.
    :param typed: receives the columns to read as a type.
    """

    def __init__(self, mapping: str, columns: Sequence[str], typed: Typed | None = None) -> None:
        self._mapping = mapping
        self._columns = len(columns)
        self._typed: Typed = {} if typed is None else typed
        self._index = {str.__str__(name): at for at, name in enumerate(columns)}
        self._taken: set[str] = set()

    def of(self, column: ColumnName) -> int:
        """Return the index of a column's values in the row.

        :raises ValueError: naming the column that the query does not have.
        """
        name, type_name = (column.name, column.type) if isinstance(column, Column) else (column, None)
        at = self._index.get(name)
        if at is None:
            # Databases fold the case of names that are not quoted: Snowflake and Oracle up, PostgreSQL down.
            alike = [column for column in self._index if column.lower() == name.lower()]
            if len(alike) != 1:
                known = ", ".join(self._index)
                raise ValueError(f"{self._mapping}: the query has no column {name!r}; it has {known}")
            [name] = alike
            at = self._index[name]
        self._taken.add(name)
        return (
            at if type_name is None else self._typed.setdefault((at, type_name), self._columns + len(self._typed))
        )

    def of_mapping(self, named: Mapping[str, ColumnName] | None) -> list[tuple[str, int]]:
        """Return MoEngage's names, each with the index of its column."""
        return [(str.__str__(name), self.of(column)) for name, column in (named or {}).items()]

    def of_attributes(self, attributes: Attributes) -> list[tuple[str, int]]:
        """Return the attributes' names and their columns' indexes; None selects all columns without a role yet."""
        if attributes is None:
            return [(name, at) for name, at in self._index.items() if name not in self._taken]
        if isinstance(attributes, Mapping):
            return self.of_mapping(attributes)
        return [(str.__str__(_name_of(column)), self.of(column)) for column in attributes]


def _name_of(column: ColumnName) -> str:
    return column.name if isinstance(column, Column) else column


def _check_user(mapping: CustomerMapping | EventMapping) -> None:
    name = type(mapping).__name__
    if mapping.customer_id is None:
        if not mapping.user_identifiers:
            raise ValueError(f"{name}.customer_id: expected a column, or None together with user_identifiers")
    elif not is_non_empty(mapping.customer_id):
        raise ValueError(f"{name}.customer_id: expected the name of a column")
    identifiers = mapping.user_identifiers or {}
    _check_named(f"{name}.user_identifiers", identifiers)
    if len(identifiers) > MOST_IDENTIFIERS:
        raise ValueError(
            f"{name}.user_identifiers: {len(identifiers)} names; a workspace has at most {MOST_IDENTIFIERS}"
        )


def check_attributes(what: str, attributes: Any) -> None:
    """Check the type of an ``attributes`` argument.

    :param what: the argument's name, for the message.
    :raises ValueError: if it is neither None, a list of columns nor a mapping.
    """
    if attributes is None:
        return
    if isinstance(attributes, Mapping):
        _check_named(what, attributes)
    elif (
        isinstance(attributes, str)
        or not isinstance(attributes, Collection)  # this check would exhaust an iterator
        or not all(isinstance(column, Column) or is_non_empty(column) for column in attributes)
    ):
        raise ValueError(f"{what}: expected a list of columns, or a mapping of attribute to column")


def _check_named(what: str, named: Mapping[str, ColumnName]) -> None:
    if not isinstance(named, Mapping) or not all(
        is_non_empty(name) and (isinstance(column, Column) or is_non_empty(column))
        for name, column in named.items()
    ):
        raise ValueError(f"{what}: expected a mapping of attribute name to column name")
