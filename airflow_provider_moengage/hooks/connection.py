"""Reads and checks a MoEngage connection. An error names the field that is missing or wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, NoReturn
from urllib.parse import urlsplit

from airflow_provider_moengage.api.data_centers import dashboard_url, normalise_data_center
from airflow_provider_moengage.api.received.local_times import named_zone
from airflow_provider_moengage.api.workspace import Workspace, read_project_code
from airflow_provider_moengage.bulk.options import identifier_names
from airflow_provider_moengage.bulk.rate_limit.pacer import DOCUMENTED_PER_MINUTE, Limits
from airflow_provider_moengage.exceptions import MoEngageRequestError

DEFAULT_TIMEOUT = 30.0
LONGEST_TIMEOUT = 3_600.0
"""Seconds."""

MOST_PER_MINUTE = 1_000_000_000
"""More than any workspace is allowed; it means that there is no limit."""

_HOST = re.compile(r"([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
"""Host and port, without a user or password."""


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """The settings of a connection."""

    conn_id: str
    workspace_id: str
    data_api_key: str = field(repr=False)
    campaign_api_key: str = field(repr=False)
    data_center: str | None
    base_url: str | None
    timeout: float
    """Seconds."""
    limits: Limits
    identifiers: tuple[str, ...] | None = None
    """Attributes that identify a user without a customer id; None: MoEngage's documented ones."""
    project_code: str | None = None
    """The project of a portfolio; None: the portfolio as a whole, or a workspace without projects."""
    import_time_zone: str | None = None
    """IANA name of the zone of times of file imports; None if it is not known."""

    @property
    def workspace(self) -> Workspace:
        """The workspace that requests go to, with its keys."""
        return Workspace(
            workspace_id=self.workspace_id,
            data_api_key=self.data_api_key,
            campaign_api_key=self.campaign_api_key,
            data_center=self.data_center,
            base_url=self.base_url,
            timeout=self.timeout,
            project_code=self.project_code,
            import_time_zone=self.import_time_zone,
        )

    @property
    def dashboard_url(self) -> str:
        """The workspace's dashboard; the base URL if no data center is set."""
        if self.data_center is not None:
            return dashboard_url(self.data_center)
        return self.base_url or ""


def read_connection(connection: Any) -> ConnectionSettings:
    """Read a connection of type ``moengage``.

    :param connection: Airflow's connection object.
    :raises MoEngageRequestError: if a field is missing or wrong; the message names connection and field.
    """
    form = _Form(connection)
    base_url = form.base_url()
    return ConnectionSettings(
        conn_id=form.conn_id,
        workspace_id=form.required("login", "Workspace ID", connection.login),
        data_api_key=form.required("password", "Data API key", connection.password),
        campaign_api_key=form.text("campaign_api_key") or str(connection.password).strip(),
        data_center=form.data_center(needed=base_url is None),
        base_url=base_url,
        timeout=form.number("timeout", DEFAULT_TIMEOUT, least=1.0, most=LONGEST_TIMEOUT),
        limits=Limits(
            users_per_minute=int(
                form.number("users_per_minute", DOCUMENTED_PER_MINUTE, least=1, most=MOST_PER_MINUTE)
            ),
            events_per_minute=int(
                form.number("events_per_minute", DOCUMENTED_PER_MINUTE, least=1, most=MOST_PER_MINUTE)
            ),
        ),
        identifiers=form.identifiers(),
        project_code=form.project_code(),
        import_time_zone=form.time_zone(),
    )


def project_of_connection(connection: Any) -> str | None:
    """Return the project of a connection whose other fields may be missing.

    :raises MoEngageRequestError: if the field is wrong; the message names connection and field.
    """
    return _Form(connection).project_code()


