"""The plugin that adds the page to Airflow's UI.

Every process of Airflow imports this module, so it imports nothing that takes time; only the API server asks for
the app. On Airflow before 3.1, which has no such pages, the plugin is empty.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

from airflow import __version__
from airflow.providers.common.compat.sdk import AirflowPlugin, conf

_log = logging.getLogger(__name__)

_FIRST = (3, 1)
"""The first Airflow that has pages of plugins, and FastAPI."""

_HAS_PAGES = tuple(int(part) for part in __version__.split(".")[:2]) >= _FIRST

PREFIX = "/moengage"


def _path_of_page() -> str:
    """Return the page's path; an API server behind a proxy may have a path of its own."""
    base = urlsplit(conf.get("api", "base_url", fallback="") or "/").path.rstrip("/")
    return f"{base}{PREFIX}/"


class MoEngagePlugin(AirflowPlugin):
    """Adds Browse > MoEngage."""

    name = "moengage"

    if _HAS_PAGES:
        external_views = [
            {
                "name": "MoEngage",
                "href": _path_of_page(),
                "destination": "nav",
                "category": "browse",
                "url_route": "moengage",
            }
        ]

        @property
        def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override, unused-ignore]
            """The app of the page."""
            try:
                from airflow_provider_moengage.page.app import page_app

                app = page_app()
            except Exception as error:  # noqa: BLE001 (without this page, Airflow's API server still has to start)
                _log.warning(
                    "Airflow's UI has no MoEngage page: it does not work with this version of Airflow (%s)",
                    type(error).__name__,
                )
                return []
            return [{"app": app, "url_prefix": PREFIX, "name": "MoEngage"}]
