"""The command `archsearch`: finds the command that is meant, and turns errors into messages and exit codes.

    0 done · 1 failed · 2 usage or a bad file · 3 finished with no successful candidate · 130 interrupted

Commands live in files of their own, loaded when they are called: `--help` loads none of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from archsearch.errors import ArchsearchError

__all__ = ["LazyGroup", "main"]

FAILED, INTERRUPTED = 1, 130

COMMANDS = {
    "run": ("archsearch.cli.run", "Search a space: propose, train and rank candidates."),
    "resume": ("archsearch.cli.run", "Go on with a campaign that was ended or killed."),
    "leaderboard": ("archsearch.cli.leaderboard", "Show the ranked candidates of campaigns."),
    "show": ("archsearch.cli.show", "Show one candidate: graph, decisions, copies, costs."),
    "diff": ("archsearch.cli.show", "Show where two candidates decided differently."),
    "train": ("archsearch.cli.train", "Train one architecture, without a search."),
    "spaces": ("archsearch.cli.spaces", "List, check, sample, draw and measure search spaces."),
    "ops": ("archsearch.cli.ops", "List the ops that a graph can use, or show one."),
    "tasks": ("archsearch.cli.tasks", "List the tasks, or show one."),
    "agents": ("archsearch.cli.agents", "List the agents, or show one."),
    "schema": ("archsearch.cli.schema", "Print the JSON Schema of search spaces, for editors."),
    "doctor": ("archsearch.cli.doctor", "Say what this machine has and what is missing."),
    "reindex": ("archsearch.cli.store", "Build the index of a campaign anew from its events."),
}
"""Each command by name: the module that holds it, under its own name, and what it is for."""


class LazyGroup(click.Group):
    """A group whose commands are loaded when they are called, and whose errors become messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which they are met."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command called `cmd_name`, loaded now."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, without loading what it names."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown command is answered with the nearest names."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from archsearch.errors import UnknownNameError

            raise UnknownNameError("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Runs the command line and exits."""
        _write_anything()
        try:
            code = super().main(args, prog_name or "archsearch", complete_var, standalone_mode=False, **extra)
            sys.exit(code if isinstance(code, int) else 0)
        except click.Abort:
            click.echo("Interrupted.", err=True)
            sys.exit(INTERRUPTED)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except ArchsearchError as error:
            _explain(error, f"Error: {error}")
            sys.exit(error.exit_code)
        except Exception as error:  # noqa: BLE001
            hint = "" if _wants_traceback() else " (archsearch --traceback ... shows where)"
            _explain(error, f"Unexpected error: {type(error).__name__}: {error}{hint}")
            sys.exit(FAILED)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; a reader that closes the pipe early (`| head`) is no error."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return result


def _wants_traceback() -> bool:
    return os.environ.get("ARCHSEARCH_TRACEBACK", "") not in ("", "0") or "--traceback" in sys.argv[1:]


def _explain(error: BaseException, message: str) -> None:
    if _wants_traceback():
        import traceback

        click.echo("".join(traceback.format_exception(error)), err=True)
    click.echo(message, err=True)


def _write_anything() -> None:
    """Lets a terminal or file without Unicode show a question mark where it cannot show `×`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import archsearch

        click.echo(f"archsearch {archsearch.__version__}")
        ctx.exit()


@click.group(
    name="archsearch",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=False,
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.option("--traceback", is_flag=True, expose_value=False, help="Show the full traceback of an error.")
def main() -> None:
    """Find out, by experiment, which neural-network architecture fits a task.

    Data goes to stdout, progress to stderr. Exit codes: 0 done, 1 failed, 2 usage or a bad file, 3 no candidate
    succeeded, 130 interrupted.
    """
