"""Finds the statement in the text of a query, which may have comments, a final semicolon or several statements.

The parser only recognizes strings, quoted names and comments, because these may contain a semicolon. How strings
are quoted differs between databases (:class:`Quoting`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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
_NAME = re.compile(r"[A-Za-z_\"`\[]")
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
    return _without_parentheses(sql[:end].lstrip(), quoting)


_QUERIES = frozenset(("SELECT", "SEL", "WITH", "VALUES", "TABLE", "FROM", "PIVOT", "UNPIVOT", "LOCKING"))
"""Words that a query begins with, in any dialect: SEL and LOCKING are Teradata's, PIVOT is DuckDB's."""
_WRITES = frozenset(("INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE"))
_AFTER_WITH = _WRITES | {"SELECT", "SEL", "VALUES", "TABLE", "FROM"}


def check_is_query(sql: str, quoting: Quoting) -> None:
    """Check that a statement only reads, because a driver may run and commit any other statement.

    :param sql: one statement.
    :param quoting: how the database's SQL marks strings and comments.
    :raises ValueError: if it is not a query.
    """
    words = outer_words(sql, quoting)
    tokens = list(_tokens(sql, quoting))
    found = next((token for token in tokens if token != "("), "")  # noqa: S105 (no password)
    if found == "WITH":
        found = next((word for word in words if word in _AFTER_WITH), "WITH")
    if found not in _QUERIES:
        found = found if _WORD.fullmatch(found) else "no word"
        raise ValueError(f"sql: expected one SELECT, found a statement that begins with {found}")
    if "INTO" in words:
        raise ValueError("sql: expected one SELECT, found SELECT ... INTO, which writes; remove INTO")
    for before, verb, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if before == "(" and verb in _WRITES and _NAME.match(after):
            raise ValueError(f"sql: expected one SELECT, found one that contains {verb}; remove it")


def _without_parentheses(sql: str, quoting: Quoting) -> str:
    """Return a statement without the parentheses around all of it, which SQLite accepts only in a subquery."""
    depth = at = 0
    opened = None
    """Where the first parenthesis is, if only comments come before it."""
    while at < len(sql):
        after, is_content = _skip(sql, at, quoting)
        if is_content:
            depth += {"(": 1, ")": -1}.get(sql[at:after], 0)
            if not depth:
                is_around = opened is not None and after == len(sql)
                return one_statement(sql[(opened or 0) + 1 : at], quoting) if is_around else sql
            opened = at if opened is None else opened
        at = after
    return sql


def outer_words(sql: str, quoting: Quoting) -> list[str]:
    """Return the words of a statement, in upper case, that are not in parentheses, strings, names or comments.

    :param quoting: how the database's SQL marks strings and comments.
    """
    words = []
    depth = 0
    for token in _tokens(sql, quoting):
        if not depth and _WORD.match(token):
            words.append(token)
        depth += {"(": 1, ")": -1}.get(token, 0)
    return words


def _tokens(sql: str, quoting: Quoting) -> Iterator[str]:
    """Yield the parts of a statement without comments and whitespace: words, in upper case, and all others."""
    at = 0
    while at < len(sql):
        after, is_content = _skip(sql, at, quoting)
        word = _WORD.match(sql, at) if is_content and after == at + 1 else None
        if word is not None:
            after = word.end()
            yield word.group().upper()
        elif is_content:
            yield sql[at:after]
        at = after


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
