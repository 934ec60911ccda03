"""Decoding step by step: equal to all steps at once, its state to the analysis, and streams that can be moved about."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from archsearch.build.decode import Decoder, State
from archsearch.build.model import Model, build
from archsearch.content import block_files, names
from archsearch.errors import RuleError
from archsearch.graph.analysis import facts, live_nodes
from archsearch.graph.architecture import Architecture
from archsearch.graph.space import SearchSpace
from archsearch.graph.types import ValueType
from archsearch.ops.base import Op, op
from archsearch.ops.registry import op_class, registry
from archsearch.tasks.base import InputKind, OutputKind
from tests.build.graphs import graph, transformer
from tests.build.random_graphs import graphs
from tests.ops.contract import close

TOKENS, VECTORS = InputKind("tokens", 11), InputKind("vectors", 5)
STEPS, ONCE = OutputKind("steps", 7), OutputKind("sequence", 3, "squared_error")
LAST = OutputKind("sequence", 3, read="last", answers=4)
BATCH = 3

GRU_BY_HAND = {
    "past": ("linear", {"width": 18}, "h[t-1]"),
    "now": ("linear", {"width": 18}, "in"),
    "p": ("split", {"parts": 3}, "past"),
    "n": ("split", {"parts": 3}, "now"),
    "r0": ("add", {}, ("p#0", "n#0")),
    "r": ("sigmoid", {}, "r0"),
    "z0": ("add", {}, ("p#1", "n#1")),
    "z": ("sigmoid", {}, "z0"),
    "reset": ("multiply", {}, ("r", "p#2")),
    "c0": ("add", {}, ("reset", "n#2")),
    "c": ("tanh", {}, "c0"),
    "open": ("one_minus", {}, "z"),
    "new": ("multiply", {}, ("open", "c")),
    "keep": ("multiply", {}, ("z", "h[t-1]")),
    "h": ("add", {}, ("new", "keep")),
}
TWO_DELAYS = {
    "both": ("concat", {}, ("h[t-1]", "h[t-3]")),
    "parts": ("split", {"parts": 2}, "both"),
    "mixed": ("subtract", {}, "parts#0", "parts#1[t-2]"),
    "damped": ("tanh", {}, "mixed"),
    "h": ("add", {}, ("in[t-2]", "damped")),
}
NESTED = {
    "a0": ("linear", {}, "b[t-2]"),
    "a1": ("add", {}, ("in", "a0", "a[t-1]")),
    "a": ("tanh", {}, "a1"),
    "b0": ("linear", {}, "b[t-1]"),
    "b1": ("add", {}, ("a", "b0")),
    "b": ("sigmoid", {}, "b1"),
}
MIXERS = {
    "core": ("gru_core", {"width": 4}, "in"),
    "wide": ("linear", {"width": 6}, "core"),
    "conv": ("short_conv", {"kernel": 3}, "wide[t-1]"),
    "s4d": ("s4d_core", {"state": 3}, "conv"),
    "attend": ("softmax_attention", {"heads": 3}, "s4d", "conv", "in"),
    "lstm": ("lstm_core", {}, "attend"),
    "out": ("add", {}, ("lstm", "in")),
}
RATES = {
    "pool": ("pool", {"by": 3}, "in"),
    "slow": ("gru_core", {}, "pool"),
    "slower": ("pool", {"by": 2, "how": "max"}, "slow[t-1]"),
    "up": ("upsample", {"by": 2}, "slower", "slow"),
    "sum": ("add", {}, ("up", "slow[t-2]")),
    "fast": ("upsample", {"by": 3}, "sum", "in"),
    "out": ("add", {}, ("fast", "in")),
}


def by_hand() -> dict[str, Architecture]:
    learned = dict.fromkeys(("h", "parts", "a", "b", "wide", "slow"), "learned")
    made = {
        "gru": (GRU_BY_HAND, {"h": 6}, "h"),
        "two_delays": (TWO_DELAYS, {"h": 6}, "h"),
        "nested": (NESTED, {"a": 6, "b": 6}, "b"),
        "mixers": (MIXERS, {}, "out"),
        "rates": (RATES, {}, "out"),
    }
    found = {name: graph(6, nodes, known=known, out=out) for name, (nodes, known, out) in made.items()}
    more = {f"{n}_learned": graph(6, g, known=k, out=o, initial=learned) for n, (g, k, o) in made.items()}
    late = {"late": graph(6, {"a": ("tanh", {}, "in")}, out="a[t-2]")}
    return {**found, **more, **late, "transformer": transformer(8, 2), "empty": graph(6, {}, out="in")}


def inputs(model: Model, time: int, batch: int = BATCH, copies: int | None = None) -> Tensor:
    g = torch.Generator().manual_seed(5)
    lead = (batch, time) if copies is None else (copies, batch, time)
    if model.tokens:
        return torch.randint(0, 11, lead, generator=g)
    return torch.randn(*lead, 5, generator=g).to(next(model.parameters()).dtype)


def shaken(model: Model) -> Model:
    """Learned starts and offsets begin at zero, where a mistake would not be seen."""
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=g))
    return model.eval()


def stepped(decoder: Decoder, state: State, x: Tensor) -> tuple[Tensor, State]:
    """The answers of each step, `(E, B, T, S)`, and the last state."""
    answers = []
    for one in x.unbind(-1 if decoder.model.tokens else -2):
        y, state = decoder.step(state, one)
        answers.append(y)
    return torch.stack(answers, 2), state


def check(model: Model, x: Tensor, tolerance: float) -> None:
    """Every answer of every step, one after the other and after a prompt of any length, is that of the whole."""
    decoder = Decoder(model)
    batch, time = x.shape[-2:] if model.tokens else x.shape[-3:-1]
    with torch.no_grad():
        whole = model(x)
        y, state = stepped(decoder, decoder.start(batch), x)
        close(y[:, :, -1] if model.once else y, whole, "stepped", tolerance)
        for cut in (1, 1 + time // 2):
            first, second = x.split((cut, time - cut), -1 if model.tokens else -2)
            prefilled, answers = decoder.prefill(first)
            close(answers, model(first), f"prompt of {cut}", tolerance)
            rest, again = stepped(decoder, prefilled, second)
            close(rest, y[:, :, cut:], f"after a prompt of {cut}", tolerance)
            same(again, state, 100 * tolerance)


def same(state: State, expected: State, tolerance: float) -> None:
    """Two states are one, but for rounding."""
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        known = value.isfinite()  # of a window that has just begun the largest is not
        assert torch.equal(state[name].isfinite(), known), name
        torch.testing.assert_close(state[name][known], value[known], rtol=tolerance, atol=tolerance, msg=name)


# ---- equality -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", by_hand())
@pytest.mark.parametrize("kinds", [(TOKENS, STEPS), (VECTORS, ONCE), (TOKENS, LAST)], ids=["tokens", "vectors", "last"])
@pytest.mark.parametrize("copies", [1, 3])
def test_steps_equal_the_whole(name: str, kinds: tuple[Any, Any], copies: int) -> None:
    model = shaken(build(by_hand()[name], *kinds, seeds=range(copies)))
    check(model, inputs(model, 13), 1e-5)
    check(model.double(), inputs(model, 13, copies=copies), 1e-10)


@pytest.mark.parametrize("name", list(names("search_spaces")))
def test_samples_of_every_shipped_space(name: str) -> None:
    space = SearchSpace.read(names("search_spaces")[name], registry(), block_files()).rescaled(width=16)
    rng = random.Random(1)
    for _ in range(4):
        a = space.sample(rng).architecture
        model = shaken(build(a, TOKENS, STEPS, seeds=[1, 2])).double()
        if all(registry()[n.op].bind(n.settings).is_causal() for n in live_nodes(a)):
            check(model, inputs(model, 9), 1e-10)
        else:
            with pytest.raises(RuleError, match="must see no later steps"):
                Decoder(model)


@settings(max_examples=500, deadline=None)
@given(graphs(mixers=True, matrices=True, rates=True))
def test_random_graphs(a: Architecture) -> None:
    model = shaken(build(a, VECTORS, STEPS, seeds=[1])).double()
    check(model, inputs(model, 8, batch=2), 1e-10)


def test_what_the_page_shows_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "decoding.md").read_text()
    (code,) = re.findall(r"<!-- test: decode -->\n```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    shown: dict[str, Any] = {}
    exec(code, shown)
    assert shown["logits"].shape == (1, 2, 256)
    assert {v.shape[1] for v in shown["fork"].values()} == {3}


# ---- state ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", by_hand())
@pytest.mark.parametrize("time", [1, 7, 12])
def test_the_state_is_as_large_as_the_analysis_says(name: str, time: int) -> None:
    a = by_hand()[name]
    if "rates" in name and time < 6:
        return  # what has not ticked yet may keep less
    for copies, batch in ((1, 1), (2, 3)):
        model = build(a, TOKENS, STEPS, seeds=range(copies))
        decoder = Decoder(model)
        state, _ = decoder.prefill(inputs(model, time, batch))
        assert decoder.state_bytes(state) == facts(a, registry(), time).state_bytes
        numbers = sum(v.nbytes for n, v in state.items() if n != "clock")
        assert numbers == copies * batch * decoder.state_bytes(state)


def test_names_of_a_state_can_be_read() -> None:
    a = by_hand()
    for name, keys in (
        ("gru", {"h[t-1]"}),
        ("two_delays", {"h[t-1]", "h[t-2]", "h[t-3]", "parts#1[t-1]", "parts#1[t-2]", "in[t-1]", "in[t-2]"}),
        ("mixers", {"core:h", "wide[t-1]", "conv:window", "s4d:h", "lstm:h", "lstm:c"}),
    ):
        assert Decoder(build(a[name], TOKENS, STEPS, seeds=[1])).start(2).keys() == keys
    assert Decoder(build(a["gru"], TOKENS, ONCE, seeds=[1])).start(2).keys() == {"h[t-1]", "clock", "total"}
    assert Decoder(build(a["gru"], TOKENS, LAST, seeds=[1])).start(2).keys() == {"h[t-1]"}


def test_a_state_can_be_gone_on_from_twice() -> None:
    model = shaken(build(by_hand()["mixers"], TOKENS, STEPS, seeds=[1, 2]))
    decoder = Decoder(model)
    state, _ = decoder.prefill(inputs(model, 6))
    kept = {n: v.clone() for n, v in state.items()}
    one, _ = decoder.step(state, torch.tensor([1, 2, 3]))
    assert all(torch.equal(state[n], v) for n, v in kept.items())
    other, _ = decoder.step(state, torch.tensor([3, 2, 1]))
    again, _ = decoder.step(state, torch.tensor([1, 2, 3]))
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.mark.parametrize("name", ["two_delays_learned", "mixers", "transformer"])
@pytest.mark.parametrize("output", [STEPS, ONCE, LAST], ids=["steps", "once", "last"])
def test_streams_are_chosen_and_put_in_order(name: str, output: OutputKind) -> None:
    model = shaken(build(by_hand()[name], TOKENS, output, seeds=[1, 2]))
    decoder, x = Decoder(model), inputs(model, 10)
    state, _ = decoder.prefill(x[:, :6])
    for streams in ([2, 0, 0], torch.tensor([1])):
        y, _ = stepped(decoder, decoder.select(state, streams), x[streams, 6:])
        whole = model(x[streams])
        close(y[:, :, -1], whole if model.once else whole[:, :, -1], f"streams {streams}")


@pytest.mark.parametrize("name", ["two_delays_learned", "mixers", "transformer"])
@pytest.mark.parametrize("output", [STEPS, ONCE, LAST], ids=["steps", "once", "last"])
def test_a_saved_state_goes_on_as_if_nothing_had_happened(name: str, output: OutputKind, tmp_path: Path) -> None:
    model = shaken(build(by_hand()[name], TOKENS, output, seeds=[1, 2]))
    decoder, x = Decoder(model), inputs(model, 10)
    state, _ = decoder.prefill(x[:, :6])
    decoder.save(state, tmp_path / "state.pt")
    plain = torch.load(tmp_path / "state.pt", weights_only=True)["state"]
    expected, _ = stepped(decoder, state, x[:, 6:])
    for source in (tmp_path / "state.pt", plain, state):
        y, _ = stepped(Decoder(model), Decoder(model).restore(source), x[:, 6:])
        assert torch.equal(y, expected)


def test_a_saved_state_takes_the_room_of_its_own_numbers(tmp_path: Path) -> None:
    decoder = Decoder(build(by_hand()["transformer"], TOKENS, STEPS, seeds=[1]))
    state = decoder.select(decoder.prefill(inputs(decoder.model, 64, batch=64))[0], [5])
    decoder.save(state, tmp_path / "state.pt")
    assert (tmp_path / "state.pt").stat().st_size < 2 * decoder.state_bytes(state)


def test_weights_are_read_at_every_step() -> None:
    model = build(by_hand()["gru"], TOKENS, STEPS, seeds=[1])
    decoder = Decoder(model)
    model.load_state_dict(shaken(build(by_hand()["gru"], TOKENS, STEPS, seeds=[9])).state_dict())
    check(decoder.model, inputs(model, 5), 1e-5)


def test_shared_weights_and_their_learned_starts() -> None:
    nodes = {
        "a": ("linear", {}, "in"),
        "b": ("linear", {}, "a[t-1]"),
        "out": ("add", {}, ("a", "b[t-2]")),
    }
    a = graph(6, nodes, weights={"a": "one", "b": "one"}, initial={"a": "learned", "b": "learned"})
    model = shaken(build(a, TOKENS, STEPS, seeds=[1, 2])).double()
    check(model, inputs(model, 8), 1e-10)


@op(family="state_space", mixes_time=True)
@dataclass(frozen=True)
class Trail(Op):
    """An op of a person's own, with steps and no `prefill`: half of what it was, and the input."""

    def infer(self, x: ValueType) -> ValueType:
        return x

    def forward(self, w: Any, x: Tensor, *, ctx: Any) -> Tensor:
        t = torch.arange(x.shape[2], dtype=x.dtype)
        return torch.einsum("ts,ebsd->ebtd", (0.5 ** (t[:, None] - t)).tril(), x)

    def step(self, w: Any, state: State, x: Tensor, *, ctx: Any) -> tuple[Tensor, State]:
        h = x + 0.5 * state["h"] if state else x
        return h, {"h": h}


