"""The operator that writes rows of a warehouse to files for MoEngage's imports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_moengage.api.workspace import check_parsed_project, read_project_code
from airflow_provider_moengage.arguments import (
    TemplatedArguments,
    is_non_empty,
    is_unresolved,
    non_empty,
    one_of,
    path_text,
    whole,
)
from airflow_provider_moengage.bulk.mapping import Attributes, check_attributes
from airflow_provider_moengage.exceptions import MoEngageError, MoEngageRequestError
from airflow_provider_moengage.hooks.errors import storage_failures
from airflow_provider_moengage.import_files.folder import (
    ImportFolder,
    check_folder,
    check_manifest_path,
)
from airflow_provider_moengage.import_files.project_column import ProjectColumn
from airflow_provider_moengage.import_files.rows import (
    FILE_FORMATS,
    IMPORT_TYPES,
    FileFormat,
    ImportRows,
    ImportType,
)
from airflow_provider_moengage.import_files.splitting import LARGEST_FILE, FileNames, FileSplitter, check_prefix
from airflow_provider_moengage.links.dashboard import MoEngageDashboardLink
from airflow_provider_moengage.sources.sql_stream import database_hook, rows_at_once, stream_query
from airflow_provider_moengage.storage import check_file_to_write, file_to_write, named, write_whole
from airflow_provider_moengage.tasks.outlets import add_to_asset_events

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_moengage.bulk.elements.findings import Finding
    from airflow_provider_moengage.import_files.splitting import WrittenFile

_PREFIXES_OF_USERS = ("registered_user_data", "anonymous_user_data")


class SqlToMoEngageFileOperator(TemplatedArguments, BaseOperator):  # type: ignore[misc, unused-ignore]
    """Writes the rows of a query to files for a MoEngage import. Memory use does not grow with the result.

    .. code-block:: python

        SqlToMoEngageFileOperator(
            task_id="customers",
            conn_id="warehouse",
            sql="SELECT user_id, email, tier FROM customers",
            id_column="user_id",
            attributes={"u_em": "email", "tier": "tier"},
            folder="s3://aws_default@bucket/moengage_users",
        )

    Either all files appear, each complete, or none: rows are checked and written first, and a row that MoEngage
    would drop fails the task before anything is in the folder. A file has 5 to 500,000 rows and at most 100
    columns; a run writes at most 100 files.

    Their names are ``registered_user_data_<12 hex digits>_0001_20261122_0310.csv``: the prefix, a digest of Dag,
    run, task, map index and try number, the part, and when the try began (UTC). MoEngage skips a name that it has
    seen; these names are new for each try. In the dashboard choose the date format ``yyyymmdd_hhmm`` for the
    import, and let it run on the same day, because MoEngage looks for files with the date of its run. It looks for
    names that start with the prefix and end with the date; what is between them does not matter.

    :param sql: one SELECT, or a ``.sql`` file of the Dag's folder. Templated, as are ``conn_id``, ``parameters``,
        ``folder``, ``prefix``, ``manifest_path``, ``max_file_bytes`` and ``fetch_size``.
    :param conn_id: a connection of any DbApiHook (PostgreSQL, Snowflake, BigQuery, SQLite, ...).
    :param folder: the folder that the import watches (ObjectStoragePath URI: file, s3, gs, sftp, ...). A missing
        folder on a disk is created.
    :param prefix: what the names of the import's files begin with: ``registered_user_data``,
        ``anonymous_user_data``, the name of an event as the dashboard shows it for file names, or one of your own;
        at most 82 letters a-z, digits, spaces and ``_``.
    :param import_type: ``USERS`` or ``EVENTS``.
    :param id_column: column with the user's id.
    :param time_column: column with the time of an event: a datetime, a date, ISO 8601 text or epoch seconds; UTC
        if it has no zone. EVENTS only.
    :param attributes: which columns become attributes, as in
        :class:`~airflow_provider_moengage.bulk.mapping.CustomerMapping`: a list of columns, a mapping of
        MoEngage's attribute name to column (``{"u_em": "email"}``), or None for all others. In the file they have
        MoEngage's names; id and time keep theirs. A NULL is an empty cell, which changes nothing at MoEngage.
    :param file_format: ``csv``, or ``json`` (one object a line), which allows line breaks and objects as well.
    :param manifest_path: where to write the mapping file (manifest) that the dashboard accepts when an import is
        set up (*Upload mapping file*): a ``.json`` anywhere but in ``folder``. Set it for the first run and upload
        the file that this run has written. It does not contain an event's time, which is mapped manually in the
        dashboard. None: no manifest is written.
    :param max_file_bytes: size at which the next file begins, below 200 MB.
    :param parameters: values for the query's placeholders, in the driver's own style.
    :param fetch_size: rows to read from the database at a time, 1 to 100,000.
    :param project_code: the project of a portfolio that the rows belong to. Every row has it in a column
        ``moe_project_name``, which the import has to map to MoEngage's attribute of that name. None: the
        connection's ``project_code``, else no such column. Templated.
    :param moengage_conn_id: connection of the workspace whose import reads the files. It is used only for the link
        to the dashboard and for ``project_code``, and need not exist. Templated.
    :raises ValueError: when the Dag is parsed, naming the argument that is invalid.

    Returns (XCom) ``files`` (each with ``path``, ``file_name``, ``rows``, ``bytes``), and the sums ``rows`` and
    ``bytes``; ``manifest`` is its path or None. Without rows, no file is written and the task succeeds. To wait
    for all files of the run, with the XCom's ``files``:
    ``FileImportRunSensor(file_name="{{ files[0].file_name | replace('_0001_', '_*_') }}",
    expected_files="{{ files | length }}", ...)``.

    A retry writes everything again under new names. That includes files that MoEngage has already read because an
    earlier try lost its worker while publishing: this is harmless for users, but duplicates events.
    """

    template_fields: Sequence[str] = (
        "sql",
        "conn_id",
        "parameters",
        "folder",
        "prefix",
        "manifest_path",
        "max_file_bytes",
        "fetch_size",
        "project_code",
        "moengage_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql", "parameters": "json"}  # noqa: RUF012 (Airflow's own form)
    ui_color = "#e8f0fe"
    operator_extra_links = (MoEngageDashboardLink(),)

    def __init__(  # noqa: PLR0913 (public signature)
        self,
        *,
        sql: str,
        conn_id: str,
        folder: str | PathLike[str],
        id_column: str,
        prefix: str = "registered_user_data",
        import_type: ImportType = "USERS",
        time_column: str | None = None,
        attributes: Attributes = None,
        file_format: FileFormat = "csv",
        manifest_path: str | PathLike[str] | None = None,
        max_file_bytes: int = 190_000_000,
        parameters: Sequence[Any] | Mapping[str, Any] | None = None,
        fetch_size: int = 5_000,
        project_code: str | int | None = None,
        moengage_conn_id: str = "moengage_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.conn_id = conn_id
        self.folder = path_text(folder)
        self.prefix = prefix
        self.import_type = one_of("import_type", import_type, IMPORT_TYPES)
        self.id_column = id_column
        self.time_column = time_column
        self.attributes = attributes
        self.file_format = one_of("file_format", file_format, FILE_FORMATS)
        self.manifest_path = path_text(manifest_path)
        self.max_file_bytes = max_file_bytes
        self.parameters = parameters
        self.fetch_size = fetch_size
        self.project_code = project_code
        self.moengage_conn_id = moengage_conn_id
        self._is_killed = False
        self._check_columns()
        self._check_templated(are_rendered=False)

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the files and return their names and sizes.

        :raises ValueError: if a template rendered to a wrong argument, or the query lacks a column that is named.
        :raises MoEngageRequestError: if MoEngage would drop a row, if there are fewer than five rows or more than
            100 files, or if ``folder`` or ``manifest_path`` is wrong; without retry.
        :raises MoEngageError: if a storage failed, or a disk was full.
        """
        self._check_templated(are_rendered=True)
        with storage_failures():
            return self._publish(context)

    def _publish(self, context: Context) -> dict[str, Any]:
        if self.manifest_path:
            check_file_to_write(self.manifest_path, "manifest_path")
        names = FileNames.of_try(context, prefix=self.prefix, extension=self.file_format)
        given = (self.folder, self.log, names.is_of_earlier_try, self._check_not_killed)
        with ImportFolder(*given) as folder:
            rows, files = self._write(folder, names)
            self._check_not_killed()
            if files and self.manifest_path:
                self._write_manifest(self.manifest_path, rows)
            folder.publish()
        self._report(files, rows)
        result = {
            "files": [file.to_dict(self.folder) for file in files],
            "rows": sum(file.rows for file in files),
            "bytes": sum(file.bytes for file in files),
            "manifest": self.manifest_path if files and self.manifest_path else None,
        }
        counts = {"files": len(files), "rows": result["rows"], "bytes": result["bytes"]}
        add_to_asset_events(cast("Mapping[str, Any]", context), self.outlets, counts, self.log)
        return result

    def on_kill(self) -> None:
        """Publish nothing from now on; :meth:`execute` raises, and removes what it has written."""
        self._is_killed = True

    def _check_not_killed(self) -> None:
        if self._is_killed:
            raise MoEngageError("The task was killed before its files were complete, so none was published")

    def _write(self, folder: ImportFolder, names: FileNames) -> tuple[ImportRows, list[WrittenFile]]:
        code = self._project()
        hook = database_hook(self.conn_id)
        invalid = _InvalidRows()
        warnings: Counter[str] = Counter()
        with stream_query(hook, self.sql, self.parameters, fetch_size=rows_at_once(self.fetch_size)) as result:
            project = ProjectColumn(code, result.columns)
            rows = ImportRows(
                project.columns,
                import_type=self.import_type,
                id_column=self.id_column,
                time_column=self.time_column,
                attributes=project.attributes(self.attributes),
                file_format=self.file_format,
            )
            most_bytes = whole("max_file_bytes", self.max_file_bytes, 1, LARGEST_FILE)
            splitter = FileSplitter(folder.create, names, header=rows.header, most_bytes=most_bytes)
            for position, row in enumerate(result.read(rows.typed)):
                self._check_not_killed()
                line, findings = rows.encode(project.row(row))
                if not line:
                    invalid.add(position, findings)
                elif not invalid.count:  # otherwise there will be no file, and the rest is only checked
                    splitter.add(line)
                if findings:
                    warnings.update({str(finding.code) for finding in findings if finding.is_warning})
        if invalid.count:
            raise MoEngageRequestError(invalid.message(of=position + 1))
        for code, count in sorted(warnings.items()):
            self.log.warning("%s: %d row(s) that MoEngage will truncate or partly ignore", code, count)
        return rows, splitter.finish()

    def _project(self) -> str | None:
        """Return the project whose rows these are: of the argument, else of the connection, if there is one."""
        from airflow.providers.common.compat.sdk import AirflowNotFoundException

        from airflow_provider_moengage.hooks.connection import project_of_connection
        from airflow_provider_moengage.hooks.moengage import MoEngageHook

        code = read_project_code(self.project_code)
        if code is not None or not is_non_empty(self.moengage_conn_id):
            return code
        try:
            return project_of_connection(MoEngageHook.get_connection(self.moengage_conn_id))
        except AirflowNotFoundException:
            self.log.info("There is no connection %r, so the files name no project", self.moengage_conn_id)
            return None

    def _write_manifest(self, path: str, rows: ImportRows) -> None:
        from msgspec import json

        # Anonymous users have an id of another kind, which the dashboard asks for.
        id_attribute = None if self.prefix == "anonymous_user_data" else "uid"
        manifest = json.format(json.encode(rows.mapping(id_attribute=id_attribute)))
        with named("manifest_path", path, "written"):
            write_whole(file_to_write(path, "manifest_path"), manifest)

    def _report(self, files: list[WrittenFile], rows: ImportRows) -> None:
        for finding in rows.name_warnings:
            self.log.warning("attributes: %s (%s)", finding.message, finding.code)
        for column, kinds in rows.mixed.items():
            self.log.warning("%s: mixed types (%s), but MoEngage expects one", column, ", ".join(kinds))
        for file in files:
            self.log.info("%s: %d rows, %d bytes", file.file_name, file.rows, file.bytes)
        if not files:
            self.log.info("The query has no rows: no file was written")

    def _check_columns(self) -> None:
        non_empty("id_column", self.id_column, "the column with the user's id")
        if self.import_type == "EVENTS":
            non_empty("time_column", self.time_column, "the column with the time of the event")
            if self.time_column == self.id_column:
                raise ValueError("time_column: expected a different column from id_column")
        elif self.time_column is not None:
            raise ValueError("time_column: only for EVENTS; include a user's date in attributes")
        check_attributes("attributes", self.attributes)

    def _check_templated(self, *, are_rendered: bool) -> None:
        def is_known(value: object) -> bool:
            return are_rendered or not is_unresolved(value)

        for name in ("sql", "conn_id"):
            value = getattr(self, name)
            if is_known(value):
                non_empty(name, value)
        check_parsed_project(self.project_code)
        if is_known(self.folder):
            check_folder(self.folder)
        if is_known(self.prefix):
            check_prefix(self.prefix)
            if self.import_type == "EVENTS" and self.prefix in _PREFIXES_OF_USERS:
                raise ValueError(
                    f"prefix {self.prefix!r}: not supported for EVENTS, whose file names begin with the"
                    " event's name"
                )
        if self.manifest_path is not None and is_known(self.manifest_path):
            check_manifest_path(self.manifest_path, self.folder)
        if is_known(self.max_file_bytes):
            whole("max_file_bytes", self.max_file_bytes, 1, LARGEST_FILE)
        if is_known(self.fetch_size):
            rows_at_once(self.fetch_size)


class _InvalidRows:
    """The rows that cannot be written: their number, and what is wrong with the first of them."""

    _MOST_LISTED = 20
    _MOST_MESSAGES = 3

    def __init__(self) -> None:
        self.count = 0
        self._listed: list[str] = []

    def add(self, position: int, findings: list[Finding]) -> None:
        self.count += 1
        if len(self._listed) < self._MOST_LISTED:
            messages = [finding.message for finding in findings if not finding.is_warning]
            more = "; ..." if len(messages) > self._MOST_MESSAGES else ""
            self._listed.append(f"position {position}: {'; '.join(messages[: self._MOST_MESSAGES])}{more}")

    def message(self, *, of: int) -> str:
        listed = "\n".join(self._listed)
        more = f"\nand {self.count - len(self._listed):,} more" if self.count > len(self._listed) else ""
        return (
            f"{self.count:,} of {of:,} rows cannot be written, so no file was created. Fix them in the query or"
            f" exclude them. Positions count from 0.\n{listed}{more}"
        )
