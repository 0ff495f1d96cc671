"""The operator that makes the users of a query the members of a segment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from airflow_provider_moengage import lineage
from airflow_provider_moengage.api.users.cohorts import Cohort, CohortSync
from airflow_provider_moengage.arguments import is_unresolved, non_empty, one_of
from airflow_provider_moengage.bulk.changed.new_columns import NewColumns
from airflow_provider_moengage.bulk.changed.removed.guards import Removal
from airflow_provider_moengage.bulk.changes import ChangedOnly, check_max_removed
from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.bulk.options import Validation
from airflow_provider_moengage.bulk.resume.fingerprint import fingerprint
from airflow_provider_moengage.exceptions import MoEngageRequestError
from airflow_provider_moengage.operators.delivery import DELIVERY_FIELDS, DeliveryOperator
from airflow_provider_moengage.results.recording import recorded
from airflow_provider_moengage.sources.sql_stream import database_hook
from airflow_provider_moengage.tasks.changes import changes_of_task

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_moengage.api.workspace import Workspace
    from airflow_provider_moengage.bulk.changed.sync_run import Changes
    from airflow_provider_moengage.bulk.sources import Source
    from airflow_provider_moengage.lineage import Lineage

Mode = Literal["mirror", "add", "remove"]
MODES: tuple[Mode, ...] = get_args(Mode)

LONGEST_TEXT = 1_000
"""Characters of a segment's ID, name and description: each request carries them."""

_NOT_IN_NAMES = '|*?\\:<>=$"'
"""MoEngage API reference, "Cohort Sync": a name must not have these."""

_NOT_FOR_MEMBERS = ("delivery", "identifiers")


