"""Runs the commands that it reads one after another in one process: starting Airflow takes seconds each time.

A line is a JSON list of words, or an object with the words as `command` and variables to set as `environment`.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

from airflow.__main__ import main

from tests.airflow.home import END


def run(command: list[str]) -> int:
    """Run a command of Airflow; return its exit code."""
    sys.argv = ["airflow", *command]
    try:
        main()  # type: ignore[no-untyped-call, unused-ignore]  # Airflow's
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # Airflow 2's `dags test` lets that of a terminated task through
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    for line in sys.stdin:
        given = json.loads(line)
        if isinstance(given, dict):
            os.environ.update(given["environment"])
            given = given["command"]
        code = run(given)
        sys.stderr.flush()
        print(f"\n{END}{code}", flush=True)
