"""`benchsuite ...`: each subcommand is a module of `benchsuite.commands`, imported when it is called."""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from benchsuite import __version__
from benchsuite.errors import BenchsuiteError, UnknownNameError, UsageError
from benchsuite.signals import interrupt_when_terminated

# name -> what `benchsuite --help` says of it; the module benchsuite.commands.NAME holds the click command `command`
COMMANDS = {
    "ab": "Measure two revisions, or two environments, by turns and compare them.",
    "calibrate": "Measure how far two runs of the same code lie apart on this machine.",
    "compare": "Say what is better, the same or worse in one benchmark file than in another.",
    "distill": "Train a small model to say what a large one says.",
    "finetune": "Train a model for instructions or for the classes of a dataset.",
    "quantize": "Write a model in a precision as a directory that loads with the same logits.",
    "history": "Say which commit moved which metric, by how much, and how sure that is.",
    "recipe": "Fine-tune, quantize in several ways and compare: one command to the table.",
    "engines": "Time our engine beside transformers, CTranslate2, llama.cpp and ONNX Runtime.",
    "show": "Print the table of a benchmark file.",
    "weights": "Draw the weights of a model before and after each precision.",
}


class _Lazy(click.Group):
    """A group that knows its commands by name and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"benchsuite.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """As Click does, but with 141 where the reader of standard output has left: 1 is for a regression alone."""
        try:
            return super().invoke(ctx)
        except (BrokenPipeError, SystemExit) as error:  # Rich makes the one of the other, Click would
            if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
                raise
            _stdout_is_lost()
            sys.exit(141)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        if args and args[0] not in COMMANDS:
            raise UnknownNameError("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def group() -> None:
    """What a quantizer or a commit did to a GPT-2-family model: quality, speed and memory.

    The main job is `pytest bench --benchmark-json=out.json`; these commands work with its files and with models.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; an error that the user can meet is one line.

    Exit status: 1 regression, 2 usage, 130 interrupted, 3 any other. It is 141, as of programs that a pipe ends, where
    the reader of standard output has left (`| head`).
    """
    interrupt_when_terminated()  # what is half done is cleared away
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal or a log without our signs gets a question mark
    try:
        group.main(args=None if arguments is None else list(arguments), standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BenchsuiteError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 3)
    except Exception as error:  # whatever it is, 1 is for a regression alone
        if isinstance(error, OSError) and _stdout_is_lost():
            said = f"standard output cannot be written: {error.strerror}; send it elsewhere"
        else:
            traceback.print_exc()
            said = "this is a fault of benchsuite, or of a quantizer of your own; the lines above say where"
        click.echo(f"Error: {said}", err=True)
        sys.exit(3)


def _stdout_is_lost() -> bool:
    """Whether standard output takes nothing more; what is left for it then goes nowhere, or the exit would fail too."""
    try:
        click.echo()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


if __name__ == "__main__":
    main()
