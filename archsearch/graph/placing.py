"""Where everything of a diagram stands: each box is laid out on its own, in layers, and then is one thing in the box
around it. An arrow that leaves a box goes down to its lower edge, and one that enters comes from its upper edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from archsearch.graph.diagram import Arrow, Box, Diagram, Item, Vertex
from archsearch.graph.layered import Link, layers, order, places

__all__ = ["LINE", "Line", "Panel", "Plate", "Words", "placed", "text_width"]

LINE = 14.0
"""The height of a line of text."""
GAP, LAYER, PAD, HEADER, LANE, BEND = 18.0, 30.0, 12.0, 20.0, 9.0, 8.0

Point = tuple[float, float]
End = tuple[str, bool]
"""What goes through the edge of a box: the vertex that it comes from, and whether it is late."""


@dataclass(frozen=True, slots=True)
class Panel:
    """The ground of a box."""

    x: float
    y: float
    width: float
    height: float
    repeats: bool


@dataclass(frozen=True, slots=True)
class Plate:
    """A vertex."""

    x: float
    y: float
    width: float
    height: float
    vertex: Vertex


@dataclass(frozen=True, slots=True)
class Line:
    """Part of an arrow, or all of it; `square`: along straight segments; `head`: it ends at its vertex."""

    points: tuple[Point, ...]
    late: bool
    serial: bool
    head: bool
    square: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """A title or a label, from its left end."""

    x: float
    y: float
    text: str
    small: bool
    ground: str


Shape = Panel | Plate | Line | Words


def placed(diagram: Diagram) -> tuple[list[Shape], float, float]:
    """The shapes of a diagram, and the width and height of them all."""
    block = _Layout(diagram.items, diagram.arrows).block()
    return block.shapes, block.width, block.height


def text_width(text: str) -> float:
    """About how wide a text is; no font is at hand to ask."""
    return 6.9 * len(text)


@dataclass(slots=True)
class _Block:
    """Something laid out, with its upper left corner at (0, 0).

    Args:
        inlets, outlets: where arrows cross its upper and lower edge; a vertex takes them in its middle.
        serial: those of them that lie on a cycle that runs step by step.
    """

    width: float
    height: float
    shapes: list[Shape]
    inlets: dict[End, float] = field(default_factory=dict)
    outlets: dict[End, float] = field(default_factory=dict)
    serial: frozenset[End] = frozenset()


def _moved(shape: Shape, dx: float, dy: float) -> Shape:
    if isinstance(shape, Line):
        return replace(shape, points=tuple((x + dx, y + dy) for x, y in shape.points))
    return replace(shape, x=shape.x + dx, y=shape.y + dy)


def _plate(vertex: Vertex) -> _Block:
    widths = [text_width(line) * share for line, share in zip(vertex.lines, (1.02, 0.96, 0.8), strict=False)]
    width, height = max(widths) + 18, LINE * len(vertex.lines) + 8
    return _Block(width, height, [Plate(0, 0, width, height, vertex)])


def _vertices(item: Item) -> Iterable[str]:
    if isinstance(item, Vertex):
        yield item.name
    else:
        for inner in item.items:
            yield from _vertices(inner)


class _Layout:
    """One box. Things are numbered: its items first, then bends of long arrows, then what enters and leaves."""

    def __init__(self, items: Sequence[Item], arrows: Sequence[Arrow]) -> None:
        self.items = items
        self.owner = {name: i for i, item in enumerate(items) for name in _vertices(item)}
        inside = [a for a in arrows if a.source in self.owner or a.target in self.owner]
        self.blocks = [self._inner(item, inside) for item in items]
        # Arrows within one box below are that box's affair.
        self.arrows = [
            a
            for a in inside
            if self.owner.get(a.source) != self.owner.get(a.target) or isinstance(items[self.owner[a.source]], Vertex)
        ]
        self.back = [a for a in self.arrows if self._is_back(a)]
        self.forward = [a for a in self.arrows if not self._is_back(a)]
        self.widths = [b.width for b in self.blocks]
        self.links: list[Link] = []
        self.bends: dict[tuple[End, int], int] = {}
        self.ins: dict[End, int] = {}
        self.outs: dict[End, int] = {}

    @staticmethod
    def _inner(item: Item, arrows: Sequence[Arrow]) -> _Block:
        if isinstance(item, Vertex):
            return _plate(item)
        inner = _Layout(item.items, arrows).block()
        return _framed(item, inner)

    def _is_back(self, a: Arrow) -> bool:
        ends = self.owner.get(a.source), self.owner.get(a.target)
        return ends[0] is not None and ends[1] is not None and ends[0] >= ends[1]

    def block(self) -> _Block:
        """Lays everything out."""
        self._layers()
        order(self.rows, self.links)
        heavy = [i >= len(self.items) for i in range(len(self.widths))]
        self.left = places(self.rows, self.widths, self.links, heavy, GAP)
        return self._drawn()

    # ---- layers ----------------------------------------------------------------------------------------------------

    def _layers(self) -> None:
        edges = [
            (self.owner[a.source], self.owner[a.target])
            for a in self.forward
            if a.source in self.owner and a.target in self.owner
        ]
        base = 1 if any(a.source not in self.owner for a in self.forward) else 0
        found = [layer + base for layer in layers(len(self.items), edges)]
        self.depth = max(found, default=0) + 1
        leaving = any(a.target not in self.owner for a in self.arrows)
        self.rows: list[list[int]] = [[] for _ in range(self.depth + leaving)]
        self.layer = dict(enumerate(found))
        for i, layer in self.layer.items():
            self.rows[layer].append(i)
        for a in self.forward:
            self._link(a)

    def _thing(self, width: float, layer: int) -> int:
        self.widths.append(width)
        number = len(self.widths) - 1
        self.layer[number] = layer
        self.rows[layer].append(number)
        return number

    def _link(self, a: Arrow) -> None:
        """Links one arrow through all layers between its ends; arrows of one origin share their bends."""
        key = (a.source, a.delay > 0)
        if a.source in self.owner:
            here, at = self.owner[a.source], self._outlet(a)
        else:
            if key not in self.ins:
                self.ins[key] = self._thing(BEND, 0)
            here, at = self.ins[key], BEND / 2
        if a.target in self.owner:
            there, on = self.owner[a.target], self._inlet(a)
        else:
            if key not in self.outs:
                self.outs[key] = self._thing(BEND, self.depth)
            there, on = self.outs[key], BEND / 2
        for layer in range(self.layer[here] + 1, self.layer[there]):
            if (key, layer) not in self.bends:
                self.bends[key, layer] = self._thing(BEND, layer)
                self.links.append((here, at, self.bends[key, layer], BEND / 2))
            here, at = self.bends[key, layer], BEND / 2
        link = (here, at, there, on)
        if link not in self.links:
            self.links.append(link)

    def _outlet(self, a: Arrow) -> float:
        block = self.blocks[self.owner[a.source]]
        return block.outlets.get((a.source, a.delay > 0), block.width / 2)

    def _inlet(self, a: Arrow) -> float:
        block = self.blocks[self.owner[a.target]]
        return block.inlets.get((a.source, a.delay > 0), block.width / 2)

    # ---- places ----------------------------------------------------------------------------------------------------

    def _drawn(self) -> _Block:
        tops, bottoms, height = self._heights()
        shapes: list[Shape] = []
        for i, block in enumerate(self.blocks):
            shapes += [_moved(s, self.left[i], tops[self.layer[i]]) for s in block.shapes]
        right = max((self.left[i] + w for i, w in enumerate(self.widths)), default=0.0)
        spread = self._spread()
        for a in self.forward:
            shapes += self._arrow(a, tops, bottoms, height, spread)
        for n, a in enumerate(self.back):
            shapes += self._return(a, n, right, tops, bottoms)
        if self.back:
            right += len(self.back) * LANE + max(text_width(a.label) * 0.8 for a in self.back)
        inlets = {key: self.left[i] + BEND / 2 for key, i in self.ins.items()}
        outlets = {key: self.left[i] + BEND / 2 for key, i in self.outs.items()}
        serial = frozenset((a.source, a.delay > 0) for a in self.arrows if a.serial)
        return _Block(right, height, shapes, inlets, outlets, serial)

    def _heights(self) -> tuple[list[float], list[float], float]:
        """The upper and lower end of each layer; between two there is room for the arrows that go back."""
        tops, bottoms, y = [], [], 0.0
        for n, row in enumerate(self.rows):
            tall = max((self.blocks[i].height for i in row if i < len(self.blocks)), default=0.0)
            above = sum(self.layer[self.owner[a.target]] == n for a in self.back)
            y += (above + 0.5) * LANE if above else 0.0
            tops.append(y)
            bottoms.append(y + tall)
            below = sum(self.layer[self.owner[a.source]] == n for a in self.back)
            gap = LAYER if tall and n < self.depth - 1 else LAYER / 2
            y += tall + below * LANE + (gap if n < len(self.rows) - 1 else 0)
        return tops, bottoms, y

    def _spread(self) -> dict[tuple[str, str, int], float]:
        """Where on a vertex each of several arrows ends, from left to right as they come."""
        into: dict[str, list[tuple[float, Arrow]]] = {}
        for a in self.forward:
            if a.target in self.owner and isinstance(self.items[self.owner[a.target]], Vertex):
                into.setdefault(a.target, []).append((self._before(a), a))
        found = {}
        for target, arrows in into.items():
            arrows.sort(key=lambda pair: pair[0])
            width = self.blocks[self.owner[target]].width
            for i, (_, a) in enumerate(arrows):
                found[a.source, a.target, a.delay] = width * (i + 1) / (len(arrows) + 1)
        return found

    def _before(self, a: Arrow) -> float:
        """Where an arrow is in the layer before its end."""
        key = (a.source, a.delay > 0)
        last = self.bends.get((key, self.layer[self.owner[a.target]] - 1))
        if last is not None:
            return self.left[last]
        if a.source in self.owner:
            return self.left[self.owner[a.source]] + self._outlet(a)
        return self.left[self.ins[key]]

    def _arrow(
        self,
        a: Arrow,
        tops: list[float],
        bottoms: list[float],
        height: float,
        spread: dict[tuple[str, str, int], float],
    ) -> list[Shape]:
        key, points = (a.source, a.delay > 0), list[Point]()
        if a.source in self.owner:
            i = self.owner[a.source]
            x, first = self.left[i] + self._outlet(a), self.layer[i]
            points.append((x, tops[first] + self.blocks[i].height))
            points.append((x, bottoms[first]))
        else:
            first = 0
            points.append((self.left[self.ins[key]] + BEND / 2, 0.0))
        if a.target in self.owner:
            i = self.owner[a.target]
            last = self.layer[i]
            end = (self.left[i] + spread.get((a.source, a.target, a.delay), self._inlet(a)), tops[last])
        else:
            last = self.layer[self.outs[key]]
            end = (self.left[self.outs[key]] + BEND / 2, height)
        for layer in range(first + 1, last):
            x = self.left[self.bends[key, layer]] + BEND / 2
            points += [(x, tops[layer]), (x, bottoms[layer])]
        head = a.target in self.owner and isinstance(self.items[self.owner[a.target]], Vertex)
        shapes: list[Shape] = [Line((*points, end), a.delay > 0, a.serial, head)]
        if head and a.label:
            shapes.append(Words(end[0] + 3, end[1] - 10, a.label, True, "#ffffff"))
        return shapes

    def _return(self, a: Arrow, n: int, right: float, tops: list[float], bottoms: list[float]) -> list[Shape]:
        """An arrow back: down from its origin, right, up beside everything, left and down to its end."""
        i, j = self.owner[a.source], self.owner[a.target]
        x, y = self.left[i] + self._outlet(a), tops[self.layer[i]] + self.blocks[i].height
        to = self.left[j] + self._inlet(a)
        if isinstance(self.items[i], Vertex):
            x += self.blocks[i].width / 4
        if isinstance(self.items[j], Vertex):
            to += self.blocks[j].width * 0.36
        lane = right + LANE * (n + 0.8)
        low = bottoms[self.layer[i]] + LANE * (0.8 + sum(self._same(a, b, i, "source") for b in self.back[:n]))
        high = tops[self.layer[j]] - LANE * (1.2 + sum(self._same(a, b, j, "target") for b in self.back[:n]))
        points = ((x, y), (x, low), (lane, low), (lane, high), (to, high), (to, tops[self.layer[j]]))
        line = Line(points, a.delay > 0, a.serial, isinstance(self.items[j], Vertex), square=True)
        # Where it goes on into a box, the label stands at its end in there.
        return [line, *[Words(lane + 3, (low + high) / 2, a.label, True, "#ffffff")] * line.head]

    def _same(self, a: Arrow, b: Arrow, i: int, end: str) -> bool:
        """Whether another arrow back has its bend at the same layer."""
        return self.layer[self.owner[getattr(b, end)]] == self.layer[i]


def _framed(box: Box, inner: _Block) -> _Block:
    """A box around what is inside; arrows go on from its edges."""
    width = max(inner.width + 2 * PAD, text_width(box.title) * 1.02 + 2 * PAD)
    dx, dy = (width - inner.width) / 2, HEADER + PAD / 2
    height = inner.height + dy + PAD
    shapes: list[Shape] = [Panel(0, 0, width, height, box.repeats)]
    for ends, top, bottom in ((inner.inlets, 0.0, dy), (inner.outlets, inner.height + dy, height)):
        for key, x in ends.items():
            shapes.append(Line(((x + dx, top), (x + dx, bottom)), key[1], key in inner.serial, False))
    shapes += [_moved(s, dx, dy) for s in inner.shapes]
    shapes.append(Words(PAD / 2 + 2, HEADER / 2 + 1, box.title, False, "#f7f9fa"))
    inlets = {key: x + dx for key, x in inner.inlets.items()}
    outlets = {key: x + dx for key, x in inner.outlets.items()}
    return _Block(width, height, shapes, inlets, outlets, inner.serial)
