"""What it took to reach a score, gaps between the splits, and rates at the edge of their grid."""

from dataclasses import replace

import pytest

from archsearch.leaderboard import boards
from archsearch.leaderboard.rows import fidelity_text


def row(record, target=None):
    return boards([record], target=target)[0].rows[0]


def test_steps_operations_and_seconds_to_a_target(make):
    search = make.measurement([0.9, 0.6], step_flops=1e6)  # curves: half the score at 200 steps, all of it at 400
    found = row(make.campaign(replace(make.candidate(1), status="done", search=search)), 0.4)
    assert (found["reached"], found["steps_to_target"]) == (2, 300)
    assert found["flops_to_target"] == 300e6
    assert found["seconds_to_target"] == pytest.approx(300 * 2.5 / 400)
    only_one = row(make.campaign(replace(make.candidate(1), status="done", search=search)), 0.8)
    assert (only_one["reached"], only_one["steps_to_target"]) == (1, 400)


def test_a_target_that_nobody_reaches_costs_nothing_known(make):
    found = row(make.campaign(make.candidate(1, [0.5, 0.6])), 0.9)
    assert (found["reached"], found["steps_to_target"], found["seconds_to_target"]) == (0, None, None)


def test_the_task_says_its_own_target(make):
    candidate = make.candidate(1, [0.9])
    assert row(make.campaign(candidate, task={"solved": 0.4}))["steps_to_target"] == 200
    assert row(make.campaign(candidate))["reached"] is None


def test_where_less_is_better_a_target_lies_below(make):
    found = row(make.campaign(make.candidate(1, [2.0]), task={"maximize": False}), 1.5)
    assert found["steps_to_target"] == 200  # 1.0 there, 2.0 at the end


@pytest.mark.parametrize(("maximize", "sign"), [(True, 1), (False, -1)])
def test_gaps_are_positive_where_the_later_split_is_worse(make, maximize, sign):
    final = make.measurement([0.7, 0.7], split="test", train_score=0.9, validation_score=0.8)
    candidate = replace(make.candidate(1, [0.75]), final=final)
    found = row(make.campaign(candidate, task={"maximize": maximize}))
    assert found["train_score"] == 0.9
    assert found["gap_validation"] == pytest.approx(0.1 * sign)
    assert found["gap_test"] == pytest.approx(0.1 * sign)
    assert found["shrinkage"] == pytest.approx(0.05 * sign)


def with_rates(make, rates, chosen):
    search = make.measurement([0.5] * len(rates))
    copies = tuple(replace(c, learning_rate=r) for c, r in zip(search.copies, rates, strict=True))
    search = replace(search, copies=copies, learning_rate=chosen)
    return replace(make.candidate(1), status="done", search=search)


EDGES = [((1e-3,), 1e-3, None), ((1e-3, 1e-2), 1e-2, "highest"), ((1e-3, 1e-2, 1e-1), 1e-2, None)]


@pytest.mark.parametrize(("rates", "chosen", "edge"), [*EDGES, ((1e-3, 1e-2), 1e-3, "lowest")])
def test_a_rate_at_the_edge_of_several_is_marked(make, rates, chosen, edge):
    record = make.campaign(with_rates(make, rates, chosen))
    assert row(record)["rate_edge"] == edge
    assert any("beyond the grid for 1" in b for b in boards([record])[0].banners) == (edge is not None)


def test_a_final_at_the_chosen_rate_alone_still_shows_the_edge_of_the_grid(make):
    candidate = replace(with_rates(make, (1e-3, 3e-3), 3e-3), final=make.measurement([0.5, 0.5], split="test"))
    assert row(make.campaign(candidate))["rate_edge"] == "highest"


def test_budgets_are_said_and_never_share_a_ranking(make):
    def of(id, score, **budget):
        m = make.measurement([score], steps=0)
        return replace(
            make.candidate(id), status="done", search=replace(m, fidelity=replace(m.fidelity, **budget), steps=70)
        )

    flops = [of(1, 0.8, budget="flops", amount=1e9), of(2, 0.7, budget="flops", amount=1e9)]
    record = make.campaign(*flops, of(3, 0.9, budget="seconds", amount=5.0), make.candidate(4, [0.1]))
    found = {r["id"]: r["rank"] for r in boards([record])[0].rows}
    assert found == {"1": 1, "2": 2, "3": 1, "4": 1}
    assert "1e+09 FLOPs a copy in steps of 32" in fidelity_text(flops[0].search.fidelity)


def test_a_control_of_another_budget_is_ranked_apart(make):
    m = make.measurement([0.5], steps=0)

    def of(id, budget, **more):
        found = replace(m, fidelity=replace(m.fidelity, budget=budget, amount=1e9, settings=str(id)))
        return replace(make.candidate(id, **more), status="done", search=found)

    frozen, timed = of("frozen", "flops", role="control"), of("timed", "seconds", role="control")
    found = {r["id"]: r["fidelity"] for r in boards([make.campaign(of(1, "flops"), frozen, timed)])[0].rows}
    assert found["frozen"] == found["1"] != found["timed"]
