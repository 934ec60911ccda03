from dataclasses import replace

import pytest

from archsearch.errors import ConfigError, UserError
from archsearch.leaderboard import boards, select


@pytest.fixture
def board(usual):
    return boards([usual])[0]


def ids(board):
    return [r["id"] for r in board.rows]


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("score > 0.4 and status == 'done'", ["1", "2", "3"]),
        ("0.4 < score < 0.6", ["2", "3"]),
        ("role == 'control' or id in ['3', '4']", ["no_mixer", "3", "4"]),
        ("'recurrence' in families and not (status == 'done')", ["5", "4", "6"]),
        ("decisions['body.0.mix'] == 'gru' and score >= .99", ["1"]),
        ("decisions['nowhere'] == 'gru'", []),
        ("score is None", ["4", "6"]),
        ("score != None and test_score == None", ["3", "5"]),
        ("families[0] == 'recurrence' and 'memory' in failure", ["4"]),
        ("body_params / 1e3 - 25 * 2 == 0 and -score < -0.98", ["1"]),
        ("parallel_in_time", ["1", "2", "no_mixer", "3"]),
        ("status not in ('done', 'failed')", ["5", "6"]),
    ],
)
def test_where_keeps_what_it_describes(board, where, kept):
    assert ids(select(board, where=where)) == kept


@pytest.mark.parametrize(
    ("where", "error", "message"),
    [
        ("scor > 0.5", ConfigError, "Did you mean `score`"),
        ("status == done", ConfigError, "in quotes: 'done'"),
        ("score = 0.5", ConfigError, "Write `==` to compare"),
        ("score >", ConfigError, "must be an expression"),
        ("", ConfigError, "must be an expression"),
        ("__import__('os').system('true')", ConfigError, "allows fields"),
        ("score.__class__", ConfigError, "allows fields"),
        ("[r for r in families]", ConfigError, "allows fields"),
        ("(lambda: 1)()", ConfigError, "allows fields"),
        ("score ** 9", ConfigError, "allows fields"),
        ("f'{score}' == '1'", ConfigError, "allows fields"),
        ("score > 'a'", ConfigError, "must compare values that fit"),
        ("score / 0 > 1", ConfigError, "must compare values that fit"),
        ("id['a'] == 1", ConfigError, "must compare values that fit"),
        ("(" * 500 + "score" + ")" * 500, ConfigError, "must be an expression"),
    ],
)
def test_where_refuses_the_rest_and_says_why(board, where, error, message):
    with pytest.raises(error) as caught:
        select(board, where=where or " ")
    assert message in str(caught.value)


def test_sorting_stays_within_sections(board):
    assert ids(select(board, sort="-score")) == ["1", "2", "no_mixer", "3", "5", "4", "6"]
    assert ids(select(board, sort="score")) == ["no_mixer", "2", "1", "3", "5", "4", "6"]


def test_sorting_by_several_keys_with_the_unknown_last(make):
    c = make.candidate
    record = make.campaign(c(1, [0.5], params=10), c(2, [0.7], params=10), c(3, [0.6], params=20), c(10), c(9))
    (board,) = boards([record])
    assert ids(select(board, sort="-body_params,score"))[:3] == ["3", "1", "2"]
    assert ids(select(board, sort="body_params,-score"))[:3] == ["2", "1", "3"]
    assert ids(select(board, sort="score,id"))[3:] == ["9", "10"]


def test_speeds_are_sorted_device_by_device(make):
    gpu = {"device": "cuda", "device_name": "b"}
    speeds = [(1, 10.0, None), (2, 99.0, gpu), (3, 30.0, None), (4, 50.0, gpu)]
    candidates = []
    for name, speed, environment in speeds:
        m = make.measurement([0.5], tokens_per_second=speed)
        m = replace(m, environment=environment) if environment else m
        candidates.append(replace(make.candidate(name), status="done", search=m))
    assert ids(select(boards([make.campaign(*candidates)])[0], sort="-tokens_per_second")) == ["3", "1", "2", "4"]


@pytest.mark.parametrize(("sort", "message"), [("scor", "Did you mean `score`"), (",", "at least one field")])
def test_bad_sort_keys(board, sort, message):
    with pytest.raises(UserError, match=message):
        select(board, sort=sort)


def test_the_front_and_the_top(make):
    c = make.candidate
    record = make.campaign(c(1, [0.9], params=100), c(2, [0.8], params=200), c(3, [0.7], params=50), c(4))
    (board,) = boards([record])
    assert ids(select(board, pareto=True)) == ["1", "3"]
    assert ids(select(board, top=2)) == ["1", "2"]


def test_ranks_do_not_change_with_what_is_shown(board):
    assert [r["rank"] for r in select(board, where="id == '2'").rows] == [2]
