"""A driver that dies at any moment: what is measured stays, nothing is there twice, and the number comes out right."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from archsearch.campaign.record import load
from archsearch.campaign.store import Store
from archsearch.errors import StoreError
from tests.campaign import fakes
from tests.campaign.fakes import Wandering, campaign, config, work

TRIALS = 25


def events(path: Path) -> list[dict]:
    lines = (path / "events.jsonl").read_bytes().split(b"\n")
    return [json.loads(line) for line in lines if line.endswith(b"}")]


def measured(path: Path) -> list[tuple[str, str]]:
    return [(e["id"], e["phase"]) for e in events(path) if e["event"] == "measurement"]


def board(path: Path) -> list:
    return [
        (c.id, c.number, c.hash, c.status, c.search and c.search.score, c.final and c.final.score)
        for c in load(path).candidates
    ]


def drive(path: Path, executor: str = "inline") -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(Path(fakes.__file__).parents[2])}
    command = [sys.executable, fakes.__file__, str(path), str(TRIALS), executor]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


def wait_for_bytes(path: Path, wanted: int, driver: subprocess.Popen) -> None:
    file = path / "events.jsonl"
    while driver.poll() is None and (not file.exists() or file.stat().st_size < wanted):
        time.sleep(0.002)


def test_ten_kills_at_random_moments_and_torn_lines_lose_and_double_nothing(tmp_path):
    path, whole = tmp_path / "killed", tmp_path / "whole"
    rng, known, kills = random.Random(7), [], 0
    for turn in range(10):
        driver = drive(path)
        size = (path / "events.jsonl").stat().st_size if path.exists() else 0
        wait_for_bytes(path, size + rng.randrange(1, 3000), driver)
        if driver.poll() is None:
            kills += 1
        driver.kill()
        driver.communicate()
        assert measured(path)[: len(known)] == known
        known = measured(path)
        if turn % 2:
            with (path / "events.jsonl").open("ab") as file:
                file.write(b'{"v":1,"event":"measurement","id":"1","pha')
    assert kills >= 8, "the campaign was over before it could be killed"
    assert load(path).status in ("interrupted", "done")
    driver = drive(path)
    _, said = driver.communicate()
    assert driver.returncode == 0, said
    assert measured(path)[: len(known)] == known
    assert max(Counter(measured(path)).values()) == 1
    record = load(path)
    assert record.status == "done"
    searched = [c for c in record.candidates if not c.is_control]
    assert len(searched) == TRIALS
    assert all(c.status in ("done", "failed") for c in searched)
    # and it is the campaign that it would have been
    store, desk = campaign(whole, Wandering(), config(trials=TRIALS))
    with store:
        work(desk, workers=1)
    assert board(path) == board(whole)


def test_a_resumed_agent_knows_what_it_would_have_known(tmp_path):
    settings = config(trials=12)
    whole, parts = Wandering(), Wandering()
    store, desk = campaign(tmp_path / "whole", whole, settings)
    with store:
        work(desk, workers=1)
    for most in (3, 4, 100):
        parts = Wandering()
        store, desk = campaign(tmp_path / "parts", parts, settings)
        with store:
            work(desk, workers=1, most=most)
    assert parts.told == whole.told
    assert board(tmp_path / "parts") == board(tmp_path / "whole")


def test_a_resumed_agent_is_told_everything_once_when_order_is_free(tmp_path):
    settings = config(trials=12, deterministic=False, ahead=1)
    for most in (3, 4, 100):
        agent = Wandering()
        store, desk = campaign(tmp_path / "c", agent, settings)
        with store:
            work(desk, shuffle=most, most=most)
    record = load(tmp_path / "c")
    assert record.status == "done"
    proposals = 12 + record.refused + record.duplicates
    assert len(agent.told) == len(set(agent.told)) >= proposals - 2


def test_attempts_have_numbers_of_their_own(tmp_path):
    for _ in range(2):
        store, desk = campaign(tmp_path / "c", Wandering(), config(trials=2))
        with store:
            assert desk.next() is not None
    store, desk = campaign(tmp_path / "c", Wandering(), config(trials=2))
    with store:
        keys = work(desk)
    assert keys[0] == "control/search/3"
    assert load(tmp_path / "c").candidate("control").attempts == 4  # three searches and a final


def test_a_second_driver_is_refused_while_the_first_lives(tmp_path):
    path = tmp_path / "c"
    driver = drive(path)
    wait_for_bytes(path, 1, driver)
    assert load(path).status == "running"
    with pytest.raises(StoreError, match=f"may hold a results folder, but .* is held by process {driver.pid} on "):
        Store.open(path)
    driver.kill()
    driver.communicate()
    Store.open(path).close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_running_report_and_leaves_a_folder_to_resume(tmp_path, number):
    code = f"""