@op(family="state_space", mixes_time=True)
@dataclass(frozen=True)
class Ahead(Trail):
    """One that has no steps."""

    step = Op.step


def with_own(name: str) -> Architecture:
    rates = {k: v for k, v in RATES.items() if k != "slow"}
    made = graph(6, {"pool": rates.pop("pool"), "slow": ("tanh", {}, "pool"), **rates})
    return replace(made, nodes=tuple(replace(n, op=name) if n.name == "slow" else n for n in made.nodes))


def test_a_cycle_that_scans_is_not_stepped_through(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = {
        "gate": ("linear", {}, "in"),
        "z": ("sigmoid", {}, "gate"),
        "keep": ("multiply", {}, ("z", "h[t-1]")),
        "h": ("add", {}, ("keep", "in[t-2]")),
        "out": ("add", {}, ("keep", "h[t-3]")),
    }
    a = graph(6, nodes, known={"h": 6}, initial={"h": "learned", "keep": "learned"})
    model = shaken(build(a, TOKENS, STEPS, seeds=[1, 2])).double()
    check(model, inputs(model, 9), 1e-10)
    monkeypatch.setattr(op_class("multiply"), "step", None)
    Decoder(model).prefill(inputs(model, 9))


def test_an_op_without_prefill_steps_through_the_prompt() -> None:
    model = build(with_own("trail"), TOKENS, STEPS, seeds=[1, 2], ops={"trail": Trail}).double()
    check(model, inputs(model, 13), 1e-10)


def test_a_prompt_is_not_stepped_through_where_ops_need_no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    a = by_hand()["mixers"]
    for name in {n.op for n in a.nodes}:
        monkeypatch.setattr(op_class(name), "step", None)
    decoder = Decoder(build(a, TOKENS, STEPS, seeds=[1]))
    decoder.prefill(inputs(decoder.model, 5))
    with pytest.raises(TypeError):
        decoder.step(decoder.start(1), torch.tensor([1]))


# ---- mistakes -------------------------------------------------------------------------------------------------------


def test_what_sees_later_steps_is_refused() -> None:
    a = graph(8, {"mix": ("softmax_attention", {"heads": 2, "causal": False}, "in", "in", "in")}, out="mix")
    with pytest.raises(RuleError, match="node `mix`: a graph that decodes step by step must see no later steps"):
        Decoder(build(a, TOKENS, STEPS, seeds=[1]))


def test_an_op_without_steps_is_refused() -> None:
    model = build(with_own("ahead"), TOKENS, STEPS, seeds=[1], ops={"ahead": Ahead})
    with pytest.raises(RuleError, match=r"node `slow`: .* must have ops with a step form, but got `ahead`"):
        Decoder(model)


def test_a_prompt_must_have_a_step() -> None:
    decoder = Decoder(build(by_hand()["gru"], TOKENS, STEPS, seeds=[1]))
    with pytest.raises(ValueError, match="at least one step"):
        decoder.prefill(torch.zeros(2, 0, dtype=torch.int64))


def test_states_of_other_models_are_refused(tmp_path: Path) -> None:
    made = {n: Decoder(build(a, TOKENS, STEPS, seeds=[1])) for n, a in by_hand().items()}
    state = made["two_delays"].start(2)
    with pytest.raises(RuleError, match=r"must have all that the model keeps, but got none of `wide"):
        made["mixers"].restore(state)
    with pytest.raises(RuleError, match=r"must have only what the model keeps, but got `h\[t-2\]`"):
        made["gru"].restore(state)
    with pytest.raises(RuleError, match=r"`h\[t-1\]` of a state must be of shape \(1, 2, 6\), but got \(2, 2, 6\)"):
        made["gru"].restore({"h[t-1]": torch.zeros(2, 2, 6)})
    with pytest.raises(RuleError, match="one number of streams, but got 2, 3"):
        made["gru"].restore({"h[t-1]": torch.zeros(1, 2, 6), "x": torch.zeros(1, 3, 6)})
    (tmp_path / "other.pt").write_text("no tensors")
    with pytest.raises(RuleError, match=r"must be a file of `Decoder.save`"):
        made["gru"].restore(tmp_path / "other.pt")
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(RuleError, match="must be of format 1"):
        made["gru"].restore(tmp_path / "list.pt")
    with pytest.raises(FileNotFoundError):
        made["gru"].restore(tmp_path / "nowhere.pt")
