"""The judge at work: training code sees the training split and scores; the test stays sealed until the finals."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from archsearch.tasks.base import Examples, Scores, Split, Task

__all__ = ["Judge", "SealedTestError"]

Forward = Callable[[Tensor], Tensor]
"""A candidate outside training: inputs `(B, T)` or `(B, T, width)` to outputs `(E, B, T, S)` or `(E, B, S)`."""


class SealedTestError(RuntimeError):
    """The test split was asked for by a job that is not one of the finals."""


class Judge:
    """Scores candidates on a task and hands out its training data, nothing else.

    Args:
        task: what is judged.
        device: where the splits live.
        split: `validation`, or `test` for a job of the finals, which alone may open the test.
        limit: at most so many examples of a split are scored, the first ones.
        batch: examples scored at a time.
    """

    def __init__(
        self, task: Task, device: torch.device, *, split: str = "validation", limit: int = 1024, batch: int = 128
    ) -> None:
        self._task, self._device, self._batch, self._limit = task, device, batch, limit
        # A score is a sum in float64, which Apple's GPUs do not have: there the judge sits on the CPU.
        self._seat = torch.device("cpu") if device.type == "mps" else device
        self._opens_test = split == "test"
        self._validation = self._first("validation")
        self.train = task.examples("train").to(device)

    def validate(self, forward: Forward) -> Scores:
        """The scores of all copies on the validation split."""
        return self._score(forward, self._validation)

    def fitted(self, forward: Forward) -> Scores:
        """The scores of all copies on the first examples of the training split."""
        return self._score(forward, self._start_of(self.train).to(self._seat))

    def test(self, forward: Forward) -> Scores:
        """The scores of all copies on the sealed test.

        Raises:
            SealedTestError: the job does not belong to the finals.
        """
        if not self._opens_test:
            raise SealedTestError("the test split is sealed: only a job with split `test` may score on it")
        return self._score(forward, self._first("test"))

    @torch.no_grad()
    def answers(self, forward: Forward) -> Iterator[Tensor]:
        """What a candidate answers on validation, batch by batch `(E, R, S)`, where targets count; without a target."""
        e = self._validation
        for start in range(0, len(e), self._batch):
            rows = slice(start, start + self._batch)
            outputs, targets = forward(e.inputs[rows].to(self._device)).to(self._seat), e.targets[rows]
            keep = torch.ones(outputs.shape[1:-1], dtype=torch.bool, device=self._seat)
            keep = keep if e.mask is None else e.mask[rows]
            yield outputs[:, keep & (targets >= 0) if targets.ndim == keep.ndim else keep]

    def _first(self, split: Split) -> Examples:
        return self._start_of(self._task.examples(split)).to(self._seat)

    def _start_of(self, e: Examples) -> Examples:
        mask = None if e.mask is None else e.mask[: self._limit]
        return Examples(e.inputs[: self._limit], e.targets[: self._limit], mask)

    @torch.no_grad()
    def _score(self, forward: Forward, examples: Examples) -> Scores:
        sums: list[Tensor] = []
        for start in range(0, len(examples), self._batch):
            rows = slice(start, start + self._batch)
            mask = None if examples.mask is None else examples.mask[rows]
            outputs = forward(examples.inputs[rows].to(self._device)).to(self._seat)
            sums.append(self._task.sums(outputs, examples.targets[rows], mask))
        score, loss = self._task.scores(torch.stack(sums).sum(0).cpu())
        return Scores(score.tolist(), loss.tolist())
