"""Refuses what a foreign web page sends through the browser of the person who runs the emulator.

The emulator needs no key to show what arrived, and its default keys are public. A web page must therefore not
reach it: neither by a name of its own that it points to this machine (DNS rebinding), nor by a form or a script.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import msgspec
from starlette.datastructures import Headers
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

_LOCALHOST = "localhost"
_FROM_THIS_PAGE = ("same-origin", "none")
"""Values of Sec-Fetch-Site for the emulator's own page, and for what a person types (Fetch Metadata, W3C)."""

_WRONG_HOST = (
    "Host: this emulator answers to localhost, to the address it listens on, and to the names given by --allow; "
    "start it with --allow NAME to reach it by another name"
)
_WRONG_ORIGIN = "Origin: only the emulator's own page may send requests from a browser"


class AllowedHosts:
    """The names and addresses by which the emulator may be addressed.

    :param host: the address that it listens on; of every interface: the address that received the connection.
    :param allow: further names and addresses, without port.
    :raises ValueError: if one of them is not a name or an address.
    """

    def __init__(self, host: str = "127.0.0.1", allow: Iterable[str] = ()) -> None:
        self._allowed = frozenset(map(_checked, allow))
        self._own = {_LOCALHOST, _comparable(host)}
        self._is_everywhere = _is_unspecified(host)

    def allows(self, host: str, received_at: str) -> bool:
        """Return whether a request may be addressed to ``host``.

        :param host: name or address, in lower case.
        :param received_at: address of this machine that received the connection.
        """
        if host in self._own or self.names(host) or _is_loopback(host):
            return True
        return self._is_everywhere and host == _comparable(received_at)

    def names(self, host: str) -> bool:
        """Return whether ``host`` is one of the further names."""
        return host in self._allowed


class OriginGuard:
    """The emulator's application behind the checks of Host, Origin and Sec-Fetch-Site.

    :param control_path: what a page of another site may not even load, because it needs no key.
    """

    def __init__(self, app: ASGIApp, hosts: AllowedHosts, control_path: str) -> None:
        self._app = app
        self._hosts = hosts
        self._control_path = control_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or answer 403."""
        problem = self._problem(scope) if scope["type"] == "http" else None
        if problem is None:
            await self._app(scope, receive, send)
            return
        body = msgspec.json.encode({"error": problem})
        await Response(body, status_code=403, media_type="application/json")(scope, receive, send)

    def _problem(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        received_at = (scope.get("server") or ("", None))[0]
        if len(hosts) != 1 or not self._hosts.allows(_name_of(hosts[0]), received_at):
            return _WRONG_HOST
        if not all(self._is_own(origin, hosts[0]) for origin in headers.getlist("origin")):
            return _WRONG_ORIGIN
        is_control = scope["path"].startswith(self._control_path)
        if is_control and headers.get("sec-fetch-site", "none") not in _FROM_THIS_PAGE:
            return _WRONG_ORIGIN
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        scheme, separator, authority = origin.partition("://")
        if not separator or scheme not in ("http", "https"):
            return False  # "null" as well: a sandboxed frame, a file
        return authority.lower() == host.lower() or self._hosts.names(_name_of(authority))


def _name_of(authority: str) -> str:
    """Return the host of ``host:port``, in lower case and without brackets."""
    if authority.startswith("["):
        host, bracket, port = authority[1:].partition("]")
        return _comparable(host) if bracket and (not port or port.startswith(":")) else ""
    host, _, port = authority.partition(":")
    return _comparable(host) if not port or port.isdecimal() else ""


def _comparable(host: str) -> str:
    """Return a name in lower case, or an address in its usual form."""
    address = _address(host)
    return host.lower().removesuffix(".") if address is None else str(address)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_loopback


def _is_unspecified(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_unspecified


def _checked(host: str) -> str:
    name = _comparable(host)
    if _address(host) is None and not all(
        label and label.replace("-", "").replace("_", "").isalnum() for label in name.split(".")
    ):
        raise ValueError(f"allow {host!r}: expected a host name or an address, without scheme and port")
    return name
