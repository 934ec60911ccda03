"""From a YAML tree to templates: definitions, bodies and nodes, with every static rule checked.

Every alternative and every definition of the space is compiled, used or not, so that a mistake in one that no sample
meets is found when the space is read. Shipped definitions are compiled when something uses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from archsearch.errors import RuleError, nearest
from archsearch.graph.binding import Binder
from archsearch.graph.bodies import Body, Definitions, Place, body_name, closed, is_body, is_hidden
from archsearch.graph.domain import Categorical
from archsearch.graph.equations import Signature, nodes_of
from archsearch.graph.opspec import OpSpec, Port, Registry
from archsearch.graph.parsing import DOLLAR
from archsearch.graph.reader import Items, Leaf, Located, Mark, Table
from archsearch.graph.repeats import read_repeat
from archsearch.graph.statics import refuse_cycles
from archsearch.graph.template import (
    Apply,
    Choose,
    Const,
    Graph,
    Member,
    Name,
    OpApply,
    Option,
    Pick,
    Ref,
    Use,
    Value,
    join,
)
from archsearch.graph.values import (
    IDENTIFIER,
    WIDTH,
    Scope,
    at,
    fits_setting,
    name_of,
    named_values,
    pick_of,
    value_of,
)
from archsearch.graph.wiring import Wirer
from archsearch.graph.words import (
    BODY_KEYS,
    KINDS,
    NODE_KEYS,
    RESERVED,
    as_body,
    input_names,
    into_names,
    kind_of,
    named_inputs,
    node_words,
    only_keys,
    output_name,
    without,
)

__all__ = ["Compiler", "Definitions"]

MAX_DEPTH = 64
MAX_GIVEN = 24
"""How deep bodies may be given to definitions inside of bodies."""
MAX_SPECIAL = 2_000
"""How many uses of definitions may be given bodies, those inside of definitions counted each time."""


@dataclass(slots=True)
class Compiler:
    """Compiles the definitions and the graph of one space.

    Args:
        scope: the names that all bodies see: `scale` and the space's `choices`.
        elsewhere: names of nodes anywhere in the file, and where they stand, for errors.
    """

    registry: Registry
    binder: Binder
    scope: Scope
    elsewhere: dict[str, str] = field(default_factory=dict)
    _graphs: dict[tuple[int, str], Graph] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _special: int = 0
    _given_depth: int = 0

    # ---- definitions -----------------------------------------------------------------------------------------------

    def definition(
        self, name: str, definitions: Definitions, mark: Mark, given: Mapping[str, Body] | None = None
    ) -> Graph | None:
        """The compiled definition called `name`, or `None`; raises `FileError` if it uses itself.

        Args:
            given: bodies in place of its own defaults.
        """
        found = definitions.find(name)
        if found is None:
            return None
        owner, body, key = found
        known = self._graphs.get((id(owner), name))
        if known is not None and not given:
            return known
        if name in self._open:
            chain = " → ".join([*self._open[self._open.index(name) :], name])
            raise mark.error("a definition must not use itself", value=f"`{chain}`", node=name)
        if name in self.registry:
            raise key.error("a definition needs a name that no op has", value=f"`{name}`", node=name)
        if len(self._open) >= MAX_DEPTH:
            raise mark.error(f"definitions nest at most {MAX_DEPTH} deep", value=f"`{name}` is deeper")
        self._open.append(name)
        try:
            place = Place(owner, self.scope, name)
            graph = self.body(body, place, name, ("in",), new_scope=True, given=given)
        finally:
            self._open.pop()
        if not given:
            self._graphs[id(owner), name] = graph
        return graph

    def graph(self, body: Located, definitions: Definitions) -> Graph:
        """The space's graph."""
        graph = self.body(body, Place(definitions, self.scope, ""), "graph", ("in",), new_scope=True)
        if isinstance(body, Table) and "equations" in body and "in" not in body:
            graph.inputs = ("in",)
        return graph

    # ---- bodies ----------------------------------------------------------------------------------------------------

    def body(
        self,
        value: Located,
        place: Place,
        label: str,
        inputs: tuple[str, ...],
        *,
        new_scope: bool = False,
        given: Mapping[str, Body] | None = None,
    ) -> Graph:
        """A body: `{nodes: ...}`, or a single `{op: ...}`, `{choose: ...}`, `{repeat: ...}`; a bare name is an op."""
        table = as_body(value, label)
        kind = kind_of(table, label)
        if "in" in table:
            inputs = input_names(table.entries["in"])
        elif kind == "equations" and inputs == ("in",):
            inputs = ("x",)  # `in` is a word of Python's grammar, which equations follow
        graph = Graph(label, table.mark, inputs, scope=new_scope)
        scope = Scope({}, place.scope)
        inner = replace(place, scope=scope)
        self._names(table, graph, inner, given or {})
        if kind == "equations":
            table = self._equations(table, inputs, inner)
            kind = "nodes"
        nodes = self._nodes(table, label) if kind == "nodes" else {"": table}
        members: list[Member] = []
        positions = {name: i for i, name in enumerate(nodes)}
        wirer = Wirer(inputs, positions, lambda i: members[i].apply.outputs, self.elsewhere)
        waiting = []
        for name, node in nodes.items():
            at_path = join(place.path, name)
            member, options = self._member(name, node, inner, inputs, at_path)
            members.append(member)
            waiting.append((member, node, options, at_path))
        for member, node, options, at_path in waiting:
            self._wire(member, node, options, wirer, at_path)
        graph.members = tuple(members)
        graph.outputs = self._outputs(table, members, wirer, label)
        graph.depth = 1 + max((_depth(m.apply) for m in members), default=0)
        if graph.depth > MAX_DEPTH:
            raise table.mark.error(f"bodies nest at most {MAX_DEPTH} deep", value="more", node=label)
        refuse_cycles(graph, place.path)
        self._all_used(graph, inner)
        return graph

    def _all_used(self, graph: Graph, place: Place) -> None:
        """Refuses a body that no node asks for: nothing would ever look at what is given for it."""
        for name in graph.bodies:
            if not place.bodies[name].used:
                rule = "a parameter that holds a body must be used by a node"
                hint = f"Write {{op: ${name}}}."
                raise place.bodies[name].mark.error(rule, value=f"`{name}`, unused", node=graph.label, hint=hint)

    def _equations(self, table: Table, inputs: tuple[str, ...], place: Place) -> Table:
        """The same body with the nodes that its equations stand for."""
        table.only(("equations", *BODY_KEYS), f"`{place.path or 'graph'}`")

        def find(name: str, mark: Mark) -> Signature | None:
            if (body := place.bodies.get(name.removeprefix(DOLLAR))) is not None:
                return Signature((Port("in"),), (), ("out",), True, f"${body.name}")
            graph = self.definition(name, place.definitions, mark)
            if graph is not None:
                settings = (*graph.params, *graph.bodies)
                return Signature(tuple(map(Port, graph.inputs)), settings, graph.output_names, True)
            return Signature.of(self.registry[name]) if name in self.registry else None

        def known() -> list[str]:
            return [*place.bodies, *place.definitions.names(), *self.registry]

        return nodes_of(table, inputs, {*place.scope.all(), WIDTH}, find, known)

    def _names(self, table: Table, graph: Graph, place: Place, given: Mapping[str, Body]) -> None:
        """`params:` and `choices:` of a body."""
        scope = place.scope
        for key in ("params", "choices"):
            for name, value in named_values(table.get(key), key).items():
                mark = table.entries[key].keys[name]  # type: ignore[union-attr]
                if name in scope.names or name in graph.bodies or name in RESERVED:
                    rule = "a parameter or choice needs a name that stands for nothing else"
                    raise mark.error(rule, value=f"`{name}`", node=graph.label)
                if key == "choices":
                    if not isinstance(value, Table):
                        raise value.mark.error(f"`choices` holds open choices, as {name}: {{choose: [1, 2]}}")
                    graph.choices[name] = pick_of(value, f"`{name}`")
                    scope.names[name] = True
                elif is_body(value):
                    body = given.get(name) or Body(name, value, mark, place, tuple(self._open), default=True)
                    graph.bodies = (*graph.bodies, name)
                    place.bodies = {**place.bodies, name: body}
                else:
                    graph.params[name] = value_of(value, scope, f"`{name}`")
                    scope.names[name] = _is_open(graph.params[name], scope)

    def _nodes(self, table: Table, label: str) -> dict[str, Table]:
        table.only(("nodes", *BODY_KEYS), f"`{label}`")
        nodes = table.entries["nodes"]
        if not isinstance(nodes, Table):
            raise nodes.mark.error("`nodes` must be a mapping from name to node", value="no mapping", node=label)
        out: dict[str, Table] = {}
        for name, value in nodes.entries.items():
            mark = nodes.keys[name]
            if not IDENTIFIER.fullmatch(name) or name == "in":
                hint = "`in` is the body's input." if name == "in" else None
                rule = "a node's name has letters, digits and _, and is not `in`"
                raise mark.error(rule, value=f"`{name}`", node=label, hint=hint)
            if "in" in table and name in input_names(table.entries["in"]):
                raise mark.error("a node needs a name that no input has", value=f"`{name}`", node=label)
            if not isinstance(value, Table):
                raise mark.error("a node must be a mapping, as {op: add, from: [a, b]}", node=join(label, name))
            out[name] = value
        return out

    def _outputs(self, table: Table, members: list[Member], wirer: Wirer, label: str) -> tuple[tuple[str, Ref], ...]:
        out = table.get("out")
        if out is None:
            if members and members[0].name == "":
                return tuple((name, Ref(0, i, 0)) for i, name in enumerate(members[0].apply.outputs))
            if "out" not in wirer.members:
                near = nearest("out", wirer.members)
                rule = "the output is the node `out`, or what `out:` names"
                raise table.mark.error(rule, value="neither", near=near, node=label)
            return tuple(
                (o, Ref(wirer.members["out"], i, 0)) for i, o in enumerate(members[wirer.members["out"]].apply.outputs)
            )
        if isinstance(out, Leaf):
            return (("out", wirer.ref(out, label)),)
        if isinstance(out, Items):
            pairs = [(output_name(v, label), v) for v in out]
        else:
            pairs = list(named_values(out, "out").items())
        names = [n for n, _ in pairs]
        if not names or len(set(names)) != len(names):
            rule = "outputs must have different names"
            raise out.mark.error(rule, value=", ".join(names) or "none", node=label, hint="Write out: {name: node}.")
        return tuple((name, wirer.ref(v, label)) for name, v in pairs)

    # ---- nodes -----------------------------------------------------------------------------------------------------

    def _member(
        self, name: str, node: Table, place: Place, inputs: tuple[str, ...], path: str
    ) -> tuple[Member, list[tuple[str, Apply]]]:
        """A node without its wiring, and what has to be wired: one apply, or one for each alternative."""
        kind = kind_of(node, path)
        inner = place.below(path)
        mark = node.mark
        merge, weights, initial = node_words(node, path, self.registry)
        if kind == "op":
            apply, options = self._op(name, node, inner, inputs)
        elif kind == "choose":
            only_keys(name, node, ("choose",), path)
            # A single body hands its inputs on; a node among others has those that its `from` names.
            default = inputs if name == "" else named_inputs(node.get("from"))
            apply, options = self._choose(node, inner, default)
        elif kind == "repeat":
            only_keys(name, node, ("repeat", "times", "tie"), path)
            apply = read_repeat(node, path, inner.scope, lambda v, label: self._turn(v, inner, label))
            options = [("", apply)]
        else:
            only_keys(name, node, (kind, *BODY_KEYS), path)
            inner_table = without(node, NODE_KEYS)
            graph = self.body(inner_table, inner, name, named_inputs(node.get("from")))
            apply = self._use(graph, {}, {}, inner, path)
            options = [("", apply)]
        return Member(name, mark, apply, (), merge, weights, initial), options

    def _turn(self, value: Located, place: Place, label: str) -> Graph:
        """What a repeat repeats: a definition or op by name, or a body."""
        if isinstance(value, Leaf) and body_name(value) is None:
            found = self.definition(name_of(value, "what is repeated"), place.definitions, value.mark)
            return found or self.body(value, place, str(value.value), ("in",))
        return self.body(value, place, label, ("in",))

    def _choose(self, node: Table, place: Place, inputs: tuple[str, ...]) -> tuple[Apply, list[tuple[str, Apply]]]:
        value = node.entries["choose"]
        found: dict[str, Located] = {}
        if isinstance(value, Table):
            found = dict(value.entries)
        elif isinstance(value, Items):
            for item in value:
                name = name_of(item, "an alternative")
                if name in found:
                    raise item.mark.error("the alternatives of a choice must differ", value=f"`{name}` twice")
                found[name] = item
        if not found:
            rule = "`choose` must have at least one alternative"
            raise value.mark.error(rule, value="none", node=place.path or None)
        options: list[tuple[str, Apply]] = []
        for name, body in found.items():
            if not IDENTIFIER.fullmatch(name):
                rule = "the name of an alternative has letters, digits and _"
                raise body.mark.error(rule, value=f"`{name}`", node=place.path or None)
            inner = place.below(join(place.path, name))
            graph = self.body(body, inner, name, inputs)
            options.append((name, self._use(graph, {}, {}, inner, inner.path)))
        return self._alternatives(options, "", value.mark, place.path), options

    def _alternatives(self, options: list[tuple[str, Apply]], suffix: str, mark: Mark, path: str) -> Choose:
        outputs = options[0][1].outputs
        for name, apply in options:
            if apply.outputs != outputs and (len(outputs) > 1 or len(apply.outputs) > 1):
                rule = f"all alternatives must have the same outputs, and the first has {', '.join(outputs)}"
                raise mark.error(rule, value=f"`{name}` with {', '.join(apply.outputs)}", node=path or None)
        domain = Categorical(tuple(name for name, _ in options))
        return Choose(domain, {}, suffix, outputs if len(outputs) > 1 else ("out",))

    def _op(
        self, name: str, node: Table, place: Place, inputs: tuple[str, ...]
    ) -> tuple[Apply, list[tuple[str, Apply]]]:
        value = node.entries["op"]
        if (body := body_name(value)) is not None:
            only_keys(name, node, ("op",), place.path)
            apply: Apply = self._given(body, node, place, inputs if name == "" else named_inputs(node.get("from")))
            return apply, [("", apply)]
        if not isinstance(value, Table):
            apply = self._applied(name_of(value, "`op`"), value.mark, name, node, place)
            return apply, [("", apply)]
        value.only(("choose",), "an open `op`")
        names = value.entries["choose"]
        if not isinstance(names, Items) or not len(names):
            raise names.mark.error("`choose` at `op` must list at least one op", value="none", node=place.path)
        options: list[tuple[str, Apply]] = []
        for item in names:
            op = name_of(item, "an op")
            if op in dict(options):
                raise item.mark.error("the options of a choice must differ", value=f"`{op}` twice", node=place.path)
            options.append((op, self._applied(op, item.mark, name, node, place)))
        return self._alternatives(options, ".op", names.mark, place.path), options

    def _applied(self, op: str, mark: Mark, name: str, node: Table, place: Place) -> Apply:
        """The op or definition called `op` with the settings of the node."""
        graph = self.definition(op, place.definitions, mark)
        if graph is None and op not in self.registry:
            near = nearest(op, [*place.definitions.names(), *self.registry])
            raise mark.error("`op` must name an op or a definition", value=f"`{op}`", near=near, node=place.path)
        words = ("op", *NODE_KEYS, "into", *(BODY_KEYS if name == "" else ()))
        given = {k: v for k, v in node.entries.items() if k not in words}
        settings = (*graph.params, *graph.bodies) if graph else (s.name for s in self.registry[op].settings)
        known = tuple(settings)
        for key in given:
            if key not in known:
                rule = f"`{op}` has the settings {', '.join(known) or 'none'}"
                near = nearest(key, [*known, *words])
                raise node.keys[key].error(rule, value=f"`{key}`", near=near, node=place.path or None)
        if graph and not set(graph.bodies).isdisjoint(given):
            graph, hidden = self._specialised(op, mark, graph, node, place)
        else:
            hidden = {}
        bodies = graph.bodies if graph else ()
        values = {k: self._scalar(k, v, place) for k, v in given.items() if k not in bodies} | hidden
        marks = {k: node.keys[k] for k in given}
        if graph is None:
            return self._primitive(self.registry[op], values, marks, node, place)
        if "into" in node:
            rule = "`into` names the outputs of an op; a definition names its own with `out:`"
            raise node.keys["into"].error(rule, node=place.path)
        return self._use(graph, values, marks, place, place.path)

    def _scalar(self, key: str, value: Located, place: Place) -> Value:
        """What stands at a setting."""
        name = body_name(value)
        if name in place.bodies and name not in place.scope.all():
            rule = f"`{key}` takes a scalar, and `${name}` is a body"
            raise value.mark.error(rule, value=f"`${name}`", node=place.path or None, hint=f"Write {{op: ${name}}}.")
        return value_of(value, place.scope, f"`{key}`")

    # ---- bodies that are given -------------------------------------------------------------------------------------

    def _specialised(
        self, op: str, mark: Mark, plain: Graph, node: Table, place: Place
    ) -> tuple[Graph, dict[str, Value]]:
        """A definition with the bodies that a node gives, and the arguments that those need."""
        self._special += 1
        if self._special > MAX_SPECIAL:
            rule = f"a space gives bodies to at most {MAX_SPECIAL:,} uses of definitions"
            raise mark.error(rule, value="more", node=place.path or None)
        bodies = {}
        for key in plain.bodies:
            if key in node:
                value = node.entries[key]
                if isinstance(value, Leaf) and body_name(value) is None and not _is_name(value):
                    rule = f"`{key}` of `{op}` takes a body: the name of an op, or one of {', '.join(KINDS)}"
                    raise value.mark.error(rule, value=f"`{value.text}`", node=place.path or None)
                bodies[key] = Body(key, value, node.keys[key], place, tuple(self._open))
        graph = self.definition(op, place.definitions, mark, bodies)
        assert graph is not None
        hidden: dict[str, Value] = {}
        for body in bodies.values():
            hidden |= {inside: Name(outside, body.mark) for outside, inside in body.captured.items()}
        graph.params.update({name: Const(None, mark) for name in hidden})
        return graph, hidden

    def _given(self, name: str, node: Table, place: Place, inputs: tuple[str, ...]) -> Use:
        """The body that `{op: $name}` stands for, compiled where the node stands."""
        mark, body = node.entries["op"].mark, place.bodies.get(name)
        if body is None:
            rule = "`op: $name` must name a parameter whose default is a body"
            hint = f"`{name}` holds a scalar." if name in place.scope.all() else None
            near = nearest(name, place.bodies)
            raise mark.error(rule, value=f"`${name}`", near=near, node=place.path or None, hint=hint)
        body.used = True
        stack, self._open = self._open, list(body.open)
        self._given_depth += 1
        try:
            if self._given_depth > MAX_GIVEN:
                raise mark.error(f"bodies are given to one another at most {MAX_GIVEN} deep", value="more")
            graph = self.body(body.text, body.at(place), name, inputs)
        finally:
            self._given_depth -= 1
            self._open = stack
        if len(graph.inputs) == len(inputs) == 1:
            graph.inputs = inputs
        elif set(graph.inputs) != set(inputs):
            rule = f"what stands for `${name}` must have the inputs {', '.join(inputs)}, which its node gives"
            raise body.text.mark.error(rule, value=", ".join(graph.inputs), node=place.path or None)
        return closed(graph, body.arguments(place))

    def _use(
        self, graph: Graph, values: Mapping[str, Value], marks: Mapping[str, Mark], place: Place, path: str
    ) -> Use:
        seen = place.scope.all()
        shown = [k for k in graph.params if isinstance(graph.params[k], Pick) and k not in values]
        shown += [k for k, v in values.items() if not is_hidden(k) and _is_open(v, seen)]
        return Use(graph, dict(values), tuple(k for k in graph.params if k in shown))

    def _primitive(
        self, spec: OpSpec, values: dict[str, Value], marks: dict[str, Mark], node: Table, place: Place
    ) -> OpApply:
        settings = {s.name: s for s in spec.settings}
        outputs = spec.outputs
        if "into" in node:
            outputs = into_names(node.entries["into"], place.path)
            if "parts" in settings and not {"parts", "sizes"} & values.keys():
                values["parts"] = Const(len(outputs), node.keys["into"])
        for key, value in values.items():
            fits_setting(value, settings[key], place.path)
        missing = [s.name for s in spec.settings if s.required and s.name not in values]
        if missing:
            rule = f"op `{spec.name}` needs the setting `{missing[0]}`"
            near = [n for k in node.keys for n in nearest(k, missing)]
            raise node.mark.error(rule, value="none", near=near, node=place.path or None)
        seen = place.scope.all()
        shown = tuple(k for k, v in values.items() if _is_open(v, seen))
        bound = None
        if all(isinstance(v, Const) for v in values.values()):
            try:
                bound = self.binder.bind(spec, {k: v.value for k, v in values.items() if isinstance(v, Const)})
            except RuleError as error:
                raise at(marks.get(error.setting or "", node.mark), error, place.path) from None
        return OpApply(spec, values, bound, outputs, shown, marks)

    def _wire(self, member: Member, node: Table, options: list[tuple[str, Apply]], wirer: Wirer, path: str) -> None:
        """Connects the node, each alternative by its own ports."""
        wired: list[Option] = []
        for name, apply in options:
            ports, what = _ports(apply, name)
            merges = member.merge is not None
            if merges and all(p.many for p in ports):
                raise node.keys["merge"].error(f"{what} takes many edges and needs no `merge`", node=path)
            inputs = wirer.wire(node.get("from"), ports, what, node.mark, path, member.merge)
            wired.append(Option(apply, inputs))
        if isinstance(member.apply, Choose):
            member.apply.options.update(zip((n for n, _ in options), wired, strict=True))
        else:
            member.inputs = wired[0].inputs
        member.settle()


