"""What a task is: data and metric. It judges, and nothing that is searched can reach in here.

A task file defines one subclass of `Task`, a frozen dataclass whose fields are its settings (`--set task.length=64`).
It gives three splits as resident tensors and turns a candidate's outputs into scores, one per copy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

__all__ = ["Examples", "InputKind", "Loss", "OutputKind", "Scores", "Split", "Task"]

Split = Literal["train", "validation", "test"]
Loss = Literal["cross_entropy", "squared_error"]


@dataclass(frozen=True, slots=True)
class InputKind:
    """What the stem reads: `tokens` below `size`, or `vectors` of width `size`."""

    kind: Literal["tokens", "vectors"]
    size: int


@dataclass(frozen=True, slots=True)
class OutputKind:
    """What the readout gives: `size` numbers at each step (`steps`), or once for a whole sequence (`sequence`).

    Args:
        loss: how targets are compared with them: `cross_entropy` (integer classes) or `squared_error`.
        read: of a sequence, the `mean` of all steps or the `last` one.
        answers: how often `size` numbers are given for a sequence, where a task asks for several things at once.
    """

    per: Literal["steps", "sequence"]
    size: int
    loss: Loss = "cross_entropy"
    read: Literal["mean", "last"] = "mean"
    answers: int = 1

    def shape(self, steps: int) -> tuple[int, ...]:
        """The shape of the targets of one example, but for the `size` of a squared error."""
        if self.per == "steps":
            return (steps,)
        return (self.answers,) if self.answers > 1 else ()


@dataclass(frozen=True, slots=True)
class Examples:
    """One split, in memory. Tensors may be views (the windows of a text overlap).

    Args:
        inputs: `(N, T)` int64 tokens or `(N, T, width)` float32.
        targets: `(N, T)` or `(N,)` int64 classes, or float32 `(N, T, size)` or `(N, size)`; `(N, A)` or `(N, A, size)`
            where a sequence has A answers.
        mask: `(N, T)`, `(N,)` or `(N, A)` bool, true where a target counts; `None` where all do.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor | None = None

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def to(self, device: Any) -> Examples:
        """The same split, resident on `device`."""
        mask = None if self.mask is None else _moved(self.mask, device)
        return Examples(_moved(self.inputs, device), _moved(self.targets, device), mask)


def _moved(tensor: Tensor, device: Any) -> Tensor:
    """`tensor` on `device`; overlapping windows stay views of one text, which as copies would be 128 times as large."""
    if tensor.device == torch.device(device):
        return tensor
    store = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
    if tensor.numel() <= store.numel():
        return tensor.to(device)
    return store.to(device).as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


@dataclass(frozen=True, slots=True)
class Scores:
    """What the judge says of each copy: lists of length E.

    Args:
        score: the task's metric.
        loss: the mean training loss (nats, or squared error) over the counted targets of the split.
    """

    score: list[float]
    loss: list[float]


class Task(ABC):
    """Data and metric.

    Class attributes:
        name, summary, paper: for people.
        metric: the name of the score (`accuracy`, `bits_per_byte`).
        maximize: whether a larger score is better.
        training: the recommended training settings (steps, batch, learning_rate, ...), overridden by the person's.
        ladder: values of settings that make it easier or harder, one setting at a time, as published where they are.
        calibrated_with: settings to climb a ladder with, where the defaults leave every transformer at chance.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {}
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    calibrated_with: ClassVar[Mapping[str, Any]] = {}

    @property
    @abstractmethod
    def input(self) -> InputKind:
        """What the stem reads."""

    @property
    @abstractmethod
    def output(self) -> OutputKind:
        """What the readout gives."""

    @property
    @abstractmethod
    def length(self) -> int:
        """T, the number of steps of one example."""

    def length_in(self, split: Split) -> int:
        """The number of steps of an example of a split, where a task is tried on longer sequences than it trains on."""
        return self.length

    @property
    def causal(self) -> bool:
        """Whether a candidate must be causal, so that it cannot read its own target."""
        return self.output.per == "steps"

    @property
    @abstractmethod
    def chance(self) -> float:
        """The score of knowing nothing but the frequencies of the targets."""

    @property
    @abstractmethod
    def ceiling(self) -> float | None:
        """The best score there is; `None` where nobody knows."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """What `task.metric` may be: `metric`, which is the default, and what the outputs alone tell."""
        from archsearch.tasks.metrics import METRICS

        return tuple(dict.fromkeys((self.metric, *METRICS[self.output.loss])))

    @property
    def baselines(self) -> Mapping[str, float]:
        """Scores to compare with, of known ways to answer, where they can be worked out."""
        return {}

    @property
    def solved(self) -> float | None:
        """The score from which the task counts as solved, and training may stop; `None` for never."""
        return None

    @abstractmethod
    def examples(self, split: Split) -> Examples:
        """One split on the CPU. The three share no example; the same settings give the same bits."""

    @abstractmethod
    def digest(self) -> str:
        """Sixteen hex digits that change with any setting or bit of data that a score depends on."""

    def settings(self) -> dict[str, Any]:
        """The settings as plain data."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    @abstractmethod
    def judge(self, outputs: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over one batch, per copy, so that batches can be added up.

        Args:
            outputs: `(E, B, T, size)`, `(E, B, size)` or `(E, B, A, size)`.
            targets, mask: of the batch, `(B, ...)`.

        Returns:
            `(score_sum, loss_sum, count)`, each `(E,)` float64: the score is `score_sum / count`.
        """

    def sums(self, outputs: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
        """What `scores` needs of one batch, `(E, K)` float64, so that batches can be added up; see `judge`."""
        return torch.stack(self.judge(outputs, targets, mask), 1)

    def scores(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Score and mean loss of each copy, `(E,)`, from the `sums` of all batches."""
        score, loss, count = sums.unbind(1)
        return score / count, loss / count
