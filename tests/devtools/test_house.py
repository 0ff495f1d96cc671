"""The script that measures the package: it must find what it claims to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from devtools.house import Package, main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A package in good order: an operator above the API, and an emulator that stands apart."""
    package = tmp_path / "airflow_provider_moengage"
    write(package, "operators/send.py", "from airflow_provider_moengage.api.client import Client")
    write(package, "api/client.py", "import json\n\nclass Client:\n    def __init__(self, url, key): ...")
    write(package, "emulator/app.py", "from airflow_provider_moengage.emulator import limits")
    write(package, "emulator/limits.py", 'PATH = "/v1/transition"')
    return package


def write(package: Path, name: str, text: str) -> None:
    path = package / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="utf-8")


def test_a_package_in_good_order_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder)]) == 0
    assert "| import circles | 2 | 0 | 0 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    {
        "module level": "from airflow_provider_moengage.operators.send import Send",
        "relative": "from ..operators import send",
        "in a function": "def later():\n    import airflow_provider_moengage.operators.send",
        "for types": (
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from airflow_provider_moengage.operators.send import Send"
        ),
    }.values(),
)
def test_it_finds_a_circle_and_an_upward_import(
    folder: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "api/client.py", text)

    assert main([str(folder)]) == 1
    printed = capsys.readouterr().out
    assert "circle: api.client <-> operators.send" in printed
    assert "api.client:" in printed
    assert "imports operators.send: this room is higher" in printed


def test_it_finds_a_circle_of_three(folder: Path) -> None:
    for importer, imported in ("ab", "bc", "ca"):
        write(folder, f"hooks/{importer}.py", f"from airflow_provider_moengage.hooks import {imported}")

    assert Package(folder).circles() == [["hooks.a", "hooks.b", "hooks.c"]]


FORBIDDEN = {
    "the emulator is imported": ("hooks/a.py", "from airflow_provider_moengage.emulator.app import app"),
    "the emulator imports": ("emulator/app.py", "from airflow_provider_moengage.api.client import Client"),
    "airflow below": ("bulk/run/lane.py", "from airflow.sdk import Variable"),
    "airflow below, for types": ("api/a.py", "if TYPE_CHECKING:\n    import airflow"),
    "airflow at module level": ("storage.py", "from airflow.sdk import ObjectStoragePath"),
}


@pytest.mark.parametrize(("name", "text"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_it_finds_an_import_that_a_rule_forbids(folder: Path, name: str, text: str) -> None:
    write(folder, name, text)

    assert len(Package(folder).against_the_order()) == 1


def test_storage_may_import_airflow_where_it_needs_it(folder: Path) -> None:
    write(folder, "storage.py", "def write():\n    from airflow.sdk import ObjectStoragePath")

    assert Package(folder).against_the_order() == []


def test_it_counts_parameters_but_not_those_of_records_and_operators(folder: Path) -> None:
    parameters = ", ".join(f"p{number}" for number in range(9))
    write(folder, "hooks/a.py", f"class Sender:\n    def __init__(self, {parameters}): ...")
    write(folder, "hooks/b.py", f"class SendOperator:\n    def __init__(self, {parameters}): ...")
    fields = "\n".join(f"    f{number}: int" for number in range(8))
    write(folder, "hooks/c.py", f"@dataclass(frozen=True)\nclass Answer:\n{fields}")
    write(folder, "hooks/d.py", f"@dataclass\nclass State:\n{fields}")

    counts = Package(folder).constructor_parameters()

    assert counts == {"api.client.Client": 2, "hooks.a.Sender": 9, "hooks.d.State": 8}


def test_it_leaves_out_classes_of_the_reference(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = "\n".join(f"    f{number}: int" for number in range(8))
    write(folder, "bulk/options.py", f"@dataclass\nclass Options:\n{fields}")
    reference = folder.parent / "docs" / "reference"
    assert main([str(folder)]) == 1

    write(reference, "a.rst", ".. autoclass:: airflow_provider_moengage.bulk.options.Options")

    assert main([str(folder)]) == 0


def test_it_counts_statements_in_functions_and_files_of_a_folder(folder: Path) -> None:
    write(folder, "hooks/__init__.py", "")
    write(
        folder,
        "hooks/a.py",
        "def f():\n    import json\n    from airflow_provider_moengage.api.client import A, B",
    )
    package = Package(folder)

    assert len(package.imports_in_functions()) == 1
    assert package.files_side_by_side()["hooks"] == 1
