"""The messages in the package's source, with gaps for their variable parts."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.docs.blocks import PROJECT

_PACKAGE = PROJECT / "airflow_provider_moengage"
_GAP = "\0"
_FORMATS = re.compile(r"%(?:\d*\.?\d*)[sdrf]")


@cache
def texts() -> tuple[str, ...]:
    """Return all string literals of the package except docstrings, with a gap for each variable part."""
    found: set[str] = set()
    for file in _files():
        tree = ast.parse(file.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found |= {_text(node) for node in ast.walk(tree) if id(node) not in docstrings}
    return tuple(re.sub(r"\s+", " ", text) for text in sorted(found) if text.strip(_GAP))


@cache
def said() -> str:
    """Return them joined."""
    return _GAP.join(texts())


def unsaid(quoted: str) -> list[str]:
    """Return the parts of a quoted message that no string of the package contains literally.

    ``...``, numbers, and values in quotes or brackets separate the parts.
    """
    parts = re.split(r"(?<![a-z])'[^']*'|\.\.\.|\[[^\]]*\]|[\d,.]*\d%?|(?<=\w)[:;.](?= |$)", quoted)
    words = [re.sub(r"\s+", " ", part).strip(" ()|:;.") for part in parts]
    return [part for part in words if " " in part and part not in said()]


def is_said(line: str) -> bool:
    """Whether the package logs a line: most of its letters belong to the package's strings."""
    covered = [False] * len(line)
    for text in texts():
        pieces = [piece for piece in text.split(_GAP) if re.search(r"[A-Za-z]{2}", piece)]
        if sum(map(len, pieces)) < 6:
            continue
        for piece in pieces:
            for found in re.finditer(re.escape(piece.strip()), line):
                covered[found.start() : found.end()] = [True] * len(found[0])
    letters = [index for index, letter in enumerate(line) if letter.isalpha()]
    return sum(covered[index] for index in letters) >= 0.6 * len(letters)


def mask(text: str) -> str:
    """Replace numbers, ids and times by placeholders."""
    text = re.sub(r"\b[0-9a-f]{24}\b", "ID", text)
    return re.sub(r"\d+(?:[.,]\d+)*", "N", text)


def _files() -> list[Path]:
    """Return the package's source files, except the emulator's."""
    return sorted(file for file in _PACKAGE.rglob("*.py") if file.relative_to(_PACKAGE).parts[0] != "emulator")


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _FORMATS.sub(_GAP, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) if isinstance(value, ast.Constant) else _GAP for value in node.values)
    return ""


def warnings_and_errors() -> list[str]:
    """Return the package's own exceptions and its log warnings and errors, with ``...`` for gaps."""
    found = []
    for file in _files():
        calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        found += [_text(call.args[0]) for call in calls if call.args and _is_told(call.func)]
    return [re.sub(r"\s+", " ", text.replace(_GAP, "...")) for text in found if len(text.strip(_GAP)) > 8]


def _is_told(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return function.attr in ("warning", "error", "exception")
    return isinstance(function, ast.Name) and re.fullmatch(r"MoEngage\w+Error", function.id) is not None
