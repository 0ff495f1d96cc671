"""The operator that erases the users of a query in MoEngage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_moengage import lineage
from airflow_provider_moengage.api.users.erasure import IDENTITY_TYPES, IdentityType
from airflow_provider_moengage.api.workspace import check_parsed_project
from airflow_provider_moengage.arguments import (
    TemplatedArguments,
    flag,
    is_unresolved,
    non_empty,
    one_of,
    path_text,
    whole,
)
from airflow_provider_moengage.bulk.clock import StopRequest
from airflow_provider_moengage.erasure import task as erasure
from airflow_provider_moengage.erasure.ledger_file import check_ledger_path
from airflow_provider_moengage.erasure.places import LedgerPlace
from airflow_provider_moengage.erasure.run import METHODS, Method, MethodName
from airflow_provider_moengage.erasure.users import Identity, Users, read_users
from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.links.dashboard import MoEngageDashboardLink
from airflow_provider_moengage.sources.sql_stream import database_hook
from airflow_provider_moengage.tasks.files import ledger_path_of_task
from airflow_provider_moengage.tasks.outlets import add_to_asset_events

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_moengage.lineage import Lineage

MOST_USERS = 1_000_000
"""Upper limit of ``max_users``: they are held in memory, and take three hours at 5,000 a minute."""


class SqlToMoEngageErasureOperator(TemplatedArguments, BaseOperator):  # type: ignore[misc, unused-ignore]
    """Erases the users of a query in MoEngage. **This cannot be undone.**

    .. code-block:: python

        SqlToMoEngageErasureOperator(
            task_id="erase",
            conn_id="warehouse",
            sql="SELECT user_id FROM erasure_requests WHERE state = 'approved'",
            max_users=500,
            ledger_table="erasure_ledger",
        )

    The query is read to its end before the first request. Nobody is erased if it returns more than ``max_users``
    users, or a row whose ID is NULL, empty or a text such as ``null``. IDs are sent as they are: neither white
    space nor case is altered. A user in several rows is one request.

    The ledger has an entry before each request and after its response. It is the proof of what was asked for, and
    a retry resumes from it: what is done is not repeated, also if the worker was killed or the task is cleared. A
    user whom MoEngage does not have is done. At most 5,000 requests a minute are sent (Delete User); a 429 is
    obeyed.

    If a response is lost, the deletion of a user whom the query still returns is sent again. An OpenGDPR request
    is not, because MoEngage does not document what a second one does, and nobody is asked for whom the query no
    longer returns: after all others, the task fails without retry.

    :param sql: one SELECT, or a ``.sql`` file of the Dag's folder. Templated.
    :param conn_id: a connection of any DbApiHook (PostgreSQL, Snowflake, BigQuery, SQLite, ...). Templated.
    :param max_users: how many users may be erased in a run, by all of its tries together. Templated.
    :param user_id: column with the users' IDs in MoEngage. Other columns are ignored.
    :param method: ``delete``, or ``opengdpr`` for a request of the OpenGDPR API. MoEngage carries out both within
        24 hours. Templated.
    :param identity_type: with ``opengdpr``, what identifies the users: ``ID``, ``email`` or ``mobile``. MoEngage
        erases **all** users with an email address or a number. Templated.
    :param identity: column with the addresses or numbers, if ``identity_type`` is not ``ID``. With ``user_id``,
        the counts include how many users of the query share them, and the sensor can prove the erasure; without
        IDs, set ``user_id=None``.
    :param ledger_table: a table for the ledger, with its schema if needed. It is created if it is missing.
        Templated.
    :param ledger_conn_id: its database; None: ``conn_id``. Templated.
    :param ledger_path: instead of a table: a folder on a disk that all workers share, in which the run gets a file
        of its own, or a ``.ndjson`` file. The file is readable for the worker's user only. Templated.
    :param dry_run: read the query and return the counts. Nothing is sent or written. Templated.
    :param retry_unknown: with ``opengdpr``, ask again if an earlier request may have been processed. Templated.
    :param project_code: the project of a portfolio; None: the connection's ``project_code``, else the portfolio as
        a whole. Templated.
    :param moengage_conn_id: the workspace's connection. Templated.
    :raises ValueError: when the Dag is parsed, if an argument is invalid; the message names it.

    Returns (XCom) counts only: ``dry_run``, ``method``, ``identity_type``, ``users``, ``rows``,
    ``shared_identities``, ``users_with_shared_identity``, ``requests``, and if it is not a dry run ``accepted``,
    ``not_found``, ``refused``, ``unknown``, ``done_before``, ``throttled_seconds``, ``finished_at``, ``run`` and
    ``ledger``, from which :class:`~airflow_provider_moengage.sensors.users_erased.UsersErasedSensor` continues.
    """

    template_fields: Sequence[str] = (
        *("sql", "conn_id", "max_users", "method", "identity_type"),
        *("ledger_table", "ledger_conn_id", "ledger_path", "is_dry_run", "retry_unknown"),
        *("project_code", "moengage_conn_id"),
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql"}  # noqa: RUF012 (Airflow's own form)
    ui_color = "#fce8e6"
    operator_extra_links = (MoEngageDashboardLink(),)

    def __init__(  # noqa: PLR0913 (public signature)
        self,
        *,
        sql: str,
        conn_id: str,
        max_users: int | str,
        user_id: str | None = "user_id",
        method: MethodName = "delete",
        identity_type: IdentityType = "ID",
        identity: str | None = None,
        ledger_table: str | None = None,
        ledger_conn_id: str | None = None,
        ledger_path: str | PathLike[str] | None = None,
        dry_run: bool = False,
        retry_unknown: bool = False,
        project_code: str | int | None = None,
        moengage_conn_id: str = "moengage_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.conn_id = conn_id
        self.max_users = max_users
        self.user_id = user_id
        self.method = method
        self.identity_type = identity_type
        self.identity = identity
        self.ledger_table = ledger_table
        self.ledger_conn_id = ledger_conn_id
        self.ledger_path = path_text(ledger_path)
        self.is_dry_run = dry_run  # `dry_run` is a method of every operator
        self.retry_unknown = retry_unknown
        self.project_code = project_code
        self.moengage_conn_id = moengage_conn_id
        self._stop = StopRequest()
        check_parsed_project(project_code)
        self._check(are_rendered=False)

    def execute(self, context: Context) -> dict[str, Any]:
        """Erase the users and return the counts.

        :raises ValueError: if the query lacks a column, or a template rendered to a wrong argument.
        :raises MoEngageRequestError: if there are too many users, or a row names nobody; nobody was erased.
        :raises MoEngageRemovalError: if MoEngage refused some; all others are done.
        :raises MoEngageOutcomeUnknownError: if it is not known whether some OpenGDPR requests were processed.
        :raises MoEngageError: if it ended early, or the ledger cannot be used. A retry resumes.
        """
        self._check(are_rendered=True)
        given: Any = context
        is_dry_run = flag("dry_run", self.is_dry_run)
        method = Method(self.method, self.identity_type)
        place = self._place(given)
        hook = MoEngageHook(self.moengage_conn_id, project_code=self.project_code)
        most = _check_max_users("max_users", self.max_users)
        users = read_users(database_hook(self.conn_id), self.sql, self._identity(), most)
        self._report_shared(users)
        if is_dry_run:
            self.log.info("Dry run: %d users in %d rows; nothing was sent", users.count, users.rows)
            return {"dry_run": True, **erasure.preview(users, method, place)}
        if self._stop.is_made:
            raise MoEngageError("The task was killed before it sent anything")
        work = erasure.ErasureTask(hook, method, place, self.log, self._stop)
        result = {
            "dry_run": False,
            **work.erase(users, given, max_users=most, retry_unknown=flag("retry_unknown", self.retry_unknown)),
        }
        try:
            erasure.check_outcome(result, place)
        except MoEngageError:
            given["ti"].xcom_push(key="return_value", value=result)
            raise
        counts = {name: result[name] for name in ("users", "accepted", "not_found")}
        add_to_asset_events(given, self.outlets, counts, self.log)
        return result

    def on_kill(self) -> None:
        """Send nothing from now on. Requests in flight continue, and their responses are still recorded."""
        self._stop.make()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Lineage | None:  # noqa: ARG002
        """Return what was read, for OpenLineage; for a failed task as well. Nothing is written in MoEngage."""
        if not lineage.is_installed():
            return None
        return lineage.tables_of(database_hook(self.conn_id), self.sql, self.conn_id)

    def _identity(self) -> Identity:
        if self.identity_type == "ID":
            return Identity("ID", str(self.user_id), self.user_id)
        return Identity(self.identity_type, str(self.identity), self.user_id)

    def _place(self, context: Any) -> LedgerPlace:
        if self.ledger_path is not None:
            return LedgerPlace(path=ledger_path_of_task(self.ledger_path, context))
        return LedgerPlace(self.ledger_conn_id or self.conn_id, self.ledger_table)

    def _report_shared(self, users: Users) -> None:
        if self.identity_type == "ID":
            return
        shared = users.shared
        if self.user_id is None:
            self.log.warning(
                "How many users share an address or number is not known, because user_id is None: MoEngage erases"
                " all of them"
            )
        elif shared:
            self.log.warning(
                "%d users of the query share %d addresses or numbers: MoEngage erases everybody who has one, also"
                " users who are not in the query",
                sum(shared),
                len(shared),
            )

    def _check(self, *, are_rendered: bool) -> None:
        def is_known(*values: object) -> bool:
            return are_rendered or not any(is_unresolved(value) for value in values)

        checks: dict[str, Callable[[str, Any], object]] = {
            "sql": non_empty,
            "conn_id": non_empty,
            "max_users": _check_max_users,
            "is_dry_run": lambda _, value: flag("dry_run", value),
            "retry_unknown": flag,
            "method": lambda name, value: one_of(name, value, METHODS),
            "identity_type": lambda name, value: one_of(name, value, IDENTITY_TYPES),
        }
        for name, check in checks.items():
            if is_known(value := getattr(self, name)):
                check(name, value)
        if is_known(self.method, self.identity_type):
            self._check_identity()
        if is_known(self.ledger_table, self.ledger_path, self.ledger_conn_id):
            self._check_ledger()

    def _check_identity(self) -> None:
        if self.user_id is not None:
            non_empty("user_id", self.user_id, "the name of a column")
        if self.identity_type == "ID":
            if self.user_id is None:
                raise ValueError("user_id: expected the name of a column, because users are erased by their ID")
            if self.identity is not None:
                raise ValueError("identity: does not apply to identity_type='ID'; leave it out")
            return
        if self.method == "delete":
            raise ValueError(
                f"identity_type {self.identity_type!r}: method='delete' erases users by their ID; set"
                " method='opengdpr'"
            )
        non_empty("identity", self.identity, f"the column for identity_type={self.identity_type!r}")

    def _check_ledger(self) -> None:
        if (self.ledger_table is None) == (self.ledger_path is None):
            raise ValueError("ledger_table, ledger_path: expected one of them; the ledger is the proof")
        if self.ledger_path is not None:
            if self.ledger_conn_id is not None:
                raise ValueError("ledger_conn_id: does not apply to ledger_path; leave it out")
            check_ledger_path(non_empty("ledger_path", self.ledger_path, "a folder, or a .ndjson file"))
            return
        non_empty("ledger_table", self.ledger_table, "the name of a table")
        if self.ledger_conn_id is not None:
            non_empty("ledger_conn_id", self.ledger_conn_id, "the ID of a database connection")


def _check_max_users(name: str, value: object) -> int:
    return whole(name, value, 0, MOST_USERS)
