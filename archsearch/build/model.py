"""Architecture → nn.Module: the graph between a stem that reads the task's input and a readout that answers it.

Legend of shapes: E copies, B batch, T time, F features of the input, D width of the graph, S size of an answer, A
answers of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.build.compile import compile_graph
from archsearch.build.implicit import fold
from archsearch.build.seeding import generator
from archsearch.build.tree import Branch, Plot, Trained, plant
from archsearch.errors import RuleError
from archsearch.graph.architecture import Architecture
from archsearch.graph.fits import READOUTS
from archsearch.graph.types import ValueType
from archsearch.kernels.linear import linear
from archsearch.ops.base import Context, Op, Weight, constant, kaiming_uniform, normal, param
from archsearch.ops.own import from_sources
from archsearch.ops.registry import op_class

__all__ = ["Model", "Trained", "build"]

# Between what recall needs and what text needs, at width 64 with 2 layers and one seed: attention on recall reaches
# .998, 1.000 and .32 with 1, 0.2 and 0.125 at a rate of 3e-3, and .42, 1.000 and .99 at 1e-3; a GRU on text is at 2.96,
# 2.57 and 2.54 bits a byte after 200 steps.
_EMBEDDING = 0.2


class Input(Protocol):
    """What the stem needs to know of the task's input; see `archsearch.tasks.base.InputKind`."""

    @property
    def kind(self) -> Literal["tokens", "vectors"]: ...
    @property
    def size(self) -> int: ...


class Output(Protocol):
    """What the readout needs to know of the task's answer; see `archsearch.tasks.base.OutputKind`."""

    @property
    def per(self) -> Literal["steps", "sequence"]: ...
    @property
    def size(self) -> int: ...
    @property
    def read(self) -> Literal["mean", "last"]: ...
    @property
    def answers(self) -> int: ...


def build(
    architecture: Architecture,
    input: Input,
    output: Output,
    *,
    seeds: Sequence[int],
    ops: Mapping[str, type[Op]] | None = None,
    loops: bool = False,
    check: bool = False,
) -> Model:
    """A model of `architecture` with one copy per seed, on the CPU in float32.

    Args:
        input: tokens are embedded, vectors mapped affinely, to the width of the graph; or by the architecture's own
            stem, which reads a token as a vector that is one at its place.
        output: the readout is affine, or the architecture's own, on every step, on the mean over time or on the last
            step; norms before it are the graph's affair.
        seeds: copy e is drawn from seed e and equals the solo run of that seed.
        ops: ops by name beside the shipped ones, and in place of those whose source the architecture carries.
        loops: runs every cycle step by step, whatever it could do; for comparison.
        check: tries out, with random numbers, what the ops on cycles say of their linearity.

    Raises:
        RuleError: the graph has more than one input, or its ends are not vectors, or a rule of an op is broken.
        UnknownNameError: an op that does not exist.
    """
    if not seeds:
        raise RuleError("a model must have at least one copy", value="no seeds")
    own = {**from_sources(architecture.sources), **(ops or {})}
    return Model(architecture, input, output, tuple(seeds), lambda name: own.get(name) or op_class(name), loops, check)


