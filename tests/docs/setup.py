"""What the pages assume: a warehouse with rows, files, a third-party HTTP API, and a shell.

The shell's commands install nothing, always end, and do not wait.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.docs.blocks import PROJECT


def make_warehouse(file: Path) -> None:
    """Create the tables that pages select from, with a row per quarter of an hour for three days."""
    began = datetime.now(UTC) - timedelta(days=3)
    moments = [f"{began + timedelta(minutes=15 * number):%Y-%m-%d %H:%M:%S}" for number in range(288)]
    tables = {
        "customers": "user_id, customer_id, email, city, tier, last_order_at, updated_at",
        "orders": "order_id, user_id, customer_id, total, currency, purchased_at, ordered_at, app_os, updated_at",
        "purchases": "order_id, user_id, total, purchased_at, updated_at",
        "app_events": "user_id, event_name, happened_at, screen",
        "android_devices": "user_id, device_id, push_token",
        "users": "user_id, tier, shop, updated_at",
        "closed_accounts": "user_id, closed_at",
        "erasure_requests": "user_id, email, state",
    }
    values = {"email": "'a' || n || '@example.com'", "total": "n + 0.5", "app_os": "'ANDROID'", "order_id": "n"}
    values |= {
        "state": "'approved'",
        "currency": "'EUR'",
        "shop": "'north'",
        "tier": "'gold'",
        "city": "'Bern'",
        "screen": "'home'",
    }
    with contextlib.closing(sqlite3.connect(file)) as warehouse, warehouse:
        warehouse.execute("CREATE TABLE moments (n, at)")
        warehouse.executemany("INSERT INTO moments VALUES (?, ?)", enumerate(moments))
        for table, columns in tables.items():
            chosen = [
                f"{values.get(name, 'at' if name.endswith('_at') else repr(name + '-') + ' || n')} AS {name}"
                for name in columns.split(", ")
            ]
            warehouse.execute(f"CREATE TABLE {table} AS SELECT {', '.join(chosen)} FROM moments")


def put_files(folder: Path, storage: Path) -> None:
    """Write the files that pages read."""
    customer = {"type": "customer", "customer_id": "u-001", "attributes": {"tier": "gold"}}
    line = json.dumps(customer) + "\n"
    places = [folder / "export" / name for name in ("customers.ndjson", "events.ndjson")]
    places += [storage / "moengage" / "rejects" / "fixed.ndjson"]
    places += [storage / "export" / "users-1.ndjson"]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(line)
    meta = {"moengage": {"customer_id": "user_id", "attributes": {"u_em": "email"}}}
    model = {"resource_type": "model", "name": "customers", "relation_name": "customers", "config": {"meta": meta}}
    (folder / "target").mkdir()
    (folder / "target" / "manifest.json").write_text(json.dumps({"nodes": {"model.shop.customers": model}}))


@contextlib.contextmanager
def crm() -> Iterator[str]:
    """Serve a third-party HTTP API."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps([{"id": "u-001", "tier": "gold"}]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def put_commands(folder: Path, home: Path, speed: int) -> None:
    """Write the stand-ins for commands. They shadow the real ones if the folder is first in PATH.

    :param home: folder with the socket of the process that runs `airflow`.
    :param speed: how many times faster the emulator's clock runs.
    """
    folder.mkdir()
    for name, text in _COMMANDS.items():
        file = folder / name
        file.write_text(text.format(python=sys.executable, home=home, project=PROJECT, speed=speed))
        file.chmod(0o755)


_COMMANDS = dict.fromkeys(
    ("airflow", "moengage-emulator"),
    """#!{python}
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as caller:
    caller.connect("{home}/airflow.sock")
    stream = caller.makefile("rw")
    names = [name for name in os.environ if name.startswith("AIRFLOW_")]
    argv = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
    asked = dict(argv=argv, environment=dict((name, os.environ[name]) for name in names))
    stream.write(json.dumps(asked) + "\\n")
    stream.flush()
    code, said = json.loads(stream.readline())
sys.stdout.write(said)
sys.exit(code)
""",
)
_COMMANDS |= {
    "pip": """#!{python}
import sys, tomllib
from packaging.requirements import Requirement
project = tomllib.load(open("{project}/pyproject.toml", "rb"))["project"]
command, *wanted = sys.argv[1:]
assert command in ("install", "wheel"), command
if command == "wheel":
    assert wanted[-1] == "."
    sys.exit()
for text in wanted:
    if text.startswith("-") or text == ".":  # a clone of this repository
        continue
    requirement = Requirement(text)
    if requirement.name == project["name"]:
        assert requirement.extras <= set(project["optional-dependencies"]), text
    else:
        assert requirement.name.startswith("apache-airflow"), text
""",
    "docker": """#!/bin/sh
case "$1 $2" in
"compose --file" | "build --file") [ -e "{project}/$3" ] ;;
"run --rm") ;;
*) exit 1 ;;
esac
""",
    "make": """#!/bin/sh
exec /usr/bin/make -n -s -C {project} "$@" >/dev/null
""",
    "curl": """#!/bin/sh
case "$*" in
*/_emulator/*) exec /usr/bin/curl --fail --show-error "$@" ;;
*) exec /usr/bin/curl "$@" ;;
esac
""",
    "sleep": """#!{python}
import sys, time
time.sleep(float(sys.argv[1]) / {speed})
""",
    "moengage": """#!/bin/sh
exec {python} -m airflow_provider_moengage.command "$@"
""",
    "python": """#!/bin/sh
exec {python} "$@"
""",
    "python3": """#!/bin/sh
case "$*" in
"-m venv "*) mkdir -p "$3/bin" && : >"$3/bin/activate" ;;
*) exec {python} "$@" ;;
esac
""",
}
