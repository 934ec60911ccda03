"""A person's own op: read from a file, held against the contract, carried in the architecture, trained, found again."""

from __future__ import annotations

import json
import random
from pathlib import Path
from textwrap import dedent

import pytest
import torch

import archsearch
from archsearch.build.model import build
from archsearch.errors import FileError
from archsearch.graph.architecture import Architecture
from archsearch.graph.normal import digest
from archsearch.graph.opspec import Registry
from archsearch.graph.space import SearchSpace
from archsearch.ops.own import from_sources, load
from archsearch.ops.probe import probe
from archsearch.ops.registry import op_classes, registry
from archsearch.tasks.base import InputKind, OutputKind

HEAD = """
from __future__ import annotations
from dataclasses import dataclass
import torch
from archsearch.ops.base import Context, Cost, Op, Port, RuleError, ValueType, constant, normal, op, param, setting
"""
MIXER = (
    HEAD
    + '''

@op(family="state_space", mixes_time=True, equation="h_t = a h_{t-1} + (1 - a) x_t")
@dataclass(frozen=True)
class MyMixer(Op):
    """Exponential moving average, one rate for each feature."""

    logit: float = setting(2.0, help="initial logit of a")

    def infer(self, x):
        return x

    def weights(self, x):
        return (param("logit", x.shape, constant(self.logit)),)

    def cost(self, x, *, time):
        return Cost(flops=3 * x.size, state_bytes=4 * x.size, span=time)

    def forward(self, w, x, *, ctx):
        state, out = {}, []
        for one in x.unbind(2):
            y, state = self.step(w, state, one, ctx=ctx)
            out.append(y)
        return torch.stack(out, 2)

    def step(self, w, state, x, *, ctx):
        a = torch.sigmoid(w["logit"]).unsqueeze(1)
        h = a * state["h"] + (1 - a) * x if state else (1 - a) * x
        return h, {"h": h}
'''
)
SPACE = """
ops: [mine/my_mixer.py]
scale: {width: 8}
graph:
  nodes:
    mix: {op: my_mixer, logit: {float: [0, 3]}, from: in}
    y: {op: linear, from: mix}
    out: {op: add, from: [y, in]}
campaign: {task: digits, controls: []}
"""


@pytest.fixture
def space_file(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "my_mixer.py").write_text(MIXER)
    (tmp_path / "space_of_mine.yaml").write_text(SPACE)
    return tmp_path / "space_of_mine.yaml"


