"""Readouts that are solved for: the solutions themselves, and candidates that have them."""

from __future__ import annotations

import random

import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC
from torch import Tensor

from archsearch.api import SearchSpace
from archsearch.build.model import build
from archsearch.errors import CandidateError, FileError
from archsearch.graph.architecture import Architecture
from archsearch.graph.normal import digest
from archsearch.ops.registry import registry
from archsearch.studies.attention_svm import main as attention_svm
from archsearch.studies.attention_svm import margin_direction, study
from archsearch.tasks.base import InputKind, OutputKind
from archsearch.training.fitting.convex import Program, objective, patterns
from archsearch.training.fitting.methods import _stacked, linear_svm
from archsearch.training.fitting.ridge import Moments, left_out, solve
from archsearch.training.fitting.temperature import sharpness
from archsearch.training.measurement import Job, Measurement, TrainingSettings
from archsearch.training.trainer import Trainer, run


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def point(text: str) -> Architecture:
    return SearchSpace.parse(text).sample(random.Random(0)).architecture


def job(fit: str, body: str = "{op: identity}", task: str = "digits", **changed: object) -> Job:
    settings = {"steps": 20, "reports": 1, "seeds": 2, **changed}
    architecture = point(f"causal: false\nfit: {fit}\ngraph: {body}").to_dict()
    about = {"patch": 8} if task == "digits" else {"examples_train": 64, "examples_validation": 32, "length": 16}
    return Job("a/search/1", architecture, task, about, TrainingSettings(**settings))  # type: ignore[arg-type]


# ---- solutions -------------------------------------------------------------------------------------------------------


def moments(x: Tensor, y: Tensor, batch: int = 17) -> Moments:
    sums = Moments(len(x), x.shape[-1], y.shape[-1], torch.device("cpu"))
    for start in range(0, len(y), batch):
        sums.add(x[:, start : start + batch], y[start : start + batch])
    return sums


