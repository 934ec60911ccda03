"""Architectures written by hand, so that these tests need neither the language nor the shipped blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from archsearch.graph.architecture import Architecture, Node, Source
from archsearch.graph.types import ValueType
from archsearch.ops.registry import registry
from archsearch.training.measurement import Job, TrainingSettings

RECALL = {"length": 16, "vocabulary": 8, "examples_train": 256, "examples_validation": 64, "examples_test": 64}


class Draft:
    """Nodes put down one after the other; each takes the names of what it reads."""

    def __init__(self, width: int) -> None:
        self.types = {"in": ValueType((width,))}
        self.nodes: list[Node] = []

    def node(self, name: str, op: str, *reads: str | list[str], **settings: Any) -> str:
        spec = registry()[op]
        ports = [(r,) if isinstance(r, str) else tuple(r) for r in reads]
        rule = spec.bind(settings)
        out = rule.infer(*[self.types[name] for port in ports for name in port])
        assert isinstance(out, ValueType)
        inputs = tuple(tuple(Source(r) for r in port) for port in ports)
        self.types[name] = out
        self.nodes.append(Node(name, op, spec.complete(settings), inputs, (out,)))
        return name

    def done(self, output: str) -> Architecture:
        return Architecture("by_hand", {"in": self.types["in"]}, tuple(self.nodes), Source(output))


def hand_made(mixer: str = "none", *, width: int = 16, layers: int = 1, dropout: float = 0.0) -> Architecture:
    """Layers of a mixer (`none`, `attention`, `gru`, `lstm`) and an mlp, with norms and residual edges."""
    draft, x = Draft(width), "in"
    for i in range(layers):
        if mixer != "none":
            h = draft.node(f"norm{i}", "rms_norm", x)
            if mixer == "attention":
                q, k, v = (draft.node(f"{name}{i}", "linear", h) for name in "qkv")
                h = draft.node(f"mix{i}", "softmax_attention", q, k, v, heads=4)
            else:
                h = draft.node(f"mix{i}", f"{mixer}_core", h)
            x = draft.node(f"join{i}", "add", [x, draft.node(f"o{i}", "linear", h)])
        h = draft.node(f"mlp{i}", "mlp", draft.node(f"norm_mlp{i}", "rms_norm", x), expand=2.0, dropout=dropout)
        x = draft.node(f"out{i}", "add", [x, h])
    return draft.done(draft.node("last", "rms_norm", x))


@pytest.fixture
def architecture() -> Callable[..., Architecture]:
    return hand_made


@pytest.fixture
def job() -> Callable[..., Job]:
    """A small job on recall; the keywords that are not named here are training settings."""

    def make(
        mixer: str = "attention",
        *,
        dropout: float = 0.0,
        split: str = "validation",
        seed_base: int = 0,
        task: str = "in_context_recall",
        task_settings: dict[str, Any] | None = None,
        **training: Any,
    ) -> Job:
        small = TrainingSettings(
            steps=20, batch=8, reports=2, device="cpu", evaluation_examples=64, stop_when_solved=False
        )
        return Job(
            key="test/search/0",
            architecture=hand_made(mixer, dropout=dropout).to_dict(),
            task=task,
            task_settings=RECALL if task_settings is None and task == "in_context_recall" else task_settings or {},
            training=replace(small, **training),
            seed_base=seed_base,
            split=split,
        )

    return make
