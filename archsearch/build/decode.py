"""Step-by-step decoding, derived from the graph: one token in, one answer out, whatever the next one needs kept.

    decoder = Decoder(model)
    state, logits = decoder.prefill(prompt)                    # all steps of a prompt
    logits, state = decoder.step(state, logits[0, :, -1].argmax(-1))

A state is a plain dict of tensors, `(E, B, ...)` each: `body.0.mix.core:k` is what the op of that node keeps under `k`,
`h[t-2]` is the value of `h` two ticks ago. A step makes a new dict and leaves the old one as it was, so that a decoder
can go on from any state that it ever gave. Beside those there are, where the model has a use for them, `clock`, the
number of tokens so far, one number for all streams, and `total`, the sum over time of what the readout reads.

Legend of shapes: E copies, B streams, T time, F features of the input, S size of the answer.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from archsearch.build.model import Model
from archsearch.build.prefill import prefill
from archsearch.build.steps import Steps
from archsearch.errors import RuleError
from archsearch.ops.base import Context

__all__ = ["Decoder", "State"]

State = dict[str, Tensor]

FORMAT = 1
CLOCK, TOTAL = "clock", "total"


class Decoder:
    """Decodes with a model's own weights, as they are at each step; nothing is copied.

    Dropout is off and no gradients are kept.
    """

    def __init__(self, model: Model) -> None:
        """Derives the steps of `model`.

        Raises:
            RuleError: the graph is not causal, or an op in it has no step form; the node is named.
        """
        self.model = model
        self._steps = Steps(model)
        self._cells = tuple(self._steps.cells.values())
        self._index = {cell.name: i for i, cell in enumerate(self._cells)}
        self._lines = tuple(self._steps.lines.values())
        self._places: dict[str, tuple[int, str] | None] = {}
        self._counts = self._steps.has_rates or model.pooled

    # ---- decoding --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def start(self, batch: int) -> State:
        """The state of `batch` streams before the first token."""
        like, copies = self._like, self.model.copies
        state: State = {}
        for line in self._lines:
            state |= dict.fromkeys(line.names, line.before(like, copies, batch))
        for cell in self._cells:
            for key, value in cell.op.start(cell.weights, batch, *cell.types).items():
                state[f"{cell.name}:{key}"] = value.detach()
        if self._counts:
            state[CLOCK] = torch.zeros((), dtype=torch.int64)
        if self.model.pooled:
            width = self.model.architecture.type_of(self.model.architecture.output).width
            state[TOTAL] = like.new_zeros(copies, batch, width)
        return state

    @torch.no_grad()
    def step(self, state: Mapping[str, Tensor], inputs: Tensor) -> tuple[Tensor, State]:
        """One token of every stream.

        Args:
            state: from `start`, `prefill`, `restore` or a step before; it stays as it is.
            inputs: tokens `(B,)` or vectors `(B, F)` that all copies read, or the same with E in front.

        Returns:
            The answer `(E, B, S)` and the next state. Where the model answers once a sequence, the answer is that to
            the sequence so far.
        """
        x = self.model.embed(inputs.unsqueeze(-1 if self.model.tokens else -2)).squeeze(2)
        y, after = self._run(state, x)
        if self.model.pooled:
            after[TOTAL] = state[TOTAL] + y
            y = after[TOTAL] / int(after[CLOCK])
        return self.model.answer(y.unsqueeze(2)).squeeze(2), after

    @torch.no_grad()
    def prefill(self, inputs: Tensor) -> tuple[State, Tensor]:
        """All steps of a prompt, from the start.

        What is on no cycle runs over all steps at once, an op that mixes time if it offers `Op.prefill`, as all shipped
        ones do; so does a cycle that trains as a scan. Other ops and cycles, also those that train in chunks, run a
        step after the other.

        Args:
            inputs: what the model takes: `(B, T)` or `(B, T, F)`, or the same with E in front; T at least 1.

        Returns:
            The state after the last step, and what the model answers: `(E, B, T, S)`, or `(E, B, S)` or `(E, B, A, S)`
            where it answers once a sequence.
        """
        x = self.model.embed(inputs)
        if not x.shape[2]:
            raise ValueError("a prompt must have at least one step; without one, see `start`")
        y, state = prefill(self._steps, x)
        if self._counts:
            state[CLOCK] = torch.tensor(x.shape[2])
        if self.model.pooled:
            state[TOTAL] = y.sum(2)
        return state, self.model.answer(self.model.of_sequence(y) if self.model.once else y)

    # ---- streams and states ----------------------------------------------------------------------------------------

    def select(self, state: Mapping[str, Tensor], streams: Sequence[int] | Tensor) -> State:
        """The state of these streams in this order; one may come several times, as in a beam search."""
        rows = torch.as_tensor(streams, dtype=torch.int64)
        return {n: v if n == CLOCK else v.index_select(1, rows.to(v.device)) for n, v in state.items()}

    def state_bytes(self, state: Mapping[str, Tensor]) -> float:
        """Bytes that the graph keeps for one stream of one copy; `clock` and `total` are not the graph's."""
        kept = [v for n, v in state.items() if n not in (CLOCK, TOTAL)]
        return sum(v.numel() * v.element_size() / (v.shape[0] * v.shape[1]) for v in kept)

    def save(self, state: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
        """Writes a state: plain tensors on the CPU, which `torch.load(path, weights_only=True)` reads anywhere."""
        plain = {n: v.detach().cpu().clone(memory_format=torch.contiguous_format) for n, v in state.items()}
        torch.save({"format": FORMAT, "state": plain}, path)

    def restore(self, source: str | os.PathLike[str] | Mapping[str, Tensor]) -> State:
        """A state that `save` wrote, or a dict of its tensors, on the device of the model.

        Raises:
            RuleError: it is not a state of this model: a name or a shape is another.
            FileNotFoundError: there is no such file.
        """
        state = dict(source) if isinstance(source, Mapping) else _read(source)
        self._check(state)
        device = self._like.device
        return {n: v.cpu() if n == CLOCK else v.to(device) for n, v in state.items()}

    def _check(self, state: Mapping[str, Tensor]) -> None:
        streams = {v.shape[1] for n, v in state.items() if n != CLOCK and v.ndim > 1}
        if len(streams) > 1:
            raise RuleError("a state must have one number of streams", value=", ".join(map(str, sorted(streams))))
        fresh = self.start(streams.pop() if streams else 1)
        for name, tensor in fresh.items():
            if name not in state:
                raise RuleError("a state must have all that the model keeps", value=f"none of `{name}`")
            if state[name].shape != tensor.shape:
                rule = f"`{name}` of a state must be of shape {tuple(tensor.shape)}"
                raise RuleError(rule, value=str(tuple(state[name].shape)))
        mixers = {cell.name for cell in self._cells if cell.op.mixes_time}
        for name in state:
            if name not in fresh and name.partition(":")[0] not in mixers:
                raise RuleError("a state must have only what the model keeps", value=f"`{name}`")

    # ---- one step --------------------------------------------------------------------------------------------------

    def _run(self, state: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, State]:
        """The graph on one step `x` of its input, `(E, B, D)`."""
        clock = int(state[CLOCK]) + 1 if self._counts else 1
        slots: list[Any] = [None] * self._steps.size
        slots[self._steps.input] = x
        for line in self._lines:
            if clock % line.period == 0:
                for delay, slot in line.late.items():
                    slots[slot] = state[line.names[delay - 1]]
        kept, after = self._sorted(state), State()
        ctx = Context()
        for i, cell in enumerate(self._cells):
            new = kept.get(i, {})
            if clock % cell.period == 0:
                y, new = cell.op.step(cell.weights, new, *[slots[r] for r in cell.reads], ctx=ctx)
                for slot, part in zip(cell.writes, y if cell.several else (y,), strict=True):
                    slots[slot] = part
            for key, value in new.items():
                after[f"{cell.name}:{key}"] = value
        for line in self._lines:
            ticks = clock % line.period == 0
            values = [slots[line.now], *(state[n] for n in line.names)] if ticks else [state[n] for n in line.names]
            after |= zip(line.names, values, strict=False)
        if self._counts:
            after[CLOCK] = torch.tensor(clock)
        return slots[self._steps.output], after

    def _sorted(self, state: Mapping[str, Tensor]) -> dict[int, State]:
        """What the ops keep, by number of their cell."""
        kept: dict[int, State] = {}
        for name, value in state.items():
            if name not in self._places:
                node, colon, key = name.partition(":")
                self._places[name] = (self._index[node], key) if colon else None
            place = self._places[name]
            if place is not None:
                kept.setdefault(place[0], {})[place[1]] = value
        return kept

    @property
    def _like(self) -> Tensor:
        return next(self.model.stem.parameters()).detach()


def _read(path: str | os.PathLike[str]) -> State:
    try:
        found = torch.load(path, weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError, EOFError) as e:
        raise RuleError("a saved state must be a file of `Decoder.save`", value=f"`{path}`") from e
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise RuleError(f"a saved state must be of format {FORMAT}", value=f"`{path}`")
    state: State = found["state"]
    return state
