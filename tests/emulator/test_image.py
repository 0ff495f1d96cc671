"""The emulator's image: what its Dockerfile copies is enough, and it builds where there is a builder."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests

PROJECT = Path(__file__).parents[2]
DOCKERFILE = PROJECT / "emulator.Dockerfile"
COPIED = re.compile(r"^COPY (\S+) /app/(\S+)$", re.MULTILINE)
INSTALLED = {"msgspec", "starlette", "uvicorn"}

START = """
import sys
from airflow_provider_moengage.emulator.server import Emulator
import airflow_provider_moengage
with Emulator(port=0) as emulator:
    print(airflow_provider_moengage.__path__[0], emulator.url, flush=True)
    print(*sorted({name.partition(".")[0] for name in sys.modules}), flush=True)
    sys.stdin.read()
"""


def test_what_the_image_copies_and_installs_is_all_that_the_emulator_needs(tmp_path: Path) -> None:
    copies = COPIED.findall(DOCKERFILE.read_text())
    for source, target in copies:
        found = PROJECT / source
        if found.is_dir():
            shutil.copytree(found, tmp_path / target)
        else:
            (tmp_path / target).mkdir(parents=True, exist_ok=True)
            shutil.copy(found, tmp_path / target)
    process = subprocess.Popen(
        [sys.executable, "-c", START], cwd=tmp_path, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        folder, url = process.stdout.readline().split()
        loaded = set(process.stdout.readline().split())
        session = requests.Session()
        session.trust_env = False
        assert session.get(f"{url}/_emulator/health", timeout=30).status_code == 200
    finally:
        process.stdin.close()
        process.wait(30)

    assert Path(folder) == tmp_path / "airflow_provider_moengage"
    assert loaded >= INSTALLED
    assert not loaded & {"airflow", "requests", "sqlalchemy", "rich", "tenacity"}
    assert len(copies) == 2


def test_the_image_is_built() -> None:
    builder = next((name for name in ("docker", "podman", "buildah") if _works(name)), None)
    if builder is None:
        pytest.skip("no image is built: neither docker, podman nor buildah works here")
    tag = "moengage-emulator-test"
    done = subprocess.run(
        [builder, "build", "--file", str(DOCKERFILE), "--tag", tag, str(PROJECT)],
        capture_output=True,
        text=True,
        check=False,
    )
    no_base = re.search(r"pull|resolve|registry|lookup|dial", done.stderr) and "python:3.13-slim" in done.stderr
    if done.returncode and no_base:
        pytest.skip(f"no image is built: {builder} cannot get the base image python:3.13-slim")
    assert done.returncode == 0, done.stderr[-3_000:]


def _works(name: str) -> bool:
    found = shutil.which(name)
    return found is not None and subprocess.run([found, "info"], capture_output=True, check=False).returncode == 0
