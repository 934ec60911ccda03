from dataclasses import replace

from archsearch.ranking import Entry, rank


def entry(key, score, section="search", fidelity="f", **more):
    return Entry(key, section, fidelity, score, **more)


def keys(ranked):
    return [r.entry.key for r in ranked]


def test_finals_come_before_searched_and_unfinished_come_last():
    ranked = rank(
        [
            entry("failed", None, "unfinished"),
            entry("stopped", 0.99, "unfinished"),
            entry("searched", 0.95),
            entry("final", 0.5, "finals", "g"),
        ]
    )
    assert keys(ranked) == ["final", "searched", "stopped", "failed"]
    assert [r.place for r in ranked] == [1, 1, None, None]


def test_a_smaller_score_wins_where_it_should():
    ranked = rank([entry("a", 3.0), entry("b", 2.0)], maximize=False)
    assert keys(ranked) == ["b", "a"]


def test_fidelities_are_ranked_apart_the_larger_group_first():
    ranked = rank(
        [entry("long", 0.9, fidelity="800"), entry("a", 0.1, fidelity="400"), entry("b", 0.2, fidelity="400")]
    )
    assert [(r.entry.key, r.group, r.place) for r in ranked] == [("b", 0, 1), ("a", 0, 2), ("long", 1, 1)]


def test_seeds_give_rank_sets_in_either_direction():
    good = entry("good", 2.0, "finals", samples=(2.0, 2.01, 1.99))
    same = entry("same", 2.0, "finals", samples=(2.01, 2.0, 1.99), tiebreak=(1.0,))
    bad = entry("bad", 3.0, "finals", samples=(3.0, 3.01, 2.99))
    ranked = rank([bad, same, good], maximize=False)
    assert [(r.entry.key, str(r.ranks)) for r in ranked] == [("good", "1–2"), ("same", "1–2"), ("bad", "3")]


def test_one_seed_is_only_an_order():
    assert [r.ranks for r in rank([entry("a", 0.2, samples=(0.2,)), entry("b", 0.1, samples=(0.1,))])] == [None, None]


def test_no_score_is_unfinished_whatever_its_section():
    ranked = rank([entry("final", None, "finals"), entry("searched", 0.1)])
    assert [(r.entry.key, r.section) for r in ranked] == [("searched", "search"), ("final", "unfinished")]


def test_layers_weigh_score_against_cost_and_skip_the_unknown():
    a, b = entry("a", 0.9, cost=10.0), entry("b", 0.8, cost=20.0)
    layers = {r.entry.key: r.layer for r in rank([a, b, entry("c", 0.7, cost=1.0), entry("d", 0.6)])}
    assert layers == {"a": 1, "b": 2, "c": 1, "d": None}
    cheaper_is_worse = {r.entry.key: r.layer for r in rank([a, replace(b, cost=5.0)], maximize=False)}
    assert cheaper_is_worse == {"a": 2, "b": 1}