def mine(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(HEAD + dedent(body))
    return path


def test_a_space_knows_the_ops_of_its_files(space_file: Path) -> None:
    space = archsearch.SearchSpace.read(space_file)
    assert "my_mixer" in space.registry and "my_mixer" not in registry()
    found = space.sample(random.Random(0)).architecture
    assert dict(found.sources) == {"my_mixer": MIXER}
    with pytest.raises(FileError, match=r"`my_mixr`.*Did you mean `my_mixer`"):
        archsearch.SearchSpace.parse(SPACE.replace("op: my_mixer", "op: my_mixr"), path=str(space_file))


def test_the_source_travels_with_the_architecture_and_is_part_of_its_hash(space_file: Path) -> None:
    space = archsearch.SearchSpace.read(space_file)
    sample = space.sample(random.Random(0))
    sent = Architecture.from_dict(json.loads(json.dumps(sample.architecture.to_dict())))
    ends = InputKind("vectors", 3), OutputKind("steps", 2)
    model = build(sent, *ends, seeds=[0, 1])
    assert model(torch.randn(2, 5, 3)).shape == (2, 2, 5, 2)
    before = digest(sample.architecture, space.registry)
    path = space_file.parent / "mine" / "my_mixer.py"
    path.write_text(MIXER.replace("(1 - a) * x if state", "(1.0 - a) * x if state"))
    again = archsearch.SearchSpace.read(space_file).decide(sample.decisions).architecture
    assert digest(again, space.registry) != before
    assert again.sources["my_mixer"] != sample.architecture.sources["my_mixer"], "a changed file is read again"


def test_a_campaign_keeps_copies_and_trains_with_them(space_file: Path, results_folder: Path) -> None:
    quick = {"training.steps": 2, "training.reports": 1, "training.evaluation_examples": 64, "finals.top": 1}
    result = archsearch.run(space_file, agent="random_search", trials=2, executor="inline", settings=quick)
    assert len(result.leaderboard()) == 2
    copy = result.path / "space.ops" / "0_my_mixer.py"
    assert copy.read_text() == MIXER
    (space_file.parent / "mine" / "my_mixer.py").write_text("raise SystemExit")
    kept = archsearch.SearchSpace.read(result.path / "space.yaml")
    assert kept.registry["my_mixer"].source == MIXER
    assert result.best().build()(torch.zeros(1, *_digits())).isfinite().all()


def _digits() -> tuple[int, int]:
    from archsearch.tasks.registry import make

    task = make("digits", {})
    return task.length, task.input.size


def test_equations_call_own_ops(space_file: Path) -> None:
    text = "ops: mine/my_mixer.py\ngraph: {equations: 'y = my_mixer(tanh(x), logit=1) + x'}"
    found = archsearch.SearchSpace.parse(text, path=str(space_file)).sample(random.Random(0)).architecture
    assert [n.op for n in found.nodes] == ["tanh", "my_mixer", "add"]


def test_a_registry_without_a_loader_says_so(space_file: Path) -> None:
    with pytest.raises(FileError, match="needs a registry that loads files"):
        SearchSpace.read(space_file, Registry(registry().values()))


def test_two_ops_in_one_file(tmp_path: Path) -> None:
    path = mine(tmp_path, MIXER.removeprefix(HEAD) + MIXER.removeprefix(HEAD).replace("MyMixer", "Other"))
    assert list(load(path)) == ["my_mixer", "other"]
    assert set(from_sources({"other": path.read_text()})) == {"other"}
    with pytest.raises(FileError, match="must hold the op `third`, but got my_mixer, other"):
        from_sources({"third": path.read_text()})


@pytest.mark.parametrize("name", sorted(op_classes()))
def test_shipped_ops_pass_the_probe(name: str) -> None:
    probe(op_classes()[name])


def op_with(body: str, decorator: str = 'family="plumbing"') -> str:
    """An op `mine`, right but for `body`."""
    return f'''
        @op("mine", {decorator})
        @dataclass(frozen=True)
        class Mine(Op):
            """Mine."""

            def infer(self, x):
                return x

            def forward(self, w, x, *, ctx):
                return torch.tanh(x)

            {body}
        '''


FORWARD = "def forward(self, w, x, *, ctx): "
TIME = 'family="plumbing", mixes_time=True'

BROKEN = {
    "no import": ("import not_there_at_all", True, ("must import", "not_there_at_all")),
    "no Python": ("def f(:", True, ("must import", "SyntaxError: invalid syntax.")),
    "an exit": ("raise SystemExit(3)", True, ("must import", "SystemExit")),
    "an error far down": ("def f(): return 1 / 0\nf()", True, ("must import", "ZeroDivisionError")),
    "no op": ("x = 1", False, ("must define an op", "none")),
    "no mark": ("class Mine(Op):\n    pass", False, ("must define an op",)),
    "one class twice": (op_with("") + op_with(""), True, ("two of one name", "`Mine` twice")),
    "one name twice": (op_with("") + op_with("").replace("class Mine", "class Yours"), True, ("`mine` twice",)),
    "no name": (op_with("").replace('"mine"', '"my op"'), True, ("letters, digits and _", "`my op`")),
    "no dataclass": (op_with("").replace("@dataclass(frozen=True)", ""), True, ("is a dataclass",)),
    "a setting of a list": (op_with("sizes: list = None"), True, ("int, float, bool or str", "`sizes`")),
    "a word as a setting": (op_with("init: int = 1"), True, ("a node has a word for", "`init`")),
    "types that are none": (op_with("def infer(self, x): return x.width"), True, ("`infer` gives a ValueType", "8")),
    "weights that are none": (op_with('def weights(self, x): return ("a",)'), True, ("`weights` declares", "inputs 8")),
    "weights of another shape": (
        op_with('def weights(self, x): return (param("a", (3,), lambda g, s: torch.zeros(2)),)'),
        True,
        ("drawn in its shape", "`a` of (2,) for (3,)"),
    ),
    "another shape": (op_with(FORWARD + "return x[..., :3]"), True, ("types that `infer` says", "(2, 2, 6, 3)")),
    "not finite": (op_with(FORWARD + "return x / 0"), True, ("finite numbers",)),
    "in place": (op_with(FORWARD + "return x.mul_(2)"), True, ("leaves its inputs",)),
    "a look ahead": (op_with(FORWARD + "return x.flip(2)", TIME), True, ("depends on no later step", "inputs 8")),
    "time in secret": (op_with(FORWARD + "return x.cumsum(2)"), True, ("says `mixes_time=True`",)),
    "no step": (op_with(FORWARD + "return x.cumsum(2)", TIME), False, ("its own code ends", "has no step form")),
    "a step of another kind": (
        op_with(FORWARD + "return x.cumsum(2)\n            def step(self, w, s, x, *, ctx): return x, s", TIME),
        True,
        ("`step`, one token after the other", "difference"),
    ),
    "a state that is not stated": (
        MIXER.removeprefix(HEAD).replace("state_bytes=4 * x.size", "state_bytes=0"),
        True,
        ("bytes of state", "0 where `step` holds 32"),
    ),
    "examples that meet": (op_with(FORWARD + "return x - x.mean(1, keepdim=True)"), True, ("others of the batch",)),
    "copies that meet": (op_with(FORWARD + "return x - x.mean(0, keepdim=True)"), True, ("copies never meet",)),
    "not elementwise": (
        op_with(FORWARD + "return x.flip(-1)", 'family="plumbing", linearity="elementwise"'),
        True,
        ("feature i alone",),
    ),
    "not affine": (op_with("", 'family="plumbing", linearity="mixing"'), True, ("is affine in its inputs",)),
    "an unknown linearity": (op_with("", 'family="plumbing", linearity="affine"'), True, ("`linearity` is one of",)),
    "no cost": (op_with("def cost(self, x, *, time): return 3"), True, ("`cost` gives a Cost",)),
    "an error inside": (op_with(FORWARD + "return x @ x"), True, ("its own code ends", "RuntimeError")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_contract_is_refused(name: str, tmp_path: Path) -> None:
    body, has_line, words = BROKEN[name]
    path = mine(tmp_path, body)
    with pytest.raises(FileError) as caught:
        load(path)
    assert caught.value.path == str(path)
    for word in words:
        assert word in str(caught.value)
    assert not has_line or caught.value.line is not None


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        load(mine(tmp_path, "x = 1\nimport not_there_at_all"))
    assert caught.value.line == len(HEAD.splitlines()) + 2
    with pytest.raises(FileError) as caught:
        load(mine(tmp_path, op_with(FORWARD + "return x.mul_(2)")))
    assert "class Mine" in (tmp_path / "mine.py").read_text().splitlines()[(caught.value.line or 0) - 1]


def test_an_op_needs_a_name_of_its_own(tmp_path: Path) -> None:
    mine(tmp_path, op_with("").replace('"mine"', '"tanh"'))
    text = "ops: [mine.py]\ngraph: {op: tanh}"
    with pytest.raises(FileError, match="a name that no other op has, but got `tanh`"):
        archsearch.SearchSpace.parse(text, path=str(tmp_path / "space.yaml"))
    mine(tmp_path, op_with(""))
    with pytest.raises(FileError, match="a name that no other op has, but got `mine`"):
        archsearch.SearchSpace.parse("ops: [mine.py, mine.py]\ngraph: {op: mine}", path=str(tmp_path / "space.yaml"))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match="must be readable Python, but got no text in UTF-8"):
        load(tmp_path / "mine.py")
    with pytest.raises(FileError, match="must be readable Python"):
        load(tmp_path / "nowhere.py")


# ---- ends of one's own ---------------------------------------------------------------------------------------------

END = '''

@op("gated_end", family="perceptron")
@dataclass(frozen=True)
class GatedEnd(Op):
    """One half of the features opens the other."""

    width: int | None = setting(None, low=1, help="features of the output")

    def infer(self, x):
        return ValueType((*x.shape[:-1], self.width or x.width), x.rate)

    def weights(self, x):
        n = self.width or x.width
        return (param("value", (n, x.width), normal(0.1)), param("gate", (n, x.width), normal(0.1)))

    def forward(self, w, x, *, ctx):
        flat = x.flatten(1, -2)
        y = (flat @ w["value"].mT) * torch.sigmoid(flat @ w["gate"].mT)
        return y.view(*x.shape[:-1], -1)
'''
ENDS = "ops: [mine.py]\nstem: gated_end\nreadout: gated_end\nscale: {width: 8}\ngraph: {op: tanh}\n"


@pytest.mark.parametrize("kind", ["tokens", "vectors"])
@pytest.mark.parametrize("per", ["steps", "sequence"])
def test_a_stem_and_a_readout_of_ones_own(kind: str, per: str, tmp_path: Path) -> None:
    path = mine(tmp_path, END)
    space = archsearch.SearchSpace.parse(ENDS, path=str(tmp_path / "space.yaml"))
    found = space.sample(random.Random(0)).architecture
    assert (found.stem, found.readout, dict(found.sources)) == (
        "gated_end",
        "gated_end",
        {"gated_end": path.read_text()},
    )
    sent = Architecture.from_dict(json.loads(json.dumps(found.to_dict())))
    assert sent == found
    model = build(sent, InputKind(kind, 5), OutputKind(per, 3), seeds=[0, 1])
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    ends = {f"{end}.{w}": s for end, s in (("stem", (2, 8, 5)), ("readout", (2, 3, 8))) for w in ("value", "gate")}
    assert shapes == ends
    x = torch.randint(5, (4, 6)) if kind == "tokens" else torch.randn(4, 6, 5)
    y = model(x)
    assert y.shape == ((2, 4, 6, 3) if per == "steps" else (2, 4, 3))
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
    solo = build(sent, InputKind(kind, 5), OutputKind(per, 3), seeds=[1])
    torch.testing.assert_close(model(x)[1:], solo(x))


def test_ends_are_part_of_the_hash(tmp_path: Path) -> None:
    mine(tmp_path, END)
    path = str(tmp_path / "space.yaml")
    texts = [ENDS, ENDS.replace("stem: gated_end\n", ""), ENDS.replace("stem: gated_end", "stem: linear")]
    spaces = [archsearch.SearchSpace.parse(t, path=path) for t in texts]
    assert len({digest(s.sample(random.Random(0)).architecture, s.registry) for s in spaces}) == 3


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("stem: linaer", ("`stem` must name an op", "`linear`")),
        ("stem: gru_core", ("a step at a time", "`gru_core`")),
        ("readout: tanh", ("with a setting `width`", "`tanh`")),
        ("readout: [linear]", ("`readout` must be a name",)),
        ("stem: add", ("of one input", "`add`")),
    ],
)
def test_what_cannot_be_an_end_is_refused(end: str, words: tuple[str, ...]) -> None:
    with pytest.raises(FileError) as caught:
        archsearch.SearchSpace.parse(f"graph: {{op: tanh}}\n{end}\n")
    assert caught.value.line == 2
    for word in words:
        assert word in str(caught.value)
