"""What is run: each pair of checkpoint store and delivery guarantee, with two kinds of sources."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from chaos.source import Source

_VARIABLE = "MOENGAGE_CHAOS"

CONCURRENCY = 4


@dataclass(frozen=True)
class Configuration:
    """A Dag of one task.

    :param source: ``sql``, ``lines`` (an NDJSON file) or ``list``.
    :param store: ``state`` (Airflow's state store) or ``file``.
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
    def is_at_most_once(self) -> bool:
        """Whether nothing may arrive twice."""
        return self.delivery == "at_most_once"


CONFIGURATIONS = (
    Configuration("sql", "state", "at_least_once"),
    Configuration("sql", "file", "at_most_once"),
    Configuration("lines", "file", "at_least_once"),
    Configuration("lines", "state", "at_most_once"),
    Configuration("list", "state", "at_least_once"),
    Configuration("list", "file", "at_most_once"),
)


@dataclass(frozen=True)
class Setup:
    """What the Dags need to know about the harness. Their processes get it in the environment.

    :param folder: the harness's working folder.
    :param rows: number of rows in each source.
    """

    folder: str
    rows: int

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
    def warehouse(self) -> Path:
        """The SQLite file."""
        return Path(self.folder) / "warehouse.db"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints in files."""
        return Path(self.folder) / "checkpoints"

    @property
    def start_file(self) -> Path:
        """The file that a task writes when it starts; it holds the process id."""
        return Path(self.folder) / "started"

    def rejects(self, configuration: Configuration) -> Path:
        """Return the folder of a configuration's rejects."""
        return Path(self.folder) / "rejects" / configuration.name

    def source(self, configuration: Configuration) -> Source:
        """Return what a configuration syncs."""
        return Source(self.rows, 2 if configuration.source == "sql" else 1)