import sys; sys.path.insert(0, {str(Path(fakes.__file__).parents[2])!r})
from pathlib import Path
from tests.campaign import fakes
from archsearch.campaign.executors import inline
from archsearch.campaign.run import _interrupts
agent = fakes.Scripted([dict(x=i, sleep=0.05) for i in range(50)])
store, desk = fakes.campaign(Path(sys.argv[1]), agent, fakes.config(trials=50))
with store, _interrupts(desk):
    inline.run(desk, runner=fakes.RUNNER)
print(desk.status[0])
"""
    path = tmp_path / "c"
    driver = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    wait_for_bytes(path, 3000, driver)
    driver.send_signal(number)
    out, _ = driver.communicate(timeout=20)
    assert out == "interrupted\n"
    assert load(path).status == "interrupted"
    assert events(path)[-2]["event"] in ("stopped", "measurement")
    assert not [c for c in load(path).candidates if c.status == "running"]


@pytest.mark.slow
def test_kills_of_a_driver_with_ray(tmp_path):
    path, known = tmp_path / "c", []
    for turn in range(3):
        driver = drive(path, "ray")
        size = (path / "events.jsonl").stat().st_size if path.exists() else 0
        wait_for_bytes(path, size + 3000 + 1500 * turn, driver)
        driver.kill()
        driver.communicate()
        assert measured(path)[: len(known)] == known
        known = measured(path)
    driver = drive(path, "ray")
    _, said = driver.communicate()
    assert driver.returncode == 0, said
    assert max(Counter(measured(path)).values()) == 1
    record = load(path)
    assert record.status == "done"
    assert len([c for c in record.candidates if not c.is_control]) == TRIALS


@pytest.mark.xdist_group("ray")
def test_sigterm_of_a_driver_with_ray_prints_no_stack_and_leaves_a_folder_to_resume(tmp_path):
    code = f"""
import sys; sys.path.insert(0, {str(Path(fakes.__file__).parents[2])!r})
from pathlib import Path
from tests.campaign import fakes
from archsearch.campaign.executors import ray_tune
from archsearch.campaign.run import _interrupts
settings = fakes.config(trials=50, ahead=2, workers=1, executor="ray")
store, desk = fakes.campaign(Path(sys.argv[1]), fakes.Scripted([dict(x=i, sleep=0.2) for i in range(50)]), settings)
with store, _interrupts(desk):
    ray_tune.run(desk, settings, runner=fakes.RUNNER)
print(desk.status[0])
"""
    path = tmp_path / "c"
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for_bytes(path, 3000, driver)
    driver.send_signal(signal.SIGTERM)
    out, said = driver.communicate(timeout=60)
    assert (out, said) == ("interrupted\n", "")
    assert load(path).status == "interrupted"


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_sigterm_of_a_whole_group_does_not_wait_for_a_ray_that_is_gone(tmp_path):
    code = f"""
import sys; sys.path.insert(0, {str(Path(fakes.__file__).parents[2])!r})
from pathlib import Path
from tests.campaign import fakes
from archsearch.campaign import run
from archsearch.campaign.executors import ray_tune
run.GRACE = 2.0
settings = fakes.config(trials=50, ahead=2, workers=1, executor="ray")
store, desk = fakes.campaign(Path(sys.argv[1]), fakes.Scripted([dict(x=i, sleep=0.2) for i in range(50)]), settings)
with store, run._interrupts(desk):
    ray_tune.run(desk, settings, runner=fakes.RUNNER)
"""
    path = tmp_path / "c"
    command = [sys.executable, "-c", code, str(path)]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for_bytes(path, 3000, driver)
    os.killpg(driver.pid, signal.SIGTERM)
    _, said = driver.communicate(timeout=40)
    assert driver.returncode == 0 or said.startswith("Ended by SIGTERM. Go on with: archsearch resume")
    assert load(path).status in ("interrupted", "stopped")
    assert measured(path)
    Store.open(path).close()  # nobody holds the folder any more
