"""Bodies as parameters: what a definition is given for `{op: $core}`, compiled where it stands.

A body is compiled once for each node that says `$core`, as if it were written there, but with the names, definitions
and bodies of the place where it was written. At a walk it stands among the nodes of the definition, so what it needs
from around its own place (`$heads` of the caller) comes in by parameters of the definition that no person sees:

    b: {op: shell, core: {op: attention, heads: $heads}}     shell gets `core.heads`, and the body reads that
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from archsearch.graph.reader import Items, Leaf, Located, Mark, Table
from archsearch.graph.template import Graph, Input, Member, Name, Ref, Use, Value
from archsearch.graph.values import WIDTH, Scope

__all__ = ["Body", "Definitions", "Place", "body_name", "closed", "is_body", "is_hidden"]

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Definitions:
    """The `define:` entries that a body may use: its own file's, then those of `fallback`."""

    entries: Mapping[str, Located]
    keys: Mapping[str, Mark]
    fallback: Definitions | None = None

    def find(self, name: str) -> tuple[Definitions, Located, Mark] | None:
        """The entry called `name`, and the definitions that it may use itself."""
        if name in self.entries:
            return self, self.entries[name], self.keys[name]
        return self.fallback.find(name) if self.fallback else None

    def names(self) -> list[str]:
        """All names, own ones first."""
        return [*self.entries, *(self.fallback.names() if self.fallback else ())]


@dataclass(slots=True)
class Place:
    """Where a body stands: whose definitions it uses, which names it sees, how its path begins.

    Args:
        bodies: what `$name` at `op` may stand for.
        via: given bodies that this text is inside of; each hands names on to the definition that it was given to.
        around: names of definitions that the text stands in without being written there.
    """

    definitions: Definitions
    scope: Scope
    path: str
    bodies: Mapping[str, Body] = field(default_factory=dict)
    via: tuple[Body, ...] = ()
    around: frozenset[str] = frozenset()

    def below(self, path: str) -> Place:
        """The same place with another path."""
        return replace(self, path=path)


@dataclass(slots=True)
class Body:
    """A body that a parameter holds.

    Args:
        name: of the parameter; mark: where it was given.
        home: where it was written; open: the definitions that were being read there, which it must not use.
        default: whether it is the parameter's default, and so written inside the definition.
        captured: names of its home, and what the definition calls them.
    """

    name: str
    text: Located
    mark: Mark
    home: Place
    open: tuple[str, ...]
    default: bool = False
    captured: dict[str, str] = field(default_factory=dict)
    used: bool = False

    def capture(self, name: str) -> str:
        """What the definition calls a name of the body's home."""
        if self.default:
            return name
        return self.captured.setdefault(name, f"{self.name}.{name}")

    def at(self, place: Place) -> Place:
        """Where its text stands once a node at `place` asks for it."""
        around = place.around | frozenset(_own(place.scope))
        via = (*self.home.via, self, *place.via)
        path = self.home.path if self.default else f"{self.home.path}.{self.name}".lstrip(".")
        return Place(self.home.definitions, self.home.scope, path, self.home.bodies, via, around)

    def arguments(self, place: Place) -> dict[str, Value]:
        """The names that its text uses, and what they are called among the nodes at `place`."""
        home, around = _own(self.home.scope), place.around | set(_own(place.scope))
        found: dict[str, Value] = {}
        for name in dict.fromkeys(_names(self.text)):
            if name != WIDTH and (name in home or (name in around and name in self.home.scope.all())):
                hidden = self.capture(name)
                for body in place.via:
                    hidden = body.capture(hidden)
                if hidden != name:
                    found[name] = Name(hidden, self.mark)
        return found


def is_hidden(parameter: str) -> bool:
    """Whether a parameter hands a name on to a given body, and is none that a person wrote."""
    return "." in parameter


def body_name(value: Located) -> str | None:
    """The name in `op: $core`; `None` for anything else."""
    text = value.value if isinstance(value, Leaf) else None
    return text[1:] if isinstance(text, str) and text[:1] == "$" and _NAME.fullmatch(text[1:]) else None


def is_body(value: Located) -> bool:
    """Whether a parameter's default is a body: a mapping with an op, nodes, a repeat, or alternatives by name."""
    if not isinstance(value, Table):
        return False
    return any(k in value for k in ("op", "nodes", "equations", "repeat")) or isinstance(value.get("choose"), Table)


def closed(graph: Graph, arguments: Mapping[str, Value]) -> Use:
    """The use of a compiled body whose names are the `arguments`."""
    if not arguments:
        return Use(graph, {}, ())
    outputs = tuple((name, Ref(0, i, 0)) for i, name in enumerate(graph.output_names))
    inputs = tuple(Input(name, (Ref(-1 - i, 0, 0),)) for i, name in enumerate(graph.inputs))
    member = Member("", graph.mark, Use(graph, {}, ()), inputs)
    around = Graph(graph.label, graph.mark, graph.inputs, outputs, (member,), dict(arguments), scope=False)
    around.depth = graph.depth + 1
    return Use(around, dict(arguments), ())


def _own(scope: Scope) -> dict[str, bool]:
    """The visible names less those of the whole space."""
    found: dict[str, bool] = {}
    here: Scope | None = scope
    while here is not None and here.parent is not None:
        found = {**here.names, **found}
        here = here.parent
    return found


def _names(value: Located) -> Iterator[str]:
    """Names in the arithmetic, `$` and equations of a text."""
    stack = [value]
    while stack:
        here = stack.pop()
        if isinstance(here, Leaf):
            if isinstance(here.value, str) and here.value[:1] in ("=", "$"):
                yield from _NAME.findall(here.value)
        elif isinstance(here, Items):
            stack.extend(here)
        else:
            written = here.get("equations")
            if isinstance(written, Leaf):
                yield from _NAME.findall(written.text)
            stack.extend(here.entries.values())
