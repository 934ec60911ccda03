"""An architecture as a drawing in SVG: data flows down, a definition is a box, a delayed edge is dashed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from html import escape

from archsearch.graph.architecture import Architecture
from archsearch.graph.diagram import UNUSED, diagram
from archsearch.graph.opspec import Registry
from archsearch.graph.placing import LINE, Line, Panel, Plate, Words, placed, text_width

__all__ = ["svg"]

MARGIN = 16.0
RED = "#c0392b"
FAMILIES = {
    "perceptron": "#dbe9fb",
    "attention": "#fde3c8",
    "recurrence": "#d9f0d5",
    "state_space": "#cfeeee",
    "fast_weight": "#e6dcf7",
    "convolution": "#fbf2c4",
    "norm": "#eceff1",
    "plumbing": "#ffffff",
    "end": "#455a64",
    UNUSED: "#ffffff",
}
"""The colour of a node by the family of its op; any other is pink."""
OTHER = "#f9dbe8"
STYLE = f"""
text {{ font-family: "DejaVu Sans", Verdana, sans-serif; font-size: 11px; fill: #263238 }}
.name {{ font-weight: bold }} .small {{ font-size: 9px; fill: #607d8b }} .end {{ fill: #ffffff }}
.line {{ fill: none; stroke: #546e7a; stroke-width: 1.2 }} .late {{ stroke-dasharray: 5 3 }}
.serial {{ stroke: {RED}; stroke-width: 2 }} .why {{ fill: {RED} }}
"""


def svg(architecture: Architecture, registry: Registry, *, fold: bool = True) -> str:
    """The drawing as one SVG document.

    Args:
        fold: draw consecutive equal turns of a repeat once.

    Raises:
        UnknownNameError, RuleError: an op or settings that `registry` does not have.
    """
    drawn = diagram(architecture, registry, fold=fold)
    shapes, width, height = placed(drawn)
    foot = [f"red: runs step by step, since {reason}" for reason in drawn.reasons]
    wide = max(width, *(text_width(t) for t in (drawn.title, *foot))) + 2 * MARGIN
    tall = height + 2 * MARGIN + LINE * (2 + len(foot))
    body = [
        _text(drawn.title, MARGIN, MARGIN + LINE / 2, "name"),
        f'<g transform="translate({MARGIN:g} {MARGIN + 1.5 * LINE:g})">',
        *_drawn(shapes),
        "</g>",
        *(_text(t, MARGIN, height + 2 * MARGIN + LINE * (1.5 + i), "why") for i, t in enumerate(foot)),
    ]
    return "\n".join([*_head(wide, tall, drawn.title), *body, "</svg>"]) + "\n"


def _head(width: float, height: float, title: str) -> Iterator[str]:
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    yield f"<title>{escape(title)}</title>"
    yield f"<style>{STYLE}</style>"
    heads = (("head", "#546e7a"), ("red", RED))
    marks = (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto" '
        f'markerUnits="userSpaceOnUse"><path d="M0 0.5 L8 4 L0 7.5 z" fill="{colour}"/></marker>'
        for name, colour in heads
    )
    yield f"<defs>{''.join(marks)}</defs>"
    yield '<rect width="100%" height="100%" fill="#ffffff"/>'


def _drawn(shapes: Sequence[Panel | Plate | Line | Words]) -> Iterator[str]:
    """Boxes below lines, lines below nodes, titles and labels on top."""
    for shape in shapes:
        if isinstance(shape, Panel):
            rect = _rect(shape.x, shape.y, shape.width, shape.height)
            if shape.repeats:
                yield f'<rect {_rect(shape.x + 4, shape.y + 4, shape.width, shape.height)} rx="8" fill="#e3e7ea"/>'
            yield f'<rect {rect} rx="8" fill="#f7f9fa" stroke="#b0bec5"/>'
    for shape in shapes:
        if isinstance(shape, Line):
            yield _line(shape)
    for shape in shapes:
        if isinstance(shape, Plate):
            yield from _plate(shape)
        elif isinstance(shape, Words):
            wide = text_width(shape.text) * (0.82 if shape.small else 1)
            yield f'<rect {_rect(shape.x - 1, shape.y - 6, wide + 2, 12)} fill="{shape.ground}" fill-opacity="0.85"/>'
            yield _text(shape.text, shape.x, shape.y, "small" if shape.small else "name")


def _rect(x: float, y: float, width: float, height: float) -> str:
    return f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'


def _plate(plate: Plate) -> Iterator[str]:
    vertex = plate.vertex
    fill = FAMILIES.get(vertex.family, OTHER)
    style = 'class="serial"' if vertex.serial else 'stroke="#78909c"'
    if vertex.family == UNUSED:
        style += ' stroke-dasharray="2 2"'
    radius = 12 if vertex.family == "end" else 4
    yield f'<rect {_rect(plate.x, plate.y, plate.width, plate.height)} rx="{radius}" fill="{fill}" {style}/>'
    styles = ("name", "", "small")
    middle, top = plate.x + plate.width / 2, plate.y + (plate.height - LINE * len(vertex.lines)) / 2
    for i, (line, kind) in enumerate(zip(vertex.lines, styles, strict=False)):
        kind = f"{kind} end" if vertex.family == "end" else kind
        yield _text(line, middle, top + LINE * (i + 0.5), kind, 'text-anchor="middle" ')


def _line(line: Line) -> str:
    """A curve through points: down from each to the next, or along straight segments with round corners."""
    kind = " ".join(["line", *["late"] * line.late, *["serial"] * line.serial])
    head = f' marker-end="url(#{"red" if line.serial else "head"})"' if line.head else ""
    return f'<path class="{kind}" d="{_bent(line.points) if line.square else _curved(line.points)}"{head}/>'


def _curved(points: Sequence[tuple[float, float]]) -> str:
    out = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if abs(x0 - x1) < 0.5:
            out.append(f"L{x1:.1f} {y1:.1f}")
        else:
            middle = (y0 + y1) / 2
            out.append(f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}")
    return " ".join(out)


def _bent(points: Sequence[tuple[float, float]], radius: float = 5) -> str:
    out = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x0, y0), (x1, y1), (x2, y2) in zip(points, points[1:], points[2:], strict=False):
        near = _towards(x1, y1, x0, y0, radius)
        far = _towards(x1, y1, x2, y2, radius)
        out.append(f"L{near[0]:.1f} {near[1]:.1f} Q{x1:.1f} {y1:.1f} {far[0]:.1f} {far[1]:.1f}")
    out.append(f"L{points[-1][0]:.1f} {points[-1][1]:.1f}")
    return " ".join(out)


def _towards(x: float, y: float, to_x: float, to_y: float, most: float) -> tuple[float, float]:
    """A point at most `most` from (x, y) on the way, and at most half of the way."""
    length = max(abs(to_x - x), abs(to_y - y), 1e-9)
    share = min(most / length, 0.5)
    return x + share * (to_x - x), y + share * (to_y - y)


def _text(text: str, x: float, y: float, kind: str, more: str = "") -> str:
    style = f'class="{kind}" ' if kind else ""
    return f'<text {style}{more}x="{x:.1f}" y="{y + 3.8:.1f}">{escape(text)}</text>'
