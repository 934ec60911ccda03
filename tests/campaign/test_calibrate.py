"""Which rung of a ladder fits, with trainings that take no time."""

from types import SimpleNamespace

import pytest

from archsearch.campaign.calibrate import Ladder, calibrate, ladder_of, scale_of, share_of
from archsearch.errors import ConfigError, UnknownNameError
from archsearch.tasks.registry import task_class

RECALL = task_class("in_context_recall")


def climb(scores, *, scale=(0.0, 1.0), every=False, between=(0.6, 0.95)):
    """The calibration of a ladder 0, 1, ... with these scores, and the values at which it trained, in order."""
    order = []

    def train(value):
        order.append(value)
        return SimpleNamespace(score=scores[value], learning_rate=1e-3, steps=4, seconds=0.5)

    ladder = Ladder("length", tuple(range(len(scores))), (scale,) * len(scores))
    return calibrate(ladder, train, between=between, every=every), order


def stand_in(chance, ceiling, *, maximize=True):
    return SimpleNamespace(
        name="mine", metric="score", chance=chance, ceiling=ceiling, maximize=maximize, settings=lambda: {"length": 8}
    )


@pytest.mark.parametrize("fits", range(9))
def test_halving_finds_the_one_rung_that_fits_with_few_trainings(fits):
    found, order = climb([1.0] * fits + [0.8] + [0.1] * (8 - fits))
    assert found.chosen is not None and found.chosen.value == fits
    assert found.line == f"--set task.length={fits}"
    assert found.side is None
    assert len(order) <= 4
    assert [rung.value for rung in found.rungs] == sorted(order)


def test_halving_begins_in_the_easier_half():
    assert climb([0.8, 0.8, 0.8, 0.8])[1] == [1]


def test_every_takes_the_fitting_rung_nearest_to_the_middle():
    found, order = climb([1.0, 0.94, 0.77, 0.62, 0.2], every=True)
    assert order == [0, 1, 2, 3, 4]
    assert found.chosen is not None and found.chosen.value == 2
    assert [rung.verdict for rung in found.rungs] == ["too easy", "fits", "fits", "fits", "too hard"]


@pytest.mark.parametrize(("score", "verdict"), [(0.6, "fits"), (0.59, "too hard"), (0.95, "fits"), (0.96, "too easy")])
def test_both_ends_fit(score, verdict):
    assert climb([score])[0].rungs[0].verdict == verdict


@pytest.mark.parametrize(
    ("scores", "side", "words"),
    [
        ([1.0, 0.99, 0.98], "too easy", "even the hardest, length=2 at 98 %, is too easy"),
        ([0.5, 0.3, 0.1], "too hard", "even the easiest, length=0 at 50 %, is too hard"),
        ([1.0, 0.99, 0.1], "between", "length=1 at 99 %, is too easy and length=2 at 10 %, too hard"),
    ],
)
def test_where_nothing_fits_it_says_on_which_side_it_fell_off(scores, side, words):
    found, _ = climb(scores)
    assert found.chosen is None and found.line is None
    assert found.side == side
    assert words in found.failure


def test_the_share_of_a_minimised_score_rises_as_the_score_falls():
    assert share_of(8.0, 8.0, 2.0) == 0.0
    assert share_of(3.5, 8.0, 2.0) == 0.75
    assert share_of(9.0, 8.0, 2.0) < 0.0
    found, _ = climb([2.1, 3.5, 7.0], scale=(8.0, 2.0))
    assert found.chosen is not None and found.chosen.value == 1


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (stand_in(0.1, None), "nobody knows that of `mine`"),
        (stand_in(0.5, 0.5), "got ceiling 0.5 and chance 0.5"),
        (stand_in(0.5, 0.4), "better than chance"),
        (stand_in(1.0, 2.0, maximize=False), "better than chance"),
        (stand_in(float("nan"), 1.0), "better than chance"),
    ],
)
def test_a_task_without_a_way_from_chance_to_ceiling_is_refused(task, words):
    with pytest.raises(ConfigError, match=words):
        scale_of(task)


