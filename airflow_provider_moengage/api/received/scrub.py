"""Removes keys and sent values from a server's text, in any encoding, before anybody reads it.

A server, a gateway or a proxy may quote what it was sent: the API keys, the Basic header (MoEngage API reference,
"Authentication"), and the values of elements and business events. Such text is a
:class:`~airflow_provider_moengage.api.received.values.Received`, and only a :class:`Scrub` makes it readable.

A key is found as it is, in Base64 (also inside the Basic header, and URL-safe), in hex and reversed; in Base32, as
UTF-16, as octal or decimal bytes, and in Base64 or hex twice; with any of its characters as a percent, JSON or
HTML escape, escaped several times; in upper or lower case; with quotes, spaces, punctuation or terminal sequences
between its characters; and in pieces of at least :data:`PIECE` characters. The workspace ID is not a secret: it is
part of URLs.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from html.entities import html5
from typing import Any, NamedTuple

MARK = "***"
"""What stands in place of a key or a value."""

PIECE = 12
"""Characters of a key, without punctuation, that are removed also on their own. A shorter key is removed as a
whole."""

VALUE_PIECE = 20
"""Characters of a long sent value that are removed also on their own."""

WINDOW = 8_192
"""Characters of a text that are read; the rest is dropped, so that the time does not depend on the server."""

_TIMES_DECODED = 4
"""How often the escapes of a text are decoded; each step also undoes a percent sign escaped several times."""

_SHORTEST = 4
"""Characters of the shortest form of a key that is looked for between other letters."""


class Scrub:
    """Makes a server's text readable.

    :param secrets: the keys. An empty one is ignored.
    :param values: returns what was sent and may not be quoted, as JSON; called when the first text is read.
    """

    def __init__(self, secrets: Iterable[str], values: Callable[[], Any] = lambda: None) -> None:
        kept = [secret for secret in secrets if secret]
        self._keys = _pieces((form for secret in kept for form in _key_forms(secret)), PIECE)
        self._odd_keys = [secret for secret in kept if len(_letters(secret)) < _SHORTEST]
        self._read_values = values
        self._values: _Values | None = None

    def with_values(self, values: Callable[[], Any]) -> Scrub:
        """Return a scrub that also removes values which a request has sent.

        :param values: returns them as JSON; called when the first text is read.
        """
        other = Scrub(())
        other._keys, other._odd_keys, other._read_values = self._keys, self._odd_keys, values
        return other

    def text(self, text: str, limit: int, *, may_quote_values: bool = False) -> str:
        """Return one printable line, without keys and values.

        :param limit: characters; a longer text ends in an ellipsis.
        :param may_quote_values: leave sent values in: for a place that holds the element anyway.
        """
        shown = text[:WINDOW]
        spans = self._key_spans(shown)
        if not may_quote_values:
            spans += self._sent.spans(shown)
        line = " ".join(printable(self._marked(shown, spans)).split())
        return line if len(line) <= limit and len(text) <= WINDOW else f"{line[: limit - 1]}…"

    def is_clean(self, text: str) -> bool:
        """Return whether a short text, such as an ID, contains no key and no sent value."""
        return not self.has_key(text) and not self._sent.are_in(text)

    def has_key(self, text: str) -> bool:
        """Return whether a text contains a key."""
        return bool(self._key_spans(text)) or any(key in text for key in self._odd_keys)

    @property
    def _sent(self) -> _Values:
        if self._values is None:
            self._values = _Values(self._read_values())
        return self._values

    def _key_spans(self, text: str) -> list[tuple[int, int]]:
        spans = (span for view in _readings(text) for span in _found(_letters_of(view), self._keys))
        return [_whole_token(text, span) for span in _merged(spans)]

    def _marked(self, text: str, spans: list[tuple[int, int]]) -> str:
        parts, end = [], 0
        for start, stop in _merged(spans):
            parts += [text[end:start], MARK]
            end = stop
        marked = "".join([*parts, text[end:]])
        for key in self._odd_keys:
            marked = marked.replace(key, MARK)
        return marked


def printable(text: str) -> str:
    """Return a text without terminal sequences, and with a space for each character that is not printable: line
    ends, control characters, and those that change the direction of text.
    """
    return "".join(char if is_printable(char) else " " for char in _TERMINAL.sub(" ", text))


def is_printable(text: str) -> bool:
    """Return whether all characters are printable. Spaces of any script are, and the joiners that some need."""
    return text.isprintable() or all(
        char.isprintable() or char in _JOINERS or unicodedata.category(char) in ("Zs", "Co", "Cn") for char in text
    )


_JOINERS = "\u200c\u200d"


class _View(NamedTuple):
    """A text in another form, and which part of the original each of its characters stands for."""

    text: str
    starts: list[int]
    ends: list[int]


_TERMINAL = re.compile("(?:\x1b\\[|\x9b)[0-?]{0,32}[ -/]{0,8}[@-~]|\x1b[@-Z\\\\-_]")

_ESCAPE = re.compile(
    r"%(?:25){0,8}(?P<percent>[0-9a-f]{2})"
    r"|\\{1,8}u(?P<high>d[89ab][0-9a-f]{2})\\{1,8}u(?P<low>d[c-f][0-9a-f]{2})"
    r"|\\{1,8}(?:u(?P<unit>[0-9a-f]{4})|x(?P<byte>[0-9a-f]{2})|(?P<blank>[nrtbf](?![a-z])))"
    r"|&(?:amp;){0,8}(?:#0{0,8}(?P<decimal>[0-9]{1,7});?|#x0{0,8}(?P<hex>[0-9a-f]{1,6});?|(?P<name>[a-z]{2,10});)",
    re.IGNORECASE,
)
"""One escaped character: of a URL, JSON or HTML, escaped once or several times."""


def _decoded(text: str) -> _View:
    """Return a text without escapes, in lower case, as the bytes of its UTF-8: one character each."""
    return _readings(text)[-1]


def _readings(text: str) -> list[_View]:
    """Return a text as it is, and after each time that its escapes are decoded: `%00` may be an escape, or three
    characters of a key. All in lower case, as the bytes of its UTF-8: one character each.
    """
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    if text.isascii():
        view = _View(text, list(range(len(text))), list(range(1, len(text) + 1)))
    else:
        for at, char in enumerate(text):
            if unicodedata.category(char) == "Cf":
                continue
            form = _bytes(char)
            parts.append(form)
            starts += [at] * len(form)
            ends += [at + 1] * len(form)
        view = _View("".join(parts), starts, ends)
    readings = [view]
    while len(readings) <= _TIMES_DECODED and any(sign in view.text for sign in "%\\&"):
        view, before = _replaced(view, _ESCAPE, _unescaped), view
        if view is before:
            break
        readings.append(view)
    plain = (_replaced(reading, _TERMINAL, lambda _: "") for reading in readings)
    return [reading._replace(text=reading.text.lower()) for reading in plain]


def _replaced(view: _View, pattern: re.Pattern[str], form: Callable[[re.Match[str]], str]) -> _View:
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    end = 0
    for match in pattern.finditer(view.text):
        first, after = match.span()
        text = form(match)
        parts += [view.text[end:first], text]
        starts += [*view.starts[end:first], *[view.starts[first]] * len(text)]
        ends += [*view.ends[end:first], *[view.ends[after - 1]] * len(text)]
        end = after
    if not parts:
        return view
    return _View("".join([*parts, view.text[end:]]), starts + view.starts[end:], ends + view.ends[end:])


def _unescaped(match: re.Match[str]) -> str:
    kind, digits = match.lastgroup, match[match.lastgroup or 0]
    if kind in ("percent", "byte"):
        return chr(int(digits, 16))
    if kind == "blank":
        return " "
    if kind == "low":
        return _bytes(bytes.fromhex(match["high"] + digits).decode("utf-16-be"))
    if kind == "name":
        known = html5.get(f"{digits};") or html5.get(f"{digits.lower()};")
        return match[0] if known is None else _bytes(known)
    code = int(digits, 10 if kind == "decimal" else 16)
    return _bytes(chr(code)) if code <= 0x10FFFF else match[0]


def _bytes(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


_NO_LETTERS = re.compile(r"[^0-9a-z\x80-\xff]+")


def _letters_of(view: _View) -> _View:
    """Return only letters and digits: what separates the pieces of a key does not count."""
    return _replaced(view, _NO_LETTERS, lambda _: "")


def _letters(text: str) -> str:
    return _letters_of(_decoded(text)).text


def _key_forms(secret: str) -> Iterator[str]:
    read = {_letters_of(view).text for view in _readings(secret)}
    raw = secret.encode()
    encoded = list(_encoded(raw))
    rare = [*_based(raw, base64.b32encode, 5), "".join(f"{byte:03o}" for byte in raw), "".join(map(str, raw))]
    for unusual in (secret.encode("utf-16-le"), secret.encode("utf-16-be"), *map(str.encode, encoded)):
        rare += _encoded(unusual)
    forms = [*read, *(form[::-1] for form in read), *map(_letters, (*encoded, *rare))]
    yield from (form for form in forms if len(form) >= _SHORTEST)


def _encoded(raw: bytes) -> Iterator[str]:
    """Yield a value in hex and Base64."""
    yield raw.hex()
    yield from _based(raw, base64.b64encode, 6)


def _based(raw: bytes, encode: Callable[[bytes], bytes], bits: int) -> Iterator[str]:
    """Yield a value in Base64 or Base32 at each position that it may have in a longer text, without the characters
    that depend on what stands next to it.

    :param bits: of each character.
    """
    for before in range(bits if bits % 2 else bits // 2):
        form = encode(bytes(before) + raw).decode()
        yield form[-(-8 * before // bits) : 8 * (before + len(raw)) // bits]


def _pieces(forms: Iterable[str], size: int) -> dict[int, set[str]]:
    """Return what to look for, by its length."""
    pieces: dict[int, set[str]] = defaultdict(set)
    for form in forms:
        length = min(size, len(form))
        pieces[length].update(form[at : at + length] for at in range(len(form) - length + 1))
    return dict(pieces)


def _found(view: _View, pieces: Mapping[int, set[str]]) -> Iterator[tuple[int, int]]:
    text = view.text
    for length, known in pieces.items():
        for at in range(len(text) - length + 1):
            if text[at : at + length] in known:
                yield view.starts[at], view.ends[at + length - 1]


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _whole_token(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """Return a span with the rest of its word: next to a piece of a key there may be a shorter one."""
    start, end = span
    while start and (text[start - 1].isalnum() or text[start - 1] in "+/=_%-"):
        start -= 1
    while end < len(text) and (text[end].isalnum() or text[end] in "+/=_%-"):
        end += 1
    return start, end


class _Values:
    """What a request has sent."""

    def __init__(self, values: Any) -> None:
        self._texts = set(_leaves(values))
        forms = {form for text in self._texts for form in _value_forms(text)}
        longest = VALUE_PIECE + _SHORTEST
        self._short = {form for form in forms if len(form) < 3}
        pieces: dict[int, set[str]] = _pieces((form for form in forms if len(form) > longest), VALUE_PIECE)
        for form in forms:
            if 3 <= len(form) <= longest:
                pieces.setdefault(len(form), set()).add(form)
        self._pieces = pieces

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where a text quotes a value."""
        if not self._texts:
            return []
        view = _one_spaced(_decoded(text))
        spans = list(_found(view, self._pieces))
        for start, end in _found(view, dict.fromkeys((1, 2), self._short)):
            is_word = not text[start - 1 : start].isalnum() and not text[end : end + 1].isalnum()
            if is_word:
                spans.append((start, end))
        return spans

    def are_in(self, text: str) -> bool:
        """Return whether a short text quotes a value, or a part of it is one, as it is or in Base64 or hex."""
        if not self._texts:
            return False
        parts = {text, *re.split(r"[^0-9A-Za-z]+", text)}
        parts |= {form for part in parts for form in _read(part)}
        forms = {part.casefold() for part in parts if part}
        return any(
            value in form if len(value) >= 6 else (value == form and (len(value) >= _SHORTEST or form == text))
            for value in map(str.casefold, self._texts)
            for form in forms
        )


