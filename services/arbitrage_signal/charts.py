"""Charts as inline SVG: lines over a day, bars, and a grid of hours. Pure; made of text, so that a page needs no other.

Colours are those of Okabe and Ito, which most readers can tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#000000")
_WIDTH, _HEIGHT = 900, 280
_LEFT, _BOTTOM, _TOP = 84, 46, 16
_NAMES = _HEIGHT - 28
"""Where the names below the lower axis stand."""


def lines(series: Mapping[str, Sequence[tuple[int, float]]], upright: str) -> str:
    """Return lines over the minutes of a day, with a legend; `upright` says what the values are."""
    values = [value for points in series.values() for _, value in points]
    if not values:
        return "<p>Nothing to show.</p>"
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 1, high + 1
    parts = [_open(_HEIGHT), *_scale(low, high), *_titles("time of the day, UTC", upright)]
    for hour in range(0, 25, 3):
        at = _x(hour * 60)
        parts.append(f'<text x="{at:.1f}" y="{_NAMES}" text-anchor="middle">{hour:02d}:00</text>')
    for number, points in enumerate(series.values()):
        if len(points) == 1:  # a line of one point would not be seen
            points = [*points, (points[0][0] + 1, points[0][1])]
        path = " ".join(f"{_x(minute):.1f},{_y(value, low, high):.1f}" for minute, value in points)
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
    legend = "".join(
        f'<li><span style="background:{COLOURS[number % len(COLOURS)]}"></span>{escape(name)}</li>'
        for number, name in enumerate(series)
    )
    return "".join([*parts, "</svg>", f'<ul class="legend">{legend}</ul>'])


def bars(values: Sequence[tuple[str, float]], across: str, upright: str) -> str:
    """Return one bar for each named value; `across` says what the names are, `upright` what the values are."""
    if not any(value for _, value in values):
        return "<p>Nothing to show.</p>"
    low, high = min(0.0, *(value for _, value in values)), max(0.0, *(value for _, value in values))
    parts = [_open(_HEIGHT), *_scale(low, high), *_titles(across, upright)]
    width = (_WIDTH - _LEFT - 10) / len(values)
    zero = _y(0.0, low, high)
    for number, (name, value) in enumerate(values):
        left, top = _LEFT + number * width + width * 0.1, _y(value, low, high)
        parts.append(
            f'<rect x="{left:.1f}" y="{min(top, zero):.1f}" width="{width * 0.8:.1f}" '
            f'height="{abs(zero - top):.1f}" fill="{COLOURS[0]}"><title>{escape(name)}: {value:,.2f}</title></rect>'
            f'<text x="{left + width * 0.4:.1f}" y="{_NAMES}" text-anchor="middle">{escape(name)}</text>'
            f'<text x="{left + width * 0.4:.1f}" y="{min(top, zero) - 4:.1f}" text-anchor="middle">{value:,.6g}</text>'
        )
    return "".join([*parts, "</svg>"])


def hours(rows: Mapping[str, Sequence[int]], most: int = 40) -> str:
    """Return a grid: a row for each name, a cell for each of 24 hours, darker where the count is higher."""
    if not rows:
        return "<p>Nothing to show.</p>"
    shown = list(rows.items())[:most]
    highest = max(max(counts) for _, counts in shown) or 1
    label, cell, line = 430, 19, 18
    height = line * (len(shown) + 1) + 6
    parts = [_open(height)]
    for hour in range(0, 24, 3):
        parts.append(f'<text x="{label + hour * cell}" y="12">{hour:02d}</text>')
    for number, (name, counts) in enumerate(shown, 1):
        parts.append(f'<text x="{label - 6}" y="{number * line + 13}" text-anchor="end">{escape(name)}</text>')
        for hour, count in enumerate(counts):
            shade = 0.06 + 0.94 * count / highest if count else 0.03
            parts.append(
                f'<rect x="{label + hour * cell}" y="{number * line}" width="{cell - 1}" height="{line - 1}" '
                f'fill="{COLOURS[0]}" fill-opacity="{shade:.2f}"><title>{escape(name)} {hour:02d}:00: {count}</title>'
                "</rect>"
            )
    note = f"<p>{len(rows) - most} more pairs are in the JSON file.</p>" if len(rows) > most else ""
    return "".join([*parts, "</svg>", note])


def _open(height: int) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" xmlns="http://www.w3.org/2000/svg">'


def _x(minute: float) -> float:
    return _LEFT + minute / 1440 * (_WIDTH - _LEFT - 20)


def _y(value: float, low: float, high: float) -> float:
    return _TOP + (high - value) / (high - low) * (_HEIGHT - _BOTTOM - _TOP)


def _titles(across: str, upright: str) -> list[str]:
    """What the two axes are."""
    middle = (_LEFT + _WIDTH) / 2
    beside = f'transform="translate(12 {(_HEIGHT - _BOTTOM + _TOP) / 2:.1f}) rotate(-90)"'
    return [
        f'<text x="{middle:.1f}" y="{_HEIGHT - 6}" text-anchor="middle" fill="#555">{escape(across)}</text>',
        f'<text {beside} text-anchor="middle" fill="#555">{escape(upright)}</text>',
    ]


def _scale(low: float, high: float) -> list[str]:
    """Five lines across with their values."""
    parts = []
    for step in range(5):
        value = low + (high - low) * step / 4
        at = _y(value, low, high)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:,.4g}</text>'
        )
    return parts
