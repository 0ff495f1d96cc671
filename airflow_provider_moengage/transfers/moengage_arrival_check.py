"""The operator that proves the arrival of a sync: a sample of its users is read back and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator

from airflow_provider_moengage import lineage, metrics
from airflow_provider_moengage.api.workspace import check_parsed_project
from airflow_provider_moengage.arguments import (
    TemplatedArguments,
    count_or_share,
    is_non_empty,
    is_unresolved,
    non_empty,
    one_of,
    seconds,
    whole,
)
from airflow_provider_moengage.arrival.check import Arrival, ArrivalCheck
from airflow_provider_moengage.arrival.comparison import Names
from airflow_provider_moengage.arrival.sample import Sample
from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.exceptions import MoEngageArrivalError, MoEngageError
from airflow_provider_moengage.hooks import campaigns, user_reading
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.links.dashboard import MoEngageDashboardLink
from airflow_provider_moengage.sources.sql_rows import Query, Rows
from airflow_provider_moengage.sources.sql_stream import database_hook, rows_at_once

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_moengage.api.users.reading import User
    from airflow_provider_moengage.lineage import Lineage

LARGEST_SAMPLE = 20_000
"""Users of a sample: MoEngage lets 1,000 be read in a minute."""

Validation = Literal["warn", "strict"]
VALIDATIONS: tuple[Validation, ...] = get_args(Validation)


class MoEngageArrivalCheckOperator(TemplatedArguments, BaseOperator):  # type: ignore[misc, unused-ignore]
    """Checks that the users of a sync have arrived: reads a sample of them back and compares each attribute.

    .. code-block:: python

        MoEngageArrivalCheckOperator(
            task_id="check_arrival",
            conn_id="warehouse",
            sql="SELECT user_id, email, tier FROM customers",
            mapping=CustomerMapping(customer_id="user_id", attributes={"u_em": "email", "tier": "tier"}),
        )

    MoEngage accepts data first and ingests it later, so a successful sync means accepted, not arrived. Give this
    task the query and the mapping of the sync, and run it after the sync. It encodes the rows as the sync does,
    reads the users of a sample, and reads those who have not arrived again until ``timeout`` is over. It sends
    nothing. Memory use grows with the sample only. MoEngage has to enable *Get User* for the workspace.

    What MoEngage cuts counts as arrived: names over 200 characters, texts over 512, lists over 50 items; a time
    counts in any form. Attributes that MoEngage ignores or writes only once, and edits of lists, are not compared.
    A row that has changed since the sync read it differs: leave such rows out by the query, ``WHERE updated_at <
    '{{ dag_run.start_date }}'``.

    :param sql: the query of the sync, or a ``.sql`` file. Templated.
    :param conn_id: the connection of its database. Templated.
    :param mapping: the sync's CustomerMapping, with a ``customer_id``.
    :param parameters: values for the query's placeholders. Templated.
    :param sample: users to read, 1 to 20,000: 1,000 take a minute. Templated.
    :param seed: chooses the users; the same seed chooses the same ones. The default is the ID of the run, so that
        a retry checks the same users, and each run others. Templated.
    :param max_failed: how many users of the sample may be missing or differ: a count (int), or a share of the
        sample (float, 0.0 to 1.0). 1 is one user, 1.0 is all of them. Templated.
    :param ignore_attributes: names of attributes that are not compared, for instance because something else in
        MoEngage changes them. Templated.
    :param timeout: seconds, or a timedelta, for MoEngage to ingest the data, from the first reading on.
    :param poke_interval: seconds, or a timedelta, between two readings.
    :param validation: of the sync: with ``strict`` it sends fewer users.
    :param fetch_size: rows to read from the database at a time. Templated.
    :param project_code: the project of a portfolio; None: the connection's ``project_code``, else the portfolio as
        a whole. Templated.
    :param moengage_conn_id: the workspace's connection. Templated.
    :raises ValueError: when the Dag is parsed, if an argument is invalid; the message names it.

    Returns (XCom) ``rows``, ``rejected``, ``sampled``, ``arrived``, ``missing``, ``allowed_missing``,
    ``differing``, ``by_attribute`` (how many users differ in each attribute) and ``not_compared`` (names of
    attributes). It contains no ID and no value. The task is skipped if the query returns no rows.
    """

    template_fields: Sequence[str] = (
        *("sql", "conn_id", "parameters", "sample", "seed", "max_failed", "ignore_attributes", "fetch_size"),
        *("project_code", "moengage_conn_id"),
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql", "parameters": "json"}  # noqa: RUF012 (Airflow's own form)
    ui_color = "#e6f4ea"
    operator_extra_links = (MoEngageDashboardLink(),)

    def __init__(  # noqa: PLR0913 (public signature)
        self,
        *,
        sql: str,
        conn_id: str,
        mapping: CustomerMapping,
        parameters: Sequence[Any] | Mapping[str, Any] | None = None,
        sample: int | str = 200,
        seed: str = "{{ run_id }}",
        max_failed: float | str = 0,
        ignore_attributes: Sequence[str] | None = None,
        timeout: float | timedelta = 600,
        poke_interval: float | timedelta = 60,
        validation: Validation = "warn",
        fetch_size: int = 5_000,
        project_code: str | int | None = None,
        moengage_conn_id: str = "moengage_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.conn_id = conn_id
        self.mapping = mapping
        self.parameters = parameters
        self.sample = sample
        self.seed = seed
        self.max_failed = max_failed
        self.ignore_attributes = ignore_attributes
        self.timeout = seconds("timeout", timeout)
        self.poke_interval = seconds("poke_interval", poke_interval)
        self.validation = one_of("validation", validation, VALIDATIONS)
        self.fetch_size = fetch_size
        self.project_code = project_code
        self.moengage_conn_id = moengage_conn_id
        self._is_killed = False
        if not isinstance(mapping, CustomerMapping) or mapping.customer_id is None:
            raise ValueError(
                "mapping: expected a CustomerMapping with customer_id, the ID by which users are read"
            )
        if self.poke_interval < 1:
            raise ValueError(f"poke_interval {poke_interval!r}: expected at least a second")
        check_parsed_project(project_code)
        self._check(are_rendered=False)

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 (Airflow's signature)
        """Check the sample and return the counts.

        :raises ValueError: if a template rendered to a wrong argument, or the query lacks a column.
        :raises AirflowSkipException: if the query returns no rows.
        :raises MoEngageArrivalError: if more than ``max_failed`` of the sample have not arrived as they were sent,
            or none of the rows can be checked, or MoEngage has none of the users and need not have them.
        :raises MoEngageError: see :meth:`MoEngageHook.iter_users`.
        """
        self._check(are_rendered=True)
        most = count_or_share("max_failed", self.max_failed)
        sample, not_compared = self._draw()
        counts: dict[str, Any] = {"rows": sample.rows, "rejected": sample.rejected, "sampled": len(sample.users)}
        if not sample.rows:
            raise AirflowSkipException("The query returned no rows, so there is nothing to check")
        if not sample.users:
            raise MoEngageArrivalError(
                f"None of the {sample.rows:,} rows can be checked, because the sync rejects all of them",
                report=counts,
            )
        clock = campaigns.timing(self._check_not_killed)
        hook = MoEngageHook(self.moengage_conn_id, project_code=self.project_code)
        with closing(hook.get_conn()) as client:

            def read(customer_ids: Iterable[str], fields: Sequence[str]) -> Iterator[User]:
                return user_reading.users(
                    client, self.moengage_conn_id, customer_ids, fields, self._check_not_killed
                )

            arrival = ArrivalCheck(sample.users, read, clock).run(
                self.timeout, self.poke_interval, self._log_reading
            )
        if not_compared and not any(each.attributes or each.unset for each in sample.users.values()):
            self.log.warning("None of the attributes can be compared: it is only known whether the users exist")
        counts |= {**arrival.to_dict(), "not_compared": sorted(not_compared)}
        self._count(counts)
        # Users who need not exist say nothing: they are no part of the share.
        judged = len(sample.users) - arrival.allowed_missing
        if not judged and most != 1.0:
            raise MoEngageArrivalError(
                f"MoEngage has none of the {len(sample.users):,} users, so nothing is proved: update_existing_only"
                " creates nobody, and the connection or project_code may be another one than the sync's",
                report=counts,
            )
        failed = arrival.failed if isinstance(most, int) else arrival.failed / max(judged, 1)
        if failed > most:
            raise MoEngageArrivalError(self._failure(counts, most), report=counts)
        return counts

    def on_kill(self) -> None:
        """End at the next request or second; nothing was sent."""
        self._is_killed = True

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Lineage | None:  # noqa: ARG002
        """Return the tables of the query, for OpenLineage; for a failed task as well."""
        if not lineage.is_installed():
            return None
        return lineage.tables_of(database_hook(self.conn_id), self.sql, self.conn_id, self.parameters)

    def _draw(self) -> tuple[Sample, set[str]]:
        query = Query(
            database_hook(self.conn_id), self.sql, self.parameters, [self.mapping], rows_at_once(self.fetch_size)
        )
        names = Names(frozenset(self.ignore_attributes or ()))
        sample = Sample(whole("sample", self.sample, 1, LARGEST_SAMPLE), self.seed, names)
        sample.read(Rows(query), self.validation, self._check_not_killed)
        return sample, names.not_compared

    def _log_reading(self, arrival: Arrival) -> None:
        self.log.info(
            "%d users have arrived as they were sent; %d are missing, and %d differ",
            arrival.arrived,
            arrival.missing,
            arrival.differing,
        )

    def _failure(self, counts: Mapping[str, Any], most: int | float) -> str:
        by_attribute = ", ".join(f"{name} ({count})" for name, count in counts["by_attribute"].items())
        differ = f"{counts['differing']:,} differ" + (f" in {by_attribute}" if by_attribute else "")
        return (
            f"{counts['missing'] + counts['differing']:,} of {counts['sampled']:,} users have not arrived as they"
            f" were sent, more than max_failed={most} allows: {counts['missing']:,} are missing, {differ}"
        )

    def _count(self, counts: Mapping[str, Any]) -> None:
        send = metrics.Metrics(self.moengage_conn_id)
        send.count(metrics.ARRIVED, counts["arrived"])
        send.count(metrics.MISSING, counts["missing"])
        send.count(metrics.DIFFERING, counts["differing"])

    def _check_not_killed(self) -> None:
        if self._is_killed:
            raise MoEngageError("The task was killed before the check had ended")

    def _check(self, *, are_rendered: bool) -> None:
        checks: dict[str, Callable[[Any], object]] = {
            "sql": lambda value: non_empty("sql", value),
            "conn_id": lambda value: non_empty("conn_id", value),
            "sample": lambda value: whole("sample", value, 1, LARGEST_SAMPLE),
            "seed": lambda value: non_empty("seed", value, "text"),
            "max_failed": lambda value: count_or_share("max_failed", value),
            "ignore_attributes": _check_names,
            "fetch_size": rows_at_once,
        }
        for name, check in checks.items():
            value = getattr(self, name)
            if are_rendered or not is_unresolved(value):
                check(value)


def _check_names(names: object) -> None:
    if names is None:
        return
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(map(is_non_empty, names)):
        raise ValueError("ignore_attributes: expected a list of names of attributes")