def test_a_named_ceiling_takes_the_place_of_the_task_s():
    assert scale_of(stand_in(0.1, None), 0.9) == (0.1, 0.9)
    assert scale_of(stand_in(8.0, None, maximize=False), 0.0) == (8.0, 0.0)
    with pytest.raises(ConfigError, match="got ceiling 9 and chance 8"):
        scale_of(stand_in(8.0, None, maximize=False), 9.0)
    assert ladder_of(RECALL, "length=8,16", {}, 0.9).scales == ((0.125, 0.9),) * 2


def test_minimised_tasks_have_a_scale():
    assert scale_of(stand_in(2.0, 0.0, maximize=False)) == (2.0, 0.0)


def test_the_first_ladder_begins_with_the_default():
    ladder = ladder_of(RECALL, None, {})
    assert (ladder.setting, ladder.values) == ("vocabulary", (16, 32, 64, 128))
    assert ladder.scales[0] == (2 / 16, 1.0)
    assert ladder.scales[3] == (2 / 128, 1.0)


def test_a_ladder_that_holds_the_default_stays_as_it_is():
    assert ladder_of(task_class("multi_query_recall"), "length", {}).values == (64, 128, 256, 512)


def test_rungs_that_do_not_go_with_other_settings_are_left_out_of_a_task_s_own_ladder():
    kind = task_class("multi_query_recall")
    ladder = ladder_of(kind, "pairs", {})
    assert ladder.values == (4, 8, 16)
    ((value, why),) = ladder.left_out
    assert value == 64 and "`pairs` must be at most 16" in why
    with pytest.raises(ConfigError, match="`pairs` must be at most 16"):
        ladder_of(kind, "pairs=4,64", {})


@pytest.mark.parametrize("vary", ["length=8,16", "task.length=[8, 16]", " length = 8, 16"])
def test_named_values(vary):
    ladder = ladder_of(RECALL, vary, {"vocabulary": 8})
    assert (ladder.setting, ladder.values, ladder.scales[0][0]) == ("length", (8, 16), 0.25)


def test_names_may_vary_in_any_order_and_numbers_downwards():
    assert ladder_of(RECALL, "targets=recall,all", {}).values == ("recall", "all")
    assert ladder_of(RECALL, "examples_train=64,32", {}).values == (64, 32)


@pytest.mark.parametrize(
    ("vary", "words"),
    [
        ("lenght=8,16", "Did you mean `length`"),
        ("lenght", "Did you mean `length`"),
        ("length=2,8", "at least 4 and at most 65536, but got 2"),
        ("length=8,9", "`length` must be even, but got 9"),
        ("length=8,x", "must be a whole number, but got 'x'"),
        ("length=8,32,16", "each once, but got length=8,32,16"),
        ("length=8,8", "each once, but got length=8,8"),
        ("length=", "but got none"),
        ("seed", "which has vocabulary, length, examples_train"),
    ],
)
def test_what_cannot_vary_is_refused(vary, words):
    with pytest.raises((ConfigError, UnknownNameError)) as raised:
        ladder_of(RECALL, vary, {})
    assert words in str(raised.value)


def test_a_setting_cannot_both_vary_and_be_set():
    with pytest.raises(ConfigError, match=r"`task.vocabulary` is both"):
        ladder_of(RECALL, None, {"vocabulary": 8})


def test_a_task_without_a_ladder_says_which_numbers_it_has():
    with pytest.raises(ConfigError, match=r"no ladder of difficulty.*Its numbers: patch, seed\."):
        ladder_of(task_class("digits"), None, {})


def test_a_task_whose_ceiling_nobody_knows_is_refused_before_any_training():
    with pytest.raises(ConfigError, match=r"nobody knows that of `byte_language_model`.*--ceiling NUMBER"):
        ladder_of(task_class("byte_language_model"), "length=16,32", {})
