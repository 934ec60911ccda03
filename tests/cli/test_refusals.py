"""What no op or machine can do is refused before anything is trained: exit code 2, rule and value, no traceback."""

from __future__ import annotations

import pytest

SPACE = """
version: 1
name: refused
campaign: {{task: {task}}}
graph:
  nodes:
    mix: {{{node}, from: in}}
    out: {{op: rms_norm, from: mix}}
scale: {{width: 16}}
"""

NODES = [
    ("op: attention, heads: 3", "`heads` must divide the width, but got heads=3, width=16."),
    ("op: gated_delta_net, heads: 5", "`heads` must divide the width, but got heads=5, width=16."),
    ("op: attention, heads: 0", "`heads` must be at least 1, but got 0."),
    ("op: attention, kv_heads: 3", "`kv_heads` must divide `heads`, but got kv_heads=3, heads=4."),
    ("op: attention, heads: 16", "rotary positions must have an even number of features in a head"),
    ("op: attention, window: 0", "`window` must be at least 1, but got 0."),
    ("op: s4d, state: 0", "`state` must be at least 1, but got 0."),
    ("op: mamba, state: 0", "but got 0"),
    ("op: s5_core, state: 0", "`state` must be at least 1, but got 0."),
    ("op: conv, kernel: 0", "`kernel` must be at least 1 and at most 64, but got 0."),
    ("op: long_conv, length: 0", "`length` must be at least 1, but got 0."),
    ("op: attention, causal: false", "a space with `causal: true` must hold causal ops only, but got"),
    ("op: reverse", "a space with `causal: true` must hold causal ops only, but got"),
]
"""A node of a causal space, and what is said of it."""

SETTINGS = [
    ("training.dtype=float16", "`training.dtype` must be"),
    ("training.backend=fla", "`training.backend` 'fla' is not installed: pip install flash-linear-attention"),
    ("training.backend=mamba_ssm", "`training.backend` 'mamba_ssm' is not installed: pip install mamba-ssm"),
    (
        "training.backend=causal_conv1d",
        "`training.backend` 'causal_conv1d' is not installed: pip install causal-conv1d",
    ),
    (
        "training.backend=tpu",
        "`training.backend` must be one of auto, torch, fla, mamba_ssm, causal_conv1d, but got 'tpu'",
    ),
    ("task.length=99999999", "`length` must be at"),
]
"""What a person asks for, and what is said of it."""


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """No accelerated library is there, whatever this machine has."""
    monkeypatch.setattr("archsearch.kernels.backends.Library.version", lambda library: None)


@pytest.fixture
def space(tmp_path):
    """Writes a space around a node: its path."""

    def write(node: str = "op: attention", task: str = "in_context_recall") -> str:
        path = tmp_path / "refused.yaml"
        path.write_text(SPACE.format(node=node, task=task))
        return str(path)

    return write


@pytest.mark.parametrize("command", ["train", "run", "spaces check"])
@pytest.mark.parametrize(("node", "message"), NODES)
def test_a_node_that_cannot_be(call, space, results_folder, command, node, message):
    result = call(*command.split(), space(node), code=2)
    assert message in result.stderr
    assert "refused.yaml:7:" in result.stderr
    assert not results_folder.exists()


@pytest.mark.parametrize("command", ["run", "spaces check"])
def test_one_alternative_that_cannot_be(call, space, results_folder, command):
    """Found before the controls are trained, and not when an agent meets it."""
    result = call(*command.split(), space("op: attention, heads: {choose: [4, 2, 1, 3]}"), code=2)
    assert "`heads` must divide the width, but got heads=3, width=16." in result.stderr
    assert not results_folder.exists()


@pytest.mark.parametrize("command", ["train", "run"])
@pytest.mark.parametrize(("setting", "message"), SETTINGS)
def test_a_setting_that_cannot_be(call, space, results_folder, command, setting, message):
    result = call(command, space(), "--set", setting, code=2)
    assert message in result.stderr
    assert not results_folder.exists()
