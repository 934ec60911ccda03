"""Reads the words of a node and of a body: which kind it is, its inputs, `into`, `merge`, `weights`, `init`."""

from __future__ import annotations

from archsearch.errors import nearest
from archsearch.graph.opspec import Registry
from archsearch.graph.reader import Items, Leaf, Located, Table
from archsearch.graph.values import WIDTH, name_of

__all__ = [
    "BODY_KEYS",
    "KINDS",
    "NODE_KEYS",
    "RESERVED",
    "as_body",
    "input_names",
    "into_names",
    "kind_of",
    "named_inputs",
    "node_words",
    "only_keys",
    "output_name",
    "without",
]

KINDS = ("op", "choose", "repeat", "nodes", "equations")
NODE_KEYS = ("from", "weights", "merge", "init")
BODY_KEYS = ("params", "choices", "in", "out")
RESERVED = (*KINDS, *NODE_KEYS, *BODY_KEYS, "into", "times", "tie", WIDTH)
"""Names that no parameter or named choice can have."""


def as_body(value: Located, label: str) -> Table:
    """A body as a mapping: a bare name is short for `{op: name}`."""
    if isinstance(value, Leaf) and isinstance(value.value, str):
        return Table({"op": value}, {"op": value.mark}, value.mark)
    if not isinstance(value, Table):
        rule = f"`{label}` must be a mapping with one of {', '.join(KINDS)}"
        raise value.mark.error(rule, value="a list" if isinstance(value, Items) else f"`{value.text}`")
    return value


def kind_of(table: Table, node: str) -> str:
    """Which of `KINDS` a node or body is; raises `FileError` unless it is one."""
    kinds = [k for k in KINDS if k in table]
    if len(kinds) == 1:
        return kinds[0]
    near = [n for key in table.keys for n in nearest(key, KINDS)]
    found = " and ".join(f"`{k}`" for k in kinds) or (", ".join(f"`{k}`" for k in table.keys) or "nothing")
    rule = f"a node or body has one of {', '.join(KINDS)}"
    raise table.mark.error(rule, value=found, near=near, node=node or None)


def only_keys(name: str, node: Table, words: tuple[str, ...], path: str) -> None:
    """Refuses keys beside `words` and those of every node; a nameless node is a body too, and has its keys."""
    known = dict.fromkeys((*words, *NODE_KEYS, *(BODY_KEYS if name == "" else ())))
    node.only(known, f"`{path or 'graph'}`")


def without(table: Table, words: tuple[str, ...]) -> Table:
    """A mapping less some of its keys."""
    keep = [k for k in table.keys if k not in words]
    return Table({k: table.entries[k] for k in keep}, {k: table.keys[k] for k in keep}, table.mark)


def input_names(value: Located) -> tuple[str, ...]:
    """The inputs that `in:` names."""
    names = tuple(name_of(v, "an input") for v in value) if isinstance(value, Items) else (name_of(value, "an input"),)
    if not names or len(set(names)) != len(names):
        raise value.mark.error("`in` must list different names", value=", ".join(names) or "none")
    return names


def named_inputs(value: Located | None) -> tuple[str, ...]:
    """The inputs of a body written in place: those that its `from` names, else `in`."""
    if isinstance(value, Table) and value.entries and not ("choose" in value or "any_of" in value):
        return tuple(value.entries)
    return ("in",)


def output_name(value: Located, label: str) -> str:
    """What an output in a list is called: the last name of its reference."""
    text = value.value if isinstance(value, Leaf) else None
    if not isinstance(text, str):
        raise value.mark.error("`out` lists names of nodes", value="something else", node=label)
    return text.split("[")[0].strip().split(".")[-1]


def into_names(value: Located, path: str) -> tuple[str, ...]:
    """The outputs that `into:` names."""
    names = tuple(name_of(v, "an output") for v in value) if isinstance(value, Items) else ()
    if not names or len(set(names)) != len(names):
        raise value.mark.error("`into` must list different names", value=", ".join(names) or "none", node=path)
    return names


def node_words(node: Table, path: str, registry: Registry) -> tuple[str | None, str | None, str | None]:
    """`merge`, `weights` and `init` of a node."""
    out: list[str | None] = []
    for key, options in (("merge", ("add", "concat")), ("weights", ()), ("init", ("zero", "learned"))):
        value = node.get(key)
        if value is None:
            out.append(None)
            continue
        name = name_of(value, f"`{key}`")
        if options and (name not in options or (key == "merge" and name not in registry)):
            rule = f"`{key}` must be one of {', '.join(options)}"
            raise value.mark.error(rule, value=f"`{name}`", near=nearest(name, options), node=path)
        out.append(name)
    return out[0], out[1], out[2]
