"""Measures everything and prints one table: `make bench`, or `python -m benchmarks --only encode,memory`.

Each part runs in its own process. Parts that need the whole machine run alone; parts that mostly wait run next to
the long measurement of memory, which counts bytes. A run of all parts also writes the table and the plot into the
documentation. A missed target is reported but does not fail the run, because timings depend on the machine.
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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from itertools import chain
from pathlib import Path

from benchmarks.table import Row, as_markdown, as_text

PARTS = (
    *("encode", "end_to_end", "pacing", "changed", "memory", "databases", "imports", "polling", "sharing"),
    *("erasing", "scale"),
)
"""In the order of the table."""

STAGES = (
    (("encode",),),
    (("end_to_end",),),
    (("changed",),),
    (("memory",), ("imports", "pacing", "polling", "erasing")),
    (("databases",),),
    (("sharing",),),
    (("scale",),),
)
"""Stages run one after the other; the lists of parts within a stage run at the same time."""

_ROOT = Path(__file__).parent.parent
_TABLE = _ROOT / "docs" / "reference" / "performance-table.md"
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
    print(f"\n{_machine()}; {took / 60:.1f} minutes\n\n{as_text(rows)}")
    if set(chosen) == set(PARTS):
        _write(rows, took)


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
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--part", part],
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        check=False,
    )
    print(f"{part}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    if done.returncode:
        return [Row(part, "everything", "failed, see above", is_met=False)]
    [line] = [line for line in done.stdout.splitlines() if line.startswith("ROWS ")]
    return [Row(**fields) for fields in json.loads(line.removeprefix("ROWS "))]


def _write(rows: Sequence[Row], seconds: float) -> None:
    from benchmarks import encode, end_to_end, memory, plot

    introduction = (
        "# Measured performance\n\n<!-- Written by `make bench`. -->\n\n"
        f"Measured by `make bench` in {seconds / 60:.0f} minutes: {_machine()}."
    )
    _TABLE.write_text(as_markdown(rows, introduction))
    _PLOT.parent.mkdir(exist_ok=True)
    customers = [row for row in rows if row.group != encode.GROUP or row.what.startswith("customers")]
    _PLOT.write_text(plot.as_svg(customers, (encode.GROUP, end_to_end.GROUP, memory.GROUP)))
    print(f"Written: {_TABLE.relative_to(_ROOT)}, {_PLOT.relative_to(_ROOT)}")


def _machine() -> str:
    names = ("apache-airflow", "msgspec", "orjson", "requests")
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
