"""Rows of the table: the provider's result, an alternative's from the same run, and the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEAD = ("what", "provider", "alternative", "its result", "ratio", "target", "status")
_NUMBERS = (1, 3, 4)
"""Right-aligned columns."""


@dataclass(frozen=True)
class Row:
    """One row of the table. Results are strings with their unit."""

    group: str
    what: str
    ours: str
    rival: str = ""
    theirs: str = ""
    ratio: str = ""
    """The provider's result relative to the alternative's."""
    target: str = ""
    is_met: bool | None = None
    """None if there is no target."""
    value: float | None = None
    """The provider's and the alternative's results as numbers, for the plot."""
    rival_value: float | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the text of each column."""
        status = {None: "", True: "met", False: "not met"}[self.is_met]
        return (self.what, self.ours, self.rival, self.theirs, self.ratio, self.target, status)


def rate_row(  # noqa: PLR0913 (one argument per column of the row)
    group: str, what: str, ours: float, rival: str, theirs: float, unit: str, *, at_least: float | None = None
) -> Row:
    """Return a row that compares two speeds.

    :param unit: the unit of both, ``elements/s``.
    :param at_least: the target, as a multiple of the alternative's speed.
    """
    ratio = ours / theirs
    return Row(
        group,
        what,
        f"{ours:,.0f} {unit}",
        rival,
        f"{theirs:,.0f} {unit}",
        times(ratio),
        "" if at_least is None else f"at least {at_least:g} x",
        None if at_least is None else ratio >= at_least,
        ours,
        theirs,
    )


def times(ratio: float) -> str:
    """Format a ratio: ``0.45 x``, ``12.3 x``, ``730 x``."""
    return f"{ratio:.2f} x" if ratio < 10 else f"{ratio:.1f} x" if ratio < 100 else f"{ratio:,.0f} x"


def as_text(rows: Sequence[Row]) -> str:
    """Format the table for a terminal."""
    lines = [HEAD, *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    out = [_aligned(HEAD, widths), "-" * (sum(widths) + 2 * len(widths) - 2)]
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            out += ["", group]
        out.append(_aligned(row.cells, widths))
    return "\n".join(out) + "\n"


def as_markdown(rows: Sequence[Row], introduction: str) -> str:
    """Format the table for the documentation, one table per group."""
    out = [introduction, ""]
    group = ""
    above = ("",) * len(HEAD)
    for row in filter(_is_on_page, rows):
        if row.group != group:
            group = row.group
            above = ("",) * len(HEAD)
            rule = ["---:" if number in _NUMBERS else "---" for number in range(len(HEAD))]
            out += ["", f"**{group}**", "", _piped(HEAD), _piped(rule)]
        out.append(_piped(_without_repeats(row.cells, above)))
        above = row.cells
    return "\n".join(out) + "\n"


def _is_on_page(row: Row) -> bool:
    """Leave out what was not measured, and what repeats another row or page; never a target that is missed."""
    return row.is_met is False or not (
        row.ours.startswith("skipped")
        or row.group == "What arrives if MoEngage fails"
        or "dicts: encode + pack" in row.what
        or (": encode + pack" in row.what and "msgspec" in row.rival)
        or ("mean fill" in row.what and row.rival in ("orjson.dumps per element", "growing list"))
        or ("response after 50 ms" in row.what and row.rival.startswith(("drt", "dlt")))
        or row.what.startswith(("SQLite, sqlite3", "SQLite to HTTP: 4 ", "SQLite to HTTP: 16 "))
        or (row.rival == "evenly paced" and row.what != "1,000,000 users")
        or (row.group.startswith("Scale") and row.ours == row.theirs)
    )


def _without_repeats(cells: Sequence[str], above: Sequence[str]) -> list[str]:
    """Empty the cells of a measurement that the row above has, too: only the alternative differs."""
    if cells[:2] != above[:2]:
        return list(cells)
    return [
        "" if number in (0, 1) or (number in (5, 6) and cell == above[number]) else cell
        for number, cell in enumerate(cells)
    ]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = enumerate(zip(cells, widths, strict=True))
    return "  ".join(
        f"{cell:{'>' if number in _NUMBERS else '<'}{width}}" for number, (cell, width) in pairs
    ).rstrip()


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