def _ports(apply: Apply, name: str) -> tuple[tuple[Port, ...], str]:
    """What an apply can be connected to, and what errors call it."""
    if isinstance(apply, OpApply):
        return apply.spec.ports, f"op `{apply.spec.name}`"
    if isinstance(apply, Use):
        return tuple(Port(i) for i in apply.graph.inputs), f"`{apply.graph.label}`"
    if isinstance(apply, Choose):
        raise AssertionError("alternatives are wired one by one")
    graph = next(iter(apply.patterns.values()))[0]
    return tuple(Port(i) for i in graph.inputs), f"a repeat of `{graph.label}`"


def _is_name(value: Leaf) -> bool:
    return isinstance(value.value, str) and IDENTIFIER.fullmatch(value.value) is not None


def _is_open(value: Value, names: Scope | Mapping[str, bool]) -> bool:
    if isinstance(value, Pick):
        return True
    if not isinstance(value, Name):
        return False
    return (names.all() if isinstance(names, Scope) else names).get(value.name, False)


def _depth(apply: Apply) -> int:
    if isinstance(apply, Use):
        return apply.graph.depth
    if isinstance(apply, Choose):
        return max((_depth(o.apply) for o in apply.options.values()), default=0)
    if isinstance(apply, OpApply):
        return 0
    return max(g.depth for pattern in apply.patterns.values() for g in pattern)
