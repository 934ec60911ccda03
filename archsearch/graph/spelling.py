"""The two spellings of a plain body: nodes as equations, and equations as nodes.

`to_equations` is there for people who read a definition; where a body has more than equations can say (choices of
edges or ops, repeats, bodies in place, nodes that nothing reads) it gives `None`.
"""

from __future__ import annotations

import json
import keyword
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from archsearch.errors import FileError
from archsearch.graph.equations import TIME, Signature, nodes_of
from archsearch.graph.reader import Items, Leaf, Located, Table, parse
from archsearch.graph.values import WIDTH
from archsearch.graph.words import input_names, named_inputs

__all__ = ["to_equations", "to_nodes"]

Find = Callable[[str], Signature | None]

_REF = re.compile(r"(\w+)((?:\.\w+)?)\s*(?:\[\s*t\s*-\s*(\d+)\s*\])?", re.ASCII)
_INPUTS = ("x", "inputs", "fed")


def to_nodes(body: Table, find: Find, numbers: Collection[str] = ()) -> str:
    """A body of equations as YAML with `nodes:`.

    Args:
        find: the signature of an op or definition by name; numbers: names of sizes around the body.

    Raises:
        FileError: the equations have a mistake.
    """
    inputs = input_names(body.entries["in"]) if "in" in body else ("x",)
    seen = {*numbers, *_names(body, "params"), *_names(body, "choices"), WIDTH}
    table = nodes_of(body, inputs, seen, lambda name, mark: find(name), lambda: ())
    nodes = table.entries["nodes"]
    assert isinstance(nodes, Table)
    lines = [f"{key}: {_flow(table.entries[key])}" for key in ("params", "choices") if key in table]
    lines += [f"in: {_flow(body.entries['in'])}" if "in" in body else "in: x", "nodes:"]
    lines += [f"  {name}: {_flow(node)}" for name, node in nodes.entries.items()]
    return "\n".join([*lines, f"out: {_flow(table.entries['out'])}"]) + "\n"


def to_equations(body: Table, find: Find, numbers: Collection[str] = ()) -> str | None:
    """A body of nodes as YAML with `equations:`, or `None` where it is not plain; arguments as for `to_nodes`."""
    if "nodes" not in body or not isinstance(body.entries["nodes"], Table):
        return None
    seen = {*numbers, *_names(body, "params"), *_names(body, "choices"), WIDTH}
    try:
        text = _Writer(body, body.entries["nodes"], find, seen).text()
        again = parse(text).root
        assert isinstance(again, Table)
        inputs = input_names(again.entries["in"]) if "in" in again else ("x",)
        nodes_of(again, inputs, seen, lambda name, mark: find(name), lambda: ())
    except (_NotPlainError, FileError):
        return None
    return text


class _NotPlainError(Exception):
    """What equations cannot say."""


@dataclass(frozen=True, slots=True)
class _Text:
    """An expression; `op` is that of an operator at its top, empty for a name or a call."""

    text: str
    op: str = ""