def test_ridge_is_that_of_scikit_learn_in_every_copy() -> None:
    x, y = drawn(3, 100, 6) * 2 + 50, drawn(100, 4, seed=1) + 3
    weight, bias = solve(moments(x, y), torch.tensor([0.1, 1.0, 30.0]))
    for i, penalty in enumerate((0.1, 1.0, 30.0)):
        theirs = Ridge(alpha=penalty).fit(x[i].numpy(), y.numpy())
        torch.testing.assert_close(weight[i], torch.from_numpy(theirs.coef_), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(bias[i], torch.from_numpy(theirs.intercept_), rtol=1e-6, atol=1e-6)


def test_a_copy_without_a_solution_says_so_and_leaves_the_others_alone() -> None:
    x, y = drawn(2, 30, 3), drawn(30, 2, seed=1)
    alone = solve(moments(x[1:], y), torch.tensor([1.0]))[0][0]
    x[0] = torch.nan
    weight, _ = solve(moments(x, y), torch.tensor([1.0, 1.0]))
    assert weight[0].isnan().all()
    torch.testing.assert_close(weight[1], alone)


def test_rows_left_out_have_the_scores_of_the_solution_without_them() -> None:
    x, y, penalty = drawn(1, 20, 3), drawn(20, 2, seed=1), torch.tensor([0.5])
    sums = moments(x, y)
    weight, bias = solve(sums, penalty)
    scores = left_out(sums, penalty, x, y, x @ weight.mT + bias.unsqueeze(1))
    fewer = Ridge(alpha=0.5).fit(x[0, 1:].numpy(), y[1:].numpy()).predict(x[0, :1].numpy())
    torch.testing.assert_close(scores[0, :1], torch.from_numpy(fewer))


def test_support_vector_machines_are_those_of_scikit_learn() -> None:
    x, classes = drawn(120, 5), torch.arange(120) % 3
    x = x + 2 * classes[:, None]
    weight, bias, converged = linear_svm(x.numpy(), classes.numpy(), 4, 0.5, 7)
    theirs = LinearSVC(C=0.5, dual="auto", random_state=7, max_iter=2000).fit(x.numpy(), classes.numpy())
    assert converged
    torch.testing.assert_close(weight[:3], torch.from_numpy(theirs.coef_), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(bias[:3], torch.from_numpy(theirs.intercept_), rtol=1e-6, atol=1e-6)
    assert bias[3] == -1 and not weight[3].any()  # a class that no row has


def test_two_classes_split_the_margin_of_their_one_machine() -> None:
    x, classes = drawn(60, 3), torch.arange(60) % 2
    x = x + classes[:, None]
    weight, bias, _ = linear_svm(x.numpy(), classes.numpy(), 2, 1.0, 0)
    theirs = LinearSVC(C=1.0, dual="auto", random_state=0, max_iter=2000).fit(x.numpy(), classes.numpy())
    scores = x @ weight.mT + bias
    torch.testing.assert_close(scores[:, 1] - scores[:, 0], torch.from_numpy(theirs.decision_function(x.numpy())))


def test_sharpness_finds_the_factor_that_labels_were_drawn_with() -> None:
    scores = drawn(1, 4000, 3)
    classes = torch.multinomial(torch.softmax(3 * scores[0], -1), 1, generator=torch.Generator().manual_seed(0))[:, 0]
    assert sharpness(scores, classes).item() == pytest.approx(3.0, rel=0.1)


# ---- the convex program ----------------------------------------------------------------------------------------------


def curve(n: int = 20) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(n, 1, generator=generator, dtype=torch.float64) - 1
    y = torch.sin(4 * x) + 0.1 * torch.randn(n, 1, generator=generator, dtype=torch.float64)
    return torch.cat([x, torch.ones_like(x)], 1), y


def descended(x: Tensor, y: Tensor, beta: float, seed: int) -> float:
    """The objective after gradient descent with Adam from a random start."""
    inner = drawn(40, 2, seed=seed).mul(0.7).requires_grad_()
    outer = drawn(40, seed=seed + 100).mul(0.3).requires_grad_()
    adam = torch.optim.Adam([inner, outer], lr=0.02)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 600)
    loss = torch.zeros(())
    for _ in range(600):
        error = (torch.relu(x @ inner.mT) @ outer - y[:, 0]).square().sum() / 2
        loss = error + beta / 2 * (inner.square().sum() + outer.square().sum())
        adam.zero_grad()
        loss.backward()
        adam.step()
        decay.step()
    return loss.item()


def test_no_descent_beats_the_convex_program_and_its_bound_proves_it() -> None:
    x, y = curve()
    active, every = patterns(x, 100, torch.Generator().manual_seed(0))
    assert every and len(active) == 2 * len(x) - 1
    found = Program(x, y, active).solve(0.1, iterations=3000, tolerance=1e-9, certify=True)
    assert found.gap is not None and -1e-9 < found.gap < 1e-5
    assert objective(found.network, x, y, 0.1) == found.value
    assert min(descended(x, y, 0.1, seed) for seed in range(10)) > found.value * (1 - 1e-5)


def test_the_convex_network_is_a_model() -> None:
    x, y = curve()
    active, _ = patterns(x, 100, torch.Generator().manual_seed(0))
    network = Program(x, y, active).solve(0.2).network
    weights = _stacked([(network.inner, network.outer)], torch.ones(1), torch.tensor([0.5], dtype=torch.float64))
    architecture = point("fit: convex\ngraph: {op: identity}\nscale: {width: 1}")
    model = build(architecture, InputKind("vectors", 1), OutputKind("sequence", 1, "squared_error"), seeds=[0]).double()
    with torch.no_grad():
        for name, value in weights.items():
            model.readout.get_parameter(name).copy_(value)
        torch.testing.assert_close(model.answer(x[None, :, :1])[0], network(x) + 0.5)


# ---- candidates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fit", ["ridge", "random_features", "svm"])
def test_a_solved_candidate_needs_no_step_and_is_better_than_chance(fit: str) -> None:
    measured = run(job(fit))
    assert measured.steps == 0 and measured.score is not None and measured.score > 0.85
    assert [s["fit"] for s in measured.solutions] == [fit, fit]
    assert all(s["penalty"] > 0 and s["seconds"] > 0 for s in measured.solutions)
    assert Measurement.from_dict(measured.to_dict()) == measured
    assert measured.fidelity == run(job("gradient", steps=20)).fidelity  # so that they share a board


def test_a_solved_body_stays_as_it_was_drawn_and_a_copy_is_its_solo_run() -> None:
    both = Trainer(job("ridge", "{op: mlp}"))
    before = {n: p.clone() for n, p in both.model.named_parameters() if not n.startswith("readout")}
    both.advance()
    for name, value in before.items():
        assert torch.equal(value, dict(both.model.named_parameters())[name])
    alone = Trainer(Job(**{**vars(job("ridge", "{op: mlp}", seeds=1)), "seed_base": 1}))
    alone.advance()
    found, expected = (t.model.readout.get_parameter("weight") for t in (both, alone))
    torch.testing.assert_close(found[1], expected[0], rtol=1e-3, atol=1e-4)
    assert both.solutions[1]["penalty"] == pytest.approx(alone.solutions[0]["penalty"], rel=1e-4)


def test_steps_that_do_not_count_are_not_solved_for() -> None:
    measured = run(job("ridge", task="in_context_recall"))
    assert 0 < measured.solutions[0]["rows"] < 64 * 16


def test_a_readout_solved_for_is_part_of_what_a_candidate_is() -> None:
    trained, solved = (point(f"fit: {fit}\ngraph: {{op: mlp}}") for fit in ("gradient", "ridge"))
    assert digest(trained, registry()) != digest(solved, registry())
    assert digest(trained, registry()) == digest(point("graph: {op: mlp}"), registry())
    assert Architecture.from_dict(solved.to_dict()) == solved


def test_how_to_fit_is_a_choice_like_others() -> None:
    space = SearchSpace.read("solved")
    found = space.sample(random.Random(0))
    assert found.decisions["fit"] == found.architecture.fit and space.decide(found.decisions) == found
    parsed = SearchSpace.parse("fit: {choose: [ridge, svm]}\ngraph: {op: mlp, expand: {choose: [1, 2, 4]}}")
    assert parsed.size().exact == 6 and {s.architecture.fit for s in parsed.enumerate()} == {"ridge", "svm"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fit: rigde", "Did you mean `ridge`?"),
        ("fit: {choose: [svm, gradeint]}", "Did you mean `gradient`?"),
        ("fit: {int: [1, 2]}", "a choice of names"),
        ("fit: [ridge]", "Write {choose: [...]}"),
        ("fit: ridge\nreadout: linear", "`fit` solves for the usual readout"),
    ],
)
def test_mistakes_are_found_where_they_stand(text: str, said: str) -> None:
    with pytest.raises(FileError) as error:
        SearchSpace.parse(f"{text}\ngraph: {{op: mlp}}")
    assert said in str(error.value)