def _leaves(values: Any) -> Iterator[str]:
    """Yield the values in JSON as text, at any depth, without true, false and null."""
    left = [values]
    while left:
        value = left.pop()
        if isinstance(value, Mapping):
            left += value.values()
        elif isinstance(value, list | tuple):
            left += value
        elif not isinstance(value, bool) and value is not None and str(value).strip():
            yield str(value).strip()


def _value_forms(text: str) -> Iterator[str]:
    for form in (text, text.lower(), text.upper()) if not text.isascii() else (text,):
        yield _one_spaced(_decoded(form)).text
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) >= _SHORTEST:
        for form in _encoded(raw):
            yield form.lower()
            yield form.lower().translate(_URL_SAFE)


_URL_SAFE = str.maketrans("+/", "-_")

_BLANKS = re.compile(r"[\x00-\x20\\\x7f]+")


def _one_spaced(view: _View) -> _View:
    return _replaced(view, _BLANKS, lambda match: "" if set(match[0]) == {"\\"} else " ")


def _read(text: str) -> Iterator[str]:
    """Yield what a text may be in Base64 or hex."""
    if len(text) < _SHORTEST:
        return
    for read in (bytes.fromhex, lambda form: base64.b64decode(form + "=" * (-len(form) % 4), altchars=b"-_")):
        try:
            yield read(text).decode()
        except (ValueError, binascii.Error):
            continue
