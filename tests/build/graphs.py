"""Architectures made by hand, a line a node, with types inferred by the ops."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from archsearch.graph.architecture import Architecture, Node, Source
from archsearch.graph.types import ValueType
from archsearch.ops.registry import registry


def source(text: str) -> Source:
    """`x`, `s#1` for output 1, `h[t-2]` for a delay."""
    node, output, delay = re.fullmatch(r"([\w.]+)(?:#(\d+))?(?:\[t-(\d+)\])?", text).groups()
    return Source(node, int(output or 0), int(delay or 0))


def graph(
    width: int,
    nodes: Mapping[str, tuple[Any, ...]],
    *,
    known: Mapping[str, int | tuple[int, ...]] | None = None,
    weights: Mapping[str, str] | None = None,
    initial: Mapping[str, str] | None = None,
    out: str = "out",
) -> Architecture:
    """`{"mix": ("gru_core", {"width": 8}, "norm")}`; ports in order, a tuple of sources for one that takes many.

    Args:
        known: widths or shapes of nodes that are read before they stand there (by a delayed edge).
    """
    types: dict[str, tuple[ValueType, ...]] = {"in": (ValueType((width,)),)}
    types |= {n: (ValueType(s if isinstance(s, tuple) else (s,)),) for n, s in (known or {}).items()}
    made = []
    for name, (op, settings, *ports) in nodes.items():
        spec = registry()[op]
        inputs = tuple(tuple(source(s) for s in (p if isinstance(p, tuple) else (p,))) for p in ports)
        rule = spec.bind(settings)
        inferred = rule.infer(*(types[s.node][s.output] for port in inputs for s in port))
        types[name] = inferred if isinstance(inferred, tuple) else (inferred,)
        full = spec.complete(settings)
        group, start = (weights or {}).get(name), (initial or {}).get(name, "zero")
        made.append(Node(name, op, full, inputs, types[name], group, start))
    return Architecture("by_hand", {"in": ValueType((width,))}, tuple(made), source(out))


def attention_block(prefix: str, x: str, heads: int) -> dict[str, tuple[Any, ...]]:
    """Projections, core and output projection, as the block `attention` has them."""
    return {
        **{f"{prefix}.{p}": ("linear", {"bias": False}, x) for p in "qkv"},
        f"{prefix}.core": ("softmax_attention", {"heads": heads}, f"{prefix}.q", f"{prefix}.k", f"{prefix}.v"),
        f"{prefix}.out": ("linear", {"bias": False}, f"{prefix}.core"),
    }


def transformer(width: int, layers: int, heads: int = 4, expand: float = 4.0) -> Architecture:
    """Attention and mlp by turns, with a norm before each and one at the end."""
    nodes: dict[str, tuple[Any, ...]] = {}
    x = "in"
    for i in range(layers):
        at = f"body.{i}"
        nodes[f"{at}.norm"] = ("rms_norm", {}, x)
        nodes |= attention_block(f"{at}.mix", f"{at}.norm", heads)
        nodes[f"{at}.join"] = ("add", {}, (x, f"{at}.mix.out"))
        nodes[f"{at}.norm2"] = ("rms_norm", {}, f"{at}.join")
        nodes[f"{at}.mlp"] = ("mlp", {"expand": expand}, f"{at}.norm2")
        nodes[f"{at}.out"] = ("add", {}, (f"{at}.join", f"{at}.mlp"))
        x = f"{at}.out"
    nodes["out"] = ("rms_norm", {}, x)
    return graph(width, nodes)
