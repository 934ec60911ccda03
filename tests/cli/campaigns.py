"""Campaigns on disk, written through the store without training anything."""

from pathlib import Path

from archsearch.campaign.store import Store
from archsearch.graph.architecture import Architecture, Group, Node, Source
from archsearch.graph.types import ValueType
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
WIDE = ValueType((8,))


def architecture(op: str) -> dict:
    node = Node("out", op, {}, ((Source("in"),),), (WIDE,))
    return Architecture("tiny", {"in": WIDE}, (node,), Source("out"), outline=(Group("out", "op", op),)).to_dict()


def measurement(scores: list[float], split: str = "validation") -> dict:
    copies = tuple(
        CopyResult(i, 3e-3, "done", s, 1 - s, s if split == "test" else None, curve=((400, s, 1 - s),))
        for i, s in enumerate(scores)
    )
    mean = sum(scores) / len(scores)
    return Measurement(
        fidelity=Fidelity("in_context_recall", "d1", 400, 32, (3e-3,), len(scores), split),
        score=mean,
        score_low=mean - 0.01 if len(scores) > 1 else None,
        score_high=mean + 0.01 if len(scores) > 1 else None,
        validation_score=mean,
        validation_loss=1 - mean,
        learning_rate=3e-3,
        copies=copies,
        steps=400,
        examples=12_800,
        seconds=3.0,
        train_seconds=2.5,
        tokens_per_second=1e5,
        peak_memory_bytes=2**20,
        params=1000,
        body_params=800,
        flops_per_token=1600.0,
        state_bytes=64.0,
        span=1.0,
        parallel_in_time=True,
        environment={"device": "cpu", "device_name": "a processor", "dtype": "float32", "threads": 1},
    ).to_dict()


def admit(store: Store, name: str, op: str, role: str = "search", decisions: dict | None = None) -> None:
    store.append(
        "candidate",
        id=name,
        number=int(name) - 1 if name.isdigit() else None,
        role=role,
        agent="random_search" if role == "search" else "",
        hash=f"{op}{name}".encode().hex().ljust(16, "0")[:16],
        line=f"1×[{op}]",
        families=["plumbing"],
        facts={
            "params": 800,
            "flops_per_token": 1600.0,
            "state_bytes": 64,
            "span": 1,
            "parallel_in_time": True,
            "decoding": {"time": 64, "state_bytes": 64.0, "grows": [], "ahead": []},
            "cycles": "cycles\n  body.0.act  runs as a scan",
        },
        architecture=architecture(op),
        decisions=decisions or ({"body.0.act": op} if role == "search" else {}),
        parent=None,
        parent_id=None,
        reason="because" if role == "search" else "",
        cost={},
    )


def measured(store: Store, name: str, phase: str, scores: list[float]) -> None:
    key = f"{name}/{phase}/1"
    store.append("attempt", id=name, phase=phase, attempt=1, key=key)
    if phase == "search":
        store.append("report", key=key, step=400, score=scores[0], loss=1.0, seconds=3.0)
    found = measurement(scores, "test" if phase == "final" else "validation")
    store.append("measurement", id=name, phase=phase, key=key, measurement=found)


def write_campaign(path: Path, best: float = 0.9) -> Path:
    head = {"config": {"space": "tiny", "task": "in_context_recall"}, "agent": "random_search", "environment": {}}
    with Store.create(path, {"campaign.yaml": "space: tiny\ntask: in_context_recall\n"}) as store:
        store.append("campaign", name=path.name, task=TASK, **head)
        admit(store, "no_mixer", "identity", role="control")
        measured(store, "no_mixer", "search", [0.06])
        for name, op, score in (("1", "tanh", best), ("2", "relu", 0.5), ("3", "gelu", 0.4)):
            admit(store, name, op)
            measured(store, name, "search", [score])
        admit(store, "4", "silu")
        store.append("attempt", id="4", phase="search", attempt=1, key="4/search/1")
        store.append("failure", id="4", phase="search", key="4/search/1", reason="diverged", message="in step 7")
        store.append("final_choice", ids=["1", "no_mixer"], over="trials", message="")
        measured(store, "1", "final", [best, best - 0.01, best - 0.02])
        measured(store, "no_mixer", "final", [0.06, 0.07, 0.05])
        store.append("end", status="done", message="", sync=True)
    return path
