"""Syncs that are killed with SIGKILL at random moments, over and over, and still deliver everything.

A sync of 200,000 rows runs as a task of a Dag against the emulator, which is slow, throttles (429), fails (503
before it takes a request in, 502 after), cuts connections (before and after) and lets requests hang. The task's
process is killed, Airflow makes another try, and so on, until one comes to its end. Then it must hold:

- every element has arrived or is a reject; the report's accepted and rejected are the rows of the source, once;
- at_least_once: what arrived twice was on its way at a kill, at most as many requests a kill as there are lanes,
  or its answer was lost by an injected fault; at_most_once: nothing arrived twice, and what nobody knows the
  outcome of is among the rejects;
- each user's elements have arrived in the order of the source;
- each reject, by validation or by the server, is in the rejects file once.

What is real: the metadata database with its task state store, the API server, the executor's code and its
supervisor, the forked process with the task runner, the Dag files, HTTP, SIGKILL. What is not: MoEngage; and the
scheduler, whose part between two tries (next try number, scheduled, queued) the harness takes, for it would take
many seconds a try. One more sync runs under `airflow standalone`, where all of it is Airflow's own.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from chaos.configurations import CONCURRENCY, CONFIGURATIONS, Configuration, Scene
from chaos.deployment import Tries, deployment
from chaos.killing import Sync
from chaos.standalone import under_a_scheduler
from chaos.verdict import Verdict
from chaos.workspace import Workspace, emulator

_KILLS_A_RUN = (6, 10)


def main() -> int:
    """Run it; return 0 where everything holds."""
    options = _options()
    seed = random.SystemRandom().randrange(2**31) if options.seed is None else options.seed
    print(
        f"seed {seed}: {options.kills} kills, {options.rows:,} rows (--seed {seed} repeats the moments)",
        flush=True,
    )
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("ended"))
    folder = Path(tempfile.mkdtemp(prefix="moengage-chaos-"))
    scene = Scene(str(folder), options.rows)
    configurations = [each for each in CONFIGURATIONS if options.only in each.name]
    rows: list[tuple[str, Verdict]] = []
    began = time.monotonic()
    try:
        _write_sources(scene, seed)
        with emulator() as workspace:
            if options.standalone:
                _say("airflow standalone ...")
                verdict = under_a_scheduler(scene, workspace, options.standalone, seed, _say)
                rows.append(("airflow standalone", verdict))
                for problem in verdict.problems:
                    _say(f"airflow standalone: {problem}")
            if options.kills:
                with deployment(scene, workspace) as tries:
                    _say(f"Airflow is there after {time.monotonic() - began:.0f} s")
                    shares = _shares(options.kills, len(configurations))
                    for configuration, kills in zip(configurations, shares, strict=True):
                        verdict = _runs(configuration, kills, seed, scene, workspace, tries)
                        rows.append((configuration.name, verdict))
    except KeyboardInterrupt:
        print("interrupted")
        return 130
    finally:
        failed = any(verdict.problems for _, verdict in rows)
        if options.keep or failed:
            print(f"everything is kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    _print_table(rows, time.monotonic() - began)
    return int(any(verdict.problems for _, verdict in rows))


def _runs(
    configuration: Configuration, kills: int, seed: int, scene: Scene, workspace: Workspace, tries: Tries
) -> Verdict:
    """Make as many runs as it takes to kill so often."""
    chance = random.Random(f"{seed} {configuration.name}")
    sync = Sync(configuration, scene, workspace, tries, chance, _say)
    total = Verdict()
    while total.kills < kills:
        verdict = sync.run(min(kills - total.kills, chance.randint(*_KILLS_A_RUN)))
        for problem in verdict.problems:
            _say(f"{configuration.name}: {problem}")
        total.add(verdict)
        if verdict.problems:
            break
    return total


def _shares(kills: int, number: int) -> list[int]:
    return [kills // number + (at < kills % number) for at in range(number)]


def _write_sources(scene: Scene, seed: int) -> None:
    by_source = {configuration.source: configuration for configuration in CONFIGURATIONS}
    scene.source(by_source["lines"]).write_lines(scene.lines)
    scene.source(by_source["sql"]).write_table(scene.warehouse, seed)


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
    "doubled": "doubled",
    "seconds": "seconds",
}


_LEGEND = """
lost, missing, doubled: elements. disorder: elements that arrived after a later one of the same user.
twice: arrivals of elements that had arrived before; by faults, by kills: why (at_most_once: why the outcome is
unknown). worst: accepted requests that one kill has left open."""


def _print_table(rows: list[tuple[str, Verdict]], seconds: float) -> None:
    print()
    print(f"{'':28}" + "".join(f"  {head}" for head in _COLUMNS.values()) + "  holds")
    for name, verdict in rows:
        cells = "".join(f"  {getattr(verdict, field):>{len(head)},.0f}" for field, head in _COLUMNS.items())
        print(f"{name:28}{cells}  {'NO' if verdict.problems else 'yes':>5}")
    print(f"\n{sum(verdict.kills for _, verdict in rows)} kills in {seconds:.0f} s.{_LEGEND}")


def _say(line: str) -> None:
    print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="kills over all configurations")
    parser.add_argument("--standalone", type=int, default=3, help="kills of one sync under airflow standalone")
    parser.add_argument("--rows", type=int, default=200_000, help="rows of each source")
    parser.add_argument("--seed", type=int, help="of moments and faults; a new one each time")
    parser.add_argument("--only", default="", help="configurations whose name contains this")
    parser.add_argument("--keep", action="store_true", help="keep databases, logs and files")
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    sys.exit(main())
