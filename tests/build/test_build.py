"""Architecture → module: answers, names, copies, sharing, loops."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.build.cost import parameters, saved_bytes
from archsearch.build.model import Model, build
from archsearch.errors import RuleError, UnknownNameError
from archsearch.graph.analysis import facts
from archsearch.graph.architecture import Architecture
from archsearch.ops.base import Context
from archsearch.ops.registry import registry
from archsearch.tasks.base import InputKind, OutputKind
from tests.build.graphs import graph, transformer
from tests.ops.contract import close

TOKENS, STEPS = InputKind("tokens", 11), OutputKind("steps", 7)
VECTORS, ONCE = InputKind("vectors", 5), OutputKind("sequence", 3, "squared_error")

# A gated recurrence with one gate, written as a delayed graph.
MINIMAL = {
    "z0": ("linear", {}, "in"),
    "zu": ("linear", {"bias": False}, "h[t-1]"),
    "zs": ("add", {}, ("z0", "zu")),
    "z": ("sigmoid", {}, "zs"),
    "keep": ("multiply", {}, ("z", "h[t-1]")),
    "n0": ("linear", {}, "in"),
    "nu": ("linear", {"bias": False}, "h[t-1]"),
    "ns": ("add", {}, ("n0", "nu")),
    "n": ("tanh", {}, "ns"),
    "open": ("one_minus", {}, "z"),
    "new": ("multiply", {}, ("open", "n")),
    "h": ("add", {}, ("keep", "new")),
    "out": ("linear", {}, "h"),
}


def tokens(batch: int = 4, time: int = 9, copies: int | None = None) -> Tensor:
    shape = (batch, time) if copies is None else (copies, batch, time)
    return torch.randint(0, 11, shape, generator=torch.Generator().manual_seed(1))


def vectors(*shape: int) -> Tensor:
    return torch.randn(*shape, 5, generator=torch.Generator().manual_seed(1))


def body(model: Model, x: Tensor) -> Tensor:
    """The graph alone."""
    return model._plan.run({"in": x}, Context())


def test_shapes_of_answers() -> None:
    a = transformer(16, 1)
    for seeds in ([1], [1, 2, 3]):
        e = len(seeds)
        assert build(a, TOKENS, STEPS, seeds=seeds)(tokens()).shape == (e, 4, 9, 7)
        assert build(a, TOKENS, ONCE, seeds=seeds)(tokens()).shape == (e, 4, 3)
        assert build(a, VECTORS, STEPS, seeds=seeds)(vectors(4, 9)).shape == (e, 4, 9, 7)
        assert build(a, VECTORS, ONCE, seeds=seeds)(vectors(e, 4, 9)).shape == (e, 4, 3)


def test_a_batch_for_each_copy() -> None:
    for kind, x in ((TOKENS, tokens(copies=2)), (VECTORS, vectors(2, 4, 9))):
        model = build(transformer(16, 1), kind, STEPS, seeds=[1, 2])
        y = model(x)
        for e, seed in enumerate((1, 2)):
            close(y[e], build(transformer(16, 1), kind, STEPS, seeds=[seed])(x[e])[0], f"copy {e}")
    with pytest.raises(ValueError, match="one batch or 2 of them"):
        model(vectors(3, 4, 9))


def test_the_model_is_what_one_writes_by_hand() -> None:
    a = graph(8, {"norm": ("rms_norm", {}, "in"), "mlp": ("mlp", {}, "norm"), "out": ("add", {}, ("in", "mlp"))})
    model = build(a, TOKENS, STEPS, seeds=[3])
    p = {k: v[0] for k, v in model.named_parameters()}
    x = p["stem.weight"][tokens()]
    h = F.rms_norm(x, (8,), p["graph.norm.weight"], 1e-6)
    h = F.gelu(F.linear(h, p["graph.mlp.up"], p["graph.mlp.up_bias"]))
    x = x + F.linear(h, p["graph.mlp.down"], p["graph.mlp.down_bias"])
    close(model(tokens())[0], F.linear(x, p["readout.weight"], p["readout.bias"]), "answer")


def test_names_can_be_read_and_saved() -> None:
    model = build(transformer(16, 2), TOKENS, STEPS, seeds=[1, 2])
    names = dict(model.named_parameters())
    assert {"stem.weight", "graph.body.0.mix.q.weight", "graph.body.1.mlp.up", "readout.bias"} <= set(names)
    assert names["graph.body.0.mix.q.weight"].shape == (2, 16, 16)
    other = build(transformer(16, 2), TOKENS, STEPS, seeds=[8, 9])
    assert not torch.equal(other(tokens()), model(tokens()))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(tokens()), model(tokens()))


def test_nodes_may_be_called_like_methods() -> None:
    a = graph(
        8,
        {
            "type": ("linear", {}, "in"),
            "train.forward": ("linear", {}, "type"),
            "out": ("add", {}, ("type", "train.forward")),
        },
    )
    model = build(a, TOKENS, STEPS, seeds=[1])
    assert "graph.train.forward.weight" in model.state_dict()
    model.load_state_dict(model.state_dict())
    assert model(tokens()).shape == (1, 4, 9, 7)


def test_deep_copies_and_functional_calls_use_their_own_parameters() -> None:
    model = build(transformer(16, 1), TOKENS, STEPS, seeds=[1])
    before = model(tokens())
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for p in twin.parameters():
            p.zero_()
    assert torch.equal(model(tokens()), before) and not twin(tokens()).any()
    zeros = {k: torch.zeros_like(v) for k, v in model.named_parameters()}
    assert not torch.func.functional_call(model, zeros, (tokens(),)).any()


def test_groups_cover_every_parameter_once() -> None:
    a = graph(8, {"core": ("s4d_core", {}, "in"), "norm": ("rms_norm", {}, "core"), "out": ("linear", {}, "norm")})
    model = build(a, TOKENS, STEPS, seeds=[1])
    groups = list(model.groups())
    assert sorted(id(g.parameter) for g in groups) == sorted(id(p) for p in model.parameters())
    rules = {name: (g.lr_mult, g.decay) for g in groups for name, p in model.named_parameters() if p is g.parameter}
    assert rules["graph.core.log_dt"] == (0.1, False)
    assert rules["graph.core.c"] == (1.0, True)
    assert rules["graph.norm.weight"] == rules["graph.out.bias"] == (1.0, False)
    assert rules["graph.out.weight"] == (1.0, True)
    assert {id(p) for p in model.body_parameters()} == {id(p) for p in model.graph.parameters()}


@pytest.mark.parametrize("a", [transformer(16, 2), graph(6, MINIMAL, known={"h": 6})], ids=["transformer", "loop"])
def test_a_copy_equals_its_solo_run_beside_a_broken_one(a: Architecture) -> None:
    model = build(a, TOKENS, STEPS, seeds=[5, 6, 7])
    with torch.no_grad():
        for p in model.parameters():
            p[0] = float("nan")
    y = model(tokens())
    y.square().sum().backward()
    for e, seed in ((1, 6), (2, 7)):
        solo = build(a, TOKENS, STEPS, seeds=[seed])
        y1 = solo(tokens())
        y1.square().sum().backward()
        close(y[e], y1[0], f"copy {e}")
        for (name, p), p1 in zip(model.named_parameters(), solo.parameters(), strict=True):
            close(p.grad[e], p1.grad[0], f"gradient of {name}, copy {e}")


def test_a_draw_depends_on_seed_and_name_alone() -> None:
    small = build(graph(8, {"out": ("linear", {}, "in")}), TOKENS, STEPS, seeds=[1])
    large = build(graph(8, {"first": ("linear", {}, "in"), "out": ("linear", {}, "first")}), TOKENS, STEPS, seeds=[1])
    p, q = dict(small.named_parameters()), dict(large.named_parameters())
    assert all(torch.equal(p[name], q[name]) for name in p)
    assert not torch.equal(q["graph.first.weight"], q["graph.out.weight"])


def test_shared_weights_are_one_parameter() -> None:
    nodes = {"a": ("linear", {}, "in"), "b": ("linear", {}, "a"), "out": ("linear", {}, "b")}
    a = graph(8, nodes, weights={"a": "same", "b": "same"})
    model = build(a, TOKENS, STEPS, seeds=[1])
    assert [n for n, _ in model.graph.named_parameters()] == ["a.weight", "a.bias", "out.weight", "out.bias"]
    x = vectors(4, 9)[None, ..., :1].expand(1, 4, 9, 8).contiguous()
    p = {k: v[0] for k, v in model.graph.named_parameters()}
    twice = F.linear(F.linear(x, p["a.weight"], p["a.bias"]), p["a.weight"], p["a.bias"])
    close(body(model, x), F.linear(twice, p["out.weight"], p["out.bias"]), "output")
    odd = {"a": ("linear", {"width": 4}, "in"), "b": ("linear", {}, "a"), "out": ("linear", {}, "b")}
    with pytest.raises(RuleError, match="share weights must have equal"):
        build(graph(8, odd, weights={"a": "same", "b": "same"}), TOKENS, STEPS, seeds=[1])


@pytest.mark.parametrize("start", ["zero", "learned"])
def test_a_delayed_cycle_is_the_loop_that_one_writes_by_hand(start: str) -> None:
    model = build(graph(6, MINIMAL, known={"h": 6}, initial={"h": start}), TOKENS, STEPS, seeds=[1])
    x = torch.randn(1, 3, 12, 6, requires_grad=True)
    p = {k: v[0] for k, v in model.graph.named_parameters()}
    h = torch.zeros(3, 6)
    if start == "learned":
        with torch.no_grad():
            p["h.initial.0"].normal_()
        h = p["h.initial.0"].expand(3, 6)
    outs = []
    for x_t in x[0].unbind(1):
        z = torch.sigmoid(F.linear(x_t, p["z0.weight"], p["z0.bias"]) + F.linear(h, p["zu.weight"]))
        n = torch.tanh(F.linear(x_t, p["n0.weight"], p["n0.bias"]) + F.linear(h, p["nu.weight"]))
        h = z * h + (1 - z) * n
        outs.append(F.linear(h, p["out.weight"], p["out.bias"]))
    expected, got = torch.stack(outs, 1), body(model, x)
    close(got[0], expected, "output")
    wanted = [x, *model.graph.parameters()]
    for a, b in zip(
        torch.autograd.grad(got.square().sum(), wanted),
        torch.autograd.grad(expected.square().sum(), wanted),
        strict=True,
    ):
        close(a, b, "gradient")


def test_a_gru_written_as_a_graph_equals_torch() -> None:
    """Gates of torch's GRU, each a linear of its own; the reset gate acts on what comes out of the matrix."""
    gates = {}
    for g in "rzn":
        gates |= {f"{g}x": ("linear", {}, "in"), f"{g}h": ("linear", {}, "h[t-1]")}
    nodes = gates | {
        "rs": ("add", {}, ("rx", "rh")),
        "r": ("sigmoid", {}, "rs"),
        "zs": ("add", {}, ("zx", "zh")),
        "z": ("sigmoid", {}, "zs"),
        "reset": ("multiply", {}, ("r", "nh")),
        "ns": ("add", {}, ("nx", "reset")),
        "n": ("tanh", {}, "ns"),
        "open": ("one_minus", {}, "z"),
        "new": ("multiply", {}, ("open", "n")),
        "keep": ("multiply", {}, ("z", "h[t-1]")),
        "h": ("add", {}, ("new", "keep")),
    }
    model = build(graph(6, nodes, known={"h": 6}, out="h"), TOKENS, STEPS, seeds=[1])
    p = {k: v.detach()[0] for k, v in model.graph.named_parameters()}
    theirs = nn.GRU(6, 6, batch_first=True)
    stacked = {
        "weight_ih_l0": [p[f"{g}x.weight"] for g in "rzn"],
        "weight_hh_l0": [p[f"{g}h.weight"] for g in "rzn"],
        "bias_ih_l0": [p[f"{g}x.bias"] for g in "rzn"],
        "bias_hh_l0": [p[f"{g}h.bias"] for g in "rzn"],
    }
    theirs.load_state_dict({k: torch.cat(v) for k, v in stacked.items()})
    x = torch.randn(1, 3, 30, 6)
    close(body(model, x)[0], theirs(x[0])[0], "output")


