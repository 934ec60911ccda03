"""Random layers: what they approximate, what they forget, and that training leaves them as they were drawn."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from archsearch.build.cost import parameters
from archsearch.build.model import build
from archsearch.graph.analysis import params
from archsearch.ops.base import Context
from archsearch.ops.registry import registry
from archsearch.tasks.base import InputKind, OutputKind
from archsearch.training.measurement import Job, TrainingSettings
from archsearch.training.trainer import Trainer
from tests.ops.contract import Case, close, parallel
from tests.training.conftest import RECALL, Draft


def mean_products(kind: str, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Ten inputs, and the mean over 50,000 features of the products of their images."""
    case = Case("random_features", {"features": 50_000, "kind": kind, "scale": scale})
    x = torch.randn(1, 1, 10, 8, generator=torch.Generator().manual_seed(3))
    y = parallel(case, case.weights(seeds=(1,)), [x])[0][0, 0]
    return x[0, 0], y @ y.T / 50_000


def test_cosines_approximate_the_gaussian_kernel() -> None:
    x, products = mean_products("cos", 1.5)
    kernel = torch.exp(-(1.5**2) * torch.cdist(x, x).square() / (2 * 8))
    assert (products - kernel).abs().max() < 0.03


def test_relu_approximates_the_arc_cosine_kernel() -> None:
    x, products = mean_products("relu", 1.0)
    size = x.norm(dim=1)
    angle = torch.acos((x @ x.T / torch.outer(size, size)).clamp(-1, 1))
    kernel = torch.outer(size, size) / 8 * (angle.sin() + (math.pi - angle) * angle.cos()) / math.pi
    assert (products - kernel).abs().max() < 0.05


@pytest.mark.parametrize(("width", "connections"), [(40, 10), (9, 10), (30, 1)])
def test_a_reservoir_has_the_spectral_radius_and_the_connections_it_says(width: int, connections: int) -> None:
    w = Case("reservoir_core", {"width": width, "connections": connections, "radius": 0.8}).weights()
    for weight in w["hidden"]:
        assert torch.linalg.eigvals(weight.double()).abs().max().item() == pytest.approx(0.8, rel=1e-3)
        assert ((weight != 0).sum(1) == min(width, connections)).all()


def test_a_reservoir_forgets_where_it_started() -> None:
    """The echo state property, at the defaults: two states far apart meet under one input."""
    case = Case("reservoir_core", {"width": 50})
    w, (x,) = case.weights(), case.inputs(time=200)
    states = [torch.zeros(2, 3, 50), torch.ones(2, 3, 50)]
    for x_t in x.detach().unbind(2):
        states = [case.op.step(w, {"h": h}, x_t, ctx=Context())[0] for h in states]
    assert (states[0] - states[1]).abs().max() < 1e-4


def random_layers() -> Job:
    """A reservoir and random features, with trained maps after them, in training on recall."""
    draft = Draft(16)
    core = draft.node("core", "reservoir_core", "in", width=24)
    read = draft.node("read", "linear", core, width=16)
    features = draft.node("features", "random_features", draft.node("join", "add", ["in", read]), features=32)
    architecture = draft.done(draft.node("last", "linear", features, width=16))
    settings = TrainingSettings(steps=20, batch=8, reports=2, device="cpu", evaluation_examples=64, seeds=2)
    return Job("test/search/0", architecture.to_dict(), "in_context_recall", RECALL, settings, 0, "validation")


def test_training_leaves_random_weights_as_they_were_drawn_and_moves_the_others() -> None:
    trainer = Trainer(replace(random_layers(), seed_base=4))
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    while not trainer.finished:
        trainer.advance()
    frozen = {f"graph.core.{w}" for w in ("input", "hidden", "bias")} | {
        f"graph.features.{w}" for w in ("weight", "bias")
    }
    for name, p in trainer.model.named_parameters():
        assert torch.equal(p, before[name]) == (name in frozen), name
        assert not torch.equal(p[0], p[1]), "every copy draws its own"
    assert frozen <= trainer.model.state_dict().keys()
    assert not {id(t.parameter) for t in trainer.model.groups()} & {
        id(p) for name, p in trainer.model.named_parameters() if name in frozen
    }


def test_random_weights_count_for_nothing() -> None:
    trainer = Trainer(random_layers())
    architecture = trainer.architecture
    trained = (24 + 1) * 16 + (32 + 1) * 16
    assert params(architecture, registry()) == trained == sum(p.numel() for p in trainer.model.body_parameters()) // 2
    assert parameters(trainer.model).graph == trained
    vocabulary = trainer.task.input.size
    assert parameters(trainer.model).total == trained + vocabulary * 16 + trainer.task.output.size * 17
    one = build(architecture, InputKind("tokens", 4), OutputKind("steps", 4), seeds=[0])
    assert f"parameters={trained + 4 * 16 + 4 * 17} a copy" in repr(one)


def test_random_weights_come_back_from_a_checkpoint() -> None:
    trainer = Trainer(random_layers())
    trainer.advance()
    state = trainer.checkpoint()
    other = Trainer(random_layers())
    with torch.no_grad():
        for p in other.model.parameters():
            p.zero_()
    other.restore(state)
    for (name, p), q in zip(trainer.model.named_parameters(), other.model.parameters(), strict=True):
        close(q, p.detach(), name, 0.0)
