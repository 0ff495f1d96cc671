"""Measures all and prints two tables, speed and scale: `make bench`, or `python -m benchmarks --only encode`.

Each part runs in its own process. Parts that need the whole machine run alone; parts that mostly wait run next to
the long measurement of memory. A run of all parts also writes the tables and the plot into the documentation. A
missed target is reported but does not fail the run, because timings depend on the machine.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from itertools import chain
from pathlib import Path

from benchmarks.table import Row, as_markdown, as_text

PARTS = (
    *("encode", "end_to_end", "failures", "pacing", "changed", "databases", "imports", "polling"),
    *("sharing", "erasing", "campaigns", "memory", "scale"),
)
"""In the order of the tables."""

STAGES = (
    (("encode",),),
    (("end_to_end",),),
    (("changed",),),
    (("memory",), ("imports", "polling", "erasing", "campaigns"), ("pacing",), ("failures",)),
    (("databases",),),
    (("sharing",),),
    (("scale",),),
)
"""Stages run one after the other; the lists of parts within a stage run at the same time."""

_ROOT = Path(__file__).parent.parent
_REFERENCE = _ROOT / "docs" / "reference"
_PAGES = (
    ("performance-encoding.md", "Measured encoding", ("encode",)),
    ("performance-limits.md", "Measured limits", ("pacing", "polling", "sharing", "erasing", "campaigns")),
)
"""The pages of speed for some parts: file, title and parts. All other parts are on the page of performance."""
_TABLE = _REFERENCE / "performance-table.md"
_SCALE_TABLE = _REFERENCE / "performance-scale.md"
_PLOT = _ROOT / "docs" / "images" / "performance.svg"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(
            "ROWS",
            json.dumps([asdict(row) for row in importlib.import_module(f"benchmarks.{options.part}").rows()]),
        )
        return
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"--only {', '.join(sorted(unknown))}: expected some of {', '.join(PARTS)}")
    began = time.monotonic()
    found = _measured(chosen)
    rows = [row for part in PARTS for row in found.get(part, ())]
    took = time.monotonic() - began
    print(f"\n{_machine()}; {took / 60:.1f} minutes\n\n{as_text(_speed(rows))}")
    if scale := _scale(rows):
        print(as_text(scale))
    if set(chosen) == set(PARTS):
        _write(found, took)


def _speed(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row.group.startswith("Scale")]


def _scale(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.group.startswith("Scale")]


def _measured(chosen: Sequence[str]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}

    def one_by_one(parts: Sequence[str]) -> None:
        for part in parts:
            if part in chosen:
                found[part] = _rows_of(part)

    for stage in STAGES:
        with ThreadPoolExecutor(len(stage)) as pool:
            list(pool.map(one_by_one, stage))
    return found


def _rows_of(part: str) -> list[Row]:
    """Measure a part in its own process. A failure becomes a row of the table."""
    began = time.monotonic()
    print(f"{part} ...", file=sys.stderr)
    command = [sys.executable, "-m", "benchmarks", "--part", part]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    cpu = used.ru_utime + used.ru_stime
    print(f"{part}: {time.monotonic() - began:.0f} s, {cpu:.0f} s of CPU", file=sys.stderr)
    if process.returncode:
        return [Row(part, "everything", "failed, see above", is_met=False)]
    [line] = [line for line in output.splitlines() if line.startswith("ROWS ")]
    return [Row(**fields) for fields in json.loads(line.removeprefix("ROWS "))]


def _write(found: Mapping[str, Sequence[Row]], seconds: float) -> None:
    from benchmarks import encode, end_to_end, memory, plot

    head = "# {}\n\n<!-- Written by `make bench`. -->\n\n{}"
    measured = f"Measured by `make bench` in {seconds / 60:.0f} minutes: {_machine()}."
    same_run = f"From the same run as [whole tasks]({_TABLE.name})."
    rows = [row for part in PARTS for row in found[part]]
    elsewhere = {part for _, _, parts in _PAGES for part in parts}
    others = [part for part in PARTS if part not in elsewhere]
    for name, title, parts in (*_PAGES, (_TABLE.name, "Measured performance", others)):
        speed = _speed([row for part in parts for row in found[part]])
        by = measured if name == _TABLE.name else same_run
        (_REFERENCE / name).write_text(as_markdown(speed, head.format(title, by)))
    _SCALE_TABLE.write_text(as_markdown(_scale(rows), head.format("Measured scale", same_run)))
    _PLOT.parent.mkdir(exist_ok=True)
    customers = [row for row in rows if row.group != encode.GROUP or row.what.startswith("customers")]
    _PLOT.write_text(plot.as_svg(customers, (encode.GROUP, end_to_end.GROUP, memory.GROUP)))
    pages = [_REFERENCE / name for name, _, _ in _PAGES]
    print("Written:", *(path.relative_to(_ROOT) for path in (*pages, _TABLE, _SCALE_TABLE, _PLOT)))


def _machine() -> str:
    names = ("apache-airflow", "dlt", "drt-core", "msgspec", "orjson", "requests")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{os.cpu_count()} cores ({_processor()}), Python {platform.python_version()}, {packages}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(chain(names, [platform.machine()]))


if __name__ == "__main__":
    main()
