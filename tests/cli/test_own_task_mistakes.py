"""What a person is told at the command line about a task of their own that breaks the contract: the clause by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.tasks.test_registry import OWN

Call = Callable[..., Result]
NOTHING = "return Examples(bits, bits.cumsum(1) % 2)"
LOADS: dict[str, tuple[str, str]] = {
    "raises": (
        OWN + "\nraise RuntimeError('boom')\n",
        "own.py:28: the file of a task must load, but got RuntimeError: boom",
    ),
    "ends": ("import sys\nsys.exit(3)\n", "own.py:2: the file of a task must load, but got SystemExit: 3"),
    "imports": ("import nothing_like_it\n", "own.py:1: the file of a task must load, but got ModuleNotFoundError"),
    "none": ("x = 1\n", "own.py: the file of a task must define one subclass of `Task`, but got none"),
    "two": (OWN + "class Other(Parity): pass\n", "one subclass of `Task`, but got Parity, Other"),
}
CLAUSES: dict[str, tuple[str, str, str]] = {
    "nan": ("bits, bits.cumsum(1) % 2", "bits / 0, bits", "`inputs` must be int64"),
    "range": ("bits.cumsum(1) % 2", "bits.cumsum(1)", "split train: `targets` must lie between 0 and 1, but got 0 to"),
    "shape": (
        "bits.cumsum(1) % 2",
        "bits.sum(1) % 2",
        "split train: `targets` must be int64 of shape (10, 16), but got",
    ),
    "numpy": (
        NOTHING,
        "return Examples(bits.numpy(), bits)",
        "`inputs` must be int64 .* but got no tensor but ndarray",
    ),
    "tuple": (NOTHING, "return bits, bits", "`examples` must return `Examples(inputs, targets, mask)`, but got tuple"),
    "none": (NOTHING, "pass", "`examples` must return `Examples(inputs, targets, mask)`, but got NoneType"),
    "raises": (
        NOTHING,
        "raise KeyError('x')",
        "`examples('train')` must not raise, but got KeyError: 'x' (.*own.py:22)",
    ),
    "empty": ("(10, self.length)", "(0, self.length)", "split train: there must be at least one example, but got none"),
    "shared": (
        '1, "test": 2}',
        '0, "test": 2}',
        "no example may be in two splits, but got 10 of the first 1,024 in both",
    ),
    "drawn anew": (
        ", generator=torch.Generator().manual_seed(seed)",
        "",
        "the same settings must give the same examples",
    ),
    "judge": (
        "return class_sums(outputs, targets, mask)",
        "return outputs.sum()",
        "`judge` must return three sums, .* Tensor",
    ),
    "judge of one": (
        "return class_sums(outputs, targets, mask)",
        "return outputs.double().sum(), 1, 1",
        "three sums, each",
    ),
    "judge raises": (
        "return class_sums(outputs, targets, mask)",
        "return 1 / 0",
        "`judge` must not raise, but got Zero",
    ),
    "chance": ("lambda self: 0.5", "lambda self: float('nan')", "`chance` must be a number, but got nan"),
    "chance raises": ("lambda self: 0.5", "lambda self: 1 / 0", "`chance` must not raise, but got ZeroDivisionError"),
    "ceiling": ("lambda self: 1.0", "lambda self: 'high'", "`ceiling` must be a number, or None .* but got 'high'"),
    "digest": ("return digest_of(self)", "return 3", "`digest` must be text, but got 3"),
    "input": ('lambda self: InputKind("tokens", 2)', "lambda self: 2", "`input` must be of type InputKind, but got 2"),
    "output": ('"steps", 2)', '"step", 2)', "`output` must be per `steps` or per `sequence`, but got 'step'"),
    "loss": ('"steps", 2)', '"steps", 2, "mse")', "must be one of cross_entropy, squared_error, but got 'mse'"),
    "init": (
        "    def digest",
        "    def __post_init__(self): 1 / 0\n\n    def digest",
        "`Parity` must not raise, but got Zero",
    ),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", LOADS)
def test_a_file_that_is_no_task(call: Call, here: Path, name: str) -> None:
    text, message = LOADS[name]
    (here / "own.py").write_text(text)
    assert message in call("tasks", "show", "./own.py", code=2).stderr


@pytest.mark.parametrize("name", CLAUSES)
def test_a_clause_that_is_broken(call: Call, here: Path, name: str) -> None:
    old, new, message = CLAUSES[name]
    assert old in OWN
    (here / "own.py").write_text(OWN.replace(old, new))
    said = call("tasks", "show", "./own.py", code=2).stderr
    assert said.startswith("Error: Task `parity`")
    for part in message.split(".*"):
        assert part in said


SPACE = """
version: 1
name: tiny
graph: {nodes: {act: {op: {choose: [tanh, relu]}, from: in}, out: {op: rms_norm, from: act}}}
scale: {width: 8}
campaign: {executor: inline, trials: 2, controls: [], training: {steps: 2}}
"""


def test_no_candidate_is_blamed_for_data_that_cannot_be_used(call: Call, here: Path) -> None:
    (here / "tiny.yaml").write_text(SPACE)
    (here / "book.txt").write_text("too short. " * 20)
    for flags in ((), ("--dry-run",)):
        sets = ("--task", "text", "--set", "task.path=book.txt", *flags)
        said = call("run", "tiny.yaml", *sets, code=2).stderr
        assert "`length` must be shorter than the text of every split" in said
    assert not (here / "results").exists()


def test_training_that_a_task_recommends_has_to_exist(call: Call, here: Path) -> None:
    (here / "tiny.yaml").write_text(SPACE)
    (here / "own.py").write_text(OWN.replace("    length: int", "    training = {'step': 3}\n    length: int"))
    assert "training.step" in call("run", "tiny.yaml", "--task", "./own.py", code=2).stderr
