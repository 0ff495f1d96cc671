"""How a server may write a key or a value that it quotes."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from functools import cache
from urllib.parse import quote, unquote

Encoding = Callable[[str], str]


def _base64(before: str, *, url_safe: bool = False) -> Encoding:
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    return lambda text: encode(f"{before}{text}".encode()).decode()


def _each(form: str) -> Encoding:
    return lambda text: "".join(form.format(ord(char)) if ord(char) < 128 else char for char in text)


def _in_pieces(separator: str) -> Encoding:
    return lambda text: separator.join(text[at : at + 5] for at in range(0, len(text), 5))


ENCODINGS: dict[str, Encoding] = {
    "plain": lambda text: text,
    "upper case": str.upper,
    "lower case": str.lower,
    "URL": lambda text: quote(text, safe=""),
    "URL, twice": lambda text: quote(quote(text, safe=""), safe=""),
    "URL, every character": _each("%{:02x}"),
    "URL, every character, twice": _each("%25{:02X}"),
    "JSON": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON, every character": _each("\\u{:04x}"),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "JSON in JSON, every character": _each("\\\\u{:04X}"),
    "hex escapes": _each("\\x{:02x}"),
    "HTML": lambda text: html.escape(text),
    "HTML, decimal": _each("&#{};"),
    "HTML, hex": _each("&#x{:X};"),
    "HTML, twice": _each("&amp;#{};"),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "Base64": _base64(""),
    "Base64, second position": _base64("k"),
    "Base64, third position": _base64("k="),
    "Basic header": _base64("WORKSPACE:"),
    "Basic header, URL-safe": _base64("WORKSPACE:", url_safe=True),
    "Basic header, URL": lambda text: quote(_base64("WORKSPACE:")(text), safe=""),
}
"""What a key or a value may become."""

KEY_ENCODINGS: dict[str, Encoding] = {
    **ENCODINGS,
    "reversed": lambda text: text[::-1],
    "split by spaces": _in_pieces(" "),
    "split by line ends": _in_pieces("\r\n"),
    "split by quotes": _in_pieces("' + '"),
    "split by colors": _in_pieces("\x1b[31m"),
    "split by invisible characters": _in_pieces("\u200b"),
    "split by null": _in_pieces("\0"),
    "UTF-16, hex": lambda text: text.encode("utf-16-le").hex(),
    "UTF-16, big-endian, hex": lambda text: text.encode("utf-16-be").hex(" "),
    "UTF-16, Base64": lambda text: base64.b64encode(text.encode("utf-16")).decode(),
    "UTF-16 as Latin-1": lambda text: text.encode("utf-16-be").decode("latin-1"),
    "Base32": lambda text: base64.b32encode(f"ab{text}".encode()).decode(),
    "Base64 of the Basic header": lambda text: _base64("Basic ")(_base64("WORKSPACE:")(text)),
    "Base64 without padding": lambda text: _base64("WORKSPACE:", url_safe=True)(text).rstrip("="),
    "Base64 in JSON": lambda text: _base64("WORKSPACE:")(text).replace("/", "\\/").replace("=", "\\u003d"),
    "hex of Base64": lambda text: _base64("WORKSPACE:")(text).encode().hex(),
    "Base64 of hex": lambda text: _base64("")(text.encode().hex()),
    "quoted-printable": _each("={:02X}"),
    "octal": _each("\\{:03o}"),
    "decimal": lambda text: str(list(text.encode())),
    "the first part": lambda text: text[: -len(text) // 3],
    "the last part": lambda text: text[len(text) // 3 :],
}
"""What only a key may become."""


def readings(text: str) -> list[str]:
    """Return how a person with a decoder could read a text. The oracle of tests: it shares no code with the scrub.

    Letters and digits only, in lower case.
    """
    forms = {text}
    for _ in range(3):
        forms |= {html.unescape(form) for form in forms}
        forms |= {unquote(form) for form in forms}
        forms |= {_unescaped(form) for form in forms}
    return ["".join(char for char in form if char.isalnum()).lower() for form in forms]


def _unescaped(text: str) -> str:
    return re.sub(
        r"\\+(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))", lambda match: chr(int(match[1] or match[2], 16)), text
    )


@cache
def _unusual(secret: str) -> list[str]:
    """Return forms of a secret that need more than one step, or another alphabet, to read."""
    names = (
        *("UTF-16, hex", "UTF-16, big-endian, hex", "UTF-16, Base64", "Base32", "Base64 of the Basic header"),
        *("hex of Base64", "Base64 of hex", "octal", "decimal"),
    )
    forms = [KEY_ENCODINGS[name](secret) for name in names]
    # Without their ends, which depend on what stands next to the secret.
    return ["".join(char for char in form if char.isalnum())[32:-8] for form in forms]


def leaks(text: str, secret: str, *, piece: int = 12) -> list[str]:
    """Return which pieces of a secret a text shows, in any form."""
    letters = "".join(char for char in secret if char.isalnum())
    shown = " ".join(readings(text))
    forms = [letters, letters[::-1], secret.encode().hex()]
    forms += [form for form in _unusual(secret) if len(form) >= piece]
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret.encode()).decode()
        inner = encoded[-(-8 * before // 6) : 8 * (before + len(secret.encode())) // 6]
        forms.append("".join(char for char in inner if char.isalnum()))
    return [
        form[at : at + piece]
        for form in map(str.lower, forms)
        for at in range(max(1, len(form) - piece + 1))
        if form[at : at + piece] in shown
    ]
