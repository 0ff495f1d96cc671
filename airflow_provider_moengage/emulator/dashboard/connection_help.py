"""How to connect to a workspace: Airflow's connection, and a command that sends a first element."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.emulator.bulk_import.family import PATH

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.settings import Credentials

FIRST_ELEMENT = {
    "type": "transition",
    "elements": [{"type": "customer", "customer_id": "u-001", "attributes": {"tier": "gold"}}],
}


def airflow_connection(credentials: Credentials, url: str) -> str:
    """Return the shell variable that defines Airflow's connection to the emulator at ``url``."""
    connection: dict[str, Any] = {
        "conn_type": "moengage",
        "login": credentials.workspace_id,
        "password": credentials.data_api_key,
        "host": url,
        "extra": {"campaign_api_key": credentials.campaign_api_key},
    }
    return f"AIRFLOW_CONN_MOENGAGE_DEFAULT={shlex.quote(_compact(connection))}"


def curl_command(credentials: Credentials, url: str) -> str:
    """Return a shell command that sends one element to the emulator at ``url``."""
    login = f"{credentials.workspace_id}:{credentials.data_api_key}"
    parts = (
        ("curl", f"{url}{PATH}/{credentials.workspace_id}"),
        ("-u", login, "-H", "Content-Type: application/json"),
        ("-d", _compact(FIRST_ELEMENT)),
    )
    return " \\\n  ".join(shlex.join(part) for part in parts)


def connection(credentials: Credentials, url: str) -> dict[str, str]:
    """Return everything that a client needs."""
    return {
        "url": url,
        "workspace_id": credentials.workspace_id,
        "data_api_key": credentials.data_api_key,
        "campaign_api_key": credentials.campaign_api_key,
        "airflow": airflow_connection(credentials, url),
        "curl": curl_command(credentials, url),
    }


def _compact(payload: Any) -> str:
    return json.dumps(payload, separators=(",", ":"))
