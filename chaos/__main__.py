"""Syncs that are repeatedly killed with SIGKILL at random times, and still deliver everything.

A sync of 200,000 rows runs as a task of a Dag against the emulator, which is slow, throttles (429), fails (503
before it accepts a request, 502 after), cuts connections (before and after) and lets requests hang. The task's
process is killed, Airflow retries it, and so on, until a try ends by itself. Then these must hold:

- each element has arrived or was rejected; the report counts each element of the source once;
- at_least_once: what arrived twice was in flight at a kill (at most one request for each lane and kill), or its
  answer was lost by an injected fault; at_most_once: nothing arrived twice, and elements with an unknown outcome
  are among the rejects;
- each user's elements have arrived in the order of the source;
- each reject, by validation or by the server, is in the rejects file once.

The syncs that send only changed rows read a table that changes before each try: rows are added, changed, changed
back and removed. After each run that succeeds, MoEngage has exactly what the table has. A user whose row has left
stays, has lost the attributes, or is deleted, as `on_removed` says; nobody whose row is there was removed; and a
user who has not changed was sent again only if the request was in flight at a kill, or its answer was lost.

A segment that mirrors such a table has the members of the table after each run that succeeds.

What is real: the metadata database with its task state store, the API server, the executor's code and its
supervisor, the forked process with the task runner, the Dag files, HTTP, SIGKILL. What is not: MoEngage, and the
scheduler. The harness does its part between two tries (next try number, scheduled, queued), because the scheduler
would take many seconds for each. One more sync runs under `airflow standalone`, with its own scheduler.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Collection
from contextlib import ExitStack, closing
from pathlib import Path

from chaos.changing.segment import SegmentSync
from chaos.changing.sync import ChangedOnlySync
from chaos.configurations import CONCURRENCY, CONFIGURATIONS, Configuration, Setup
from chaos.deployment import TryRunner, deployment
from chaos.killing import Sync
from chaos.result import RunResult
from chaos.standalone import under_a_scheduler
from chaos.workspace import Workspace, emulator
from devtools.mariadb import mariadb_server

_KILLS_A_RUN = (6, 10)


def main() -> int:
    """Run it; return 0 if everything holds."""
    options = _options()
    seed = random.SystemRandom().randrange(2**31) if options.seed is None else options.seed
    print(
        f"seed {seed}: {options.kills} kills, {options.rows:,} rows (--seed {seed} repeats the kill times)",
        flush=True,
    )
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("terminated"))
    folder = Path(tempfile.mkdtemp(prefix="moengage-chaos-"))
    wanted = [each for each in CONFIGURATIONS if options.only in each.name]
    configurations = [each for each in wanted if each.why_not is None]
    for configuration in wanted:
        if configuration.why_not is not None:
            print(f"{configuration.name} is left out: {configuration.why_not}", flush=True)
    rows: list[tuple[str, RunResult]] = []
    began = time.monotonic()
    try:
        with ExitStack() as servers, emulator() as workspace:
            port = None
            if any(each.source == "mariadb" for each in configurations):
                port = servers.enter_context(mariadb_server()).port
            setup = Setup(str(folder), options.rows, port)
            _write_sources(setup, {each.source for each in configurations} | {"sqlite", "lines"}, seed)
            if options.standalone:
                _print("airflow standalone ...")
                result = under_a_scheduler(setup, workspace, options.standalone, seed, _print)
                rows.append(("airflow standalone", result))
                for problem in result.problems:
                    _print(f"airflow standalone: {problem}")
            if options.kills:
                with deployment(setup, workspace) as runner:
                    _print(f"Airflow is ready after {time.monotonic() - began:.0f} s")
                    shares = _shares(options.kills, len(configurations))
                    for configuration, kills in zip(configurations, shares, strict=True):
                        result = _runs(configuration, kills, seed, setup, workspace, runner)
                        rows.append((configuration.name, result))
    except KeyboardInterrupt:
        print("interrupted")
        return 130
    finally:
        failed = any(result.problems for _, result in rows)
        if options.keep or failed:
            print(f"everything is in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    _print_table(rows, time.monotonic() - began)
    return int(any(result.problems for _, result in rows))


def _runs(
    configuration: Configuration, kills: int, seed: int, setup: Setup, workspace: Workspace, runner: TryRunner
) -> RunResult:
    """Make as many runs as it takes for that many kills."""
    generator = random.Random(f"{seed} {configuration.name}")
    kinds = {"changed": ChangedOnlySync, "segment": SegmentSync}
    sync = kinds.get(configuration.source, Sync)(configuration, setup, workspace, runner, generator, _print)
    total = RunResult()
    while total.kills < kills:
        result = sync.run(min(kills - total.kills, generator.randint(*_KILLS_A_RUN)))
        for problem in result.problems:
            _print(f"{configuration.name}: {problem}")
        total.add(result)
        if result.problems:
            break
    return total


def _shares(kills: int, number: int) -> list[int]:
    return [kills // number + (at < kills % number) for at in range(number)]


def _write_sources(setup: Setup, names: Collection[str], seed: int) -> None:
    by_name = {configuration.source: configuration for configuration in CONFIGURATIONS}
    for name in names:
        source = setup.source(by_name[name])
        if name == "lines":
            source.write_lines(setup.lines)
        elif name == "sqlite":
            with closing(sqlite3.connect(setup.warehouse(name))) as connection:
                source.write_table(connection, seed)
        elif name == "duckdb":
            import duckdb

            with closing(duckdb.connect(str(setup.warehouse(name)))) as connection:
                source.write_table(connection, seed)
        elif name == "mariadb":
            import MySQLdb

            with closing(MySQLdb.connect(host="127.0.0.1", port=setup.mariadb_port, user="root")) as connection:
                connection.cursor().execute("CREATE DATABASE warehouse")
                connection.select_db("warehouse")
                source.write_table(connection, seed, "%s", "VARCHAR(20) COLLATE utf8mb4_bin")


_COLUMNS = {
    "runs": "runs",
    "kills": "kills",
    "tries": "tries",
    "requests": "requests",
    "lost": "lost",
    "twice": "twice",
    "by_faults": "by faults",
    "by_kills": "by kills",
    "at_worst": f"worst (max {CONCURRENCY})",
    "unknown": "unknown",
    "disorder": "disorder",
    "rejects": "rejects",
    "missing": "missing",
    "duplicated": "duplicated",
    "seconds": "seconds",
}


_LEGEND = """
lost, missing, duplicated: elements. disorder: elements that arrived after a later one of the same user.
twice: arrivals of elements that had arrived before; by faults, by kills: the cause (at_most_once: the cause of an
unknown outcome). worst: largest number of accepted requests that one kill has left open."""


def _print_table(rows: list[tuple[str, RunResult]], seconds: float) -> None:
    print()
    print(f"{'':28}" + "".join(f"  {head}" for head in _COLUMNS.values()) + "  holds")
    for name, result in rows:
        cells = "".join(f"  {getattr(result, field):>{len(head)},.0f}" for field, head in _COLUMNS.items())
        print(f"{name:28}{cells}  {'NO' if result.problems else 'yes':>5}")
    print(f"\n{sum(result.kills for _, result in rows)} kills in {seconds:.0f} s.{_LEGEND}")


def _print(line: str) -> None:
    print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="kills, over all configurations")
    parser.add_argument("--standalone", type=int, default=3, help="kills of one sync under airflow standalone")
    parser.add_argument("--rows", type=int, default=200_000, help="rows of each source")
    parser.add_argument("--seed", type=int, help="seed of kill times and faults; a new one each time")
    parser.add_argument("--only", default="", help="configurations whose name contains this")
    parser.add_argument("--keep", action="store_true", help="keep databases, logs and files")
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    sys.exit(main())
