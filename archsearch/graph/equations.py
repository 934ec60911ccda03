"""Equations: the short form of a body. Text is parsed with `ast` and becomes the same nodes that `nodes:` would hold.

    min_gru:
      equations: |
        z = sigmoid(linear(x))
        h = (1 - z) * h[t-1] + z * linear(x)

An assignment is a node of its name; what stands inside it gets nodes called after it (`h_linear`, `h_one_minus`). The
input is `x` unless `in:` says otherwise, the output what `out:` names, else `out`, else the last name. Nothing here is
ever run: a table of nodes comes out, every value with its line and column, and the compiler reads that.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from archsearch.errors import RuleError, nearest
from archsearch.graph.expr import parse_arithmetic
from archsearch.graph.opspec import OpSpec, Port
from archsearch.graph.parsing import DOLLAR, Text, refusal, words_of
from archsearch.graph.reader import Items, Leaf, Located, Mark, Table
from archsearch.graph.values import IDENTIFIER

__all__ = ["TIME", "Signature", "nodes_of"]

TIME = "t"
MAX_DEPTH = 60
_WORDS = ("weights", "init")
_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Signature:
    """What can be called: an op, or a definition (whose outputs have names of their own).

    Args:
        op: what its node says at `op`, if that is not the name of the function.
    """

    ports: tuple[Port, ...]
    settings: tuple[str, ...]
    outputs: tuple[str, ...]
    definition: bool
    op: str = ""

    @classmethod
    def of(cls, spec: OpSpec) -> Signature:
        """That of an op."""
        return cls(spec.ports, tuple(s.name for s in spec.settings), spec.outputs, False)


Find = Callable[[str, Mark], Signature | None]


def nodes_of(
    table: Table, inputs: tuple[str, ...], numbers: Collection[str], find: Find, known: Callable[[], Collection[str]]
) -> Table:
    """The body with `nodes` and `out` in place of its `equations`.

    Args:
        inputs: the names of the body's inputs.
        numbers: parameters, choices and sizes that the body sees.
        find: the signature of a function by name, or `None`; known: all functions, for errors.

    Raises:
        FileError: what is no equation, at its line and column.
    """
    text = Text.of(table.entries["equations"])
    work = _Work(text, inputs, numbers, find, known)
    work.collect(text.parse())
    for statement in work.statements:
        work.assign(statement)
    out = work.out(table.get("out"), table.keys.get("out"))
    work.refuse_unused(out)
    entries = {k: v for k, v in table.entries.items() if k not in ("equations", "out")}
    keys = {k: m for k, m in table.keys.items() if k not in ("equations", "out")}
    nodes = Table(work.nodes, {name: node.mark for name, node in work.nodes.items()}, table.entries["equations"].mark)
    here = table.keys["equations"]
    return Table({**entries, "nodes": nodes, "out": out}, {**keys, "nodes": here, "out": out.mark}, table.mark)


@dataclass(frozen=True, slots=True)
class _Statement:
    """`targets = value`; `name` is the node that the value becomes."""

    name: str
    targets: tuple[str, ...]
    value: ast.expr
    mark: Mark


@dataclass(slots=True)
class _Work:
    """The translation of one block.

    Attributes:
        refs: what an edge says for each assigned name: `h`, or `q_k_v.q` for one of several.
        reads: for each statement, the assigned names in it.
    """

    text: Text
    inputs: tuple[str, ...]
    numbers: Collection[str]
    find: Find
    known: Callable[[], Collection[str]]
    statements: list[_Statement] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    home: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, Located] = field(default_factory=dict)
    reads: dict[str, set[str]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    owner: str = ""
    depth: int = 0

    # ---- names -----------------------------------------------------------------------------------------------------

    def collect(self, module: ast.Module) -> None:
        """The assigned names, each once."""
        self.taken.update(self.inputs)
        for statement in module.body:
            mark = self.text.mark(statement)
            if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
                refusal(statement, mark)
            target = statement.targets[0]
            several = isinstance(target, ast.Tuple | ast.List)
            names = tuple(self._target(e) for e in (target.elts if several else [target]))  # type: ignore[attr-defined]
            self.taken.update(names)
            self.statements.append(_Statement(names[0] if not several else "", names, statement.value, mark))
        self.statements = [s if s.name else self._several(s) for s in self.statements]
        for s in self.statements:
            if not self.refs.keys() >= set(s.targets):
                self.refs[s.name] = s.name
            self.home.update(dict.fromkeys(s.targets, s.name))
            self.reads[s.name] = set()
        if not self.statements:
            raise self.text.at(1, 0).error("`equations` must hold at least one equation", value="none")

    def _target(self, e: ast.expr) -> str:
        mark = self.text.mark(e)
        name = e.id if isinstance(e, ast.Name) else ""
        if not IDENTIFIER.fullmatch(name):
            rule = "an equation assigns to a name, as h = ..., or to several, as q, k = ..."
            raise mark.error(rule, value=f"`{self.text.source(e)}`")
        if name in self.marks:
            rule = "a name is assigned once, since it is a node"
            value = f"`{name}` again (first in line {self.marks[name].line})"
            raise mark.error(rule, value=value, hint=f'Its past is "{name}[t-1]"; give the new value a new name.')
        if name in self.inputs or name in self.numbers or name == TIME:
            what = "an input" if name in self.inputs else "the time" if name == TIME else "a parameter or size"
            raise mark.error("an equation must assign to a new name", value=f"`{name}`, which is {what}")
        self.marks[name] = mark
        return name

    def _several(self, s: _Statement) -> _Statement:
        """`q, k, v = split(x)`: one node, its outputs by name."""
        if not isinstance(s.value, ast.Call):
            raise s.mark.error("several names take the outputs of one call", value=f"`{self.text.source(s.value)}`")
        name = self.fresh("_".join(s.targets))
        signature = self._signature(s.value)
        outputs = signature.outputs if signature.definition else s.targets
        if len(outputs) != len(s.targets):
            rule = f"`{self.text.source(s.value.func)}` has {_count(len(outputs), 'output')}"
            raise s.mark.error(rule, value=_count(len(s.targets), "name"))
        self.refs.update({t: f"{name}.{o}" for t, o in zip(s.targets, outputs, strict=True)})
        return _Statement(name, s.targets, s.value, s.mark)

    def fresh(self, wish: str) -> str:
        """A name that nothing has yet."""
        name, n = wish, 2
        while name in self.taken:
            name, n = f"{wish}{n}", n + 1
        self.taken.add(name)
        return name

    # ---- nodes -----------------------------------------------------------------------------------------------------

    def assign(self, s: _Statement) -> None:
        """The nodes of one equation."""
        self.owner = s.name
        self._node(s.value, s.name, s.targets if len(s.targets) > 1 or s.name not in s.targets else ())

    def _node(self, e: ast.expr, name: str, into: tuple[str, ...] = ()) -> None:
        """The node `name`, which computes `e`."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.text.mark(e).error(f"an equation nests at most {MAX_DEPTH} deep", value="more")
        if self._scalar(e) is not None:
            rule, hint = "an equation must compute from an input or a name", "A constant is constant(x, value=0.5)."
            raise self.text.mark(e).error(rule, value=f"`{self.text.source(e)}`", hint=hint)
        match e:
            case ast.Call():
                self._call(e, name, into)
            case ast.BinOp():
                self._binary(e, name)
            case ast.UnaryOp(op=ast.USub()):
                self._emit(name, e, "neg", {"x": self._edge(e.operand)})
            case ast.UnaryOp(op=ast.UAdd()):
                self._node(e.operand, name)
            case ast.Name() | ast.Subscript() | ast.Attribute():
                self._emit(name, e, "identity", {"x": self._edge(e)})
            case _:
                refusal(e, self.text.mark(e))
        self.depth -= 1

    def _emit(
        self, name: str, e: ast.expr, op: str, edges: Mapping[str, Located], more: Mapping[str, Located] | None = None
    ) -> None:
        mark = self.text.mark(e)
        entries: dict[str, Located] = {"op": Leaf(op, mark, op), **(more or {})}
        if edges:
            entries["from"] = Table(dict(edges), {k: v.mark for k, v in edges.items()}, mark)
        self.nodes[name] = Table(entries, {k: v.mark for k, v in entries.items()}, mark)

    def _edge(self, e: ast.expr) -> Leaf:
        """What an edge from `e` says; a new node for what is more than a name."""
        mark, delay, output = self.text.mark(e), "", ""
        name: ast.expr = e
        if isinstance(e, ast.Subscript):
            name, delay = e.value, f"[t-{self._delay(e)}]"
        if isinstance(name, ast.Attribute):
            output = f".{name.attr}"
            name = name.value
        if isinstance(name, ast.Name) and self._scalar(name) is None:
            return Leaf(text := f"{self._ref(name)}{output}{delay}", mark, text, plain=False)
        if isinstance(e, ast.Subscript | ast.Attribute):
            rule = "a delay stands at a name, as h[t-1]" if delay else "an output is named at a name, as s.k"
            raise mark.error(rule, value=f"`{self.text.source(e)}`")
        inner = self.fresh(f"{self.owner}_{words_of(e)}")
        self._node(e, inner)
        return Leaf(inner, mark, inner)

    def _ref(self, e: ast.Name) -> str:
        name, mark = e.id, self.text.mark(e)
        if name in self.inputs:
            return name
        if name in self.refs:
            self.reads[self.owner].add(self.home[name])
            return self.refs[name]
        near = nearest(name, [*self.inputs, *self.refs])
        shown = name.replace(DOLLAR, "$")
        if self.find(name, mark) is not None:
            raise mark.error("a function is called", value=f"`{shown}`", hint=f"Write {shown}(...).")
        raise mark.error("a name must be an input or be assigned in these equations", value=f"`{shown}`", near=near)

    def _delay(self, e: ast.Subscript) -> int:
        match e.slice:
            case ast.BinOp(left=ast.Name(id="t"), op=ast.Sub(), right=ast.Constant(value=int(k))) if k >= 1:
                return k
        raise self.text.mark(e).error("a delay must be [t-k] with k at least 1", value=f"`{self.text.source(e)}`")

    # ---- operators -------------------------------------------------------------------------------------------------

    def _binary(self, e: ast.BinOp, name: str) -> None:
        match e.op:
            case ast.Add() | ast.Mult():
                self._chain(e, name)
            case ast.Sub():
                self._subtract(e, name)
            case ast.MatMult():
                edges: dict[str, Located] = {"state": self._edge(e.left), "x": self._edge(e.right)}
                self._emit(name, e, "matmul", edges, {"transpose": Leaf(False, self.text.mark(e), "false")})
            case ast.Div() if (by := self._scalar(e.right)) is not None:
                self._emit(name, e, "scale", {"x": self._edge(e.left)}, {"by": self._number(f"1/({by})", e.right)})
            case _:
                refusal(e, self.text.mark(e))

    def _chain(self, e: ast.BinOp, name: str) -> None:
        """`a + b + 1`, `2 * a * b`: one node for the values and one for the numbers."""
        plus = isinstance(e.op, ast.Add)
        terms = _terms(e, type(e.op))
        numbers = [text for term in terms if (text := self._scalar(term)) is not None]
        values = [term for term in terms if self._scalar(term) is None]
        if not numbers:
            edges = Items(tuple(self._edge(v) for v in values), self.text.mark(e))
            self._emit(name, e, "add" if plus else "multiply", {"x": edges})
            return
        if len(values) == 1:
            x = self._edge(values[0])
        else:
            inner = self.fresh(f"{self.owner}_{'add' if plus else 'multiply'}")
            edges = Items(tuple(self._edge(v) for v in values), self.text.mark(e))
            self._emit(inner, e, "add" if plus else "multiply", {"x": edges})
            x = Leaf(inner, self.text.mark(e), inner)
        by = self._number((" + " if plus else " * ").join(f"({n})" for n in numbers), e)
        self._emit(name, e, "offset" if plus else "scale", {"x": x}, {"by": by})

    def _subtract(self, e: ast.BinOp, name: str) -> None:
        left, right = self._scalar(e.left), self._scalar(e.right)
        if right is not None:
            by = self._number(f"-({right})", e.right)
            self._emit(name, e, "offset", {"x": self._edge(e.left)}, {"by": by})
        elif left is None:
            self._emit(name, e, "subtract", {"x": self._edge(e.left), "y": self._edge(e.right)})
        elif (number := self._number(left, e.left)).value == 1:
            self._emit(name, e, "one_minus", {"x": self._edge(e.right)})
        else:
            minus = ast.copy_location(ast.UnaryOp(ast.USub(), e.right), e.right)
            self._emit(name, e, "offset", {"x": self._edge(minus)}, {"by": number})

    def _scalar(self, e: ast.expr) -> str | None:
        """The text of arithmetic on numbers and parameters; `None` where a value is in it."""
        for part in ast.walk(e):
            if isinstance(part, ast.Name):
                bare = part.id.removeprefix(DOLLAR)
                if part.id == bare and (bare in self.inputs or bare in self.refs):
                    return None
                if bare not in self.numbers:
                    return None
            elif isinstance(part, ast.Constant):
                if isinstance(part.value, bool) or not isinstance(part.value, int | float):
                    return None
            elif not isinstance(part, ast.BinOp | ast.UnaryOp | ast.operator | ast.unaryop | ast.expr_context):
                return None
        return ast.unparse(e).replace(DOLLAR, "")

    def _number(self, text: str, e: ast.expr) -> Leaf:
        """A number as it stands in YAML: computed where it can be, else arithmetic."""
        mark = self.text.mark(e)
        try:
            expression = parse_arithmetic(text)
            if not expression.names:
                value = expression(lambda name: 0)
                return Leaf(value, mark, str(value))
        except RuleError as error:
            raise mark.error(error.rule, value=error.value, near=error.near) from None
        return Leaf(f"={text}", mark, f"={text}", plain=False)

    # ---- calls -----------------------------------------------------------------------------------------------------

    def _signature(self, e: ast.Call) -> Signature:
        mark = self.text.mark(e.func)
        if not isinstance(e.func, ast.Name):
            raise mark.error("a function is an op or a definition by name", value=f"`{self.text.source(e.func)}`")
        found = self.find(e.func.id, mark)
        if found is None:
            near = nearest(e.func.id, self.known())
            raise mark.error("a function must be an op or a definition", value=f"`{e.func.id}`", near=near)
        return found

    def _call(self, e: ast.Call, name: str, into: tuple[str, ...]) -> None:
        signature, op = self._signature(e), self.text.source(e.func)
        ports = [p.name for p in signature.ports]
        given: dict[str, list[Leaf]] = {}
        for port, argument in zip(self._positions(e, signature, op), e.args, strict=True):
            given.setdefault(port, []).append(self._edge(argument))
        more: dict[str, Located] = {}
        for keyword in e.keywords:
            mark, key = self.text.mark(keyword), keyword.arg or ""
            if key in ports:
                if key in given:
                    raise mark.error(f"an input of `{op}` is given once", value=f"`{key}` twice")
                given[key] = [self._edge(keyword.value)]
            elif key in signature.settings or key in _WORDS:
                more[key] = self._setting(keyword.value)
            else:
                near = nearest(key, [*signature.settings, *ports])
                rule = f"`{op}` has the settings {', '.join(signature.settings) or 'none'}"
                raise mark.error(rule, value=f"`{key or '**'}`", near=near)
        missing = [p.name for p in signature.ports if p.name not in given and not p.optional]
        if missing:
            takes = ", ".join(ports)
            raise self.text.mark(e).error(f"`{op}` takes the inputs {takes}", value=f"no `{missing[0]}`")
        if into and not signature.definition:
            marks = [self.marks[n] for n in into]
            more["into"] = Items(tuple(Leaf(n, m, n) for n, m in zip(into, marks, strict=True)), self.text.mark(e))
        edges = {p: leafs[0] if len(leafs) == 1 else Items(tuple(leafs), leafs[0].mark) for p, leafs in given.items()}
        self._emit(name, e, signature.op or op, edges, more)

    def _positions(self, e: ast.Call, signature: Signature, op: str) -> list[str]:
        """The port of each argument without a keyword; the last port takes all others if it takes many."""
        ports = signature.ports
        for argument in e.args:
            if isinstance(argument, ast.Starred):
                refusal(argument, self.text.mark(argument))
        if len(e.args) > len(ports) and not (ports and ports[-1].many):
            rule = f"`{op}` takes {_count(len(ports), 'input')}"
            hint = "Settings have names, as linear(x, width=8)."
            raise self.text.mark(e).error(rule, value=str(len(e.args)), hint=hint)
        return [ports[min(i, len(ports) - 1)].name for i in range(len(e.args))]

    def _setting(self, e: ast.expr) -> Located:
        mark = self.text.mark(e)
        match e:
            case ast.Constant(value=str(word)):
                return Leaf(word.replace(DOLLAR, "$"), mark, word, plain=False)
            case ast.Constant(value=bool(flag)):
                return Leaf(flag, mark, str(flag).lower())
            case ast.Name(id=name) if name.removeprefix(DOLLAR) in self.numbers:
                return Leaf(text := "$" + name.removeprefix(DOLLAR), mark, text)
            case ast.Name(id=name) if name in _FLAGS:
                return Leaf(_FLAGS[name], mark, name)
            case ast.Name(id=name):
                return Leaf(name.replace(DOLLAR, "$"), mark, name)
        for part in ast.walk(e):
            allowed = (ast.BinOp, ast.UnaryOp, ast.Name, ast.Constant, ast.operator, ast.unaryop, ast.expr_context)
            if not isinstance(part, (*allowed, ast.Call)):
                refusal(part, mark)
        return self._number(ast.unparse(e).replace(DOLLAR, ""), e)

    # ---- the output ------------------------------------------------------------------------------------------------

    def out(self, given: Located | None, key: Mark | None) -> Located:
        """`out:` in terms of nodes; without it, the name `out`, or else the last one."""
        if given is None:
            last = self.statements[-1]
            if "out" not in self.refs and len(last.targets) > 1:
                raise last.mark.error("equations that end in several names must say `out:`", value="none")
            name = "out" if "out" in self.refs else last.targets[0]
            return Leaf(self.refs[name], self.marks[name], self.refs[name], plain=False)
        if isinstance(given, Leaf):
            return self._named(given)
        if isinstance(given, Items):
            names = [(v.text if isinstance(v, Leaf) else "").split("[")[0].strip() for v in given]
            if all(n in self.refs for n in names) and len(set(names)) == len(names):
                return Table(
                    {n: self._named(v) for n, v in zip(names, given, strict=True)},
                    {n: v.mark for n, v in zip(names, given, strict=True)},
                    given.mark,
                )
            return given
        return Table({k: self._named(v) for k, v in given.entries.items()}, given.keys, given.mark)

    def _named(self, value: Located) -> Located:
        """An edge whose name is one of several outputs, in terms of its node."""
        if not isinstance(value, Leaf) or not isinstance(value.value, str):
            return value
        name = value.value.split("[")[0].strip()
        if name not in self.refs:
            return value
        text = self.refs[name] + value.value.strip()[len(name) :]
        return Leaf(text, value.mark, text, plain=False)

    def refuse_unused(self, out: Located) -> None:
        """Every name must lead to the output."""
        leafs = [out] if isinstance(out, Leaf) else list(out) if isinstance(out, Items) else list(out.entries.values())
        waiting = [v.text.split("[")[0].split(".")[0].strip() for v in leafs if isinstance(v, Leaf)]
        used: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in used and name in self.reads:
                used.add(name)
                waiting.extend(self.reads[name])
        for s in self.statements:
            if s.name not in used:
                rule = "every name must lead to the output"
                raise s.mark.error(rule, value=f"`{', '.join(s.targets)}`, which nothing reads")


def _terms(e: ast.expr, kind: type[ast.operator]) -> list[ast.expr]:
    """The terms of `a + b + c`, from left to right."""
    terms: list[ast.expr] = []
    stack = [e]
    while stack:
        here = stack.pop()
        if isinstance(here, ast.BinOp) and isinstance(here.op, kind):
            stack += [here.right, here.left]
        else:
            terms.append(here)
    return terms


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")
