"""The shipped spaces: sound, trainable, and what they promise to hold."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archsearch import content
from archsearch.build.decode import Decoder
from archsearch.build.model import build
from archsearch.campaign.config import resolve
from archsearch.campaign.controls import blueprints
from archsearch.graph.analysis import facts
from archsearch.graph.normal import digest
from archsearch.graph.space import Sample, SearchSpace
from archsearch.ops.base import Context
from archsearch.ops.registry import registry
from archsearch.tasks.base import InputKind, OutputKind
from archsearch.tasks.registry import make
from archsearch.training.measurement import Job, TrainingSettings
from archsearch.training.trainer import run
from tests.ops.contract import close

SPACES = content.names("search_spaces")
SMALL: dict[str, dict[str, Any]] = {
    "in_context_recall": {"length": 16, "examples_train": 64, "examples_validation": 16, "examples_test": 16},
    "byte_language_model": {"length": 16},
    "digits": {},
    "parity": {"test_length": 48, "examples_train": 64, "examples_validation": 16, "examples_test": 16},
    "in_context_regression": {"examples_train": 64, "examples_validation": 16, "examples_test": 16},
}
TINY = TrainingSettings(steps=2, batch=4, reports=1, device="cpu", evaluation_examples=16, stop_when_solved=False)


def space(name: str) -> SearchSpace:
    return SearchSpace.read(SPACES[name], registry(), content.block_files())


@pytest.mark.parametrize("name", SPACES)
def test_a_space_is_sound_and_says_what_it_is_for(name: str) -> None:
    shipped = space(name)
    report = shipped.check(samples=20)
    assert report.ok, "\n".join(map(str, report.mistakes))
    assert report.covered == report.alternatives
    assert shipped.name == name and shipped.summary.endswith((".", "?"))
    config = resolve(flags={"space": name}, space_defaults=shipped.campaign)
    task = make(config.task, config.task_settings)
    assert shipped.causal is False or task.name != "digits"
    assert set(blueprints(config.controls, shipped, time=task.length)) == set(config.controls)


@pytest.mark.parametrize("name", SPACES)
def test_samples_train(name: str) -> None:
    shipped = space(name)
    config = resolve(flags={"space": name}, space_defaults=shipped.campaign)
    for seed in range(2):
        architecture = shipped.sample(random.Random(seed)).architecture
        settings = {**config.task_settings, **SMALL[config.task]}
        measurement = run(Job(f"{name}/{seed}", architecture.to_dict(), config.task, settings, TINY))
        steps = 2 if architecture.fit == "gradient" else 0
        assert measurement.score is not None and measurement.steps == steps


# ---- recurrent cells -------------------------------------------------------------------------------------------------

WIDTH, TIME = 6, 9
CELLS = {
    "rnn": {"n.sum": "token_and_past", "n.out.op": "tanh", "c": "replace", "h": "memory"},
    "gru": {
        "n.sum": "token_and_reset_past",
        "n.sum.token_and_reset_past.reset.sum": "token_and_past",
        "n.sum.token_and_reset_past.reset.out.op": "sigmoid",
        "n.out.op": "tanh",
        "c": "blend",
        "c.blend.forget.sum": "token_and_past",
        "c.blend.forget.out.op": "sigmoid",
        "h": "memory",
    },
    "lstm": {
        "n.sum": "token_and_past",
        "n.out.op": "tanh",
        "c": "gates",
        "c.gates.forget.sum": "token_and_past",
        "c.gates.forget.out.op": "sigmoid",
        "c.gates.take.sum": "token_and_past",
        "c.gates.take.out.op": "sigmoid",
        "h": "gated",
        "h.gated.open.sum": "token_and_past",
        "h.gated.open.out.op": "sigmoid",
        "h.gated.shown.op": "tanh",
    },
    "min_gru": {
        "n.sum": "token",
        "n.out.op": "identity",
        "c": "blend",
        "c.blend.forget.sum": "token",
        "c.blend.forget.out.op": "sigmoid",
        "h": "memory",
    },
}


def cells() -> SearchSpace:
    """The shipped cells alone, without layers around them and with a width of their own."""
    text = SPACES["recurrent_cells"].read_text().partition("\ngraph:")[0]
    return SearchSpace.parse(f"{text}\ngraph: {{op: cell}}\nscale: {{width: {WIDTH}}}\n", registry())


class Run:
    """A cell with its weights drawn at random.

    Attributes:
        x, y: `(batch, time, width)`.
        weights: by name, without the axis of copies.
    """

    def __init__(self, sample: Sample, dtype: torch.dtype) -> None:
        model = build(sample.architecture, InputKind("tokens", 2), OutputKind("steps", 2), seeds=[0]).to(dtype)
        generator = torch.Generator().manual_seed(1)
        for p in model.graph.parameters():
            nn.init.normal_(p, std=0.4, generator=generator)
        self.parameters = dict(model.graph.named_parameters())
        self.weights = {name: p.detach()[0] for name, p in self.parameters.items()}
        self.x = torch.randn(3, TIME, WIDTH, generator=generator).to(dtype).requires_grad_()
        self.y = model._plan.run({"in": self.x.unsqueeze(0)}, Context()).squeeze(0)
        by = torch.randn(self.y.shape, generator=generator).to(dtype)
        of = dict(zip(["x", *self.parameters], [self.x, *self.parameters.values()], strict=True))
        self.by, self.gradients = (
            by,
            dict(zip(of, torch.autograd.grad((self.y * by).sum(), [*of.values()]), strict=True)),
        )

    def equals(self, y: Tensor, x: Tensor, weights: Mapping[str, tuple[Tensor, list[str]]], tolerance: float) -> None:
        """Outputs and gradients agree; beside each of the other's weights stand those that it holds."""
        close(self.y, y, "outputs", tolerance)
        for_x, *theirs = torch.autograd.grad((y * self.by).sum(), [x, *(w for w, _ in weights.values())])
        close(self.gradients["x"], for_x, "gradient of the input", tolerance)
        for (name, (_, ours)), gradient in zip(weights.items(), theirs, strict=True):
            close(torch.cat([self.gradients[n][0] for n in ours]), gradient, f"gradient of {name}", tolerance)


