"""A layered layout: in which order things stand in their layers, and where.

After Sugiyama, Tagawa and Toda 1981: layers by the longest path, orders by sweeps of barycentres, places by least
squares, where the order in a layer is kept by isotonic regression.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["Link", "layers", "order", "places"]

SWEEPS = 8

Link = tuple[int, float, int, float]
"""An edge between neighbouring layers: upper thing, where on it, lower thing, where on it; from its left end."""


def layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each of `count` things: the longest path to it along `edges`, all of which lead to later things."""
    found = [0] * count
    into: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        into[b].append(a)
    for b in range(count):
        found[b] = max((found[a] + 1 for a in into[b]), default=0)
    return found


def order(rows: Sequence[list[int]], links: Sequence[Link]) -> None:
    """Sorts the things in each row so that few links cross: down and up again, by the mean place of what they meet."""
    above: dict[int, list[int]] = {}
    below: dict[int, list[int]] = {}
    for a, _, b, _ in links:
        above.setdefault(b, []).append(a)
        below.setdefault(a, []).append(b)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        place = {v: i for row in rows for i, v in enumerate(row)}
        for row in rows if down else reversed(rows):
            met = above if down else below

            def barycentre(v: int, met: Mapping[int, list[int]] = met, place: dict[int, int] = place) -> float:
                here = met.get(v)
                return sum(place[u] for u in here) / len(here) if here else place[v]

            row.sort(key=barycentre)
            place.update((v, i) for i, v in enumerate(row))


def places(
    rows: Sequence[Sequence[int]], widths: Sequence[float], links: Sequence[Link], heavy: Sequence[bool], gap: float
) -> list[float]:
    """The left end of each thing.

    Args:
        widths: of the things; heavy: those whose links should be straight above all, the bends of long edges.
        gap: the least distance between neighbours in a row.
    """
    left = [0.0] * len(widths)
    for row in rows:
        x = 0.0
        for v in row:
            left[v] = x
            x += widths[v] + gap
    met: dict[int, list[tuple[int, float, float]]] = {}
    for a, on_a, b, on_b in links:
        weight = 8.0 if heavy[a] and heavy[b] else 2.0 if heavy[a] or heavy[b] else 1.0
        met.setdefault(a, []).append((b, on_b - on_a, weight))
        met.setdefault(b, []).append((a, on_a - on_b, weight))
    for sweep in range(4 * SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wished, weights = [], []
            for v in row:
                ties = met.get(v, [])
                weight = sum(w for _, _, w in ties)
                wished.append(sum(w * (left[u] + d) for u, d, w in ties) / weight if ties else left[v])
                weights.append(weight or 0.1)
            for v, x in zip(row, _apart(wished, weights, [widths[v] + gap for v in row]), strict=True):
                left[v] = x
    least = min(left, default=0.0)
    return [x - least for x in left]


def _apart(wished: Sequence[float], weights: Sequence[float], steps: Sequence[float]) -> list[float]:
    """The places nearest to those wished for, in least squares, that keep the order and the distances.

    Pool adjacent violators: what would overlap becomes a block that stands at the mean of its wishes.
    """
    before, x = [], 0.0
    for step in steps:
        before.append(x)
        x += step
    blocks: list[list[float]] = []  # place, weight, members
    for wish, weight, shift in zip(wished, weights, before, strict=True):
        blocks.append([wish - shift, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            at, w, n = blocks.pop()
            blocks[-1][0] = (blocks[-1][0] * blocks[-1][1] + at * w) / (blocks[-1][1] + w)
            blocks[-1][1] += w
            blocks[-1][2] += n
    flat = [at for at, _, n in blocks for _ in range(int(n))]
    return [at + shift for at, shift in zip(flat, before, strict=True)]
