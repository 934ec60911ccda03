"""Smaller parts: agent files, halving, attempts, the inline clock, the display."""

import io
import time
from dataclasses import replace

import pytest

from archsearch.campaign import agents
from archsearch.campaign.attempt import Attempt, Outcome, failure_of, load_runner
from archsearch.campaign.executors import inline
from archsearch.campaign.halving import Halving
from archsearch.campaign.progress import Progress, _typical, summary, time_left
from archsearch.campaign.record import load
from archsearch.errors import CandidateError, ConfigError, UnknownNameError
from archsearch.training.measurement import Job, TrainingSettings
from tests.campaign.fakes import RUNNER, FakeTrainer, Scripted, campaign, config, work

AGENT = "from archsearch.agent import Agent, Proposal\n\nclass {name}(Agent):\n    {body}\n"
PROPOSE = "def propose(self, number): return Proposal({})"


def write(path, text):
    path.write_text(text)
    return path


def test_an_agent_file_defines_one_agent(tmp_path):
    file = write(tmp_path / "mine.py", AGENT.format(name="Mine", body=PROPOSE))
    assert agents.agent_class(file).name == "mine"
    for text, names in [
        ("x = 1\n", "none"),
        (2 * AGENT.format(name="A", body=PROPOSE).replace("A(", "{}("), "`A`, `B`"),
    ]:
        file.write_text(text.format("A", {}, "B", {}) if "{}(" in text else text)
        with pytest.raises(ConfigError, match=rf"must define one subclass .* defines {names}"):
            agents.agent_class(file)


