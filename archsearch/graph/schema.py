"""A JSON Schema of the language, for editors: what may stand where, the settings of each op, the shipped definitions.

It says less than the reader: names of a file's own nodes, types and arithmetic are beyond a schema. It never refuses
what the reader accepts. Draft 7, which the YAML language server knows best.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from archsearch.graph.files import shipped
from archsearch.graph.fits import FITS
from archsearch.graph.header import KEYS
from archsearch.graph.opspec import OpSpec, Registry, Setting
from archsearch.graph.reader import Leaf, Located, Table, plain
from archsearch.graph.repeats import TIES
from archsearch.graph.words import BODY_KEYS, KINDS, NODE_KEYS

__all__ = ["HEADER", "schema"]

HEADER = "# yaml-language-server: $schema="
"""What a YAML file begins with to name its schema; a path relative to the file, or an address, follows."""

Schema = dict[str, Any]

IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_]*$"
EDGE = r"^\s*[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*\s*(\[\s*t\s*-\s*0*[1-9][0-9]*\s*\])?\s*$"
GIVEN = r"^\$[A-Za-z_][A-Za-z0-9_]*$"
DEFINITIONS_ONLY = ["version", "name", "summary", "define"]
BY_KIND = {
    "choose": ("choose",),
    "repeat": ("repeat", "times", "tie"),
    "nodes": ("nodes", *BODY_KEYS),
    "equations": ("equations", *BODY_KEYS),
}
"""The words of a node beside those that each node has."""
LITERALS: dict[type, Schema] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    str: {"type": "string"},
}


def schema(registry: Registry, definitions: Iterable[Path] = ()) -> Schema:
    """The schema of spaces and of files of definitions, as JSON data.

    Args:
        registry: the ops whose settings and ports it holds.
        definitions: files whose `define:` entries are known to every space. A space may define the same names anew, so
            their parameters are offered and not held.
    """
    found = shipped(definitions)
    blocks = dict(found.entries) if found else {}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "archsearch search space",
        "description": "A graph of ops with choices in it, or a file of definitions.",
        "type": "object",
        "properties": {key: _TOP.get(key, {}) for key in KEYS},
        "additionalProperties": False,
        "if": {"required": ["define"], "propertyNames": {"enum": DEFINITIONS_ONLY}},
        "else": {"required": ["graph"]},
        "definitions": {
            **_SHARED,
            "op": _op_names(registry, blocks),
            "given": {"type": "string", "pattern": GIVEN, "description": "A parameter of the body that holds a body."},
            "node": _node([*NODE_KEYS], registry, blocks),
            "body": {
                "if": {"type": "string"},
                "then": {"anyOf": [_ref("op"), _ref("given")]},
                "else": _ref("full"),
            },
            "full": _node([*NODE_KEYS, *BODY_KEYS], registry, blocks),
            **{f"op {spec.name}": _op(spec) for spec in registry.values()},
        },
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _map(values: Schema, **more: Any) -> Schema:
    """A mapping from names; a key with nothing behind it is an empty one."""
    return {
        "type": ["object", "null"],
        "propertyNames": {"pattern": IDENTIFIER},
        "additionalProperties": values,
        **more,
    }


def _list(values: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": values, "minItems": 1, **more}


def _closed(properties: Schema, required: Iterable[str] = ()) -> Schema:
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}


# ---- words of the language -------------------------------------------------------------------------------------------

_SCALAR: Schema = {"type": ["number", "boolean", "string", "null"]}
_NUMBERS = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_WHOLE = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
_FLAG: Schema = {"type": "boolean"}
_CHOICE: Schema = {
    "description": "An open choice: {choose: [a, b]}, {int: [low, high], step, log} or {float: [low, high], log}.",
    "oneOf": [
        _closed({"choose": _list(_SCALAR, uniqueItems=True)}, ["choose"]),
        _closed({"int": _WHOLE, "step": {"type": "integer", "minimum": 1}, "log": _FLAG}, ["int"]),
        _closed({"float": _NUMBERS, "log": _FLAG}, ["float"]),
    ],
}
_NAMES = {"anyOf": [_ref("name"), _list(_ref("name"), uniqueItems=True)]}

_SHARED: Schema = {
    "name": {"type": "string", "pattern": IDENTIFIER},
    "choice": _CHOICE,
    "value": {"anyOf": [_SCALAR, _ref("choice")]},
    "edge": {
        "type": "string",
        "pattern": EDGE,
        "description": 'A node, an output of one, or its past: x, s.q, "h[t-1]".',
    },
    "edges": {
        "anyOf": [
            _ref("edge"),
            _list(_ref("edge")),
            _closed({"choose": _list(_ref("edge"), uniqueItems=True)}, ["choose"]),
            _closed(
                {"any_of": _list(_ref("edge"), uniqueItems=True), "at_least": {"type": "integer", "minimum": 1}},
                ["any_of"],
            ),
        ]
    },
    "from": {
        "anyOf": [_ref("edges"), _map(_ref("edges"))],
        "description": "What the node reads, or that for each port.",
    },
    "pattern": {"anyOf": [_ref("body"), _list(_ref("body"))]},
}

_TOP: Schema = {
    "version": {"const": 1, "description": "Of the language."},
    "name": _SCALAR,
    "summary": {**_SCALAR, "description": "One line for people."},
    "define": _map(_ref("body"), description="Ops written in YAML, by name."),
    "choices": _map(_ref("choice"), description="Choices for the whole space, used as $name."),
    "graph": {"allOf": [_ref("body")], "description": "The graph: `nodes`, or a single op, choice or repeat."},
    "scale": _map(
        {"type": "number", "exclusiveMinimum": 0},
        properties={"width": {"type": "integer", "minimum": 1}},
        description="Named sizes, which a ladder multiplies and `match` solves for.",
    ),
    "require": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Conditions on an architecture, as params <= 1e6; what misses one is refused before training.",
    },
    "match": {
        **_closed({"params": {"type": "integer", "minimum": 1}, "by": _ref("name")}, ["params", "by"]),
        "description": "Every sample is brought to this many parameters by one of the names of `scale`.",
    },
    "campaign": {"type": "object", "description": "Defaults of a campaign: task, agent, trials, ..."},
    "causal": {"type": "boolean", "description": "Whether output t sees inputs up to t only. Default true."},
    "stem": {**_SHARED["name"], "description": "An op that stands between the task's input and the graph."},
    "readout": {**_SHARED["name"], "description": "An op that stands between the graph and the task's output."},
    "fit": {
        "anyOf": [{"enum": list(FITS)}, _closed({"choose": _list({"enum": list(FITS)}, uniqueItems=True)}, ["choose"])],
        "description": "How weights are found: by gradient descent, or a readout that is solved for. "
        + " ".join(f"{name}: {what}." for name, what in FITS.items()),
    },
    "ops": {
        "anyOf": [{"type": "string"}, _list({"type": "string"})],
        "description": "Python files of a person's own ops.",
    },
}

_WORDS: Schema = {
    "from": _ref("from"),
    "weights": {**_SHARED["name"], "description": "Nodes with one name here share their weights."},
    "merge": {"enum": ["add", "concat"], "description": "Lets several edges into a port that takes one."},
    "init": {"enum": ["zero", "learned"], "description": "What a delayed edge reads before the start."},
    "into": _list(_ref("name"), uniqueItems=True, description="Names of the op's outputs."),
    "choose": {
        "anyOf": [_map(_ref("body"), type="object", minProperties=1), _list(_ref("op"), uniqueItems=True)],
        "description": "One of several bodies, by name.",
    },
    "repeat": {
        "anyOf": [
            _ref("pattern"),
            _closed(
                {"choose": {"anyOf": [_map(_ref("pattern"), type="object", minProperties=1), _list(_ref("op"))]}},
                ["choose"],
            ),
        ],
        "description": "A definition, a body, or a pattern of them that is cycled.",
    },
    "times": {**_SHARED["value"], "description": "How often."},
    "tie": {"enum": [*TIES, None], "description": "What the turns of a repeat share."},
    "nodes": _map(_ref("node"), type="object", description="The nodes of a body, by name. `out` is its output."),
    "equations": {"type": "string", "description": "The short form of a body, one equation a line."},
    "params": _map(
        {"anyOf": [_ref("value"), _ref("full")]},
        description="Parameters with their defaults, used as $name; one whose default is a body holds a body.",
    ),
    "choices": _map(_ref("choice"), description="Choices of each instance, used as $name."),
    "in": {**_NAMES, "description": "The inputs of the body."},
    "out": {
        "anyOf": [_ref("edge"), _list(_ref("edge")), _map(_ref("edge"), type="object")],
        "description": "What the body gives, if that is not its node `out`.",
    },
}


# ---- nodes and ops ---------------------------------------------------------------------------------------------------


def _op_names(registry: Registry, blocks: Mapping[str, Located]) -> Schema:
    """Any name, since a file may define its own; those that are known are offered."""
    known = [{"const": s.name, "description": s.summary} for s in registry.values()]
    known += [{"const": name, "description": "a shipped definition"} for name in blocks]
    return {"anyOf": [*known, _ref("name")]}


def _node(words: list[str], registry: Registry, blocks: Mapping[str, Located]) -> Schema:
    """A node: one of the kinds, the words of that kind, and for an op its settings."""
    closed = [
        {"if": {"required": [kind]}, "then": {"propertyNames": {"enum": _unique([*own, *words])}}}
        for kind, own in BY_KIND.items()
    ]
    ops = [
        {"if": {"properties": {"op": {"const": s.name}}, "required": ["op"]}, "then": _settings(s, words)}
        for s in registry.values()
    ]
    offered = [
        {"if": {"properties": {"op": {"const": name}}, "required": ["op"]}, "then": {"properties": _params(body)}}
        for name, body in blocks.items()
        if _params(body)
    ]
    op = {"anyOf": [_ref("op"), _ref("given"), _closed({"choose": _list(_ref("op"), uniqueItems=True)}, ["choose"])]}
    return {
        "type": "object",
        "oneOf": [{"required": [k]} for k in KINDS],
        "properties": {"op": op, **_WORDS},
        "dependencies": {"repeat": ["times"], "times": ["repeat"], "tie": ["repeat"], "into": ["op"]},
        "allOf": [*closed, *ops, *offered],
    }


def _unique(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _settings(spec: OpSpec, words: list[str]) -> Schema:
    """What a node of one op may hold."""
    names = {"enum": _unique(["op", *words, "into", *(s.name for s in spec.settings)])}
    return {"propertyNames": names, "allOf": [_ref(f"op {spec.name}")]}


def _op(spec: OpSpec) -> Schema:
    """The settings and ports of one op."""
    required = [s.name for s in spec.settings if s.required]
    # `into` says into how many parts, so that `parts` need not.
    needed = [
        {"anyOf": [{"required": [n]}, {"required": ["into"]}]} if n == "parts" else {"required": [n]} for n in required
    ]
    ports = {p.name: _ref("edges") for p in spec.ports}
    edges = {"anyOf": [_ref("edges"), {"type": "object", "properties": ports, "additionalProperties": False}]}
    out: Schema = {
        "description": spec.summary + (f" ({spec.paper})" if spec.paper else ""),
        "properties": {"from": edges, **{s.name: _setting(s) for s in spec.settings}},
    }
    return out | ({"allOf": needed} if needed else {})


def _setting(setting: Setting) -> Schema:
    """A literal in range, a $name or =arithmetic, or a choice of such literals."""
    literal = dict(LITERALS[setting.kind])
    bounds = {"minimum": setting.low, "maximum": setting.high}
    literal |= {k: v for k, v in bounds.items() if v is not None}
    if setting.options:
        literal = {"enum": list(setting.options)}
    choice = _closed({"choose": _list(literal, uniqueItems=True)}, ["choose"])
    open_ = [choice, *_CHOICE["oneOf"][1:]] if setting.kind in (int, float) else [choice]
    options = [literal, {"type": "string", "pattern": "^[$=]"}, *open_]
    if not setting.required:
        options.append({"type": "null"})
    found: Schema = {"anyOf": options}
    if setting.help:
        found["description"] = setting.help
    if setting.default is not None:
        found["default"] = setting.default
    return found


def _params(body: Located) -> Schema:
    """The parameters of a definition, with their defaults."""
    params = body.get("params") if isinstance(body, Table) else None
    if not isinstance(params, Table):
        return {}
    return {name: _default(value) for name, value in params.entries.items()}


def _default(value: Located) -> Schema:
    return {"default": plain(value)} if isinstance(value, Leaf) else {}