@pytest.mark.parametrize("delay", [1, 3, 20])
@pytest.mark.parametrize("start", ["zero", "learned"])
def test_a_delay_off_a_cycle_is_a_shift(delay: int, start: str) -> None:
    nodes = {"a": ("linear", {}, "in"), "out": ("add", {}, ("in", f"a[t-{delay}]"))}
    model = build(graph(6, nodes, initial={"a": start}), TOKENS, STEPS, seeds=[1, 2])
    x = torch.randn(2, 3, 9, 6)
    with torch.no_grad():
        for p in model.graph.parameters():
            p.normal_()
    p = dict(model.graph.named_parameters())
    a = x @ p["a.weight"].mT[:, None] + p["a.bias"][:, None, None]
    for t in range(9):
        before = p["a.initial.0"][:, None] if start == "learned" else 0.0
        close(body(model, x)[:, :, t], x[:, :, t] + (a[:, :, t - delay] if t >= delay else before), f"step {t}")


def test_a_cycle_with_two_delays_and_a_split_on_it() -> None:
    nodes = {
        "both": ("concat", {}, ("h[t-1]", "h[t-2]")),
        "parts": ("split", {"parts": 2}, "both"),
        "mixed": ("subtract", {}, "parts#0", "parts#1"),
        "damped": ("tanh", {}, "mixed"),
        "h": ("add", {}, ("in", "damped")),
    }
    model = build(graph(4, nodes, known={"h": 4}, out="h"), TOKENS, STEPS, seeds=[1])
    x = torch.randn(1, 2, 8, 4)
    h = [torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)]
    for x_t in x.unbind(2):
        h.append(x_t + torch.tanh(h[-1] - h[-2]))
    close(body(model, x), torch.stack(h[2:], 2), "output")


