"""Draws the results as bars, the provider's in blue and the alternatives' in grey, for light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.table import Row

_WIDTH, _LABELS, _LONGEST = 760, 320, 290
"""Pixels: the image, the labels on its left, the longest bar."""
_LINE, _BAR, _TITLE, _GAP = 20, 13, 26, 18
"""Pixels: from one bar to the next, a bar, a title, between two panels."""
_TEXT, _OURS, _RIVAL = "#7b8590", "#2f81f7", "#9aa4ae"


@dataclass(frozen=True)
class Bar:
    """One bar and the texts next to it."""

    label: str
    value: float
    text: str
    is_ours: bool


def as_svg(rows: Sequence[Row], groups: Sequence[str]) -> str:
    """Draw a panel for each group; each has its own scale, from zero."""
    drawn: list[str] = []
    top = 0
    for group in groups:
        bars = _bars([row for row in rows if row.group == group])
        if not bars:
            continue
        most = max(bar.value for bar in bars)
        drawn.append(_words(0, top + 16, group, weight="600"))
        top += _TITLE
        for bar in bars:
            drawn.append(_drawn(bar, top, most))
            top += _LINE
        top += _GAP
    label = "Bars: the provider compared with other ways to send"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" width="{_WIDTH}" height="{top}"'
        f' role="img" aria-label="{label}" font-family="system-ui, sans-serif" font-size="12">'
    )
    return "\n".join([head, *drawn, "</svg>", ""])


def _bars(rows: Sequence[Row]) -> list[Bar]:
    """Return each value once: an alternative with the same value in several rows has one bar."""
    bars: dict[tuple[str, str], Bar] = {}
    for row in rows:
        if row.value is not None:
            bars.setdefault((row.what, row.ours), Bar(row.what, row.value, row.ours, is_ours=True))
        if row.rival_value is not None:
            bars.setdefault((row.rival, row.theirs), Bar(row.rival, row.rival_value, row.theirs, is_ours=False))
    return list(bars.values())


def _drawn(bar: Bar, top: int, most: float) -> str:
    length = max(bar.value / most * _LONGEST, 1)
    colour = _OURS if bar.is_ours else _RIVAL
    baseline = top + _BAR - 2
    return "".join(
        (
            _words(_LABELS - 8, baseline, bar.label, anchor="end"),
            f'<rect x="{_LABELS}" y="{top}" width="{length:.1f}" height="{_BAR}" rx="2" fill="{colour}"/>',
            _words(_LABELS + length + 6, baseline, bar.text),
        )
    )


def _words(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "400") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" fill="{_TEXT}">'
        f"{escape(words)}</text>"
    )
