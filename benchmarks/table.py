"""Rows of the table: a figure of the provider, its rival's from the same run, and what was aimed at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEAD = ("what", "provider", "rival", "its figure", "ratio", "target", "verdict")
_NUMBERS = (1, 3, 4)
"""Columns that are aligned to the right."""


@dataclass(frozen=True)
class Row:
    """One line of the table. Figures are texts with their unit."""

    group: str
    what: str
    ours: str
    rival: str = ""
    theirs: str = ""
    ratio: str = ""
    """The provider's figure as a multiple or a part of the rival's, or of the ideal."""
    target: str = ""
    is_met: bool | None = None
    """None where nothing was aimed at."""
    value: float | None = None
    """The provider's figure and the rival's as numbers, for the plot."""
    rival_value: float | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """Return what stands in the columns."""
        verdict = {None: "", True: "met", False: "not met"}[self.is_met]
        return (self.what, self.ours, self.rival, self.theirs, self.ratio, self.target, verdict)


def rate_row(
    group: str, what: str, ours: float, rival: str, theirs: float, unit: str, *, at_least: float | None = None
) -> Row:
    """Return a row of two speeds.

    :param unit: of both, ``elements/s``.
    :param at_least: the target: so many times the rival's speed.
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
    """Write a ratio: ``0.45 x``, ``12.3 x``, ``730 x``."""
    return f"{ratio:.2f} x" if ratio < 10 else f"{ratio:.1f} x" if ratio < 100 else f"{ratio:,.0f} x"


def as_text(rows: Sequence[Row]) -> str:
    """Write the table for a terminal."""
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
    """Write the table for the documentation, a table for each group."""
    out = [introduction, ""]
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            rule = ["---:" if number in _NUMBERS else "---" for number in range(len(HEAD))]
            out += ["", f"**{group}**", "", _piped(HEAD), _piped(rule)]
        out.append(_piped(row.cells))
    return "\n".join(out) + "\n"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = enumerate(zip(cells, widths, strict=True))
    return "  ".join(
        f"{cell:{'>' if number in _NUMBERS else '<'}{width}}" for number, (cell, width) in pairs
    ).rstrip()


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
