"""The blocks around any core, held to their equations with tanh as the core, and around cores of every family."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.errors import UserError
from tests.blocks.contract import architecture
from tests.blocks.test_blocks import TIME, WIDTH, run
from tests.ops.contract import close


def linear(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """The map `name`."""
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def taps(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """The short convolution `name`."""
    weight = w[f"{name}.weight"][:, None]
    padded = F.pad(x.mT, (weight.shape[2] - 1, 0))
    return F.conv1d(padded, weight, w[f"{name}.bias"], groups=len(weight)).mT


def test_mamba_block() -> None:
    _, w, x, y = run("mamba_block", "core: tanh, kernel: 3")
    core = F.silu(taps(w, "taps", linear(w, "branch", x))).tanh()
    close(y, linear(w, "out", core * F.silu(linear(w, "gate", x))), "output")
    assert w["branch.weight"].shape == (2 * WIDTH, WIDTH)


def test_h3_block() -> None:
    _, w, x, y = run("h3_block", "core: tanh, shift: {op: short_conv, kernel: 2}")
    q, k, v = (linear(w, name, x) for name in "qkv")
    close(y, linear(w, "out", q * torch.tanh(taps(w, "shifted", k) * v)), "output")


def test_hyena_block() -> None:
    _, w, x, y = run("hyena_block", "core: tanh")
    after, before, v = taps(w, "taps", linear(w, "projected", x)).split(WIDTH, -1)
    close(y, linear(w, "out", after * torch.tanh(before * v)), "output")


def test_parallel_heads() -> None:
    _, w, x, y = run("parallel_heads", "first: tanh, second: sigmoid")
    a = F.rms_norm(x.tanh(), (WIDTH,), w["a_norm.weight"], 1e-6)
    b = F.rms_norm(x.sigmoid(), (WIDTH,), w["b_norm.weight"], 1e-6)
    close(y, linear(w, "out", (a + b) / 2), "output")


@pytest.mark.parametrize("name", ["mamba_block", "h3_block", "hyena_block"])
@pytest.mark.parametrize("core", ["s4d_core", "s6", "implicit_conv", "gru_core", "long_conv"])
def test_any_core_fits_any_block(name: str, core: str) -> None:
    _, w, x, y = run(name, f"core: {core}")
    assert y.shape == x.shape == (3, TIME, WIDTH)
    assert any(key.startswith("core.") for key in w)


def test_a_core_that_does_not_keep_the_width_is_refused_at_the_block() -> None:
    with pytest.raises(UserError, match=r"equal widths|one type"):
        architecture("hyena_block", "core: {op: linear, width: 3}")