def test_an_op_that_mixes_time_is_refused_on_a_cycle() -> None:
    nodes = {"mix": ("gru_core", {}, "h[t-1]"), "h": ("add", {}, ("in", "mix"))}
    with pytest.raises(RuleError, match="node `mix`: an op on a cycle must not mix time, but got `gru_core`"):
        build(graph(4, nodes, known={"h": 4}, out="h"), TOKENS, STEPS, seeds=[1])


def test_dropout_follows_the_seed_of_its_copy() -> None:
    a = graph(8, {"out": ("dropout", {"rate": 0.5}, "in")})
    model = build(a, TOKENS, STEPS, seeds=[1, 2]).train()
    y = model(tokens())
    assert not torch.equal(model(tokens()), y), "each step draws anew"
    close(y[1:], build(a, TOKENS, STEPS, seeds=[2]).train()(tokens()), "copy 1")
    model.eval()
    assert torch.equal(model(tokens()), model(tokens()))


def test_parameters_equal_the_analysis() -> None:
    for a in (transformer(16, 2), graph(6, MINIMAL, known={"h": 6}, initial={"h": "learned"})):
        for seeds in ([1], [1, 2]):
            count = parameters(build(a, TOKENS, STEPS, seeds=seeds))
            width = a.inputs["in"].width
            assert (count.stem, count.readout) == (11 * width, 7 * width + 7)
            assert count.graph == facts(a, registry(), 32).params
            assert count.total == count.stem + count.graph + count.readout