class Model(nn.Module):
    """A trained thing: stem, graph, readout, in `copies` copies that never see each other.

    Parameters are called `stem.weight`, `graph.<node>.<weight>` and `readout.weight`, each with an axis of copies in
    front. Those that stay as they were drawn are among them, in the state dict too, and want no gradient.

    Attributes:
        copies: E.
        seeds: one per copy.
        architecture: what it was built from.
        folded: the same with one node in place of each fixed point, which is what runs.
        tokens: whether it reads tokens, and not vectors.
        once: whether it answers once a sequence.
        pooled: whether it does so from the mean over time, and not from the last step.
        op_class: the classes of its ops by name.
        generators: for dropout, one per copy; made on the device of the parameters at the first use in training.
    """

    def __init__(
        self,
        architecture: Architecture,
        input: Input,
        output: Output,
        seeds: tuple[int, ...],
        find: Callable[[str], type[Op]],
        loops: bool = False,
        check: bool = False,
    ) -> None:
        super().__init__()
        name, width = _ends(architecture)
        self.architecture, self.seeds, self.copies = architecture, seeds, len(seeds)
        self._input, self.tokens, self.once = name, input.kind == "tokens", output.per == "sequence"
        self.pooled, self._answers = self.once and output.read == "mean", output.answers if self.once else 1
        self.folded, self.op_class = fold(architecture, find)
        self._generators: list[torch.Generator] | None = None
        tops = Plot(Branch(), seeds)
        self._size = input.size
        self._stem = _end(architecture.stem, find, input.size, width[0])
        size = output.size * self._answers
        self._readout = _end(architecture.readout or READOUTS.get(architecture.fit), find, width[1], size)
        table = [param("weight", (input.size, width[0]), normal(_EMBEDDING))]
        usual = table if self.tokens else _affine(width[0], input.size)
        self.stem = plant(tops, "stem", self._stem.weights(ValueType((input.size,))) if self._stem else usual)
        self.graph = Branch()
        inner = Plot(self.graph, seeds, prefix="graph.")
        self._plan = compile_graph(self.folded, self.op_class, inner, loops=loops, check=check)
        last = self._readout.weights(ValueType((width[1],))) if self._readout else _affine(size, width[1])
        self.readout = plant(tops, "readout", last)
        self._groups = tops.trained + inner.trained
        self._body = [t.parameter for t in inner.trained]

    def forward(self, inputs: Tensor, ctx: Context | None = None) -> Tensor:
        """Answers for a batch.

        Args:
            inputs: tokens `(B, T)` or vectors `(B, T, F)` that all copies read, or the same with E in front, one batch
                a copy.
            ctx: whether to train and with which generators; without it `self.training` and `self.generators` decide.

        Returns:
            `(E, B, T, S)`, or `(E, B, S)` where the answer is per sequence, `(E, B, A, S)` where there are several.
        """
        if ctx is None:
            ctx = Context(self.training, self.generators if self.training else None)
        return self.answer(self.features(inputs, ctx), ctx)

    def features(self, inputs: Tensor, ctx: Context) -> Tensor:
        """What the readout reads: `(E, B, T, D)`, or `(E, B, D)` where the answer is per sequence."""
        y = self._plan.run({self._input: self.embed(inputs, ctx)}, ctx)
        return self.of_sequence(y) if self.once else y

    def of_sequence(self, y: Tensor) -> Tensor:
        """What the readout reads of a whole sequence `(E, B, T, D)`: `(E, B, D)`."""
        return y.mean(2) if self.pooled else y[:, :, -1]

    def answer(self, y: Tensor, ctx: Context | None = None) -> Tensor:
        """The readout: `(E, ..., S)` or `(E, ..., A, S)` from `(E, ..., D)`, with at least one axis between."""
        out = self._read_out(y, ctx)
        return out if self._answers == 1 else out.unflatten(-1, (self._answers, -1))

    def _read_out(self, y: Tensor, ctx: Context | None) -> Tensor:
        if self._readout is not None:
            long = y.unsqueeze(2) if y.ndim == 3 else y
            out: Tensor = self._readout.forward(self.readout._parameters, long, ctx=ctx or Context())  # type: ignore[arg-type]
            return out.squeeze(2) if y.ndim == 3 else out
        return linear(y, self.readout._parameters["weight"], self.readout._parameters["bias"])  # type: ignore[arg-type]

    def embed(self, inputs: Tensor, ctx: Context | None = None) -> Tensor:
        """The stem: `(E, B, T, D)` from what `forward` takes."""
        if inputs.ndim == (2 if self.tokens else 3):
            inputs = inputs.unsqueeze(0)
        elif inputs.ndim != (3 if self.tokens else 4) or inputs.shape[0] != self.copies:
            raise ValueError(f"inputs must be one batch or {self.copies} of them, but got {tuple(inputs.shape)}")
        if self._stem is not None:
            x = F.one_hot(inputs, self._size).to(self._dtype()) if self.tokens else inputs
            x = x.expand(self.copies, *x.shape[1:])
            out: Tensor = self._stem.forward(self.stem._parameters, x, ctx=ctx or Context())  # type: ignore[arg-type]
            return out
        weight = self.stem._parameters["weight"]
        assert weight is not None
        if not self.tokens:
            return linear(inputs, weight, self.stem._parameters["bias"])
        if self.copies == 1:
            return F.embedding(inputs, weight.squeeze(0))
        rows = torch.arange(self.copies, device=inputs.device)[:, None, None] * weight.shape[1]
        return F.embedding(inputs + rows, weight.flatten(0, 1))

    @property
    def generators(self) -> list[torch.Generator]:
        """Where the masks of dropout come from, one per copy; part of a checkpoint by `get_state` and `set_state`."""
        device = next(self.parameters()).device
        if self._generators is None or self._generators[0].device != device:
            self._generators = [generator(seed, "dropout", device) for seed in self.seeds]
        return self._generators

    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def groups(self) -> Iterator[Trained]:
        """Every trained parameter once, with the factor on its learning rate and whether weight decay applies."""
        return iter(self._groups)

    def body_parameters(self) -> list[nn.Parameter]:
        """The trained parameters of the graph, without stem and readout."""
        return list(self._body)

    def __repr__(self) -> str:
        count = sum(t.parameter.numel() for t in self._groups) // self.copies
        return f"Model({self.architecture.name}, copies={self.copies}, parameters={count} a copy)"


def _end(name: str | None, find: Callable[[str], type[Op]], into: int, out: int) -> Op | None:
    """The op that stands at an end of the graph in place of the usual one, from `into` features to `out`."""
    if name is None:
        return None
    op = find(name)(**find(name).spec().complete({"width": out}))
    if op.infer(ValueType((into,))) != ValueType((out,)):
        rule = f"`{name}` must give as many features as its `width` says, to stand at an end of a graph"
        raise RuleError(rule, value=f"{op.infer(ValueType((into,)))} for {out}")
    return op


def _ends(architecture: Architecture) -> tuple[str, tuple[int, int]]:
    """The name of the one input, and the widths of input and output."""
    if len(architecture.inputs) != 1:
        raise RuleError("a graph that is trained on a task must have one input", value=", ".join(architecture.inputs))
    name, kind = next(iter(architecture.inputs.items()))
    out = architecture.type_of(architecture.output)
    for end, x in (("input", kind), ("output", out)):
        if len(x.shape) != 1 or x.rate != 1:
            raise RuleError(f"the {end} of a graph must be a vector at every step", value=str(x))
    return name, (kind.width, out.width)


def _affine(out: int, into: int) -> list[Weight]:
    return [param("weight", (out, into), kaiming_uniform(into)), param("bias", (out,), constant(0.0), decay=False)]
