"""From a warehouse to MoEngage: the rows of a query become users, events and devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_moengage import lineage
from airflow_provider_moengage.arguments import boolean, flag, is_unresolved, non_empty
from airflow_provider_moengage.bulk.expect import Expect
from airflow_provider_moengage.bulk.mapping import MAPPINGS, ElementMapping
from airflow_provider_moengage.bulk.options import Delivery, Validation
from airflow_provider_moengage.operators.delivery import DELIVERY_FIELDS, DeliveryOperator
from airflow_provider_moengage.results.recording import recorded
from airflow_provider_moengage.sources.sql_key import KeyColumns, KeyRange, unquoted
from airflow_provider_moengage.sources.sql_keyset import count_rows, count_rows_quickly
from airflow_provider_moengage.sources.sql_stream import database_hook, has_typed_columns, rows_at_once
from airflow_provider_moengage.tasks.changes import (
    changes_of_task,
    check_changed_only,
    name_of_run,
    shard_of_task,
    state_path_of_task,
)
from airflow_provider_moengage.tasks.watermark import TaskWindow, Window, check_moments, check_watermark

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Asset, Context

    from airflow_provider_moengage.bulk.changes import ChangedOnly
    from airflow_provider_moengage.bulk.sources import Source
    from airflow_provider_moengage.lineage import Lineage


class SqlToMoEngageOperator(DeliveryOperator):
    """Sends the rows of a query to MoEngage as they are read. Memory use does not grow with the result.

    .. code-block:: python

        SqlToMoEngageOperator(
            task_id="customers",
            conn_id="warehouse",
            sql="SELECT user_id, email, tier FROM customers",
            mapping=CustomerMapping(customer_id="user_id", attributes={"u_em": "email", "tier": "tier"}),
        )

    :param sql: one SELECT, or a ``.sql`` file of the Dag's folder. Templated.
    :param conn_id: a connection of any DbApiHook (PostgreSQL, Snowflake, BigQuery, SQLite, ...). Templated.
    :param mapping: what a row becomes: a
        :class:`~airflow_provider_moengage.bulk.mapping.CustomerMapping`,
        :class:`~airflow_provider_moengage.bulk.mapping.EventMapping` or
        :class:`~airflow_provider_moengage.bulk.mapping.DeviceMapping`, or a list of them: each makes one
        element of every row.
    :param parameters: values for the query's placeholders, in the driver's own style. Templated.
    :param key_columns: columns of the query that are unique together and never NULL. With them the operator reads
        in their order, and a retry resumes where the previous try ended or was killed. The checkpoint stores
        values of these columns. Without them a retry runs the query again and sends everything again: resending a
        user is harmless; resending an event creates a duplicate, and MoEngage cannot delete an event.
    :param key_range: read only the rows of this range of keys, see
        :func:`~airflow_provider_moengage.transfers.shards.plan_shards`. Templated.
    :param watermark: sends only rows that are new since the last successful run: an asset that represents the
        source. Its state stores how far the task got (Airflow 3.3 and later). Templates then have ``since`` and
        ``until``, datetimes in UTC, and the query selects what lies between them::

            WHERE updated_at >= '{{ since }}' AND updated_at < '{{ until }}'

        A backfill, and any run on an earlier Airflow, sends its own data interval and does not move the watermark.
        A run that finds the watermark past its own end sends nothing and succeeds. Overlapping runs of the Dag may
        send the same rows: give it ``max_active_runs=1``. The asset becomes an inlet of the task; for a mapped
        task it has to be listed in ``inlets``, and each map index has a watermark of its own.
    :param changed_only: send only rows that differ from what MoEngage last accepted from this task, see
        :class:`~airflow_provider_moengage.bulk.changes.ChangedOnly`. For customers and devices. A retry reads the
        query from its start, and sends only what no earlier try has had accepted.
    :param expect: fail before anything is sent if the number of rows is not as expected, see
        :class:`~airflow_provider_moengage.bulk.expect.Expect`. The database counts the rows by a query of its own.
    :param show_total: show the number of rows, and the time left, in the progress lines of the log. PostgreSQL,
        MySQL, MariaDB and SQLite count the rows before the first one is read, by a query of its own that they end
        after a second; then, or if it fails, there is no total. Other databases do not count, because they
        could not end the query; nor does a run with ``key_range``. ``expect`` has counted the rows on any
        database. False: no query for that, and no total.
    :param fetch_size: rows to read from the database at a time, 1 to 100,000. Templated.

    The other parameters are those of :class:`~airflow_provider_moengage.operators.delivery.DeliveryOperator`.
    Returns (XCom) the counts of the run, see :class:`~airflow_provider_moengage.bulk.report.DeliveryReport`.

    :raises ValueError: when the Dag is parsed, naming the argument that is wrong.
    """

    template_fields: Sequence[str] = (
        "sql",
        "conn_id",
        "parameters",
        "key_range",
        "fetch_size",
        *DELIVERY_FIELDS,
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql", "parameters": "json"}  # noqa: RUF012 (Airflow's own form)

    def __init__(  # noqa: PLR0913 (public signature)
        self,
        *,
        sql: str,
        conn_id: str,
        mapping: ElementMapping | Sequence[ElementMapping],
        parameters: Sequence[Any] | Mapping[str, Any] | None = None,
        key_columns: Sequence[str] | None = None,
        key_range: Mapping[str, Any] | None = None,
        watermark: Asset | None = None,
        changed_only: ChangedOnly | None = None,
        expect: Expect | None = None,
        show_total: bool = True,
        fetch_size: int = 5_000,
        delivery: Delivery = "at_least_once",
        validation: Validation = "warn",
        **kwargs: Any,
    ) -> None:
        super().__init__(delivery=delivery, validation=validation, **kwargs)
        self.sql = sql
        self.conn_id = conn_id
        self.mapping = mapping
        self.parameters = parameters
        self.key_columns = key_columns
        self.key_range = key_range
        self.watermark = watermark
        self.changed_only = changed_only
        self.expect = expect
        self.show_total = boolean("show_total", show_total)
        self._row_count: int | None = None
        self._window: TaskWindow | None = None
        self.fetch_size = fetch_size
        for name in ("sql", "conn_id"):
            value = getattr(self, name)
            if not is_unresolved(value):
                non_empty(name, value)
        self._mappings()
        if key_columns is not None:
            KeyColumns(key_columns)
        elif key_range is not None:
            raise ValueError("key_range: requires key_columns")
        if watermark is not None:
            check_watermark(watermark, sql, parameters, key_range)
            if watermark not in [*self.inlets, *self.outlets]:
                self.inlets = [*self.inlets, watermark]
        if changed_only is not None:
            keys = None if key_range is None else key_columns
            check_changed_only(changed_only, self._mappings(), keys, watermark)
        if expect is not None:
            self._check_expect(expect)
        if not is_unresolved(fetch_size):
            rows_at_once(fetch_size)

    @recorded
    def execute(self, context: Context) -> dict[str, Any]:
        """Deliver the rows and return the counts of the run.

        :raises ValueError: if the query lacks a column that the mapping names, or returns no rows because it is
            not a SELECT.
        :raises MoEngageError: see :meth:`MoEngageHook.bulk_import`.
        """
        from airflow_provider_moengage.bulk.changed.new_columns import NewColumns
        from airflow_provider_moengage.bulk.sources import Stream

        mappings = self._mappings()
        self._row_count = None
        changed_only = self.changed_only
        columns = None if changed_only is None else NewColumns(changed_only.on_new_columns, self.log)
        source: Any = self._rows(None if columns is None else columns.mappings)
        changes = None
        if changed_only is not None and columns is not None:
            if changed_only.task_id is not None and not flag("dry_run", self.is_dry_run):
                raise ValueError("changed_only.task_id: only a dry run may use the state of another task")
            changes = partial(
                changes_of_task,
                changed_only,
                self._changes_path(changed_only),
                cast("Mapping[str, Any]", context),
                mappings=mappings,
                columns=columns,
                unique=(self.key_columns or ()) if has_typed_columns(database_hook(self.conn_id)) else (),
                reads_all=self._window is None,
                shard=None if self.key_range is None else shard_of_task(self._range, context),
            )
        given = (self.conn_id, self.sql, self.parameters, self.key_columns, self.key_range, mappings)
        if self.expect is not None and (self._window is None or not self._window.window.is_empty):
            self.check_not_killed()
            self._check_volume(self.expect, cast("Mapping[str, Any]", context))
        if self._window is None:
            source.row_count = self._counted()
            return self.deliver(source, lambda: given, context, changes)
        self.check_not_killed()  # with at most once, the watermark moves before anything is sent
        if self._window.window.is_empty:
            source = Stream(())
        else:
            self._warn_of_offsets(self._window.window)
            source.row_count = self._counted()
        with self._window.moving_the_watermark(
            is_dry_run=flag("dry_run", self.is_dry_run), at_most_once=self.delivery == "at_most_once"
        ):
            return self.deliver(source, lambda: given, context, changes)

    def _warn_of_offsets(self, window: Window) -> None:
        """Warn if SQLite is to compare a text with an offset: a bound is the greater text of two equal times."""
        given = f"{self.sql} {self.parameters}"
        bounds = [text for moment in (window.since, window.until) for text in (str(moment), moment.isoformat())]
        if not has_typed_columns(database_hook(self.conn_id)) and any(text in given for text in bounds):
            self.log.warning(
                "SQLite compares times as text, and since and until have an offset (+00:00). A column without one"
                " misses the row at the window's first moment, and gets the next window's first one. For such a"
                " column use {{ since.replace(tzinfo=None) }} and {{ until.replace(tzinfo=None) }}"
            )

    def _check_expect(self, expect: object) -> None:
        if not isinstance(expect, Expect):
            raise ValueError(f"expect: expected Expect(...), not {type(expect).__name__}")
        if self.key_range is not None:
            raise ValueError("expect: cannot be combined with key_range, which is a part of the rows")
        if expect.most_change is not None and self.results is None and self.changed_only is None:
            raise ValueError(
                "expect.most_change: compares with earlier runs, so it requires results or changed_only; without"
                " these, set most_change=None"
            )

    def _check_volume(self, expect: Expect, context: Mapping[str, Any]) -> None:
        from airflow_provider_moengage.results.volume import check_volume, rows_in_state, rows_in_table

        def earlier() -> list[int]:
            if self.results is not None:
                return rows_in_table(self.results, context, is_dry_run=self.is_certainly_dry)
            if self.changed_only is None:
                return []
            option = self.changed_only
            path = state_path_of_task(self._changes_path(option), context, option.task_id)
            return rows_in_state(path, name_of_run(context))

        def count() -> int:
            self._row_count = count_rows(database_hook(self.conn_id), self.sql, self.parameters)
            return self._row_count

        check_volume(expect, count, earlier, self.log)

    def _counted(self) -> int | None:
        """Return the number of rows for the progress lines, if it is known or the database counts them at once."""
        if not self.show_total or self._row_count is not None or self.key_range is not None:
            return self._row_count if self.show_total else None
        self.check_not_killed()
        return count_rows_quickly(database_hook(self.conn_id), self.sql, self.parameters)

    def source_to_preview(self, context: Context) -> Source:  # noqa: ARG002 (templates are rendered)
        """Return the rows as elements; nothing is sent."""
        from airflow_provider_moengage.bulk.sources import Stream

        return Stream(()) if self._window is not None and self._window.window.is_empty else self._rows(None)

    def _rows(self, mappings_for: Callable[..., Sequence[ElementMapping]] | None) -> Source:
        from airflow_provider_moengage.sources.sql_rows import KeyedRows, Query, Rows

        for name in ("sql", "conn_id"):
            non_empty(name, getattr(self, name))
        query = Query(
            database_hook(self.conn_id),
            self.sql,
            self.parameters,
            self._mappings(),
            rows_at_once(self.fetch_size),
            mappings_for,
        )
        if self.key_columns is None:
            return Rows(query)
        return KeyedRows(query, KeyColumns(self.key_columns), self._range)

    @property
    def _range(self) -> KeyRange:
        return KeyRange() if self.key_range is None else KeyRange.from_dict(self.key_range)

    def _changes_path(self, option: ChangedOnly) -> str | None:
        return self._folder_of_deployment("changes_path") if option.path is None else str(option.path)

    def facts_of_run(self) -> dict[str, Any]:
        """Return what the table of runs has besides the report."""
        facts = super().facts_of_run()
        if self._window is not None:
            window = self._window.window
            facts |= {"window_since": window.since, "window_until": window.until}
        return facts

    @property
    def key_columns_of_rejects(self) -> Sequence[str]:
        """The columns that identify a row of the source."""
        return [] if self.key_columns is None else list(map(unquoted, KeyColumns(self.key_columns).names))

    def _elements_per_row(self) -> int:
        return len(self._mappings())

    def _inputs_of_lineage(self) -> Lineage:
        return lineage.tables_of(database_hook(self.conn_id), self.sql, self.conn_id, self.parameters)

    def _outputs_of_lineage(self) -> list[ElementMapping] | None:
        return self._mappings()

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: Any,
        seen_oids: set[int],
    ) -> None:
        # For a mapped task Airflow calls only this method, not `render_template_fields`.
        if self.watermark is not None:
            check_moments(self.sql, self.parameters)  # a .sql file has been read by now
            self._window = TaskWindow(self.watermark, cast("Mapping[str, Any]", context), self.log)
            context = self._window.in_templates(cast("Mapping[str, Any]", context))
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        if (option := self.changed_only) is not None:
            self.changed_only = option.rendered(lambda value: self.render_template(value, context, jinja_env))
        if self.expect is not None:
            self.expect = self.expect.rendered(lambda value: self.render_template(value, context, jinja_env))

    def _mappings(self) -> list[ElementMapping]:
        given: Any = self.mapping
        mappings = [given] if isinstance(given, MAPPINGS) else given
        is_list = isinstance(mappings, list | tuple) and bool(mappings)
        if not is_list or not all(isinstance(mapping, MAPPINGS) for mapping in mappings):
            names = ", ".join(kind.__name__ for kind in MAPPINGS)
            raise ValueError(f"mapping: expected one or a list of {names}")
        return list(mappings)
