"""The fields of a MoEngage connection: one list behind the forms of every Airflow and behind the hook.

Airflow 3.3 and later build the form from provider metadata, earlier ones from methods of the hook; both are
made of this. It is imported whenever Airflow starts, so it imports nothing.
"""

from __future__ import annotations

from typing import Any

CONNECTION_TYPE = "moengage"
HOOK_NAME = "MoEngage"

# A value is masked where Airflow shows connections and logs only if the field's name has a word such as
# `api_key` in it; `format: password` covers the box on the form. A type with "null" is optional.
EXTRA_FIELDS: dict[str, dict[str, Any]] = {
    "data_center": {
        "label": "Data center",
        "description": "The number in your dashboard's URL: dashboard-01.moengage.com is 01.",
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
        "description": "For business events. Empty: the Data API key serves both.",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "timeout": {
        "label": "Timeout (seconds)",
        "description": "How long MoEngage may stay silent before a request is given up. Default 30.",
        "schema": {"type": ["number", "null"], "minimum": 1},
    },
    "users_per_minute": {
        "label": "Users a minute",
        "description": "The workspace's limit, where MoEngage has raised it. Default 60000.",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
    "events_per_minute": {
        "label": "Events a minute",
        "description": "The workspace's limit, where MoEngage has raised it. Default 60000.",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
}

HIDDEN_FIELDS = ["port", "schema", "extra"]
LABELS = {"login": "Workspace ID", "password": "Data API key", "host": "Base URL"}
PLACEHOLDERS = {
    "login": "Dashboard: Settings > Account > APIs",
    "password": "The key of the Data tile",
    "host": "Leave it empty and give the data center below; or a gateway, the emulator",
}
