"""What every shipped block promises, as functions of its name and settings, whatever stands inside.

A block is built between an affine stem and readout, so that what is checked is what a person trains and decodes with.
"""

from __future__ import annotations

import importlib
import random
from functools import cache

import torch
from torch import Tensor

from archsearch.build.decode import Decoder
from archsearch.build.model import Model, build
from archsearch.content import block_files
from archsearch.graph.analysis import Facts, facts
from archsearch.graph.architecture import Architecture
from archsearch.graph.space import SearchSpace
from archsearch.ops.registry import registry
from archsearch.tasks.base import InputKind, OutputKind
from tests.ops.contract import close

WIDTH, TIME, BATCH = 16, 19, 2
INPUT, OUTPUT = InputKind("vectors", 5), OutputKind("steps", 4)
LONGEST = 1024

BLOCKS: dict[str, list[str]] = {
    name: settings
    for file in block_files()
    for name, settings in importlib.import_module(f"tests.blocks.cases.{file.stem}").BLOCKS.items()
}
CASES = [(name, text) for name, texts in BLOCKS.items() for text in texts]


def not_causal(settings: str) -> bool:
    """Whether a block with these settings sees later steps."""
    return "causal: false" in settings


@cache
def architecture(name: str, settings: str = "", width: int = WIDTH) -> Architecture:
    """One instance of a block, as a space writes it."""
    text = "{" + ", ".join(filter(None, [f"op: {name}", settings, "from: in"])) + "}"
    causal = str(not not_causal(settings)).lower()
    space = f"version: 1\nname: one\ncausal: {causal}\ngraph:\n  nodes:\n    out: {text}\nscale: {{width: {width}}}\n"
    return SearchSpace.parse(space, registry(), definitions=block_files()).sample(random.Random(0)).architecture


def model(
    name: str, settings: str, seeds: tuple[int, ...] = (2,), *, loops: bool = False, double: bool = False
) -> Model:
    """The block at its initialisation."""
    made = build(architecture(name, settings), INPUT, OUTPUT, seeds=list(seeds), loops=loops).eval()
    return made.double() if double else made


def inputs(time: int = TIME, batch: int = BATCH) -> Tensor:
    """What all copies read, `(B, T, 5)`."""
    return torch.randn(batch, time, INPUT.size, generator=torch.Generator().manual_seed(1))


def decoded(m: Model, x: Tensor) -> tuple[Tensor, float]:
    """The answers a step after the other, `(E, B, T, S)`, and the bytes of state a stream has at the end."""
    decoder = Decoder(m)
    state, answers = decoder.start(x.shape[0]), []
    for one in x.unbind(1):
        answer, state = decoder.step(state, one)
        answers.append(answer)
    return torch.stack(answers, 2), decoder.state_bytes(state)


def gradients(y: Tensor, m: Model, x: Tensor) -> list[Tensor]:
    """Gradients of the input and of all that trains."""
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(7)).to(y)
    of = [x, *(p for p in m.parameters() if p.requires_grad)]
    return list(torch.autograd.grad((y * direction).sum(), of))


def check_width_and_parameters(name: str, settings: str) -> None:
    """The width stays, and the stated number of parameters is the real one."""
    m = model(name, settings)
    a = m.architecture
    assert a.type_of(a.output).shape == (WIDTH,)
    assert stated(a).params == sum(p.numel() for p in m.body_parameters())


def check_forms_agree(name: str, settings: str) -> None:
    """All steps at once, in single precision, equal one after the other in single and in double."""
    if not_causal(settings):
        return
    x = inputs()
    with torch.no_grad():
        together = model(name, settings)(x)
        prompt = Decoder(model(name, settings)).prefill(x)[1]
    single, _ = decoded(model(name, settings), x)
    reference, _ = decoded(model(name, settings, double=True), x.double())
    close(together, reference, "all at once")
    close(prompt, reference, "as a prompt")
    close(single, reference, "step by step")


def check_gradients(name: str, settings: str) -> None:
    """Gradients in single precision equal those of the loops in double precision."""
    results = []
    for m in (model(name, settings), model(name, settings, loops=True, double=True)):
        x = inputs().to(next(m.parameters()).dtype).requires_grad_()
        results.append(gradients(m(x), m, x))
    names = ["input", *(n for n, p in m.named_parameters() if p.requires_grad)]
    largest = max(g.abs().max().item() for g in results[1])
    for what, got, reference in zip(names, *results, strict=True):
        if reference.abs().max() > 1e-4 * largest:
            close(got, reference, f"gradient of {what}")


def check_state(name: str, settings: str) -> None:
    """The stated bytes of state are those that a stream really carries."""
    if not_causal(settings):
        return
    _, real = decoded(model(name, settings), inputs())
    assert stated(architecture(name, settings)).state_bytes == real


def check_causal(name: str, settings: str, time: int = 16) -> None:
    """No answer depends on a later step, by perturbation and by gradient."""
    if not_causal(settings):
        return
    at, m = time // 2, model(name, settings, double=True)
    x = inputs(time, 1).double().requires_grad_()
    y = m(x)
    moved = x.detach().clone()
    moved[:, at] += 1.0
    close(m(moved)[:, :, :at], y[:, :, :at], "answers before the change", 1e-9)
    (g,) = torch.autograd.grad(y[:, :, at].square().sum(), x)
    assert g[:, at].abs().max() > 0.0
    assert g[:, at + 1 :].abs().max() <= 1e-9 * g.abs().max(), "a gradient reaches later steps"


def check_copies(name: str, settings: str) -> None:
    """Each of three copies equals its solo run, though the first is not a number throughout."""
    together = model(name, settings, (3, 5, 8))
    with torch.no_grad():
        for p in together.parameters():
            p[0] = float("nan")
    x = inputs()
    y = together(x)
    for e, seed in ((1, 5), (2, 8)):
        close(y[e : e + 1], model(name, settings, (seed,))(x), f"copy {e}")


def stated(a: Architecture) -> Facts:
    """What is said of an architecture."""
    return facts(a, registry(), TIME)


CHECKS = {name.removeprefix("check_"): value for name, value in list(globals().items()) if name.startswith("check_")}
