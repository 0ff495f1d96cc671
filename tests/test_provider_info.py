"""The provider's metadata: invalid metadata would break every Airflow that has the package installed."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module, metadata, resources
from typing import Any

import jsonschema
import pytest
from packaging.version import Version

from airflow_provider_moengage import __version__, connection_form
from airflow_provider_moengage.get_provider_info import get_provider_info
from airflow_provider_moengage.hooks.connection import read_connection

AIRFLOW = Version(metadata.version("apache-airflow"))
FORM_FROM_METADATA = Version("3.3.0.dev0") <= AIRFLOW


def schema(name: str) -> dict[str, Any]:
    import airflow

    content: dict[str, Any] = json.loads((resources.files(airflow) / name).read_text())
    return content


def test_it_matches_the_schema_that_this_airflow_checks() -> None:
    jsonschema.validate(get_provider_info(), schema("provider_info.schema.json"))


def test_it_matches_the_stricter_schema_of_airflows_own_providers() -> None:
    form = get_provider_info()["connection-types"]
    known = schema("provider.yaml.schema.json") if FORM_FROM_METADATA else None
    if known is None:
        pytest.skip("this Airflow builds the form from the hook and has no schema for it")

    jsonschema.validate(
        form, {**known["properties"]["connection-types"], "definitions": known.get("definitions", {})}
    )


def test_airflow_finds_the_provider_by_its_entry_point() -> None:
    [entry_point] = [
        entry for entry in metadata.entry_points(group="apache_airflow_provider") if "moengage" in entry.value
    ]

    assert entry_point.load()() == get_provider_info()
    assert metadata.version("airflow-provider-moengage") == __version__


def test_every_module_it_names_can_be_imported() -> None:
    info = get_provider_info()
    modules = [name for kind in ("hooks", "operators") for part in info[kind] for name in part["python-modules"]]
    modules += [part["python-module"] for part in info["transfers"]]

    for name in modules:
        import_module(name)
    module, _, hook = info["connection-types"][0]["hook-class-name"].rpartition(".")
    assert getattr(import_module(module), hook).conn_type == "moengage"


FORM = """
import json
try:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
except ImportError:  # Airflow 2 makes the form itself
    from airflow.providers_manager import ProvidersManager
    manager, prefix = ProvidersManager(), "extra__moengage__"
    names = [name for name in manager.connection_form_widgets if name.startswith(prefix)]
    form = {"fields": {name.removeprefix(prefix): None for name in names}}
    form["labels"] = manager.field_behaviours["moengage"]["relabeling"]
else:
    [meta] = [meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == "moengage"]
    standard = meta.standard_fields.model_dump()
    form = {"fields": {name: field["schema"] for name, field in meta.extra_fields.items()}}
    form["labels"] = {name: field["title"] for name, field in standard.items() if field and field["title"]}
print("FORM", json.dumps(form))
"""


@pytest.fixture(scope="module")
def shown_form() -> dict[str, Any]:
    """The form as this Airflow's UI receives it, from a process that has loaded nothing else."""
    done = subprocess.run([sys.executable, "-c", FORM], capture_output=True, text=True, check=True)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("FORM ")]
    form: dict[str, Any] = json.loads(line.removeprefix("FORM "))
    return form


def test_the_form_shows_our_fields_and_labels_the_others_in_moengages_terms(
    shown_form: dict[str, Any],
) -> None:
    assert set(shown_form["fields"]) == set(connection_form.EXTRA_FIELDS)
    assert shown_form["labels"] == connection_form.LABELS


def test_the_data_center_is_chosen_from_a_list(shown_form: dict[str, Any]) -> None:
    field = shown_form["fields"]["data_center"]
    if field is None:
        pytest.skip("Airflow 2 has no lists on this form")

    assert field["enum"] == connection_form.EXTRA_FIELDS["data_center"]["schema"]["enum"]


def test_the_hook_reads_every_field_of_the_form() -> None:
    from airflow.providers.common.compat.sdk import Connection

    example = {
        "data_center": "03",
        "campaign_api_key": "other-key",
        "timeout": 7,
        "users_per_minute": 8,
        "events_per_minute": 9,
        "identifiers": "u_em",
        "project_code": "brand-a",
        "import_time_zone": "Asia/Kolkata",
    }
    assert set(example) == set(connection_form.EXTRA_FIELDS)

    settings = read_connection(
        Connection(conn_id="c", conn_type="moengage", login="w", password="k", extra=json.dumps(example))
    )

    assert (settings.data_center, settings.campaign_api_key, settings.timeout) == ("03", "other-key", 7.0)
    assert (settings.limits.users_per_minute, settings.limits.events_per_minute) == (8, 9)
    assert settings.identifiers == ("u_em",)
    assert settings.project_code == "brand-a"
    assert settings.import_time_zone == "Asia/Kolkata"


def test_secrets_have_names_that_airflow_masks() -> None:
    try:
        from airflow.sdk.log import redact  # type: ignore[attr-defined, unused-ignore]  # not in its __all__
    except ImportError:
        from airflow.providers.common.compat.sdk import redact

    secret = {
        name for name, field in connection_form.EXTRA_FIELDS.items() if field["schema"].get("format") == "password"
    }

    assert secret == {"campaign_api_key"}
    for name in secret:
        assert redact({name: "hidden-value"}) == {name: "***"}
