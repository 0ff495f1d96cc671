"""The fields of a MoEngage connection: one list for the form of every Airflow version and for the hook.

Airflow 3.3 and later build the form from provider metadata, earlier versions from methods of the hook; both use
this module. Airflow imports it at startup, so it imports nothing.
"""

from __future__ import annotations

from typing import Any

CONNECTION_TYPE = "moengage"
HOOK_NAME = "MoEngage"

# Airflow masks a value in connections and logs only if the field's name contains a word such as `api_key`;
# `format: password` hides it in the form. A type with "null" is optional.
EXTRA_FIELDS: dict[str, dict[str, Any]] = {
    "data_center": {
        "label": "Data center",
        "description": "The number in your dashboard's URL: 01 for dashboard-01.moengage.com.",
        "schema": {
            "type": ["string", "null"],
            "enum": ["01", "02", "03", "04", "05", "06", "101"],
            "values_display": {
                "01": "01 (US)",
                "02": "02 (EU)",
                "03": "03 (India)",
                "04": "04 (US)",
                "05": "05 (Singapore)",
                "06": "06 (Indonesia)",
                "101": "101",
            },
        },
    },
    "campaign_api_key": {
        "label": "Campaign API key",
        "description": "For business events and campaigns. If empty, the Data API key is used.",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "timeout": {
        "label": "Timeout (seconds)",
        "description": "How long to wait for a response before a request fails. Default 30.",
        "schema": {"type": ["number", "null"], "minimum": 1},
    },
    "users_per_minute": {
        "label": "Users a minute",
        "description": "The workspace's rate limit, if MoEngage has raised it. Default 60000.",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
    "events_per_minute": {
        "label": "Events a minute",
        "description": "The workspace's rate limit, if MoEngage has raised it. Default 60000.",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
    "identifiers": {
        "label": "Identifiers",
        "description": "Attributes that identify a user without an ID (Identity Resolution), with commas between"
        " them, up to five. Default u_em, u_mb, uid, moe_mobile.",
        "schema": {"type": ["string", "null"]},
    },
    "project_code": {
        "label": "Project code",
        "description": "Only for a portfolio: the project that requests are about (dashboard: Settings > Account >"
        " Portfolio). If empty, data belongs to the portfolio as a whole.",
        "schema": {"type": ["string", "null"]},
    },
    "import_time_zone": {
        "label": "Time zone of file imports",
        "description": "The workspace's zone, for example Asia/Kolkata. MoEngage's times of file imports carry"
        " none; if this is empty, the provider finds it out if it can.",
        "schema": {"type": ["string", "null"]},
    },
}

HIDDEN_FIELDS = ["schema", "extra"]
LABELS = {"login": "Workspace ID", "password": "Data API key", "host": "Base URL", "port": "Port of the base URL"}
PLACEHOLDERS = {
    "login": "Dashboard: Settings > Account > APIs",
    "password": "The key of the Data tile",
    "host": "Only for a gateway or the emulator. Else choose the data center in Extra Fields.",
    "port": "If the base URL has none. Airflow 3.3 tests a saved connection if it says 443.",
}
