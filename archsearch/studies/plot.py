"""A line plot as SVG text, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["line_plot"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 64, 24, 40, 52
COLOURS = ("#0b6e99", "#c4521b", "#4b7f2f", "#7a4ba0")
TICKS = 5


def line_plot(
    xs: Sequence[float], lines: Mapping[str, Sequence[float]], *, title: str, x: str, y: str, log_x: bool = True
) -> str:
    """Lines over common places `xs`, each with its name in the legend; points that are not finite are left out.

    Args:
        x, y: what stands at the axes.
        log_x: whether `xs`, above 0 then, are spaced by their logarithms.
    """
    at = [math.log10(v) for v in xs] if log_x else list(xs)
    values = [v for line in lines.values() for v in line if math.isfinite(v)]
    low, high = min(0.0, *values), max(1.0, *values)
    first, last = min(at), max(max(at), min(at) + 1e-9)

    def place(a: float, v: float) -> tuple[float, float]:
        across = LEFT + (a - first) / (last - first) * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - (v - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(WIDTH / 2, 22, title, "middle"),
        _text((WIDTH + LEFT) / 2, HEIGHT - 12, x, "middle"),
        _text(8, TOP - 12, y, "start"),
    ]
    for i in range(TICKS + 1):
        value, a = low + (high - low) * i / TICKS, first + (last - first) * i / TICKS
        (_, down), (across, bottom) = place(first, value), place(a, low)
        parts.append(f'<path d="M{LEFT} {down:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
        parts.append(_text(LEFT - 6, down + 4, f"{value:.2f}", "end"))
        parts.append(_text(across, bottom + 18, f"{10**a if log_x else a:.3g}", "middle"))
    for i, (name, line) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        points = [place(a, v) for a, v in zip(at, line, strict=True) if math.isfinite(v)]
        path = " ".join(f"{a:.1f},{v:.1f}" for a, v in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(WIDTH - RIGHT - 8, HEIGHT - BOTTOM - 12 - 16 * i, name, "end", colour))
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#222222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="12" fill="{colour}">{escape(text)}</text>'
