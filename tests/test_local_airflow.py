"""How `make airflow` starts and stops; tests/e2e tests its Airflow."""

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
    """A folder that everybody can read: if the tests run as root, PostgreSQL runs as another user."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_ctrl_c_during_the_start_stops_it_at_once(temporary: Path) -> None:
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
        os.killpg(process.pid, signal.SIGINT)  # like an impatient user at a terminal
        time.sleep(0.05)
    printed = process.stdout.read()

    assert process.wait(30) == 0, printed
    assert "Starting Airflow" not in printed
    assert [each.name for each in temporary.iterdir()] == ["a home"], "its PostgreSQL folder is deleted"


def test_a_second_run_does_not_touch_the_folder_of_the_first(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with local_airflow._new_folder(home):
        (home / "warehouse.db").touch()

        with pytest.raises(SystemExit, match=r"Another make airflow is running in .*; stop it, or choose"):
            local_airflow._new_folder(home)

        assert (home / "warehouse.db").exists()
    with local_airflow._new_folder(home):
        assert not (home / "warehouse.db").exists()


def test_a_folder_with_other_files_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()

    with pytest.raises(SystemExit, match="contains other files"):
        local_airflow._new_folder(tmp_path)

    assert (tmp_path / "mine").exists()


def test_another_port_has_its_own_folder() -> None:
    assert local_airflow._folder_name(8080) == ".airflow"
    assert local_airflow._folder_name(8081) == ".airflow-8081"


def test_a_file_with_two_dags_is_parsed_once() -> None:
    dags = [
        {"dag_id": "one", "fileloc": "/dags/a.py", "file_token": "token a of one"},
        {"dag_id": "two", "fileloc": "/dags/a.py", "file_token": "token a of two"},
        {"dag_id": "three", "fileloc": "/dags/b.py", "file_token": "token b"},
    ]

    assert local_airflow._files(dags) == {"/dags/a.py": "token a of two", "/dags/b.py": "token b"}
