"""Readouts that are solved for: the solutions themselves, and candidates that have them."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
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
from archsearch.tasks.base import Examples, InputKind, OutputKind
from archsearch.training.fitting import fit_readout, two_layers
from archsearch.training.fitting.agreement import Agreement
from archsearch.training.fitting.barrier import centred
from archsearch.training.fitting.certificate import lower_bound
from archsearch.training.fitting.columns import lacked, searched
from archsearch.training.fitting.convex import Program, largest, objective, patterns, polished
from archsearch.training.fitting.corrective import corrected, nonnegative
from archsearch.training.fitting.lacking import lacking, starts
from archsearch.training.fitting.methods import METHODS
from archsearch.training.fitting.problem import Problem
from archsearch.training.fitting.ridge import Moments, left_out, residual, solve
from archsearch.training.fitting.svm import gap, linear_svm
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


def several(n: int, features: int = 8) -> tuple[Tensor, Tensor]:
    """Rows of some features with a one behind, and noisy targets of a network of three units."""
    x = drawn(n, features)
    y = torch.relu(x @ drawn(features, 3, seed=1)) @ drawn(3, 1, seed=2) + 0.1 * drawn(n, 1, seed=3)
    return torch.cat([x, torch.ones(n, 1).double()], 1), y - y.mean()


def descended(x: Tensor, y: Tensor, beta: float, seed: int, rate: float = 0.02) -> float:
    """The objective after gradient descent with Adam from a random start."""
    inner = drawn(40, x.shape[1], seed=seed).mul(0.7).requires_grad_()
    outer = drawn(40, seed=seed + 100).mul(0.3).requires_grad_()
    adam = torch.optim.Adam([inner, outer], lr=rate)
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


@pytest.mark.parametrize("beta", [1.0, 0.1, 0.001])
def test_the_convex_program_is_solved_to_the_bound_that_proves_it(beta: float) -> None:
    x, y = curve()
    active, every = patterns(x, 100, torch.Generator().manual_seed(0))
    assert every and len(active) == 2 * len(x) - 1
    network = corrected(x, y, active, beta)
    value, (bound, known) = objective(network, x, y, beta), lower_bound(network, x, y, active, beta)
    assert known == len(active) and -1e-9 < (value - bound) / value < 2e-6
    again = corrected(x, y, active, beta, corrected(x, y, active, 2 * beta))
    assert objective(again, x, y, beta) == pytest.approx(value, rel=2e-6)
    by_splitting = Program(x, y, active).solve(beta, iterations=300)
    assert objective(by_splitting.network, x, y, beta) == by_splitting.value > value * (1 - 2e-6)


@pytest.mark.slow
def test_no_descent_beats_the_convex_program() -> None:
    x, y = curve()
    active, _ = patterns(x, 100, torch.Generator().manual_seed(0))
    value = objective(corrected(x, y, active, 0.1), x, y, 0.1)
    assert min(descended(x, y, 0.1, seed) for seed in range(10)) > value * (1 - 1e-5)


def test_the_patterns_that_a_search_finds_are_as_good_as_all() -> None:
    x, y = curve()
    active, _ = patterns(x, 100, torch.Generator().manual_seed(0))
    for beta in (1.0, 0.03):
        best = objective(corrected(x, y, active, beta), x, y, beta)
        network = searched(x, y, beta, None, 0, 1e12)
        assert objective(network, x, y, beta) == pytest.approx(best, rel=2e-6)
        assert not len(lacked(network, x, y, beta * (1 + 1e-4), 1)) and len(lacked(network, x, y, beta / 2, 1))


def test_the_program_over_a_few_patterns_is_solved_by_its_interior() -> None:
    x, y = several(30, 3)
    inside, signs, beta = drawn(12, 4, seed=4).numpy(), np.where(np.arange(12) % 2, 1.0, -1.0), 0.5
    active = inside @ x.mT.numpy() > 0
    found, _ = centred(x.numpy(), y[:, 0].numpy(), signs, active, 0.01 * inside, beta, 1e-9)
    assert (((found @ x.mT.numpy()) > 0) == active).all()
    lengths = np.linalg.norm(found, axis=1)
    residual = y[:, 0].numpy() - (np.maximum(x.numpy() @ found.T, 0.0) * signs).sum(1)
    value = residual @ residual / 2 + beta * lengths.sum()
    for sign in (1.0, -1.0):  # no unit of a pattern with its sign is lacking
        for pattern in active[signs == sign]:
            cone = (np.where(pattern, 1.0, -1.0)[:, None] * x.numpy()).T
            assert nnls(cone, -sign * (residual * pattern) @ x.numpy())[1] < beta * (1 + 1e-4)
    assert value == pytest.approx(residual @ y[:, 0].numpy() - residual @ residual / 2, rel=1e-6)  # its dual


def test_units_that_are_lacking_reach_what_is_said() -> None:
    x, y = (t.numpy() for t in several(30, 3))
    draw, none = np.random.default_rng(0), (np.zeros((0, 4)), np.zeros(0))
    found = lacking(x, y[:, 0], 1.0, none, starts(x, 64, draw), draw)
    assert len(found) > 2 and found[0].reach == max(unit.reach for unit in found)
    for unit in found:
        assert unit.reach == pytest.approx(unit.sign * y[:, 0] @ np.maximum(x @ unit.unit, 0.0))
        assert (((x @ unit.inside) > 0) == unit.pattern).all()
    assert not lacking(x, y[:, 0], found[0].reach * 1.01, none, starts(x, 64, draw), draw)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.01, 0.001])
def test_no_descent_beats_the_convex_program_of_eight_features(share: float) -> None:
    x, y = several(60)
    copy = two_layers.Copy(x[:, :-1], y, 0)
    value = copy.solve(share)["objective"]
    runs = [descended(copy.x, copy.y, copy.beta, seed, rate) for seed in range(10) for rate in (0.01, 0.03)]
    assert copy.searched and min(runs) > value * (1 - 1e-6)
    assert copy.proof(copy.network, copy.beta)["gap"] < 1e-5


def test_a_penalty_that_is_too_large_leaves_nothing_of_the_network() -> None:
    x, y = curve()
    active, _ = patterns(x, 100, torch.Generator().manual_seed(0))
    network = corrected(x, y, active, largest(x, y, active))
    assert not network(x).any() and objective(network, x, y, 1.0) == pytest.approx(y.square().sum().item() / 2)


def test_descent_makes_a_network_better_and_what_it_gives_is_balanced() -> None:
    x = torch.cat([drawn(40, 3), torch.ones(40, 1).double()], 1)
    y = drawn(40, 2, seed=1)
    active, every = patterns(x, 10, torch.Generator().manual_seed(0))
    begun = Program(x, y, active).solve(0.5, iterations=50)
    network = polished(begun.network, x, y, 0.5, 50)
    assert not every and objective(network, x, y, 0.5) < begun.value
    torch.testing.assert_close(network.inner.norm(dim=-1), network.outer.abs())


def test_weights_that_are_not_negative_meet_their_conditions() -> None:
    columns, target = drawn(30, 12).numpy(), drawn(30, seed=1).numpy()
    weights = nonnegative(columns, target, 0.3, np.zeros(12))
    slope = columns.T @ (target - columns @ weights) - 0.3
    assert weights.min() >= 0 and (weights > 0).any() and slope.max() < 1e-9
    assert abs(slope[weights > 0]).max() < 1e-9


def test_the_convex_network_is_a_model() -> None:
    x, y = curve()
    active, _ = patterns(x, 100, torch.Generator().manual_seed(0))
    network = Program(x, y, active).solve(0.2).network
    weights = two_layers.stacked(
        [(network.inner, network.outer)], torch.ones(1), torch.tensor([0.5], dtype=torch.float64)
    )
    architecture = point("fit: convex\ngraph: {op: identity}\nscale: {width: 1}")
    model = build(architecture, InputKind("vectors", 1), OutputKind("sequence", 1, "squared_error"), seeds=[0]).double()
    with torch.no_grad():
        for name, value in weights.items():
            model.readout.get_parameter(name).copy_(value)
        torch.testing.assert_close(model.answer(x[None, :, :1])[0], network(x) + 0.5)


# ---- candidates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fit", ["ridge", pytest.param("random_features", marks=pytest.mark.slow), "svm"])
def test_a_solved_candidate_needs_no_step_and_is_better_than_chance(fit: str) -> None:
    measured = run(job(fit))
    assert measured.steps == 0 and measured.score is not None and measured.score > 0.85
    assert [s["fit"] for s in measured.solutions] == [fit, fit]
    first, second = measured.solutions
    assert first["penalty"] > 0 and first["seconds"] > 0 and first["digest"] != second["digest"]
    assert first["path"][[p["penalty"] for p in first["path"]].index(first["penalty"])]["score"] == max(
        p["score"] for p in first["path"]
    )
    assert max(abs(v) for v in first["certificate"].values() if isinstance(v, float)) < 1e-3
    assert first["cosines"][0] == pytest.approx(1.0) and first["cosines"][1] == pytest.approx(second["cosines"][0])
    assert first["cosines"][1] > 0.8  # of two bodies drawn apart
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


def problem(rows: int, classes: int, *, features: int = 3, steps: int = 1, numbers: bool = False) -> Problem:
    """Random features of one copy, and classes in turn, or numbers."""
    x = drawn(rows, features).float()
    targets = drawn(rows, classes, seed=1).float() if numbers else torch.arange(rows) % classes
    output = OutputKind("sequence", classes, "squared_error" if numbers else "cross_entropy")
    model = SimpleNamespace(seeds=(0,), copies=1)
    return Problem(model, Examples(x[:, None], targets), output, lambda i: i[:, 0][None], 512, steps)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fit", "given", "said"),
    [
        ("svm", problem(20, 2, numbers=True), "needs classes as targets, but the task asks for numbers"),
        ("svm", problem(20, 1), "at least two classes, but all are of one"),
        ("svm", problem(200, 65), "at most 64 classes, .* but the task has 65. Take `fit: ridge`"),
        ("convex", problem(20, 2, steps=16), "sequences of one step, but they have 16"),
        ("convex", problem(2001, 2), "at most 2,000 rows, but there are more"),
        ("convex", problem(200, 65), "at most 64 outputs, .* but there are 65"),
        ("convex", problem(1500, 50, features=50), "at most 3,000,000, but they are 1,500 × 50 × 50"),
    ],
)
def test_what_cannot_be_solved_for_is_refused_and_says_why(fit: str, given: Problem, said: str) -> None:
    with pytest.raises(CandidateError, match=said) as error:
        next(METHODS[fit](given))
    assert error.value.reason == "refused"


def test_several_answers_of_a_sequence_are_refused() -> None:
    trainer = Trainer(job("ridge"))
    task = SimpleNamespace(output=OutputKind("sequence", 4, answers=3))
    with pytest.raises(CandidateError, match="takes one answer a sequence, but the task asks for 3"):
        fit_readout(trainer.model, task, trainer.judge, batch=32)  # type: ignore[arg-type]


def test_more_rows_than_machines_take_are_left_out() -> None:
    solution = next(METHODS["svm"](problem(4100, 2)))
    assert solution.facts[0]["rows"] == 4000


def test_a_convex_readout_of_one_number_is_solved_over_all_patterns() -> None:
    solution = list(METHODS["convex"](problem(60, 1, features=1, numbers=True)))[2]
    assert solution.proofs[0]() == {"gap": pytest.approx(0.0, abs=2e-6), "patterns": 119, "all_patterns": True}


def test_a_convex_readout_of_several_says_how_many_patterns_its_bound_is_over() -> None:
    solution = next(METHODS["convex"](problem(60, 2, numbers=True)))
    found = solution.proofs[0]()
    assert -1e-9 < found["gap"] < 1e-5 and found["patterns"] > 10
    assert found["searched"] and not found["all_patterns"]


# ---- what is said of a solution --------------------------------------------------------------------------------------


def test_the_residual_of_the_normal_equations_is_that_of_what_was_solved() -> None:
    x, y = drawn(2, 50, 4), drawn(50, 3, seed=1)
    sums, penalty = moments(x, y), torch.tensor([0.5, 2.0])
    weight, _ = solve(sums, penalty)
    assert residual(sums, penalty, weight).max() < 1e-13
    assert residual(sums, penalty, weight * 1.1).min() > 0.05


def test_the_gap_of_machines_is_small_where_they_converged_alone() -> None:
    classes = torch.arange(120) % 3
    x = (drawn(120, 5) + classes[:, None]).numpy()
    weight, bias, _ = linear_svm(x, classes.numpy(), 3, 0.5, 7)
    said = gap(x, classes.numpy(), weight.numpy(), bias.numpy(), 0.5)
    assert -1e-12 < said["gap"] < 1e-3 and 0 < said["inside"] <= 120
    assert gap(x, classes.numpy(), 0.5 * weight.numpy(), bias.numpy(), 0.5)["gap"] > 0.01
    two = classes.numpy() % 2
    weight, bias, _ = linear_svm(x, two, 2, 0.5, 7)
    assert -1e-12 < gap(x, two, weight.numpy(), bias.numpy(), 0.5)["gap"] < 1e-3


def test_answers_are_compared_around_their_mean_whatever_the_batches() -> None:
    one = drawn(40, 3)
    answers = torch.stack([one, 2 * one + 5, -one, torch.full_like(one, 7.0)])
    whole, parts = Agreement([answers]), Agreement([answers[:, :13], answers[:, 13:]])
    assert whole.cosines[0][:3] == pytest.approx([1.0, 1.0, -1.0])
    assert whole.cosines[3] == [None] * 4 and whole.cosines[0][3] is None
    for a, b in zip(whole.cosines, parts.cosines, strict=True):
        assert a[:3] == pytest.approx(b[:3])


def test_the_same_solution_has_the_same_digest_and_sketch() -> None:
    first, again = (run(job("ridge", seeds=1)).solutions[0] for _ in range(2))
    assert (first["digest"], first["sketch"]) == (again["digest"], again["sketch"])


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
