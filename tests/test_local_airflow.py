"""How `make airflow` begins and ends; what its Airflow does is in tests/e2e."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from demo import local_airflow

PROJECT = Path(__file__).parent.parent


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder that everybody can read, as PostgreSQL's user has to where a test runs as root."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_ctrl_c_while_it_starts_ends_it_at_once(temporary: Path) -> None:
    home = temporary / "a home"
    process = subprocess.Popen(
        [sys.executable, "-m", "demo.local_airflow", "--port", "0", "--emulator-port", "0", "--home", home],
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert "Filling a warehouse" in process.stdout.readline()

    while not list(temporary.glob("postgres-*")) and process.poll() is None:
        time.sleep(0.05)
    while list(temporary.glob("postgres-*")) and process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it, for somebody who is impatient
        time.sleep(0.05)
    said = process.stdout.read()

    assert process.wait(30) == 0, said
    assert "Starting Airflow" not in said
    assert [each.name for each in temporary.iterdir()] == ["a home"], "its PostgreSQL is gone"


def test_a_second_run_leaves_the_first_ones_folder_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with local_airflow._new_folder(home):
        (home / "warehouse.db").touch()

        with pytest.raises(SystemExit, match=r"Another make airflow is running in .*; end it, or give"):
            local_airflow._new_folder(home)

        assert (home / "warehouse.db").exists()
    with local_airflow._new_folder(home):
        assert not (home / "warehouse.db").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()

    with pytest.raises(SystemExit, match="holds something else"):
        local_airflow._new_folder(tmp_path)

    assert (tmp_path / "mine").exists()


def test_another_port_has_a_folder_of_its_own() -> None:
    assert local_airflow._folder_name(8080) == ".airflow"
    assert local_airflow._folder_name(8081) == ".airflow-8081"
