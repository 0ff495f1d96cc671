"""What is run: each pair of checkpoint store and delivery guarantee, with several kinds of sources."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chaos.source import Source
from devtools import mariadb

_VARIABLE = "MOENGAGE_CHAOS"

CONCURRENCY = 4


@dataclass(frozen=True)
class Configuration:
    """A Dag of one task.

    :param source: a query of ``sqlite``, ``mariadb`` or ``duckdb``; ``lines`` (an NDJSON file) or ``list``;
        ``changed``: only the changed rows of a table that changes before each try; ``segment``: the members of a
        segment, of such a table.
    :param store: ``state`` (Airflow's state store) or ``file``; of ``changed``, the option ``on_removed``;
        of ``segment``, the option ``mode``.
    :param delivery: the operator's option.
    """

    source: str
    store: str
    delivery: str

    @property
    def name(self) -> str:
        """The Dag's id."""
        return f"{self.source}-{self.store}-{self.delivery}"

    @property
    def is_query(self) -> bool:
        """Whether it reads a database."""
        return self.source in ("sqlite", "mariadb", "duckdb")

    @property
    def is_changed_only(self) -> bool:
        """Whether it sends only what has changed since the last run."""
        return self.source in ("changed", "segment")

    @property
    def why_not(self) -> str | None:
        """Why its database cannot run here."""
        drivers = {
            "mariadb": ("MySQLdb", "airflow.providers.mysql"),
            "duckdb": ("duckdb", "airflow.providers.duckdb"),
        }
        if self.source == "mariadb" and not mariadb.IS_INSTALLED:
            return "mariadbd is not installed (make databases)"
        missing = [name for name in drivers.get(self.source, ()) if find_spec(name) is None]
        return f"{missing[0]} is not installed (make databases)" if missing else None

    @property
    def is_at_most_once(self) -> bool:
        """Whether nothing may arrive twice."""
        return self.delivery == "at_most_once"


CONFIGURATIONS = (
    Configuration("sqlite", "state", "at_least_once"),
    Configuration("sqlite", "file", "at_most_once"),
    Configuration("mariadb", "state", "at_least_once"),
    Configuration("duckdb", "state", "at_least_once"),
    Configuration("lines", "file", "at_least_once"),
    Configuration("lines", "state", "at_most_once"),
    Configuration("list", "state", "at_least_once"),
    Configuration("list", "file", "at_most_once"),
    Configuration("changed", "keep", "at_least_once"),
    Configuration("changed", "unset", "at_least_once"),
    Configuration("changed", "delete", "at_least_once"),
    Configuration("segment", "mirror", "at_least_once"),
)


@dataclass(frozen=True)
class Setup:
    """What the Dags need to know about the harness. Their processes get it in the environment.

    :param folder: the harness's working folder.
    :param rows: number of rows in each source.
    :param mariadb_port: of the MariaDB server; None if there is none.
    """

    folder: str
    rows: int
    mariadb_port: int | None = None

    @classmethod
    def current(cls) -> Setup:
        """Return the setup of this process."""
        return cls(**json.loads(os.environ[_VARIABLE]))

    @property
    def environment(self) -> dict[str, str]:
        """The environment variable that passes it to another process."""
        return {_VARIABLE: json.dumps(asdict(self))}

    @property
    def lines(self) -> Path:
        """The NDJSON file."""
        return Path(self.folder) / "elements.ndjson"

    @property
    def connections(self) -> dict[str, str]:
        """The Airflow connections to the databases, as JSON, by the name of the source."""
        connections: dict[str, dict[str, Any]] = {
            "sqlite": {"conn_type": "sqlite", "host": str(self.warehouse("sqlite"))},
            "changed": {"conn_type": "sqlite", "host": str(self.warehouse("changed"))},
            "segment": {"conn_type": "sqlite", "host": str(self.warehouse("segment"))},
            "duckdb": {"conn_type": "duckdb", "host": str(self.warehouse("duckdb"))},
            "mariadb": {
                "conn_type": "mysql",
                "host": "127.0.0.1",
                "port": self.mariadb_port,
                "login": "root",
                "schema": "warehouse",
            },
        }
        return {source: json.dumps(connection) for source, connection in connections.items()}

    def warehouse(self, source: str) -> Path:
        """Return the file of a database."""
        return Path(self.folder) / f"warehouse.{source}"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints in files."""
        return Path(self.folder) / "checkpoints"

    @property
    def start_file(self) -> Path:
        """The file that a task writes when it starts; it holds the process id."""
        return Path(self.folder) / "started"

    @property
    def changes(self) -> Path:
        """The folder of the states of syncs that send only changed rows."""
        return Path(self.folder) / "changes"

    def rejects(self, configuration: Configuration) -> Path:
        """Return the folder of a configuration's rejects."""
        return Path(self.folder) / "rejects" / configuration.name

    def source(self, configuration: Configuration) -> Source:
        """Return what a configuration syncs."""
        return Source(self.rows, 2 if configuration.is_query else 1)