PRECISION = [(torch.float32, 1e-5), (torch.float64, 1e-10)]


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISION, ids=str)
@pytest.mark.parametrize(
    ("name", "module", "gates"),
    [
        ("rnn", nn.RNN, ["n.sum"]),
        ("gru", nn.GRU, ["n.sum.reset.sum", "c.forget.sum", "n.sum"]),
        ("lstm", nn.LSTM, ["c.take.sum", "c.forget.sum", "n.sum", "h.open.sum"]),
    ],
)
def test_cells_with_a_name_are_points_of_the_space(
    name: str, module: Any, gates: list[str], dtype: torch.dtype, tolerance: float
) -> None:
    ours = Run(cells().decide(CELLS[name]), dtype)
    theirs = module(WIDTH, WIDTH, batch_first=True).to(dtype)
    weights = {}
    for kind in ("weight", "bias"):
        for what, letter in (("ih", "a"), ("hh", "b")):
            parts = [f"{gate}.{letter}.{kind}" for gate in gates]
            weight = getattr(theirs, f"{kind}_{what}_l0")
            weights[f"{kind}_{what}"] = (weight, parts)
            with torch.no_grad():
                weight.copy_(torch.cat([ours.weights[p] for p in parts]))
    x = ours.x.detach().requires_grad_()
    ours.equals(theirs(x)[0], x, weights, tolerance)
    assert {n for _, parts in weights.values() for n in parts} == set(ours.weights)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISION, ids=str)
def test_min_gru_is_a_point_of_the_space(dtype: torch.dtype, tolerance: float) -> None:
    """Feng et al. 2024, arXiv:2410.01201: h_t = (1 − z_t) h_{t−1} + z_t ĥ_t, where `forget` is 1 − z."""
    ours = Run(cells().decide(CELLS["min_gru"]), dtype)
    x, w = ours.x.detach().requires_grad_(), {n: v.clone().requires_grad_() for n, v in ours.weights.items()}
    z = torch.sigmoid(-(x @ w["c.forget.sum.weight"].T + w["c.forget.sum.bias"]))
    new = x @ w["n.sum.weight"].T + w["n.sum.bias"]
    h, ys = torch.zeros_like(new[:, 0]), []
    for z_t, new_t in zip(z.unbind(1), new.unbind(1), strict=True):
        h = (1 - z_t) * h + z_t * new_t
        ys.append(h)
    ours.equals(torch.stack(ys, 1), x, {n: (v, [n]) for n, v in w.items()}, tolerance)


def test_thousands_of_cells_have_no_name() -> None:
    assert cells().size().exact == 42_840
    found = {digest(cells().sample(random.Random(seed)).architecture, registry()) for seed in range(50)}
    assert len(found) > 45


def test_fast_weights_holds_linear_attention_and_the_delta_rule() -> None:
    shipped = space("fast_weights")
    names = {
        "body.each.mix." + k: v for k, v in {"features": "plain", "heads": 2, "rows": 8, "even.op": "identity"}.items()
    }
    for kept in ("all", "decay", "heads", "rows"):
        for write in ("sum", "delta"):
            decisions = {**names, "body.each.mlp.expand": 1, "body.each.mix.kept": kept, "body.each.mix.write": write}
            if write == "delta":
                decisions["body.each.mix.write.delta.rate.by"] = 1
            architecture = shipped.decide(decisions).architecture
            assert architecture.node("body.1.mix.state").types[0].shape == (2, 8, 8)
            assert facts(architecture, registry(), 64).parallel_in_time is ((kept, write) != ("rows", "delta"))


@pytest.mark.parametrize("name", [name for name in SPACES if space(name).causal])
def test_samples_decode_step_by_step(name: str) -> None:
    for seed in range(3):
        architecture = space(name).sample(random.Random(seed)).architecture
        model = build(architecture, InputKind("tokens", 7), OutputKind("steps", 5), seeds=[1]).double().eval()
        tokens = torch.randint(7, (2, 11), generator=torch.Generator().manual_seed(seed))
        decoder = Decoder(model)
        state, steps = decoder.start(batch=2), []
        for token in tokens.unbind(1):
            y, state = decoder.step(state, token)
            steps.append(y)
        close(torch.stack(steps, 2), model(tokens), "steps", 1e-9)


@pytest.mark.parametrize("name", ["recurrent_cells", "fast_weights"])
def test_what_runs_in_parallel_equals_its_loop(name: str) -> None:
    drawn = (space(name).sample(random.Random(seed)).architecture for seed in range(200))
    parallel = [a for a in drawn if facts(a, registry(), 64).parallel_in_time][:5]
    assert len(parallel) == 5
    for architecture in parallel:
        results = []
        for loops in (False, True):
            kinds = InputKind("vectors", 4), OutputKind("steps", 3)
            model = build(architecture, *kinds, seeds=[1, 2], loops=loops).double()
            y = model(torch.randn(2, 20, 4, generator=torch.Generator().manual_seed(0)).double())
            parameters = [p for _, p in sorted(model.named_parameters())]
            results.append([y, *torch.autograd.grad(y.square().sum(), parameters)])
        for compiled, loop in zip(*results, strict=True):
            close(compiled, loop, "outputs and gradients", 1e-9)