def test_convex_refuses_sequences_of_several_steps() -> None:
    with pytest.raises(CandidateError, match="sequences of one step, but they have 16"):
        run(job("convex", task="in_context_recall"))


# ---- attention as a support vector machine ---------------------------------------------------------------------------


def test_attention_tends_to_the_maximal_margin() -> None:
    course = study(inputs=3, tokens=4, features=8, steps=300, rate=0.5)
    assert course.selected[-1] > 0.95 > course.selected[0]


def test_the_maximal_margin_keeps_its_distance() -> None:
    x, z, chosen = drawn(3, 4, 8), drawn(3, 8, seed=1), torch.tensor([0, 2, 1])
    w = margin_direction(x, z, chosen)
    scores = torch.einsum("ntd,de,ne->nt", x, w, z)
    leads = scores.gather(1, chosen[:, None]) - scores
    others = leads[torch.ones(3, 4, dtype=torch.bool).scatter(1, chosen[:, None], False)]
    assert others.min().item() == pytest.approx(1.0)


def test_the_command_draws_and_writes(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    sizes = ["--inputs", "2", "--tokens", "3", "--features", "4", "--steps", "20"]
    attention_svm([*sizes, "-o", str(tmp_path / "a.svg"), "--json", str(tmp_path / "a.json")])
    assert (tmp_path / "a.svg").read_text().startswith("<svg") and '"cosine"' in capsys.readouterr().out
