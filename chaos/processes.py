"""Ends the processes of the harness with all their descendants."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

import psutil


def end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """End a process and its descendants: a task process has a process group of its own."""
    with contextlib.suppress(psutil.Error):
        descendants = psutil.Process(process.pid).children(recursive=True)
        for each in descendants:
            with contextlib.suppress(psutil.Error):
                each.kill()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
    if process.stdout is not None:
        process.stdout.close()
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
