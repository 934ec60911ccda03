"""From a plan with types to an Architecture."""

from __future__ import annotations

from archsearch.errors import FileError
from archsearch.graph.architecture import Architecture, Node, Source
from archsearch.graph.infer import Inference
from archsearch.graph.plan import FlatNode, Val

__all__ = ["architecture"]


def architecture(name: str, causal: bool, inference: Inference) -> Architecture:
    """The architecture that `inference` found types for.

    Raises:
        FileError: nodes that share weights differ in op, settings or input types.
    """
    plan, types = inference.plan, inference.plan.nodes
    weights = _weights(inference)
    sources: dict[tuple[int, int, int], Source] = {}

    def source(val: Val) -> Source:
        found = sources.get(val)
        if found is None:
            target, output, delay = val
            found = sources[val] = Source(types[target].name if target >= 0 else plan.input, output, delay)
        return found

    nodes = tuple(
        Node(
            node.name,
            bound.spec.name,
            bound.settings,
            tuple([tuple([source(v) for v in port]) for port in node.inputs]),
            typing.types,
            weights.get(i),
            node.initial,
        )
        for i, (node, bound, typing) in enumerate(zip(plan.nodes, inference.bounds, inference.typings, strict=True))
    )
    written = {b.spec.name: b.spec.source for b in inference.bounds if b.spec.source is not None}
    return Architecture(
        name=name,
        inputs={plan.input: inference.input_type},
        nodes=nodes,
        output=source(plan.output),
        scale=inference.scale,
        causal=causal,
        outline=plan.outline,
        sources=written,
    )


def _weights(inference: Inference) -> dict[int, str]:
    """Which nodes share weights, by number. A group of one, or of an op without weights, is none."""
    groups: dict[str, list[int]] = {}
    for i, node in enumerate(inference.plan.nodes):
        trained = inference.typings[i].params or node.initial == "learned"
        if node.weights is not None and trained:
            groups.setdefault(node.weights, []).append(i)
    out: dict[int, str] = {}
    for group, members in groups.items():
        if len(members) == 1:
            continue
        first = members[0]
        for i in members[1:]:
            same = inference.bounds[i] is inference.bounds[first] and inference.typings[i] is inference.typings[first]
            if not same:
                raise _differ(inference.plan.nodes[i], inference.plan.nodes[first])
        out.update(dict.fromkeys(members, group))
    return out


def _differ(node: FlatNode, first: FlatNode) -> FileError:
    rule = "nodes that share weights must have one op, equal settings and equal input types"
    return node.mark().error(rule, value=f"`{node.name}` beside `{first.name}`", node=node.name)
