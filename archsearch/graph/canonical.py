"""A canonical order of the vertices of a coloured graph that has symmetries.

Individualisation and refinement as in McKay and Piperno 2014 (Practical graph isomorphism II), made small by an
observation that fits graphs of networks: where a partition is equitable, the edges from a vertex to all of a cell say
nothing, and without them the graph falls into pieces, which can be ordered one by one and then sorted. Parallel heads
are such pieces and need no branching at all. What still branches is one piece at a time, once per orbit of the
symmetries found so far.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["WORK_LIMIT", "canonical_order"]

WORK_LIMIT = 1_000_000
"""Ends of edges that branching may look at, about one second; beyond it the first branch is taken as it comes."""

_MAX_DEPTH = 200  # choices inside one another; what is deeper is ordered as it comes

Adjacency = Mapping[int, Sequence[tuple[int, int]]]
Form = tuple[tuple[int, tuple[tuple[int, int], ...]], ...]


def canonical_order(colours: Mapping[int, int], adjacency: Adjacency, work_limit: int = WORK_LIMIT) -> list[int]:
    """The vertices in an order that does not depend on how they are numbered, up to symmetry and the limit.

    Args:
        colours: of each vertex; equal under every renumbering.
        adjacency: for each vertex pairs of an edge's label and its other end, at most one edge of a label from a vertex
            to another. The label as seen from the one end determines the label as seen from the other.
        work_limit: ends of edges that branching may look at.
    """
    partition = _Partition.of(colours)
    partition.refine(adjacency, colours)
    return _Search(work_limit).order(adjacency, partition)


@dataclass(slots=True)
class _Partition:
    """Vertices in ordered cells; the name of a cell is the number of vertices in the cells before it."""

    cell: dict[int, int]
    members: dict[int, set[int]]

    @staticmethod
    def of(rank: Mapping[int, int]) -> _Partition:
        """The cells of vertices of equal rank, in the order of their ranks."""
        by_rank = defaultdict(set)
        for v, r in rank.items():
            by_rank[r].add(v)
        partition = _Partition({}, {})
        for r in sorted(by_rank):
            partition._name(len(partition.cell), by_rank[r])
        return partition

    def _name(self, name: int, vertices: set[int]) -> None:
        self.members[name] = vertices
        self.cell.update(dict.fromkeys(vertices, name))

    def smallest(self) -> set[int]:
        """The smallest cell, the first of several."""
        return self.members[min((len(vertices), name) for name, vertices in self.members.items())[1]]

    def without_others(self, v: int) -> _Partition:
        """A copy in which `v` has a cell of its own, behind that of its former fellows."""
        copy = _Partition(dict(self.cell), {c: set(vs) for c, vs in self.members.items()})
        home = copy.members[copy.cell[v]]
        home.discard(v)
        copy._name(copy.cell[v] + len(home), {v})
        return copy

    def refine(self, adjacency: Adjacency, dirty: Iterable[int]) -> int:
        """Splits cells until all vertices of a cell see the same cells along the same labels; returns the work done.

        Args:
            dirty: the vertices whose view may differ from their fellows'. A vertex that is not dirty sees what all
                others that are not dirty see, and no dirty one sees that.
        """
        work = 0
        while dirty:
            split: defaultdict[int, defaultdict[tuple[tuple[int, int], ...], set[int]]]
            split = defaultdict(lambda: defaultdict(set))
            for v in dirty:
                c = self.cell[v]
                if len(self.members[c]) > 1:
                    view = tuple(sorted([(label, self.cell[u]) for label, u in adjacency[v]]))
                    split[c][view].add(v)
                    work += len(view) + 1
            changed = [v for c, views in split.items() for v in self._split(c, views)]
            dirty = {u for v in changed for _, u in adjacency[v]}
        return work

    def _split(self, name: int, views: Mapping[tuple[tuple[int, int], ...], set[int]]) -> set[int]:
        """Splits one cell; returns the vertices of all its parts but the largest, which others may now tell apart."""
        rest = self.members[name]
        parts = [views[view] for view in sorted(views)]
        seen = sum(map(len, parts))
        if seen < len(rest):
            for part in parts:
                rest -= part
            parts.insert(0, rest)
        if len(parts) == 1:
            return set()
        for part in parts:
            if part is not rest:
                self._name(name, part)
            name += len(part)
        largest = max(parts, key=len)
        return set().union(*(p for p in parts if p is not largest))


@dataclass(slots=True)
class _Search:
    """Orders the vertices of equitable partitions.

    Args:
        work: ends of edges that branching may still look at.
        depth: how many choices are open at the moment.
    """

    work: int
    depth: int = 0

    def order(self, adjacency: Adjacency, partition: _Partition, *, greedy: bool = False) -> list[int]:
        """The vertices in canonical order; if `greedy`, in the order of any one leaf of the search tree."""
        if len(partition.members) == len(partition.cell) or self.depth > _MAX_DEPTH:
            return sorted(partition.cell, key=lambda v: (partition.cell[v], v))
        if self.depth:
            self.work -= sum(map(len, adjacency.values())) + len(adjacency)
        telling = _telling_edges(adjacency, partition)
        pieces = _pieces(telling)
        if len(pieces) == 1:
            return self._greedy(telling, partition) if greedy else self._branch(telling, partition)
        ordered = []
        for piece in pieces:
            order = piece
            if len(piece) > 1:
                cells = _Partition.of({v: partition.cell[v] for v in piece})
                order = self.order({v: telling[v] for v in piece}, cells, greedy=greedy)
            ordered.append((_form(order, telling, partition.cell), order))
        ordered.sort(key=lambda pair: pair[0])
        return [v for _, order in ordered for v in order]

    def _greedy(self, adjacency: Adjacency, partition: _Partition) -> list[int]:
        return self._below(min(partition.smallest()), adjacency, partition, greedy=True)

    def _branch(self, adjacency: Adjacency, partition: _Partition) -> list[int]:
        """Tries the vertices of a smallest cell as the first one, and keeps the order of smallest form.

        A vertex is skipped if a symmetry takes it to one that was tried. Symmetries show as leaves of equal form.
        """
        orbits = _Orbits()
        leaves: dict[Form, list[int]] = {}
        best: Form | None = None
        tried: list[int] = []
        for v in sorted(partition.smallest()):
            if any(orbits.same(v, t) for t in tried) or (tried and self.work <= 0):
                continue
            for greedy in (True, False) if tried else (False,):
                order = self._below(v, adjacency, partition, greedy=greedy)
                form = _form(order, adjacency, partition.cell)
                known = form in leaves
                for a, b in zip(leaves.setdefault(form, order), order, strict=True):
                    orbits.join(a, b)
                if known and any(orbits.same(v, t) for t in tried):
                    break
            else:
                tried.append(v)
                best = form if best is None else min(best, form)
        assert best is not None, "the first vertex is always tried"
        return leaves[best]

    def _below(self, v: int, adjacency: Adjacency, partition: _Partition, *, greedy: bool) -> list[int]:
        """The order once `v` is told apart from its fellows."""
        finer = partition.without_others(v)
        self.work -= finer.refine(adjacency, {u for _, u in adjacency[v]}) + len(partition.cell)
        self.depth += 1
        order = self.order(adjacency, finer, greedy=greedy)
        self.depth -= 1
        return order


@dataclass(slots=True)
class _Orbits:
    """Which vertices the symmetries found so far exchange (union-find)."""

    parent: dict[int, int] = field(default_factory=dict)

    def root(self, v: int) -> int:
        """The representative of the orbit of `v`."""
        while (p := self.parent.get(v, v)) != v:
            self.parent[v] = v = self.parent.get(p, p)
        return v

    def same(self, a: int, b: int) -> bool:
        """Whether a symmetry takes `a` to `b`."""
        return self.root(a) == self.root(b)

    def join(self, a: int, b: int) -> None:
        """Notes that a symmetry takes `a` to `b`."""
        self.parent[self.root(a)] = self.root(b)


def _telling_edges(adjacency: Adjacency, partition: _Partition) -> dict[int, list[tuple[int, int]]]:
    """The edges without those from a vertex to all vertices of a cell: by equitability, its fellows have those too."""
    cell, members = partition.cell, partition.members
    telling = {}
    for v, edges in adjacency.items():
        telling[v] = kept = [] if len(members[cell[v]]) == 1 else [e for e in edges if len(members[cell[e[1]]]) > 1]
        if len(kept) > 1:
            counts = Counter([(label, cell[u]) for label, u in kept])
            if any(counts[label, c] == len(members[c]) for label, c in counts):
                telling[v] = [(label, u) for label, u in kept if counts[label, cell[u]] < len(members[cell[u]])]
    return telling


def _pieces(adjacency: Adjacency) -> list[list[int]]:
    """The connected components."""
    found, seen = [], set()
    for root in adjacency:
        if root in seen:
            continue
        seen.add(root)
        piece = [root]
        for v in piece:  # grows while it is read
            fresh = {u for _, u in adjacency[v]} - seen
            seen |= fresh
            piece += sorted(fresh)
        found.append(piece)
    return found


def _form(order: Sequence[int], adjacency: Adjacency, cell: Mapping[int, int]) -> Form:
    """All edges among the vertices, written down by their places in `order`."""
    place = {v: i for i, v in enumerate(order)}
    return tuple((cell[v], tuple(sorted((label, place[u]) for label, u in adjacency[v]))) for v in order)
