"""The fields of a leaderboard row: what each is called, holds and means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

__all__ = ["FIELDS", "Field", "Kind", "Row", "field_of", "is_field", "task_columns", "value_of"]

Row = dict[str, Any]
"""One candidate as plain data: every name of `FIELDS`, in that order; `None` where something is unknown."""

Kind = Literal["text", "whole", "score", "count", "bytes", "seconds", "number", "flag", "list", "map"]


@dataclass(frozen=True, slots=True)
class Field:
    """What one field holds.

    Args:
        title: the head of its column.
        kind: how it is written: `count` as 12.3k, `bytes` as 4.0 KiB, `score` to three places, and so on.
        help: what it means, in a sentence.
    """

    title: str
    kind: Kind
    help: str


FIELDS: dict[str, Field] = {
    "rank": Field("rank", "whole", "the best rank it may have in its section; shared by what cannot be told apart"),
    "rank_low": Field("from", "whole", "lower end of its confidence set of ranks; empty with a single seed"),
    "rank_high": Field("to", "whole", "upper end of its confidence set of ranks; empty with a single seed"),
    "place": Field("place", "whole", "its place by score alone"),
    "section": Field("section", "text", "finals, search or unfinished; each is ranked for itself"),
    "campaign": Field("campaign", "text", "the campaign it is from"),
    "id": Field("id", "text", "its name in the campaign: a number, or the name of a control"),
    "role": Field("role", "text", "search or control"),
    "status": Field("status", "text", "pending, running, done, failed or stopped"),
    "hash": Field("hash", "text", "digest of its normal form: equal architectures have equal ones"),
    "architecture": Field("architecture", "text", "the architecture in one line"),
    "families": Field("families", "list", "the families of ops in it"),
    "decisions": Field("decisions", "map", "what was chosen in the space"),
    "score": Field("score", "score", "mean over seeds: on the sealed test in the finals, else on validation"),
    "score_low": Field("low", "score", "lower end of the 95 % interval over seeds"),
    "score_high": Field("high", "score", "upper end of the 95 % interval over seeds"),
    "metric": Field("metric", "text", "what the score is"),
    "tasks": Field(
        "tasks", "map", "with several tasks, the score on each in its own metric; `task.NAME` is a column of it"
    ),
    "validation_score": Field("valid.", "score", "score on validation, of the same training"),
    "test_score": Field("test", "score", "score on the sealed test; finals only"),
    "search_score": Field("search", "score", "validation score in the search, which chose the finalists"),
    "shrinkage": Field("shrink", "score", "by how much the finals are worse than the search had said"),
    "train_score": Field("train", "score", "score on the first examples of the training split, at the end"),
    "gap_validation": Field("train−valid.", "score", "by how much validation is worse than the training split"),
    "gap_test": Field("valid.−test", "score", "by how much the test is worse than validation, of the same training"),
    "seeds": Field("seeds", "whole", "seeds behind the score"),
    "diverged": Field("diverged", "whole", "seeds at the chosen learning rate that diverged"),
    "solved": Field("solved", "whole", "seeds that solved the task"),
    "solved_at": Field("solved at", "whole", "mean step at which they had"),
    "steps": Field("steps", "whole", "optimiser steps done"),
    "reached": Field("reached", "whole", "seeds that reached the target: what `--target` says, or the task's own"),
    "steps_to_target": Field("to target", "whole", "mean step of the first report at which they had"),
    "flops_to_target": Field("FLOPs to it", "count", "operations of one copy until then, forward and backward"),
    "seconds_to_target": Field("s to it", "seconds", "training steps of all copies until then, on `device`"),
    "fit": Field("fit", "text", "how its weights were found: by gradient descent, or a readout solved for in 0 steps"),
    "learning_rate": Field("rate", "number", "the learning rate that validation chose"),
    "rate_edge": Field(
        "edge", "text", "whether that is the lowest or the highest of several, so that a better may lie beyond"
    ),
    "fidelity": Field(
        "fidelity", "text", "the effort behind the score; scores of different ones are never ranked together"
    ),
    "params": Field("params", "count", "weights, stem and readout included"),
    "body_params": Field("body", "count", "weights of the graph alone"),
    "flops_per_token": Field("FLOPs/tok", "count", "forward operations a token, analytic, of the graph alone"),
    "state_bytes": Field("state", "bytes", "state that decoding carries, at the task's length"),
    "span": Field("span", "count", "the longest serial chain of the graph over the task's length"),
    "parallel_in_time": Field("parallel", "flag", "whether no part of it runs as a loop over time"),
    "pareto": Field("pareto", "whole", "Pareto layer of score against FLOPs a token: 1 is the front"),
    "tokens_per_second": Field("tok/s", "count", "of training, all copies together, on `device`"),
    "peak_memory_bytes": Field("memory", "bytes", "peak of training"),
    "seconds": Field("seconds", "seconds", "wall-clock spent on it"),
    "device": Field("device", "text", "what `tokens_per_second` and `seconds` were measured on"),
    "agent": Field("agent", "text", "who proposed it"),
    "parent": Field("parent", "text", "what it was made from"),
    "reason": Field("reason", "text", "why it was proposed, in the agent's words"),
    "failure": Field("failure", "text", "why it failed or stopped"),
}

TASK: Final = "task."


def is_field(name: str) -> bool:
    """Whether a column can be called so: a name of `FIELDS`, or `task.NAME` for the score on one of several tasks."""
    return name in FIELDS or (name.startswith(TASK) and name != TASK)


def field_of(name: str) -> Field:
    """What a column holds."""
    if name in FIELDS:
        return FIELDS[name]
    task = name.removeprefix(TASK)
    return Field(task, "score", f"the score on {task}, in its own metric")


def value_of(row: Row, name: str) -> Any:
    """The value of a row in a column; `None` where something is unknown."""
    if name in FIELDS:
        return row[name]
    return (row["tasks"] or {}).get(name.removeprefix(TASK))


def task_columns(rows: Iterable[Row]) -> list[str]:
    """The columns of the tasks that rows have scores on, in their order."""
    return list(dict.fromkeys(f"{TASK}{label}" for row in rows for label in row["tasks"] or {}))
