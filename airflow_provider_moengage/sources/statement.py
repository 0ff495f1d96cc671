"""Finds the statement in the text of a query, which may have comments, a final semicolon or several statements.

The parser only recognizes strings, quoted names and comments, because these may contain a semicolon. How strings
are quoted differs between databases (:class:`Quoting`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quoting:
    """How a database's SQL marks strings and comments.

    :param backslash_escapes: a backslash in a string escapes the character after it.
    :param hash_comments: a ``#`` begins a comment that ends at the end of the line.
    :param nested_comments: a ``/* */`` comment may contain others.
    :param dollar_strings: ``$$ ... $$`` and ``$tag$ ... $tag$`` are strings.
    :param triple_quotes: three quotes begin a string that three quotes end.
    :param dashes_need_space: ``--`` begins a comment only if a space or the end of the line follows: in MySQL,
        ``5--1`` is six.
    :param slash_comments: ``//`` begins a comment that ends at the end of the line.
    :param q_strings: ``q'[ ... ]'`` is a string, with any delimiter or pair of brackets.
    :param bracket_names: ``[ ... ]`` is a name.
    """

    backslash_escapes: bool = False
    hash_comments: bool = False
    nested_comments: bool = False
    dollar_strings: bool = False
    triple_quotes: bool = False
    dashes_need_space: bool = False
    slash_comments: bool = False
    q_strings: bool = False
    bracket_names: bool = False


_DOLLAR_TAG = re.compile(r"\$(?:[A-Za-z_]\w*)?\$")
_Q_STRING = re.compile(r"[nN]?[qQ]'(\S)")
_Q_CLOSING = {"[": "]", "{": "}", "(": ")", "<": ">"}
_WORD = re.compile(r"[A-Za-z_]\w*")
_ESCAPE_PREFIX = re.compile(r"(?<![\w$])[eE]$")


def one_statement(sql: str, quoting: Quoting) -> str:
    """Return a query without the semicolons, comments and whitespace that follow it.

    :param quoting: how the database's SQL marks strings and comments.
    :raises ValueError: if it contains no statement or more than one.
    """
    end = 0
    """Where the statement ends: after its last character that is not whitespace, a comment or a semicolon."""
    is_ended = False
    at = 0
    while at < len(sql):
        after, is_content = _skip(sql, at, quoting)
        if sql[at] == ";":
            is_ended = end > 0
        elif is_content:
            if is_ended:
                raise ValueError(
                    "sql: expected one statement, found a second one after a semicolon; run it in a separate task"
                )
            end = after
        at = after
    if not end:
        raise ValueError("sql: expected a SELECT, found only whitespace and comments")
    return sql[:end].lstrip()


def outer_words(sql: str, quoting: Quoting) -> list[str]:
    """Return the words of a statement, in upper case, that are not in parentheses, strings, names or comments.

    :param quoting: how the database's SQL marks strings and comments.
    """
    words = []
    depth = at = 0
    while at < len(sql):
        after, is_content = _skip(sql, at, quoting)
        word = _WORD.match(sql, at) if is_content and after == at + 1 else None
        if word is not None:
            after = word.end()
            if not depth:
                words.append(word.group().upper())
        elif is_content:
            depth += {"(": 1, ")": -1}.get(sql[at:after], 0)
        at = after
    return words


def _skip(sql: str, at: int, quoting: Quoting) -> tuple[int, bool]:
    """Return the end of the token at a position, and whether the token is part of the statement."""
    if _is_line_comment(sql, at, quoting):
        line_end = sql.find("\n", at)
        return (len(sql) if line_end < 0 else line_end), False
    if sql.startswith("/*", at):
        is_hint = sql.startswith(("/*+", "/*!"), at)  # MySQL executes the second kind
        return _comment_end(sql, at, nested=quoting.nested_comments), is_hint
    quoted = _end_of_special_string(sql, at, quoting)
    if quoted is not None:
        return quoted, True
    if sql[at] in "'\"`":
        return _quote_end(sql, at, _escapes(sql, at, quoting)), True
    return at + 1, not (sql[at].isspace() or sql[at] == ";")


def _end_of_special_string(sql: str, at: int, quoting: Quoting) -> int | None:
    """Return the end of a database-specific string or name; None if none begins at this position."""
    if quoting.triple_quotes and sql.startswith(("'''", '"""'), at):
        return _after(sql, sql[at : at + 3], at + 3)
    if quoting.dollar_strings and sql[at] == "$" and (tag := _DOLLAR_TAG.match(sql, at)):
        return _after(sql, tag.group(), tag.end())
    if quoting.q_strings and (string := _Q_STRING.match(sql, at)) and not (at and sql[at - 1].isalnum()):
        opening = string.group(1)
        return _after(sql, _Q_CLOSING.get(opening, opening) + "'", string.end())
    if quoting.bracket_names and sql[at] == "[":
        return _after(sql, "]", at + 1)
    return None


def _after(sql: str, closing: str, start: int) -> int:
    found = sql.find(closing, start)
    return len(sql) if found < 0 else found + len(closing)


def _is_line_comment(sql: str, at: int, quoting: Quoting) -> bool:
    if sql.startswith("--", at):
        return not quoting.dashes_need_space or not sql[at + 2 : at + 3].strip()
    if quoting.slash_comments and sql.startswith("//", at):
        return True
    return quoting.hash_comments and sql[at] == "#"


def _escapes(sql: str, at: int, quoting: Quoting) -> bool:
    """Return whether backslashes are escapes in the string at a position, as in PostgreSQL's E'...'."""
    if sql[at] == "`":
        return False
    return quoting.backslash_escapes or (sql[at] == "'" and bool(_ESCAPE_PREFIX.search(sql[max(at - 2, 0) : at])))


def _quote_end(sql: str, at: int, has_escapes: bool) -> int:
    quote = sql[at]
    at += 1
    while at < len(sql):
        if has_escapes and sql[at] == "\\":
            at += 2
        elif sql[at] == quote:
            return at + 1  # a doubled quote counts as the start of another string, which gives the same end
        else:
            at += 1
    return len(sql)


def _comment_end(sql: str, at: int, *, nested: bool) -> int:
    depth = 0
    while at < len(sql):
        if sql.startswith("/*", at) and (nested or not depth):
            depth += 1
            at += 2
        elif sql.startswith("*/", at):
            depth -= 1
            at += 2
            if not depth:
                return at
        else:
            at += 1
    return len(sql)
