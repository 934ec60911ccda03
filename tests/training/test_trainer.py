"""The trainer: rungs, measurements, checkpoints, the seal of the test, and whose fault a fault is."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from archsearch.build.model import build
from archsearch.errors import CandidateError, ConfigError, UnknownNameError
from archsearch.graph.architecture import Architecture, Node, Source
from archsearch.graph.types import ValueType
from archsearch.ops.base import Op, op
from archsearch.tasks.registry import make
from archsearch.training.judge import SealedTestError
from archsearch.training.measurement import Job, Measurement, Report
from archsearch.training.trainer import Trainer, run
from archsearch.training.weights import read_weights


def test_reports_at_every_rung(job: Callable[..., Job]) -> None:
    reports: list[Report] = []
    measurement = run(job(steps=20, reports=4), lambda r: reports.append(r) or True)
    assert [r.step for r in reports] == [5, 10, 15, 20]
    assert [step for step, _, _ in measurement.copies[0].curve] == [5, 10, 15, 20]
    assert reports[-1].score == measurement.score == measurement.copies[0].score
    assert [r.seconds for r in reports] == sorted(r.seconds for r in reports)


def test_stops_where_the_listener_says_so(job: Callable[..., Job]) -> None:
    measurement = run(job(steps=20, reports=4), lambda report: report.step < 10)
    assert measurement.steps == 10
    assert measurement.fidelity.steps == 20


def test_a_measurement_is_complete(job: Callable[..., Job]) -> None:
    m = run(job("gru", steps=20, seeds=2, learning_rates=(1e-3, 3e-3)))
    assert m.fidelity.task == "in_context_recall"
    assert m.fidelity.split == "validation"
    assert (m.steps, m.examples) == (20, 20 * 8)
    assert m.learning_rate in (1e-3, 3e-3)
    chosen = [c.score for c in m.copies if c.learning_rate == m.learning_rate and c.score is not None]
    assert m.score == pytest.approx(sum(chosen) / 2)
    assert m.score_low is not None
    assert m.score_low <= m.score <= (m.score_high or 0.0)
    assert 0.0 < m.train_seconds < m.seconds
    assert m.tokens_per_second == pytest.approx(20 * 4 * 8 * 16 / m.train_seconds)
    assert not m.parallel_in_time or m.span > 1, "a GRU runs step by step"
    assert m.body_params < m.params
    assert m.peak_memory_bytes > 4 * 4 * m.params * 4, "weights, gradients, two moments, four copies"
    assert set(m.environment) == {"device", "device_name", "dtype", "torch", "python", "threads", "backend"}
    assert m.environment["threads"] == 1
    assert Measurement.from_dict(json.loads(json.dumps(m.to_dict()))) == m


def test_scores_are_the_same_bits_every_time(job: Callable[..., Job]) -> None:
    one, two = (run(job("gru", seeds=2, dropout=0.1)) for _ in range(2))
    assert one.copies == two.copies
    other = run(job("gru", seeds=2, dropout=0.1, seed_base=5))
    assert other.copies != one.copies


@pytest.mark.parametrize("rates", [(3e-3,), (1e-3, 3e-3)])
def test_a_restored_run_equals_the_uninterrupted_one_bit_by_bit(
    job: Callable[..., Job], rates: tuple[float, ...]
) -> None:
    described = job(steps=90, reports=3, seeds=2, learning_rates=rates, dropout=0.2)  # several epochs of 32 batches
    through = Trainer(described)
    through.advance()
    file = io.BytesIO()
    torch.save(through.checkpoint(), file)
    while not through.finished:
        through.advance()
    resumed = Trainer(described)
    file.seek(0)
    resumed.restore(torch.load(file, weights_only=True))
    assert resumed.step == 30
    while not resumed.finished:
        resumed.advance()
    for (name, a), b in zip(through.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    one, two = through.measurement(), resumed.measurement()
    assert one.copies == two.copies
    assert one.peak_memory_bytes == two.peak_memory_bytes


def test_a_checkpoint_remembers_who_died(job: Callable[..., Job]) -> None:
    described = job(steps=30, reports=3, learning_rates=(1e-3, 1e6))
    first = Trainer(described)
    first.advance()
    resumed = Trainer(described)
    resumed.restore(first.checkpoint())
    for trainer in (first, resumed):
        trainer.advance()
    assert resumed.copies == first.copies
    assert resumed.copies[1].died is not None


def test_a_checkpoint_stays_as_it_was_taken(job: Callable[..., Job]) -> None:
    trainer = Trainer(job())
    trainer.advance()
    state = trainer.checkpoint()
    before = {k: v.clone() for k, v in state["model"].items()}
    trainer.advance()
    assert all(torch.equal(v, before[k]) for k, v in state["model"].items())


def test_a_checkpoint_of_another_job_is_refused(job: Callable[..., Job]) -> None:
    state = Trainer(job()).checkpoint()
    with pytest.raises(ValueError, match="must come from the same job"):
        Trainer(job(steps=21)).restore(state)
    with pytest.raises(ValueError, match="must come from the same job"):
        Trainer(job("gru")).restore(state)
    Trainer(replace(job(), key="test/search/1")).restore(state)


def test_training_ends_once_every_living_copy_has_solved_the_task(job: Callable[..., Job]) -> None:
    easy = {"length": 16, "vocabulary": 8, "examples_train": 256, "examples_validation": 64, "examples_test": 64}
    settings = {**easy, "solved_at": 0.0}
    described = job(task_settings=settings, steps=20, reports=4, learning_rates=(1e-3, 1e6), stop_when_solved=True)
    trainer = Trainer(described)
    reports = []
    while not trainer.finished:
        reports.append(trainer.advance())
    assert [r.solved for r in reports][-1]
    m = trainer.measurement()
    assert m.steps < 20
    assert [c.status for c in m.copies] == ["solved", "diverged"]
    assert m.copies[0].solved_at == 5
    assert m.copies[1].solved_at is None
    on = run(replace(described, training=replace(described.training, stop_when_solved=False)))
    assert (on.steps, on.copies[0].status, on.copies[0].solved_at) == (20, "done", 5)


def test_the_test_is_sealed_until_the_finals(job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    task = make("in_context_recall", job().task_settings)
    asked: list[str] = []
    examples = type(task).examples
    monkeypatch.setattr(type(task), "examples", lambda self, split: asked.append(split) or examples(self, split))
    trainer = Trainer(job())
    while not trainer.finished:
        trainer.advance()
    trainer.measurement()
    assert set(asked) == {"train", "validation"}
    with pytest.raises(SealedTestError):
        trainer.judge.test(trainer.model)
    finals = Trainer(job(split="test"))
    asked.clear()
    finals.advance()
    assert "test" not in asked
    finals.advance()
    assert asked == ["test"]


def test_finals_score_the_test_at_the_rate_that_validation_chose(job: Callable[..., Job]) -> None:
    m = run(job(split="test", steps=40, seeds=3, learning_rates=(1e-5, 1e-2)))
    assert m.fidelity.split == "test"
    chosen = [c for c in m.copies if c.learning_rate == m.learning_rate]
    others = [c for c in m.copies if c.learning_rate != m.learning_rate]
    assert m.score == pytest.approx(sum(c.test_score or 0.0 for c in chosen) / 3)
    assert m.validation_score == pytest.approx(sum(c.score or 0.0 for c in chosen) / 3)
    assert all(c.test_score is None for c in others)


def test_a_frozen_body_keeps_its_numbers(job: Callable[..., Job]) -> None:
    trainer = Trainer(job(freeze="body"))
    before = {name: p.clone() for name, p in trainer.model.named_parameters()}
    trainer.advance()
    moved = {name.split(".")[0] for name, p in trainer.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"stem", "readout"}
    assert run(job(freeze="body")).peak_memory_bytes < run(job()).peak_memory_bytes


def test_saved_weights_give_the_best_copy_back(job: Callable[..., Job], tmp_path: Path) -> None:
    path = tmp_path / "candidate" / "weights.pt"
    described = replace(job(steps=40, seeds=3, learning_rates=(1e-5, 1e-2)), save_weights=str(path))
    measurement = run(described)
    saved = read_weights(path)
    task = make(saved["task"], saved["task_settings"])
    model = build(Architecture.from_dict(saved["architecture"]), task.input, task.output, seeds=[saved["seed"]])
    model.load_state_dict(saved["weights"])
    e = task.examples("validation")
    score, _, count = task.judge(model.eval()(e.inputs), e.targets, e.mask)
    scores = [c.score or 0.0 for c in measurement.copies if c.learning_rate == measurement.learning_rate]
    assert float(score / count) == pytest.approx(max(scores), abs=1e-6)
    assert [p.name for p in path.parent.iterdir()] == ["weights.pt"]


def test_sequences_of_vectors_train_as_well(job: Callable[..., Job]) -> None:
    m = run(job("gru", task="digits", steps=60, batch=32))
    assert m.score is not None
    assert m.score > 2 * make("digits", {}).chance


def test_smaller_is_better_where_the_task_says_so(job: Callable[..., Job]) -> None:
    m = run(
        job("none", task="byte_language_model", task_settings={"length": 16}, learning_rates=(1e-6, 1e-2), steps=30)
    )
    assert m.learning_rate == 1e-2
    assert m.score == min(c.score for c in m.copies if c.score is not None)


def test_half_precision_trains(job: Callable[..., Job]) -> None:
    m = run(job(dtype="bfloat16", steps=10))
    assert m.environment["dtype"] == "bfloat16"
    assert m.fidelity.settings != run(job(steps=10)).fidelity.settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "float16"}, "`training.dtype` must be float32 or bfloat16, but got 'float16'"),
        ({"backend": "fla", "device": "cpu"}, "`training.backend` 'fla' (is not installed: pip install|needs a CUDA)"),
        ({"device": "abacus"}, "`training.device` must be one of auto, .*cpu.* but got 'abacus'"),
    ],
)
def test_settings_that_no_candidate_can_use_are_the_persons(
    job: Callable[..., Job], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Trainer(job(**change))


def test_an_unknown_task_is_the_persons(job: Callable[..., Job]) -> None:
    with pytest.raises(UnknownNameError):
        Trainer(replace(job(), task="recall"))


# ---- a candidate's own faults ----------------------------------------------------------------------------------------


@op("fails", family="plumbing")
@dataclass(frozen=True)
class Fails(Op):
    """Raises what the test puts here."""

    def infer(self, x: ValueType) -> ValueType:
        return x

    def forward(self, w: Mapping[str, torch.Tensor], x: torch.Tensor, *, ctx: Any) -> torch.Tensor:
        raise FAULT[0]


FAULT: list[Exception] = []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (ValueError("odd"), "error"),
        (TypeError("not that large\nException raised from unpack at numbers.h:79:\nframe #0: main"), "error"),
        (MemoryError(), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "out_of_memory"),
    ],
)
def test_what_a_candidate_raises_is_its_own_fault(job: Callable[..., Job], fault: Exception, reason: str) -> None:
    FAULT[:] = [fault]
    x = ValueType((16,))
    graph = Architecture("fails", {"in": x}, (Node("f", "fails", {}, ((Source("in"),),), (x,)),), Source("f"))
    with pytest.raises(CandidateError) as caught:
        run(replace(job(), architecture=graph.to_dict()), ops={"fails": Fails})
    assert caught.value.reason == reason
    assert type(fault).__name__ in str(caught.value)
    assert "frame #0" not in str(caught.value)


def test_a_model_that_cannot_be_built_is_the_candidates_fault(job: Callable[..., Job]) -> None:
    x = ValueType((16,))
    node = Node("f", "softmax_attention", {"heads": 3}, ((Source("in"),),) * 3, (x,))
    graph = Architecture("odd", {"in": x}, (node,), Source("f"))
    with pytest.raises(CandidateError) as caught:
        run(replace(job(), architecture=graph.to_dict()))
    assert caught.value.reason == "error"