def test_saved_bytes_count_each_storage_once() -> None:
    x = torch.randn(100, requires_grad=True)
    assert saved_bytes(lambda: x.exp()) == 400
    assert saved_bytes(lambda: (x.view(10, 10) * x.view(10, 10)).sum()) == 400
    assert saved_bytes(lambda: (x * x).sum(), but=[x]) == 0
    model = build(transformer(16, 1), TOKENS, STEPS, seeds=[1])
    short, long = (saved_bytes(lambda t=t: model(tokens(time=t)).sum(), but=model.parameters()) for t in (32, 64))
    assert 1.8 < long / short < 2.2, "without a T × T matrix memory grows with T"


def test_mistakes_are_named() -> None:
    a = transformer(16, 1)
    with pytest.raises(RuleError, match="at least one copy"):
        build(a, TOKENS, STEPS, seeds=[])
    data = a.to_dict()
    data["nodes"][0]["op"] = "rms_nrm"
    with pytest.raises(UnknownNameError, match="Did you mean `rms_norm`"):
        build(Architecture.from_dict(data), TOKENS, STEPS, seeds=[1])
    data = a.to_dict()
    data["inputs"]["more"] = [16]
    with pytest.raises(RuleError, match="must have one input"):
        build(Architecture.from_dict(data), TOKENS, STEPS, seeds=[1])
