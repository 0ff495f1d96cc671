"""A MoEngage workspace: its hosts and its keys, and the project of a portfolio."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from airflow_provider_moengage.api.data_centers import data_api_url, file_imports_url
from airflow_provider_moengage.api.received.scrub import Scrub
from airflow_provider_moengage.arguments import is_unresolved

LONGEST_PROJECT_CODE = 200
"""Characters of a project's code, which is part of a URL. MoEngage documents no limit; codes are a few words."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A MoEngage workspace: its hosts and its keys.

    :param workspace_id: also called app id.
    :param data_api_key: key of the Data tile; it serves bulk import and file imports.
    :param data_center: as :func:`~airflow_provider_moengage.api.data_centers.normalise_data_center` returns it.
    :param base_url: replaces scheme and authority of every API family; None for MoEngage's own hosts.
    :param timeout: seconds that a request may take, with its whole response.
    :param campaign_api_key: key for business events and campaigns.
    :param project_code: the project of a portfolio that requests are about (MoEngage user guide, "Portfolio: Data
        Ingestion and Management"); None: the portfolio as a whole, or a workspace without projects.
    :param import_time_zone: IANA name of the zone of the times of file imports, which carry none; None if it is
        not known.
    """

    workspace_id: str
    data_api_key: str = field(repr=False)
    data_center: str | None = None
    base_url: str | None = None
    timeout: float = 30.0
    campaign_api_key: str = field(repr=False, default="")
    project_code: str | None = None
    import_time_zone: str | None = None

    @property
    def data_url(self) -> str:
        """Scheme and authority of the Data API, of business events and of campaigns."""
        return self.base_url or data_api_url(self._data_center)

    @property
    def file_imports_url(self) -> str:
        """Scheme and authority of the file imports API."""
        return self.base_url or file_imports_url(self._data_center)

    @property
    def project_headers(self) -> dict[str, str]:
        """The header that names the project, for every API but bulk import, which has it in the URL."""
        return {} if self.project_code is None else {"MOE-PROJECT-CODE": self.project_code}

    def in_project(self, project_code: str | None) -> Workspace:
        """Return the workspace with another project; with its own if there is none."""
        return self if project_code is None else replace(self, project_code=project_code)

    def scrub(self) -> Scrub:
        """Return what makes the text of a server readable: without the keys."""
        return Scrub((self.data_api_key, self.campaign_api_key))

    @property
    def _data_center(self) -> str:
        if self.data_center is None:
            raise ValueError("a workspace needs a data_center or a base_url")
        return self.data_center


def read_project_code(given: object) -> str | None:
    """Return the code of a project; None if there is none.

    :param given: text, or a number that a template has made of it.
    :raises ValueError: naming ``project_code``. The text is not shown, as it may be anything.
    """
    if given is None or given == "None":  # what a template of None renders to
        return None
    text = str(given) if isinstance(given, int) and not isinstance(given, bool) else given
    code = text.strip() if isinstance(text, str) else ""
    if not code or len(code) > LONGEST_PROJECT_CODE or not (code.isascii() and code.isprintable()):
        raise ValueError(
            f"project_code: expected a project's code, 1 to {LONGEST_PROJECT_CODE} printable ASCII characters, or"
            " None"
        )
    return code


def check_parsed_project(given: object) -> None:
    """Check a project's code when a Dag is parsed, unless it is known only when the task runs.

    :raises ValueError: naming ``project_code``.
    """
    if not is_unresolved(given):
        read_project_code(given)