def test_a_dataclass_in_an_agent_file_works(tmp_path):
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n" + AGENT.format(
        name="M", body=PROPOSE
    )
    file = write(tmp_path / "m.py", text + "\n@dataclass\nclass Note:\n    x: int = 0\n")
    assert agents.agent_class(file).__name__ == "M"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f(:\n", r"mine\.py:1: an agent file must import, but SyntaxError"),
        ("x = 1\ny = x / 0\n", r"mine\.py:2: an agent file must import, but ZeroDivisionError"),
        (
            "import no_such_library_at_all\n",
            "needs the library `no_such_library_at_all`.*pip install no_such_library_at_all",
        ),
    ],
)
def test_an_agent_file_that_does_not_import_is_said(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        agents.agent_class(write(tmp_path / "mine.py", text))


def test_settings_of_an_agent_are_checked(tmp_path):
    body = "def __init__(self, space, *, seed: int = 0, maximize: bool = True, rate: float = 0.5):\n        "
    body += "super().__init__(space, seed=seed, maximize=maximize)\n        self.rate = rate\n    " + PROPOSE
    file = write(tmp_path / "mine.py", AGENT.format(name="Mine", body=body))
    assert agents.make(file, None, {"rate": 1}).rate == 1.0
    with pytest.raises(ConfigError, match=r"no setting `agent\.rat`\. Did you mean `agent\.rate`"):
        agents.make(file, None, {"rat": 1})
    with pytest.raises(ConfigError, match=r"`agent\.rate` must be a number, but got 'fast'"):
        agents.make(file, None, {"rate": "fast"})
    with pytest.raises(ConfigError, match="Agent `tpe` refuses its settings"):
        agents.make("tpe", None, {"startup": 0})
    with pytest.raises(ConfigError, match=r"no setting `agent\.x`.*Available: none"):
        agents.make("random_search", None, {"x": 0})
    with pytest.raises(UnknownNameError):
        agents.make("no_such_agent", None, {})


def test_halving_keeps_the_best_third_of_each_rung():
    halving = Halving(maximize=True)
    scores = {name: s for s, name in enumerate("abcdefghi")}
    goes_on = {name: halving.report(name, s) for name, s in scores.items()}
    assert all(goes_on.values()), "each was the best so far"
    assert [halving.report(f"late{s}", s) for s in (0.5, 9, 5.5, 7.5)] == [False, True, False, True]
    assert halving.report("a", -5), "the second report is no rung"
    assert [halving.report(name, s) for name, s in zip("abcd", (1, 2, 3, 0), strict=True)][:1] == [True]
    lower = Halving(maximize=False)
    assert [lower.report(str(s), s) for s in (1, 2, 3, 4, 0)] == [True, True, True, False, True]
    assert lower.report("nothing", None)


def test_reasons_of_failures():
    class OutOfMemoryError(RuntimeError):
        pass

    assert failure_of(MemoryError()).reason == "out_of_memory"
    assert failure_of(OutOfMemoryError("CUDA")).reason == "out_of_memory"
    assert failure_of(RuntimeError("CUDA error: out of memory")).reason == "out_of_memory"
    assert failure_of(FloatingPointError("nan")).reason == "diverged"
    assert failure_of(CandidateError("refused", "no")).reason == "refused"
    outcome = failure_of(ValueError("a\nb"))
    assert (outcome.reason, outcome.message) == ("error", "ValueError: a")
    assert "ValueError: a\nb" in outcome.trace


def test_the_shipped_trainer_is_a_runner():
    from archsearch.campaign.attempt import TRAINER
    from archsearch.training.trainer import Trainer

    assert load_runner(TRAINER) is Trainer
    with pytest.raises(FileNotFoundError):
        load_runner("/nowhere/at/all.py:X")


def job(**about) -> Job:
    return Job("1/search/1", {"fake": {"x": 50, **about}}, "fake", {}, TrainingSettings(reports=2))


def test_an_attempt_reports_and_ends():
    attempt = Attempt(job(), RUNNER)
    assert attempt.advance()[1] is None
    report, outcome = attempt.advance()
    assert report.step == 2
    assert outcome == Outcome("done", FakeTrainer.measurement(attempt._runner))
    assert Attempt(job(do="unbuildable"), RUNNER).advance()[1].message == "it cannot be built"


def test_an_attempt_lets_an_interrupt_pass(monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(load_runner(RUNNER), "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Attempt(job(), RUNNER).advance()


def test_a_candidate_that_hangs_in_this_process_times_out(tmp_path):
    settings = config(trials=2, training=TrainingSettings(reports=2, time_limit=0.2))
    store, desk = campaign(tmp_path / "c", Scripted([{"x": 1, "do": "hang"}, {"x": 2}]), settings)
    began = time.monotonic()
    with store:
        inline.run(desk, runner=RUNNER)
    record = load(tmp_path / "c")
    assert record.candidate("1").failure == ("timeout", "no report for 0.2 s")
    assert record.candidate("2").status == "done"
    assert time.monotonic() - began < 5


def test_time_left_does_not_go_by_controls_that_train_nothing():
    assert _typical([0.0]) == 0.0
    assert _typical([0.01, 2.0, 4.0]) == 3.0


def test_the_display_says_done_running_failed_best_and_time_left(tmp_path):
    settings = config(trials=4, workers=2)
    store, desk = campaign(tmp_path / "c", Scripted([{"x": 5}, {"x": 7, "do": "raise"}, {"x": 9}, {"x": 3}]), settings)
    now, stream = [0.0], io.StringIO()
    with store, Progress(desk, "accuracy", stream=stream, clock=lambda: now[0]) as show:
        show.tick()
        assert stream.getvalue() == "0/4 done\n"
        assert time_left(desk) is None
        work(desk, workers=1, most=4, drain=True)
        desk.next()
        # Half a millisecond a report: one more candidate, three finals of two seeds, on two workers.
        assert time_left(desk) == pytest.approx((1 * 0.002 + 3 * 0.004) / 2)
        show.tick()
        assert stream.getvalue() == "0/4 done\n", "it has just been shown"
        now[0] = 6.0
        show.tick()
        assert stream.getvalue().splitlines()[-1] == (
            "3/4 done · 1 running · 1 failed · best accuracy 0.090 (3: fake(9)) · 0s left"
        )
        work(desk) if not desk.running else [desk.finish(key, Outcome("done", measured(key))) for key in desk.running]
        work(desk)
    assert stream.getvalue().splitlines()[-1] == "4/4 done · finals 3/3 · 1 failed · best accuracy 0.090 (3: fake(9))"
    assert summary(desk, "accuracy") == stream.getvalue().splitlines()[-1]


def measured(key: str):
    trainer = FakeTrainer(replace(job(x=3), key=key))
    trainer.rung = 2
    return trainer.measurement()


def test_the_display_in_a_terminal_draws_rows(tmp_path):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    store, desk = campaign(tmp_path / "c", Scripted([{"x": 5}, {"x": 7}]), config(trials=2))
    stream = Terminal()
    with store, Progress(desk, "accuracy", stream=stream) as show:
        key = desk.next().key
        show.tick()
        desk.finish(key, Outcome("done", measured(key)))
    assert "begins" in stream.getvalue()
    assert "0/2 done · 1 running" in stream.getvalue()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit("enough")])
def test_a_candidate_that_ends_its_worker_is_an_error_with_its_own_name(monkeypatch, error):
    def raising(self):
        raise error

    monkeypatch.setattr(load_runner(RUNNER), "advance", raising)
    report, outcome = Attempt(job(), RUNNER, worker=True).advance()
    assert (report, outcome.status, outcome.reason) == (None, "failed", "error")
    assert outcome.message == f"{type(error).__name__}: {error}".removesuffix(": ")


def test_the_word_of_ray_to_end_a_worker_passes(monkeypatch):
    def ended(self):
        error = SystemExit(1)
        error.ray_terminate_msg = b"The process receives a SIGTERM."
        raise error

    monkeypatch.setattr(load_runner(RUNNER), "advance", ended)
    with pytest.raises(SystemExit):
        Attempt(job(), RUNNER, worker=True).advance()


def test_messages_have_neither_colours_nor_tracebacks_of_ray():
    assert failure_of(ValueError("\x1b[36mred\x1b[39m hot")).message == "ValueError: red hot"
    text = "\x1b[36mray::_Candidate.train()\x1b[39m (pid=7, ip=1.2.3.4)\n  File 'a.py', line 3\nKeyError: 'x'\n"
    assert failure_of(RuntimeError(text)).message == "RuntimeError: KeyError: 'x'"


def test_weights_that_cannot_be_written_leave_nothing_behind(tmp_path, monkeypatch):
    import torch

    from archsearch.training.weights import write_weights

    def full(data, path):
        path.write_bytes(b"half")
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RuntimeError):
        write_weights(tmp_path / "weights.pt", torch.nn.Linear(1, 1), 0, job(), 0)
    assert not list(tmp_path.iterdir())