class _Form:
    def __init__(self, connection: Any) -> None:
        self.conn_id = str(connection.conn_id or "moengage")
        self._connection = connection
        extra = connection.extra_dejson
        self._extra: Mapping[str, Any] = extra if isinstance(extra, Mapping) else {}

    def required(self, name: str, label: str, value: object) -> str:
        text = str(value or "").strip()
        if not text:
            self._wrong(name, f"is empty; expected the {label}")
        return text

    def text(self, name: str) -> str | None:
        """Return a field of the extra, None if it is not set. Airflow saves an untouched field as null or as an
        empty string.
        """
        value = self._extra.get(name)
        if value is None:  # Airflow 2 saves fields of the form under the long name
            value = self._extra.get(f"extra__moengage__{name}")
        text = str(value).strip() if value is not None else ""
        return text or None

    def data_center(self, *, needed: bool) -> str | None:
        text = self.text("data_center")
        if text is None:
            if needed:
                self._wrong("data_center", "is not set; expected the number in the dashboard's URL: 01-06, 101")
            return None
        try:
            return normalise_data_center(text)
        except ValueError as error:
            self._wrong("data_center", str(error).removeprefix("data_center").removeprefix(":").strip())

    def base_url(self) -> str | None:
        text = str(self._connection.host or "").strip().rstrip("/")
        if not text:
            return None  # a port without a host says nothing: Airflow 3.3 asks for one when it tests a connection
        text = self._with_scheme(text)
        try:
            parts = urlsplit(text)
            port = parts.port  # raises if it is not a port
            is_url = parts.scheme in ("http", "https") and _HOST.fullmatch(parts.netloc) is not None
        except ValueError:
            is_url, port = False, None
        if "@" in text:  # never quoted: the part before the @ may contain a password
            self._wrong("host", "contains credentials; enter the workspace ID and keys in their own fields")
        if not is_url:
            self._wrong("host", "is not a URL; expected e.g. https://gateway.example.com, or leave it empty")
        if parts.path or parts.query or parts.fragment:
            self._wrong("host", "expected only scheme, host and port; the provider appends MoEngage's paths")
        return self._with_port(text, port)

    def _with_scheme(self, host: str) -> str:
        """Return a host as a URL: a URI such as ``moengage://localhost:8123/http`` has its scheme elsewhere."""
        word = str(self._connection.schema or "").strip().casefold()
        if word not in ("", "http", "https"):
            self._wrong("schema", "is neither http nor https; leave it empty, and enter the scheme in host")
        scheme, separator, rest = host.partition("://")
        if not separator:
            is_local = _is_loopback(host) and self._connection.port is not None
            scheme, rest = word or ("http" if is_local else ""), host
            if not scheme:
                return host
        elif word and scheme.casefold() != word:
            self._wrong("schema", "differs from the scheme of host")
        if rest.count(":") > 1 and not rest.startswith("["):
            rest = f"[{rest}]"  # Airflow takes the brackets of an IPv6 address away
        return f"{scheme}://{rest}"

    def _with_port(self, url: str, port: int | None) -> str:
        given = self._connection.port
        if given in (None, "", 0):
            return url
        try:
            number = int(given)
        except (TypeError, ValueError):
            number = 0
        if not 1 <= number <= 65_535:
            self._wrong("port", "is not a whole number from 1 to 65,535")
        if port is None:
            return f"{url}:{number}"
        if port != number:
            self._wrong("port", "differs from the port in host; enter it in one of them")
        return url

    def identifiers(self) -> tuple[str, ...] | None:
        """Return the names of the attributes that identify a user: a list, or text with commas."""
        given = self._extra.get("identifiers")
        try:
            return identifier_names("identifiers", given if isinstance(given, list) else self.text("identifiers"))
        except ValueError as error:
            self._wrong("identifiers", str(error).removeprefix("identifiers: "))

    def project_code(self) -> str | None:
        try:
            return read_project_code(self.text("project_code"))
        except ValueError as error:
            self._wrong("project_code", str(error).removeprefix("project_code: "))

    def time_zone(self) -> str | None:
        name = self.text("import_time_zone")
        if name is not None and named_zone(name) is None:
            self._wrong("import_time_zone", "is not the IANA name of a time zone; expected e.g. Asia/Kolkata")
        return name

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        text = self.text(name)
        if text is None:
            return default
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not least <= number <= most:
            self._wrong(name, f"is not a number from {least:g} to {most:,.0f}")
        return number

    def _wrong(self, name: str, what: str) -> NoReturn:
        raise MoEngageRequestError(f"Connection {self.conn_id!r}, field {name}: {what}")


def _is_loopback(host: str) -> bool:
    name = host.strip("[]").partition(":")[0] if host.count(":") < 2 else host.strip("[]")
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
