"""The servers that tests start, each on a port of its own, also when test workers start them at once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from devtools import mariadb, postgres


@pytest.mark.skipif(not mariadb.IS_INSTALLED, reason="mariadbd is not installed: make mariadb")
def test_a_server_whose_port_another_process_has_taken_starts_on_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken: int = other.getsockname()[1]
        ports: Iterator[int] = iter([taken, mariadb._free_port()])
        monkeypatch.setattr(mariadb, "_free_port", lambda: next(ports))

        with mariadb.mariadb_server() as server:
            assert server.port != taken
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                assert b"MariaDB" in connection.recv(100)


@pytest.mark.skipif(not mariadb.IS_INSTALLED, reason="mariadbd is not installed: make mariadb")
def test_servers_that_start_at_once_do_not_remove_each_others_files() -> None:
    def start(_: int) -> None:
        with mariadb.mariadb_server():
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, range(4)))


def test_a_postgresql_server_does_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken: int = other.getsockname()[1]
        ports: Iterator[int] = iter([taken, postgres._free_port()])
        monkeypatch.setattr(postgres, "_free_port", lambda: next(ports))

        with postgres.postgres_server() as port:
            assert port != taken
            socket.create_connection(("127.0.0.1", port)).close()
