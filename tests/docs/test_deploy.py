"""The Compose file that people copy: its settings and commands are those of Airflow and of this package."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped, unused-ignore]

from tests.docs.blocks import PROJECT

pytest.importorskip("airflow.sdk", reason="the file is written for Airflow 3")

COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "deploy" / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
AIRFLOW = {name: service for name, service in SERVICES.items() if "command" in service}
ENVIRONMENT: dict[str, str] = AIRFLOW["scheduler"]["environment"]


def default(text: str) -> str:
    """Return the value of a variable with a default, as Compose substitutes it."""
    found = re.fullmatch(r"\$\{\w+:-(.*)\}", text)
    return found[1] if found else text


@pytest.mark.parametrize("name", [name for name in ENVIRONMENT if name.startswith("AIRFLOW__")])
def test_a_setting_is_an_option_of_airflow_or_of_this_package(name: str) -> None:
    from airflow.configuration import conf

    from airflow_provider_moengage.get_provider_info import get_provider_info

    section, option = name.removeprefix("AIRFLOW__").lower().split("__")
    ours = get_provider_info()["config"].get(section, {}).get("options", {})

    assert option in ours or option in conf.configuration_description[section]["options"]


@pytest.mark.parametrize("name", AIRFLOW)
def test_a_command_is_one_of_airflows(name: str) -> None:
    from airflow.cli.cli_parser import get_parser

    get_parser().parse_args(AIRFLOW[name]["command"].split())


def test_every_part_of_airflow_has_the_connection_and_what_tasks_and_retries_share() -> None:
    assert set(AIRFLOW) == {"migrate", "api-server", "scheduler", "dag-processor", "triggerer"}
    for service in AIRFLOW.values():
        assert service["environment"] == ENVIRONMENT
        folders = [PurePosixPath(volume.split(":")[1]) for volume in service["volumes"]]
        for option in ("REJECTS_PATH", "CHANGES_PATH"):
            path = PurePosixPath(ENVIRONMENT[f"AIRFLOW__MOENGAGE__{option}"].removeprefix("file://"))
            assert any(folder in path.parents for folder in folders)
    for name in ("scheduler", "triggerer"):
        assert AIRFLOW[name]["stop_grace_period"] == "60s"


def test_the_emulators_options_and_the_connection_to_it_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_moengage.emulator import cli
    from airflow_provider_moengage.hooks.moengage import MoEngageHook

    command, *options = SERVICES["emulator"]["entrypoint"].split()
    parsed = cli._parser().parse_args(options)
    connection = default(ENVIRONMENT["AIRFLOW_CONN_MOENGAGE_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection)

    assert command == "moengage-emulator"
    assert (parsed.host, parsed.allow) == ("0.0.0.0", ["emulator"])
    assert MoEngageHook().settings.workspace.data_url == f"http://{parsed.allow[0]}:{parsed.port}"
    assert json.loads(connection)["password"] == parsed.data_api_key
    assert json.loads(connection)["extra"]["campaign_api_key"] == parsed.campaign_api_key


def test_only_this_machine_reaches_the_ports_and_every_volume_and_service_is_there() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    awaited = {name for service in SERVICES.values() for name in service.get("depends_on", {})}

    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert {name for name in mounted if not name.startswith(".")} == set(COMPOSE["volumes"])
    assert all((PROJECT / "deploy" / name).exists() for name in mounted if name.startswith("."))
    assert awaited <= set(SERVICES)


def test_the_image_gets_the_files_that_an_installation_reads() -> None:
    lines = (PROJECT / "deploy" / "Dockerfile.dockerignore").read_text().split()[1:]
    kept = {line.removeprefix("!") for line in lines}
    wheel = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    build = COMPOSE["x-airflow"]["build"]

    assert all((PROJECT / name).exists() for name in kept)
    assert {"pyproject.toml", *wheel["only-include"]} <= kept
    assert (PROJECT / "deploy" / build["context"]).resolve() == PROJECT
    assert (PROJECT / build["dockerfile"]).exists()