class SqlToMoEngageCohortOperator(DeliveryOperator):
    """Makes the users of a query the members of a segment in MoEngage.

    .. code-block:: python

        SqlToMoEngageCohortOperator(
            task_id="likely_to_leave",
            conn_id="warehouse",
            sql="SELECT user_id FROM scores WHERE churn > 0.8",
            cohort_id="likely-to-leave",
        )

    The first request creates the segment. MoEngage takes at most 300 requests a minute, each with the IDs of some
    thousand users. Users who do not exist in MoEngage do not become members. To add a member twice, or to remove
    somebody who is none, changes nothing, so a retry is always safe.

    :param sql: one SELECT, or a ``.sql`` file of the Dag's folder. Templated.
    :param conn_id: a connection of any DbApiHook (PostgreSQL, Snowflake, BigQuery, SQLite, ...). Templated.
    :param user_id: column with the users' IDs. Other columns are ignored.
    :param cohort_id: what identifies the segment; any text, at most 1,000 characters. Templated.
    :param cohort_name: the segment's name in the dashboard; None: the ID. MoEngage does not accept names that
        contain one of these characters: ``| * ? : < > = $ "``, or a backslash. Templated.
    :param cohort_description: shown in the dashboard. Templated.
    :param mode: ``mirror`` adds the users who are new in the query, and removes those who have left it since the
        last successful run of this task. ``add`` only adds the users, ``remove`` only removes them; both keep no
        state, and send all users of the query in each run.
    :param changed_only: ``path`` and ``resync`` of the state that ``mirror`` keeps, see
        :class:`~airflow_provider_moengage.bulk.changes.ChangedOnly`; None: in ``[moengage] changes_path`` of
        airflow.cfg. ``resync`` adds all users again, and removes nobody in this run.
    :param max_removed: how many users ``mirror`` may remove in a run: a count (int), or a fraction of the users
        known (float, up to 1.0 for all). If more have left the query, the task fails without retry, after the new
        users were added, and removes nobody. A first run, an empty result, a query that was not read to its end, a
        damaged state and another ``cohort_id`` remove nobody either.

    The other parameters are those of :class:`~airflow_provider_moengage.operators.delivery.DeliveryOperator`,
    except for ``delivery`` and ``identifiers``. Rejects hold members, ``{"uid": ...}``.
    Returns (XCom) the counts of the run, see :class:`~airflow_provider_moengage.bulk.report.DeliveryReport`.
    ``accepted`` is how many members MoEngage accepted to add, or with ``mode="remove"`` to remove; ``removed`` is
    how many ``mirror`` removed.

    :raises ValueError: when the Dag is parsed, naming the argument that is wrong.
    """

    template_fields: Sequence[str] = (
        *("sql", "conn_id", "cohort_id", "cohort_name", "cohort_description"),
        *DELIVERY_FIELDS,
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql"}  # noqa: RUF012 (Airflow's own form)

    def __init__(  # noqa: PLR0913 (public signature)
        self,
        *,
        sql: str,
        conn_id: str,
        cohort_id: str,
        user_id: str = "user_id",
        cohort_name: str | None = None,
        cohort_description: str | None = None,
        mode: Mode = "mirror",
        changed_only: ChangedOnly | None = None,
        max_removed: float = 0.05,
        validation: Validation = "warn",
        **kwargs: Any,
    ) -> None:
        for name in _NOT_FOR_MEMBERS:
            if name in kwargs:
                raise ValueError(f"{name}: does not apply to members of a segment; leave it out")
        super().__init__(validation=validation, **kwargs)
        self.delivery, self.identifiers = "at_least_once", None  # whatever default_args say
        self.sql = sql
        self.conn_id = conn_id
        self.user_id = user_id
        self.cohort_id = cohort_id
        self.cohort_name = cohort_name
        self.cohort_description = cohort_description
        self.mode = one_of("mode", mode, MODES)
        self.changed_only = changed_only
        self.max_removed = max_removed
        non_empty("user_id", user_id, "the name of a column")
        check_max_removed("max_removed", max_removed)
        self._check_changed_only(changed_only)
        self._check(are_rendered=False)

    @recorded
    def execute(self, context: Context) -> dict[str, Any]:
        """Add and remove members, and return the counts of the run.

        :raises ValueError: if the query lacks the column, or a template rendered to a wrong argument.
        :raises MoEngageError: see :meth:`MoEngageHook.bulk_import`.
        """
        self._check(are_rendered=True)
        cohort = Cohort(self.cohort_id, self.cohort_name or self.cohort_id, self.cohort_description)
        changes = None
        columns = None
        if self.mode == "mirror":
            given = cast("Mapping[str, Any]", context)
            if given["ti"].map_index is not None and given["ti"].map_index >= 0:
                raise MoEngageRequestError(
                    "mode='mirror' is not possible in a mapped task, so nothing was sent: a user whose row moves"
                    " to another map index would count as removed. Use one task for each segment"
                )
            columns = NewColumns("ignore", self.log)
            changes = partial(self._changes, given, columns)
        return self.deliver(
            self._members(columns),
            lambda: (self.conn_id, self.sql, self.user_id, self.cohort_id, self.mode),
            context,
            changes,
            CohortSync(cohort, removes=self.mode == "remove"),
        )

    def source_to_preview(self, context: Context) -> Source:  # noqa: ARG002 (templates are rendered)
        """Return the members; nothing is sent."""
        return self._members(None)

    @property
    def key_columns_of_rejects(self) -> Sequence[str]:
        """The columns that identify a row of the source."""
        return [self.user_id]

    def _members(self, columns: NewColumns | None) -> Source:
        from airflow_provider_moengage.sources.sql_members import members_of_query

        return members_of_query(self.conn_id, self.sql, self._mapping(), columns)

    def _mapping(self) -> CustomerMapping:
        return CustomerMapping(customer_id=self.user_id, attributes=())

    def _changes(self, context: Mapping[str, Any], columns: NewColumns, workspace: Workspace) -> Changes:
        option = self.changed_only or ChangedOnly()
        path = self._folder_of_deployment("changes_path") if option.path is None else str(option.path)
        changes = changes_of_task(
            option,
            path,
            context,
            workspace,
            mappings=[self._mapping()],
            columns=columns,
            unique=(),
            reads_all=True,
        )
        removal = Removal(
            "leave",
            self.max_removed,
            tuple,
            "max_removed",
            "to let these users stay in the segment, forget the state with the command moengage changes reset",
            why_without_ids="A file of the state was damaged or missing",
        )
        # A state is of one segment: with another cohort_id, nobody who is known is a member of that.
        run = replace(changes.run, mapping=fingerprint("cohort", self.cohort_id, self.user_id))
        return replace(changes, run=run, removal=removal)

    def _check(self, *, are_rendered: bool) -> None:
        def is_known(value: object) -> bool:
            return are_rendered or not is_unresolved(value)

        for name in ("sql", "conn_id"):
            if is_known(value := getattr(self, name)):
                non_empty(name, value)
        for name, expected in (("cohort_id", "the ID of a segment"), ("cohort_name", "the name of a segment")):
            value = getattr(self, name)
            if is_known(value) and not (name == "cohort_name" and value is None):
                _check_length(name, non_empty(name, value, expected))
        if is_known(self.cohort_description) and self.cohort_description is not None:
            if not isinstance(self.cohort_description, str):
                raise ValueError("cohort_description: expected text, or None")
            _check_length("cohort_description", self.cohort_description)
        field = "cohort_id" if self.cohort_name is None else "cohort_name"
        shown = getattr(self, field)
        if is_known(shown) and any(character in shown for character in _NOT_IN_NAMES):
            allowed = "; give the segment a cohort_name" if field == "cohort_id" else ""
            raise ValueError(
                f"{field}: MoEngage does not accept a segment's name with one of {' '.join(_NOT_IN_NAMES)}"
                f"{allowed}"
            )

    def _check_changed_only(self, option: object) -> None:
        if option is None:
            return
        if not isinstance(option, ChangedOnly):
            raise ValueError(f"changed_only: expected ChangedOnly(...), not {type(option).__name__}")
        if self.mode != "mirror":
            raise ValueError(f"changed_only: mode={self.mode!r} keeps no state; leave it out")
        if replace(option, path=None, resync=False) != ChangedOnly():
            raise ValueError(
                "changed_only: only path and resync apply to members of a segment; max_removed is an argument of"
                " the operator"
            )

    def _inputs_of_lineage(self) -> Lineage:
        return lineage.tables_of(database_hook(self.conn_id), self.sql, self.conn_id, None)

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: Any,
        seen_oids: set[int],
    ) -> None:
        # For a mapped task Airflow calls only this method, not `render_template_fields`.
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        if (option := self.changed_only) is not None:
            self.changed_only = option.rendered(lambda value: self.render_template(value, context, jinja_env))


def _check_length(name: str, text: str) -> None:
    if len(text) > LONGEST_TEXT or not text.isprintable():
        raise ValueError(f"{name}: expected at most {LONGEST_TEXT:,} printable characters")
