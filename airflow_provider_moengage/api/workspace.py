"""A MoEngage workspace: its hosts and its keys."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_moengage.api.data_centers import data_api_url, file_imports_url
from airflow_provider_moengage.api.received.scrub import Scrub


@dataclass(frozen=True, slots=True)
class Workspace:
    """A MoEngage workspace: its hosts and its keys.

    :param workspace_id: also called app id.
    :param data_api_key: key of the Data tile; it serves bulk import and file imports.
    :param data_center: as :func:`~airflow_provider_moengage.api.data_centers.normalise_data_center` returns it.
    :param base_url: replaces scheme and authority of every API family; None for MoEngage's own hosts.
    :param timeout: seconds that a request may take, with its whole response.
    :param campaign_api_key: key for business events.
    """

    workspace_id: str
    data_api_key: str = field(repr=False)
    data_center: str | None = None
    base_url: str | None = None
    timeout: float = 30.0
    campaign_api_key: str = field(repr=False, default="")

    @property
    def data_url(self) -> str:
        """Scheme and authority of the Data API and of business events."""
        return self.base_url or data_api_url(self._data_center)

    @property
    def file_imports_url(self) -> str:
        """Scheme and authority of the file imports API."""
        return self.base_url or file_imports_url(self._data_center)

    def scrub(self) -> Scrub:
        """Return what makes the text of a server readable: without the keys."""
        return Scrub((self.data_api_key, self.campaign_api_key))

    @property
    def _data_center(self) -> str:
        if self.data_center is None:
            raise ValueError("a workspace needs a data_center or a base_url")
        return self.data_center
