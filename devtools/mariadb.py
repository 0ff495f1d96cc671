"""A MariaDB server for the tests: Debian's ``mariadbd``, on loopback, with data of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

IS_INSTALLED = all(map(shutil.which, ("mariadbd", "mariadb-install-db")))
"""Whether Debian's package ``mariadb-server`` is installed. ``make mariadb`` installs it when it runs as root."""

_SERVER_USER = "mysql"
_SECONDS_TO_START = 30.0
_SECONDS_TO_STOP = 5
_PORTS_TO_TRY = 3


@dataclass(frozen=True, slots=True)
class MariaDB:
    """A running server.

    :param port: on 127.0.0.1; user ``root`` has no password, and has all privileges.
    :param certificate: PEM file of the CA that signed the server's certificate; None without TLS.
    """

    port: int
    certificate: Path | None = None


@contextmanager
def mariadb_server(*options: str, tls: bool = False) -> Iterator[MariaDB]:
    """Run a server and yield it.

    :param options: additional options for ``mariadbd``, such as ``--default-time-zone=+05:30``.
    :param tls: give it a certificate, and refuse connections without TLS.
    :raises RuntimeError: if it does not accept connections, after 30 seconds, on three ports.
    """
    home = Path(tempfile.mkdtemp(prefix="mariadb-of-the-tests-"))
    home.chmod(0o755)
    data, temporary = home / "data", home / "tmp"
    data.mkdir()
    temporary.mkdir()
    # A server that starts removes other servers' temporary tables from a folder that they share.
    environment = {**os.environ, "TMPDIR": str(temporary)}
    as_user: list[str] = []
    if os.geteuid() == 0:  # mariadbd refuses to run as root
        as_user = [f"--user={_SERVER_USER}"]
        for folder in (data, temporary):
            os.chown(folder, pwd.getpwnam(_SERVER_USER).pw_uid, -1)
    certificate = _make_certificate(home) if tls else None
    secured = (
        [
            f"--ssl-ca={home}/ca.pem",
            f"--ssl-cert={home}/server.pem",
            f"--ssl-key={home}/server.key",
            "--require-secure-transport=on",
        ]
        if tls
        else []
    )
    process = None
    try:
        shared = ["--no-defaults", f"--datadir={data}", *as_user]
        first = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(["mariadb-install-db", *shared, *first], check=True, capture_output=True, env=environment)
        for _ in range(_PORTS_TO_TRY):  # another process may take the port before the server does
            port = _free_port()
            with (home / "server.log").open("wb") as log:
                process = subprocess.Popen(
                    [
                        *("mariadbd", *shared, *secured, f"--port={port}", "--bind-address=127.0.0.1"),
                        *(f"--socket={data}/socket", f"--pid-file={data}/pid", "--skip-name-resolve"),
                        *("--character-set-server=utf8mb4", "--innodb-flush-log-at-trx-commit=0", *options),
                    ],
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                )
            if _is_ready(process, port, data):
                break
        else:
            end = (home / "server.log").read_text()[-2000:]
            raise RuntimeError(f"mariadbd does not accept connections; the end of its log: {end}")
        yield MariaDB(port, certificate)
    finally:
        if process is not None:
            _stop(process)
        shutil.rmtree(home, ignore_errors=True)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for _ in range(_SECONDS_TO_STOP):
        process.send_signal(signal.SIGTERM)  # again, because a server that has just started may miss it
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)
            return
    process.kill()
    process.wait()


def _make_certificate(home: Path) -> Path:
    """Create a CA, and a certificate for 127.0.0.1 signed by it."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=home, check=True, capture_output=True)

    (home / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    new_key = ("-newkey", "rsa:2048", "-nodes")
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Tests")
    openssl("req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    signed_by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
    openssl(
        "x509", "-req", "-in", "server.csr", *signed_by, "-out", "server.pem", "-days", "2", "-extfile", "names"
    )
    (home / "server.key").chmod(0o644)  # the server's user reads it
    return home / "ca.pem"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _is_ready(process: subprocess.Popen[bytes], port: int, data: Path) -> bool:
    """Wait for a server; return whether it accepts connections, rather than another one on the same port."""
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as connection:
            # The server writes the file after it has taken the port.
            if (data / "pid").exists() and connection.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)  # the server is another process, which signals nothing when it is ready
    if process.poll() is None:
        process.kill()
        process.wait()
    return False
