"""Reads `from:`: edges by name, by port, delayed, merged and open."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from archsearch.errors import FileError, nearest
from archsearch.graph.domain import Categorical, Subset
from archsearch.graph.opspec import Port
from archsearch.graph.reader import Items, Leaf, Located, Mark, Table
from archsearch.graph.template import EdgeChoice, Input, Ref

__all__ = ["Wirer"]

_REF = re.compile(r"([A-Za-z_]\w*)((?:\.\w+)*)\s*(\[.*\])?", re.ASCII)
_DELAY = re.compile(r"\[\s*t\s*-\s*([0-9]{1,9})\s*\]")


@dataclass(slots=True)
class Wirer:
    """Resolves references in one body.

    Args:
        inputs: the body's inputs.
        members: name to position of its nodes.
        outputs: gives the names of a node's outputs.
        elsewhere: names of nodes in other bodies, and where they are.
    """

    inputs: tuple[str, ...]
    members: Mapping[str, int]
    outputs: Callable[[int], tuple[str, ...]]
    elsewhere: Mapping[str, str] = field(default_factory=dict)

    def wire(
        self, value: Located | None, ports: Sequence[Port], what: str, mark: Mark, node: str, merge: str | None
    ) -> tuple[Input, ...]:
        """One `Input` for each port, in order.

        Args:
            value: what stands at `from:`; `None` if nothing does.
            what: the op or definition, as an error calls it.
            mark, node: of the node.

        Raises:
            FileError: an unknown, missing or overfull port, an unknown reference.
        """
        by_port = self._by_port(value, ports, what, mark, node)
        wired = []
        for port in ports:
            edges = by_port.get(port.name, ())
            if not edges and not port.optional:
                raise _missing(ports, port, what, value, mark, node)
            several = len(edges) > 1 or any(isinstance(e, EdgeChoice) and _many(e) for e in edges)
            if several and not port.many and merge is None:
                rule = f"several edges into one port: `{port.name}` of {what} takes one"
                found = ", ".join(self.text(e) for e in edges)
                hint = "Say `merge: add` or `merge: concat`."
                raise (value.mark if value else mark).error(rule, value=found, node=node, hint=hint)
            wired.append(Input(port.name, edges))
        return tuple(wired)

    def _by_port(
        self, value: Located | None, ports: Sequence[Port], what: str, mark: Mark, node: str
    ) -> dict[str, tuple[Ref | EdgeChoice, ...]]:
        if isinstance(value, Table) and not ("choose" in value or "any_of" in value):
            names = [p.name for p in ports]
            for key, key_mark in value.keys.items():
                if key not in names:
                    rule = f"{what} has the ports {', '.join(names) or 'none'}"
                    raise key_mark.error(rule, value=f"`{key}`", near=nearest(key, names), node=node)
            return {k: self._edges(v, f"from.{k}", node) for k, v in value.entries.items()}
        if value is None:
            return self._by_default(ports, what, mark, node)
        if not ports:
            raise value.mark.error(f"{what} has no ports, so nothing goes into it", node=node)
        needed = [p for p in ports if not p.optional]
        if len(needed) > 1:
            raise _missing(ports, needed[1], what, value, mark, node)
        return {(needed or list(ports))[0].name: self._edges(value, "from", node)}

    def _by_default(
        self, ports: Sequence[Port], what: str, mark: Mark, node: str
    ) -> dict[str, tuple[Ref | EdgeChoice, ...]]:
        """Without `from`, a body that is a single op reads the body's inputs: by name, or its one input."""
        if "" not in self.members:
            if all(p.optional for p in ports):
                return {}
            raise mark.error(f"{what} needs `from`, the nodes that it reads", value="none", node=node)
        refs = {name: Ref(-1 - i, 0, 0) for i, name in enumerate(self.inputs)}
        needed = [p for p in ports if not p.optional]
        if len(needed) == 1 and len(refs) == 1:
            return {needed[0].name: tuple(refs.values())}
        return {p.name: (refs[p.name],) for p in ports if p.name in refs}

    def _edges(self, value: Located, path: str, node: str) -> tuple[Ref | EdgeChoice, ...]:
        if isinstance(value, Table):
            return (self._open(value, path, node),)
        if isinstance(value, Items):
            if not len(value):
                raise value.mark.error("`from` must list at least one edge", value="an empty list", node=node)
            return tuple(self.ref(item, node) for item in value)
        return (self.ref(value, node),)

    def _open(self, table: Table, path: str, node: str) -> EdgeChoice:
        kind = "choose" if "choose" in table else "any_of"
        table.only(("choose",) if kind == "choose" else ("any_of", "at_least"), "an open edge")
        options = table.get(kind)
        if not isinstance(options, Items) or not len(options):
            found = (options or table).mark
            raise found.error(f"`{kind}` at an edge must list at least one node", value="none", node=node)
        refs: dict[str, Ref] = {}
        for item in options:
            ref = self.ref(item, node)
            text = _squeeze(item)
            if text in refs:
                raise item.mark.error("the options of a choice must differ", value=f"`{text}` twice", node=node)
            refs[text] = ref
        names = tuple(refs)
        if kind == "choose":
            return EdgeChoice(Categorical(names), refs, path, table.mark)
        least = table.get("at_least")
        count = 1 if least is None else least.value if isinstance(least, Leaf) else None
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= len(names):
            found_text = f"`{least.text}`" if isinstance(least, Leaf) else "a list or a mapping"
            rule = f"`at_least` must lie between 1 and the number of options, {len(names)}"
            raise (least or table).mark.error(rule, value=found_text, node=node)
        return EdgeChoice(Subset(names, count), refs, path, table.mark)

    def ref(self, value: Located, node: str = "") -> Ref:
        """What `h`, `s.k`, `"h[t-1]"` refer to; raises `FileError`."""
        text = value.value if isinstance(value, Leaf) else None
        text = text.strip() if isinstance(text, str) else ""
        found = _REF.fullmatch(text)
        if found is None:
            shown = f"`{value.text}`" if isinstance(value, Leaf) else "a list or a mapping"
            rule = 'an edge must be the name of a node, as `x`, `s.k` or `"h[t-1]"`'
            raise value.mark.error(rule, value=shown, node=node or None)
        name, output, delay = found.group(1), found.group(2).removeprefix("."), _delay(found.group(3), value, node)
        if name in self.members and name != "":
            slot = self.members[name]
            return Ref(slot, self._output(slot, name, output, value, node), delay)
        if name in self.inputs and not output:
            return Ref(-1 - self.inputs.index(name), 0, delay)
        raise self._unknown(name, text, value, node)

    def _output(self, slot: int, name: str, output: str, value: Located, node: str) -> int:
        outputs = self.outputs(slot)
        wanted = output or ("out" if "out" in outputs else "")
        if not wanted and len(outputs) == 1:
            return 0
        if wanted in outputs:
            return outputs.index(wanted)
        options = [f"{name}.{o}" for o in outputs]
        if not output:
            rule = f"`{name}` has several outputs, so an edge must name one"
            raise value.mark.error(rule, value=f"`{name}`", near=options, node=node or None)
        rule = f"from outside, node `{name}` shows its outputs ({', '.join(outputs)}) and nothing else"
        raise value.mark.error(rule, value=f"`{name}.{output}`", near=nearest(output, outputs), node=node or None)

    def _unknown(self, name: str, text: str, value: Located, node: str) -> FileError:
        siblings = [m for m in self.members if m]
        known = [*self.inputs, *siblings]
        if name in self.elsewhere:
            rule = (
                "a node sees the inputs of its own body and the nodes beside it, nothing outside: here "
                f"{', '.join(known)}"
            )
            found = f"`{text}`, which stands in {self.elsewhere[name]}"
            hint = "Hand it in through `in:`."
            return value.mark.error(rule, value=found, near=nearest(name, known), node=node or None, hint=hint)
        rule = "an edge must come from an input or a node beside it"
        return value.mark.error(rule, value=f"`{text}`", near=nearest(name, known), node=node or None)

    def text(self, edge: Ref | EdgeChoice) -> str:
        """An edge in words."""
        if isinstance(edge, EdgeChoice):
            return "any_of" if isinstance(edge.domain, Subset) else "choose"
        name = self.inputs[-1 - edge.target] if edge.target < 0 else list(self.members)[edge.target]
        return f"`{name}`"


def _many(edge: EdgeChoice) -> bool:
    return isinstance(edge.domain, Subset) and len(edge.domain.options) > 1


def _squeeze(value: Located) -> str:
    return "".join(value.text.split()) if isinstance(value, Leaf) else ""


def _delay(brackets: str | None, value: Located, node: str) -> int:
    if brackets is None:
        return 0
    found = _DELAY.fullmatch(brackets)
    if found is None or int(found.group(1)) < 1:
        raise value.mark.error("a delay must be [t-k] with k at least 1", value=f"`{brackets}`", node=node or None)
    return int(found.group(1))


def _missing(ports: Sequence[Port], port: Port, what: str, value: Located | None, mark: Mark, node: str) -> FileError:
    needed = [p.name for p in ports if not p.optional]
    if len(needed) == 1:
        return mark.error(f"{what} needs its input `{port.name}`", value="none", node=node)
    listed = ", ".join(f"{n}: ..." for n in needed)
    hint = f"Write from: {{{listed}}}."
    rule = f"{what} needs its inputs {', '.join(needed)}"
    found = f"no `{port.name}`" if isinstance(value, Table) or value is None else "one edge without a port"
    return (value.mark if value else mark).error(rule, value=found, node=node, hint=hint)