@dataclass(slots=True)
class _Writer:
    body: Table
    nodes: Table
    find: Find
    numbers: Collection[str]
    names: dict[str, str] = field(default_factory=dict)
    inner: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """The whole body."""
        head = self._inputs()
        self._collect()
        statements = [s for name in self.nodes.entries if name not in self.inner for s in [self._statement(name)]]
        lines = [f"{key}: {_flow(self.body.entries[key])}" for key in ("params", "choices") if key in self.body]
        lines += [*head, "equations: |", *(f"  {s}" for s in statements)]
        out = self.body.get("out")
        return "\n".join([*lines, *([f"out: {self._out(out)}"] if out else [])]) + "\n"

    def _inputs(self) -> list[str]:
        """`in:` where it is needed; equations call a lone `in` `x`."""
        given = self.body.get("in")
        inputs = input_names(given) if given is not None else named_inputs(None)
        if inputs == ("in",):
            name = next((n for n in _INPUTS if n not in self.nodes and n not in self.numbers), "")
            self.names["in"] = name
            return [] if name == "x" else [f"in: {self._name(name)}"]
        self.names.update((n, self._name(n)) for n in inputs)
        return [] if inputs == ("x",) else [f"in: [{', '.join(inputs)}]"]

    def _name(self, name: str) -> str:
        if not name or keyword.iskeyword(name) or name == TIME or name in self.numbers:
            raise _NotPlainError
        return name

    def _collect(self) -> None:
        """The names of all nodes, and which of them can stand inside the one that reads them."""
        for name, node in self.nodes.entries.items():
            if not isinstance(node, Table) or not isinstance(op := node.get("op"), Leaf) or op.value is None:
                raise _NotPlainError
            into = node.get("into")
            if isinstance(into, Items):
                self.names.update((f"{name}.{leaf.text}", leaf.text) for leaf in into if isinstance(leaf, Leaf))
            else:
                self.names[name] = self._name(name)
        if len(set(self.names.values())) != len(self.names):
            raise _NotPlainError
        reads = {name: list(self._read(node)) for name, node in self.nodes.entries.items()}
        counts = Counter(ref for refs in reads.values() for ref in refs)
        late = {_REF.fullmatch(r).group(1) for r in counts if "[" in r and _REF.fullmatch(r)}  # type: ignore[union-attr]
        shown = {part.split("[")[0].split(".")[0].strip() for part in _leaves(self.body.get("out"))} or {"out"}
        for reader in reversed(reads):
            for ref in reads[reader]:
                once = counts[ref] == 1 and ref in self.nodes and ref not in late | shown
                if once and ref.startswith(f"{self._owner(reader)}_") and self._may_stand_in(ref, reader):
                    self.inner[ref] = reader

    def _owner(self, reader: str) -> str:
        while reader in self.inner:
            reader = self.inner[reader]
        return reader

    def _may_stand_in(self, inner: str, outer: str) -> bool:
        """Whether brackets keep two operators apart: `(a + b) + c` would be read as one sum."""
        kinds = {"add": 0, "offset": 0, "multiply": 1, "scale": 1}
        (a, _), (b, _) = self._op(inner), self._op(outer)
        same = a in kinds and b in kinds and kinds[a] == kinds[b]
        words = self.nodes.entries[inner]
        assert isinstance(words, Table)
        return "into" not in words and (not same or (a, b) in (("add", "offset"), ("multiply", "scale")))

    def _op(self, name: str) -> tuple[str, Table]:
        node = self.nodes.entries[name]
        assert isinstance(node, Table) and isinstance(node.entries["op"], Leaf)
        return node.entries["op"].text, node

    def _read(self, node: Located) -> Iterable[str]:
        return _leaves(node.get("from")) if isinstance(node, Table) else ()

    # ---- statements ------------------------------------------------------------------------------------------------

    def _statement(self, name: str) -> str:
        _, node = self._op(name)
        into = node.get("into")
        targets = [v.text for v in into if isinstance(v, Leaf)] if isinstance(into, Items) else [name]
        for target in targets:
            self._name(target)
        return f"{', '.join(targets)} = {self._expression(name).text}"

    def _expression(self, name: str) -> _Text:
        op, node = self._op(name)
        signature = self.find(op)
        if signature is None or {"merge", "choose", "any_of"} & node.entries.keys():
            raise _NotPlainError
        edges = self._edges(node.get("from"), signature)
        settings = {k: v for k, v in node.entries.items() if k not in ("op", "from", "into")}
        return self._operator(op, edges, settings) or self._call(op, signature, edges, settings)

    def _edges(self, value: Located | None, signature: Signature) -> dict[str, list[_Text]]:
        if isinstance(value, Table) and not ("choose" in value or "any_of" in value):
            return {port: self._several(v) for port, v in value.entries.items()}
        needed = [p.name for p in signature.ports if not p.optional] or [p.name for p in signature.ports]
        if value is None or not needed:
            raise _NotPlainError
        return {needed[0]: self._several(value)}

    def _several(self, value: Located) -> list[_Text]:
        if isinstance(value, Table):
            raise _NotPlainError
        return [self._edge(v) for v in (value if isinstance(value, Items) else (value,))]

    def _edge(self, value: Located) -> _Text:
        text = value.text.strip() if isinstance(value, Leaf) else ""
        if text in self.inner:
            return self._expression(text)
        found = _REF.fullmatch(text)
        if found is None:
            raise _NotPlainError
        name, output, delay = found.groups()
        if (spelled := self.names.get(name + output)) is None:
            if name not in self.names:
                raise _NotPlainError
            spelled = self.names[name] + output
        return _Text(spelled + (f"[t-{int(delay)}]" if delay else ""))

    def _operator(self, op: str, edges: dict[str, list[_Text]], settings: dict[str, Located]) -> _Text | None:
        """The op as an operator; `None` where it needs a call."""
        xs = [_bracketed(x, op) for x in edges.get("x", [])]
        if op in ("add", "multiply") and not settings and len(xs) > 1:
            return _Text((" + " if op == "add" else " * ").join(xs), op)
        if op == "subtract" and not settings and edges.keys() == {"x", "y"}:
            return _Text(f"{xs[0]} - {_bracketed(edges['y'][0], op)}", op)
        if op in ("neg", "one_minus") and not settings and len(xs) == 1:
            return _Text(f"-{xs[0]}" if op == "neg" else f"1 - {xs[0]}", op)
        if op == "matmul" and settings.keys() == {"transpose"} and edges.keys() == {"state", "x"}:
            leaf = settings["transpose"]
            if isinstance(leaf, Leaf) and leaf.value is False:
                return _Text(f"{_bracketed(edges['state'][0], op)} @ {xs[0]}", op)
        if op in ("scale", "offset") and settings.keys() == {"by"} and len(xs) == 1:
            by = self._setting(settings["by"])
            by = by if re.fullmatch(r"[\w.]+", by) else f"({by})"
            return _Text(f"{by} * {xs[0]}" if op == "scale" else f"{xs[0]} + {by}", op)
        return None

    def _call(
        self, op: str, signature: Signature, edges: dict[str, list[_Text]], settings: dict[str, Located]
    ) -> _Text:
        ports = [p.name for p in signature.ports]
        arguments: list[str] = []
        for i, port in enumerate(ports):
            if port not in edges:
                continue
            if len(edges[port]) > 1 and not signature.ports[i].many:
                raise _NotPlainError
            bare = len(ports) == 1 or all(p in edges for p in ports[:i])
            arguments += [x.text if bare else f"{port}={x.text}" for x in edges[port]]
        arguments += [f"{key}={self._setting(value)}" for key, value in settings.items()]
        return _Text(f"{op}({', '.join(arguments)})")

    def _setting(self, value: Located) -> str:
        if not isinstance(value, Leaf) or value.value is None:
            raise _NotPlainError
        if not isinstance(value.value, str):
            return json.dumps(value.value)
        if value.text.startswith(("=", "$")):
            return value.text.removeprefix("=").replace("$", "")
        return repr(value.text)

    def _out(self, value: Located) -> str:
        if isinstance(value, Leaf):
            return json.dumps(text) if "[" in (text := self._edge(value).text) else text
        if isinstance(value, Items):
            return f"[{', '.join(self._edge(v).text for v in value)}]"
        return "{" + ", ".join(f"{k}: {json.dumps(self._edge(v).text)}" for k, v in value.entries.items()) + "}"


def _bracketed(x: _Text, outer: str) -> str:
    """An operand of `outer`: products stand in sums without brackets."""
    bare = not x.op or (x.op in ("multiply", "scale") and outer in ("add", "offset", "subtract", "one_minus"))
    return x.text if bare else f"({x.text})"


def _leaves(value: Located | None) -> list[str]:
    """The texts of all scalars."""
    if value is None:
        return []
    if isinstance(value, Leaf):
        return [value.text.strip()]
    parts = value if isinstance(value, Items) else value.entries.values()
    return [text for part in parts for text in _leaves(part)]


def _names(body: Table, key: str) -> tuple[str, ...]:
    value = body.get(key)
    return tuple(value.entries) if isinstance(value, Table) else ()


def _flow(value: Located) -> str:
    """YAML on one line."""
    if isinstance(value, Table):
        return "{" + ", ".join(f"{k}: {_flow(v)}" for k, v in value.entries.items()) + "}"
    if isinstance(value, Items):
        return "[" + ", ".join(_flow(v) for v in value) + "]"
    if isinstance(value.value, str):
        return (
            value.value if re.fullmatch(r"\$?[A-Za-z_][\w.]*", value.value) and value.plain else json.dumps(value.value)
        )
    return json.dumps(value.value)
