"""How a server may write a key or a value that it quotes."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
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


def leaks(text: str, secret: str, *, piece: int = 12) -> list[str]:
    """Return which pieces of a secret a text shows, in any form."""
    letters = "".join(char for char in secret if char.isalnum())
    shown = " ".join(readings(text))
    forms = [letters, letters[::-1], secret.encode().hex()]
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
