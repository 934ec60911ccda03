"""An architecture in one readable line: `4×[attention(4) → mlp(2)]`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from archsearch.graph.architecture import Architecture, Group, Node

__all__ = ["MAX_LENGTH", "QUIET", "one_line"]

MAX_LENGTH = 120
"""Characters in a line; what is longer ends after a whole part, with an ellipsis."""

_ACTIVATIONS = ("gelu", "positive", "relu", "sigmoid", "silu", "softplus", "tanh")
_PRIMITIVES = (
    "constant",
    "cumsum",
    "exp",
    "matmul",
    "neg",
    "norm",
    "offset",
    "outer",
    "scale",
    "shift",
    "softmax",
    "sum",
)
_HEADS = ("head_norm", "rotary", "scale_heads", "spread_offset")
_RATES = ("pool", "reverse", "upsample")
QUIET = frozenset(
    ("add", "concat", "dropout", "identity", "layer_norm", "multiply", "one_minus", "rms_norm", "split", "subtract")
).union(_ACTIVATIONS, _PRIMITIVES, _HEADS, _RATES)
"""Norms and plumbing: left out of the line unless nothing else is there."""

_GUESS, _SETTLED = "fixed_point_start", "fixed_point_end"
_ARROW = " → "
_MAX_PATTERN = 24


def one_line(architecture: Architecture) -> str:
    """The mixers, perceptrons and blocks of `architecture` in order, at most `MAX_LENGTH` characters.

    A definition that holds other definitions or adds its input to its output is opened; any other is a block and goes
    by its name. Settings that a choice decided stand in brackets. Runs of equal parts, and of equal patterns of parts,
    are folded with a count, `tied` where the turns share their weights. What a fixed point solves for stands in square
    brackets behind it. Of `(a | b)` neither reads the other. What is fitted otherwise than by gradient descent ends
    with how.
    """
    writer = _Writer(architecture)
    outline = architecture.outline or tuple(Group(n.name, "op", n.op) for n in architecture.nodes)
    text = _fold(writer.parts(outline, QUIET)) or _fold(writer.parts(outline, frozenset())) or "nothing"
    if architecture.fit != "gradient":
        text += _ARROW + architecture.fit
    return text if len(text) <= MAX_LENGTH else _cut(text)


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    path: str


class _Writer:
    """The parts of one architecture."""

    def __init__(self, architecture: Architecture) -> None:
        self.nodes = {n.name: n for n in architecture.nodes}
        self.place = {name: i for i, name in enumerate(self.nodes)}
        self.inside: defaultdict[str, list[Node]] = defaultdict(list)
        for node in architecture.nodes:
            dots = [i for i, c in enumerate(node.name) if c == "."]
            for end in [*dots, len(node.name)]:
                self.inside[node.name[:end]].append(node)

    def parts(self, groups: Iterable[Group], quiet: frozenset[str]) -> list[str]:
        """The texts of a sequence of groups, those that stand side by side as one."""
        found = [part for group in groups for part in self._of(group, quiet)]
        return self._side_by_side(found)

    def _of(self, group: Group, quiet: frozenset[str]) -> list[_Part]:
        if group.kind == "op":
            return [] if group.label in quiet else [_Part(_named(group), group.path)]
        if group.kind == "repeat":
            turns = [_fold(self.parts([turn], quiet)) for turn in group.children]
            text = _fold([t for t in turns if t], "tied" if self._is_tied(group) else "")
            return [_Part(text, group.path)] if text else []
        if any(child.label == _SETTLED for child in group.children):
            inner = _fold(self.parts(group.children, quiet | {_GUESS, _SETTLED}))
            return [_Part(_named(group) + (f"[{inner}]" if inner else ""), group.path)]
        if not self._is_open(group):
            return [_Part(_named(group), group.path)] if self._is_telling(group, quiet) else []
        return [part for child in group.children for part in self._of(child, quiet)]

    def _is_open(self, group: Group) -> bool:
        """Whether a definition shows what it holds: other definitions, or a sum with what comes from outside."""
        if any(child.kind != "op" for child in group.children):
            return True
        inside = group.path + "."
        sums = [self.nodes[c.path] for c in group.children if c.label == "add" and c.path in self.nodes]
        reads = [[s.node.startswith(inside) for s in node.sources] for node in sums]
        return any(any(r) and not all(r) for r in reads)

    def _is_telling(self, group: Group, quiet: frozenset[str]) -> bool:
        return any(child.label not in quiet for child in group.children)

    def _is_tied(self, group: Group) -> bool:
        """Whether the second turn of a repeat uses the weights of the first."""
        if len(group.children) < 2:
            return False
        groups = [{n.weights for n in self.inside[turn.path] if n.weights} for turn in group.children[:2]]
        return bool(groups[0] & groups[1])

    def _side_by_side(self, parts: Sequence[_Part]) -> list[str]:
        """Puts neighbours together that do not depend on each other."""
        stages: list[list[_Part]] = []
        for part in parts:
            if stages and not any(self._reads(part.path, other.path) for other in stages[-1]):
                stages[-1].append(part)
            else:
                stages.append([part])
        return [s[0].text if len(s) == 1 else f"({' | '.join(p.text for p in s)})" for s in stages]

    def _reads(self, reader: str, source: str) -> bool:
        """Whether anything in `reader` depends on anything in `source`."""
        goal = {n.name for n in self.inside[source]}
        first = min(self.place[name] for name in goal)
        todo = [s.node for n in self.inside[reader] for s in n.sources]
        seen = set(todo)
        while todo:
            name = todo.pop()
            if name in goal:
                return True
            if self.place.get(name, -1) > first:  # what comes before depends on nothing that comes after
                fresh = {s.node for s in self.nodes[name].sources} - seen
                seen |= fresh
                todo += fresh
        return False


def _named(group: Group) -> str:
    """`attention(4)`, `mlp(2, silu)`, `attention(heads 4, state 8)`, `attention(4, no causal)`."""
    numbers = [k for k, v in group.shown if isinstance(v, int | float) and not isinstance(v, bool)]
    words = [_setting(k, v, alone=len(numbers) == 1) for k, v in group.shown if v is not None]
    return group.label + (f"({', '.join(words)})" if words else "")


def _setting(name: str, value: Any, *, alone: bool) -> str:
    if isinstance(value, bool):
        return name if value else f"no {name}"
    if isinstance(value, int | float):
        return f"{value:g}" if alone else f"{name} {value:g}"
    return str(value)


def _fold(parts: Sequence[str], mark: str = "") -> str:
    """The parts in a row, each run of equal patterns as `3×[a → b]`."""
    out, at = [], 0
    while at < len(parts):
        length, times = _longest_run(parts, at)
        pattern = _ARROW.join(parts[at : at + length])
        if times == 1:
            out.append(pattern)
        elif mark or _ARROW in pattern:
            out.append(f"{times}×{mark}[{pattern}]")
        else:
            out.append(f"{times}×{pattern}")
        at += length * times
    return _ARROW.join(out)


def _longest_run(parts: Sequence[str], at: int) -> tuple[int, int]:
    """Length and number of the repeated pattern at `at` that covers most, the shortest of several; (1, 1) if none."""
    best = (1, 1)
    for length in range(1, min(_MAX_PATTERN, (len(parts) - at) // 2) + 1):
        pattern, times = parts[at : at + length], 1
        while parts[at + times * length : at + (times + 1) * length] == pattern:
            times += 1
        if times > 1 and length * times > best[0] * best[1]:
            best = (length, times)
    return best


def _cut(text: str) -> str:
    """The first whole parts of `text`, an ellipsis, and the brackets that are open."""
    end = text.rfind(_ARROW, 0, MAX_LENGTH - 8)
    kept = text[: end if end > 0 else MAX_LENGTH - 8]
    open_ = [c for c in kept if c in "[("]
    closed = sum(c in "])" for c in kept)
    closing = "".join({"[": "]", "(": ")"}[c] for c in reversed(open_[: len(open_) - closed]))
    return f"{kept}{_ARROW if end > 0 else ''}…{closing}"
