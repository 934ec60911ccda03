"""Records of campaigns, made by hand."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from archsearch.campaign.record import CampaignRecord, CandidateRecord
from archsearch.training.measurement import CopyResult, Fidelity, Measurement

TASK = {
    "name": "in_context_recall",
    "settings": {},
    "metric": "accuracy",
    "maximize": True,
    "chance": 0.0625,
    "ceiling": 1.0,
    "length": 64,
    "digest": "d1",
}
CPU = {"device": "cpu", "device_name": "a processor", "dtype": "float32", "threads": 1}


def measurement(scores, *, split="validation", steps=400, settings="ab12", params=50_000, digest="d1", **more):
    """One learning rate, one copy per score; `None` for a seed that diverged."""
    alive = [s for s in scores if s is not None]
    mean = sum(alive) / len(alive) if alive else None
    fidelity = Fidelity("in_context_recall", digest, steps, 32, (3e-3,), len(scores), split, settings)
    copies = tuple(
        CopyResult(
            seed=i,
            learning_rate=3e-3,
            status="diverged" if s is None else "done",
            score=s,
            loss=None if s is None else 1 - s,
            test_score=s if split == "test" else None,
            solved_at=200 if s is not None and s > 0.99 else None,
            curve=((200, s / 2, 1.0), (400, s, 1 - s)) if s is not None else (),
        )
        for i, s in enumerate(scores)
    )
    values = {
        "fidelity": fidelity,
        "score": mean,
        "score_low": mean - 0.01 if len(alive) > 1 else None,
        "score_high": mean + 0.01 if len(alive) > 1 else None,
        "validation_score": mean,
        "validation_loss": 0.5,
        "learning_rate": 3e-3,
        "copies": copies,
        "steps": steps,
        "examples": steps * 32,
        "seconds": 3.0,
        "train_seconds": 2.5,
        "tokens_per_second": 1e5,
        "peak_memory_bytes": 2**20,
        "params": params + 2000,
        "body_params": params,
        "flops_per_token": 2.0 * params,
        "state_bytes": 1024.0,
        "span": 7.0,
        "parallel_in_time": True,
        "environment": CPU,
    }
    return Measurement(**{**values, **more})


def candidate(id, search=None, final=None, *, role="search", status=None, params=50_000, **more):
    if status is None:
        status = "done" if search else "pending"
    values = {
        "id": str(id),
        "number": int(id) - 1 if str(id).isdigit() else None,
        "role": role,
        "hash": f"{sum(map(ord, str(id))):016x}",
        "line": f"2×[gru → mlp×{id}]",
        "families": ("recurrence", "perceptron"),
        "facts": {
            "params": params,
            "flops_per_token": 2.0 * params,
            "state_bytes": 256,
            "span": 64,
            "parallel_in_time": False,
        },
        "decisions": {"body.0.mix": "gru", "body.0.mlp.expand": 2} if role == "search" else {},
        "agent": "tpe" if role == "search" else "",
        "status": status,
        "search": search and measurement(search, params=params),
        "final": final and measurement(final, split="test", params=params),
        "finalist": final is not None,
        "seconds": 3.5,
    }
    return CandidateRecord(**{**values, **more})


def campaign(*candidates, name="quickstart", task=None, status="done"):
    return CampaignRecord(
        name=name,
        path=Path("results") / name,
        config={},
        task={**TASK, **(task or {})},
        status=status,
        message="",
        candidates=tuple(candidates),
        refused=0,
        duplicates=0,
        seconds=60.0,
        environment={},
    )


@pytest.fixture
def make():
    """Builders of records: `make.campaign(make.candidate(1, search=[0.9], final=[0.8, 0.9]))`."""
    return SimpleNamespace(campaign=campaign, candidate=candidate, measurement=measurement)


@pytest.fixture
def usual(make):
    """A finished campaign: two finalists, a control, one only searched, one failed, one stopped."""
    c = make.candidate
    return make.campaign(
        c("no_mixer", [0.06], [0.06, 0.07, 0.06], role="control"),
        c(1, [0.99], [0.995, 0.994, 0.996]),
        c(2, [0.60], [0.40, 0.42, 0.41]),
        c(3, [0.50]),
        c(4, status="failed", failure=("out_of_memory", "tried to allocate\n3 GiB")),
        c(5, status="stopped", last=(100, 0.97)),
        c(6),
    )
