import io
import os
import subprocess
import sys

import click
import pytest

from archsearch.cli.main import COMMANDS, main
from archsearch.errors import ArchsearchError, ConfigError, NoSuccessError

HEAVY = ("torch", "ray", "networkx", "pandas", "optuna", "numpy")


def archsearch(*args, **more):
    return subprocess.run(
        [sys.executable, "-m", "archsearch", *args], capture_output=True, text=True, timeout=120, **more
    )


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (ArchsearchError("it broke"), 1, "Error: it broke"),
        (ConfigError("that setting"), 2, "Error: that setting"),
        (NoSuccessError("none"), 3, "Error: none"),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (ValueError("a defect"), 1, "Unexpected error: ValueError: a defect"),
        (click.UsageError("no such thing"), 2, "no such thing"),
    ],
)
def test_every_kind_of_error_has_its_exit_code_and_no_traceback(call, monkeypatch, raised, code, message):
    def broken(*args, **kwargs):
        raise raised

    monkeypatch.setattr("archsearch.cli.doctor._devices", broken)
    result = call("doctor", code=code)
    assert message in result.stderr


def test_the_traceback_is_there_for_those_who_ask(monkeypatch, capsys):
    monkeypatch.setenv("ARCHSEARCH_TRACEBACK", "1")
    monkeypatch.setattr("archsearch.cli.doctor._devices", lambda: 1 / 0)
    with pytest.raises(SystemExit):
        main(["doctor"])
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "ZeroDivisionError" in err


def test_help_names_every_command_and_loads_none(call):
    shown = call("--help").stdout
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_explains_itself(call, name):
    shown = call(name, "--help").stdout
    assert shown.startswith(f"Usage: archsearch {name} ")
    assert COMMANDS[name][1].split()[0] in shown, "the list and the command begin with one verb"


def test_an_unknown_command_is_answered_with_the_nearest(call):
    assert "Did you mean `leaderboard`" in call("leaderbord", code=2).stderr


def test_no_command_at_all_shows_help_and_is_a_usage_error(call):
    assert "Commands:" in call(code=2).output


def test_version(call):
    assert call("--version").stdout.startswith("archsearch ")


@pytest.mark.parametrize("args", [["--help"], ["leaderboard"], ["leaderboard", "--json"], ["leaderboard", "--help"]])
def test_what_is_asked_often_loads_nothing_heavy(campaign, args):
    code = (
        "import sys\nfrom archsearch.cli.main import main\n"
        f"sys.argv = ['archsearch', *{args}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    code = end.code\n"
        f"loaded = [m for m in {HEAVY} if m in sys.modules]\n"
        "print(code, loaded, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1] == "0 []", done.stderr


def test_a_reader_that_leaves_early_is_no_error(campaign):
    command = f"{sys.executable} -m archsearch leaderboard first --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr, "BrokenPipe" in done.stderr) == (0, False, False)


def test_a_terminal_without_unicode_shows_something(campaign):
    done = archsearch("leaderboard", "first", env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0, done.stderr
    assert "1?[tanh]" in done.stdout


def test_interrupted_while_waiting(campaign):
    code = (
        "import os, signal, time, archsearch.cli.doctor as d\nfrom archsearch.cli.main import main\n"
        "d._devices = lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(30))\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\nmain(['doctor'])"  # ignored in the background
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_streams_without_reconfigure_are_left_alone(monkeypatch):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
