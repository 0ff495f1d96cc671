"""A StatsD server on loopback that keeps everything it receives."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


class StatsD:
    """The lines that have arrived, in order."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.lines: list[str] = []

    @property
    def settings(self) -> dict[str, str]:
        """Settings that make an Airflow send its metrics here, with tags in InfluxDB's format."""
        options = {"statsd_on": "True", "statsd_host": "127.0.0.1", "statsd_port": str(self.port)}
        options |= {"statsd_prefix": "airflow", "statsd_influxdb_enabled": "True"}
        return {f"AIRFLOW__METRICS__{name.upper()}": value for name, value in options.items()}

    @property
    def ours(self) -> list[tuple[str, str, str, dict[str, str]]]:
        """Name, value, type and tags of each metric of the package."""
        figures = []
        for line in list(self.lines):
            name, _, rest = line.partition(":")
            name, *tags = name.removeprefix("airflow.").split(",")
            value, kind = rest.split("|")[:2]
            if name.startswith("moengage."):
                figures.append((name, value, kind, dict(tag.split("=", 1) for tag in tags)))
        return figures

    def sum_of(self, name: str, **tags: str) -> float:
        """Return the total of a counter or a timer."""
        found = [float(value) for each, value, _, has in self.ours if each == name and tags.items() <= has.items()]
        assert found, f"no {name} with {tags} in {self.ours}"
        return sum(found)

    def last_of(self, name: str, **tags: str) -> float:
        """Return the last value of a gauge."""
        found = [float(value) for each, value, _, has in self.ours if each == name and tags.items() <= has.items()]
        assert found, f"no {name} with {tags} in {self.ours}"
        return found[-1]


@contextmanager
def statsd_server() -> Iterator[StatsD]:
    """Listen on a free port of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0.1)
        server = StatsD(listener.getsockname()[1])
        is_over = threading.Event()

        def listen() -> None:
            while True:
                try:
                    server.lines.extend(listener.recv(65_536).decode().splitlines())
                except TimeoutError:
                    if is_over.is_set():
                        return

        thread = threading.Thread(target=listen, name="statsd", daemon=True)
        thread.start()
        try:
            yield server
        finally:
            is_over.set()
            thread.join()


def send_stats_to(server: StatsD, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process's Stats send to a server, as `[metrics] statsd_on` does in a worker."""
    from statsd import StatsClient

    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", "True")
    client = StatsClient("127.0.0.1", server.port, prefix="airflow")
    if find_spec("airflow.sdk") is not None and find_spec("airflow.sdk.observability") is not None:
        stats = import_module("airflow.sdk._shared.observability.metrics.stats")
        loggers = import_module("airflow.sdk._shared.observability.metrics.statsd_logger")
        logger = loggers.SafeStatsdLogger(client, influxdb_tags_enabled=True, statsd_influxdb_enabled=True)
        if hasattr(stats, "_backend"):
            monkeypatch.setattr(stats, "_backend", logger)
        else:  # Airflow 3.2
            monkeypatch.setattr(stats.Stats, "instance", logger)
            monkeypatch.setattr(stats.Stats, "_instance_pid", os.getpid())
        return
    from airflow.stats import Stats

    loggers = import_module("airflow.metrics.statsd_logger")
    monkeypatch.setattr(Stats, "instance", loggers.SafeStatsdLogger(client, influxdb_tags_enabled=True))
    monkeypatch.setattr(Stats, "_instance_pid", os.getpid(), raising=False)
