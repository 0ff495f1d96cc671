"""The emulator's page, ``/`` in a browser: live traffic. Everything is loaded from this package."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

ASSETS = "/_emulator/page"

_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def page_routes(text: str) -> list[Route]:
    """Return the routes of the page and its files; clients that do not accept HTML, such as curl, get ``text``."""
    served = {file.name: file.read_bytes() for file in (files(__package__) / "page_files").iterdir()}

    async def home(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return _file("index.html", served["index.html"], {"Vary": "Accept"})
        return Response(text, media_type="text/plain", headers={"Vary": "Accept"})

    def asset(name: str, content: bytes) -> Route:
        async def serve(_request: Request) -> Response:
            return _file(name, content, {})

        return Route(f"{ASSETS}/{name}", serve, methods=["GET"])

    return [Route("/", home, methods=["GET"]), *(asset(*item) for item in served.items())]


def _file(name: str, content: bytes, headers: dict[str, str]) -> Response:
    media_type = _MEDIA_TYPES[name[name.rindex(".") :]]
    return Response(content, media_type=media_type, headers={**_SECURITY, **headers})
