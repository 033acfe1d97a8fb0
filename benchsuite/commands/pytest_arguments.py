"""Commands that end in `-- PYTEST-ARGS`."""

from __future__ import annotations

import click

from benchsuite.matrix import SAID_BY_PROFILES, settings_here

PYTEST = "benchsuite.pytest_arguments"


class WithPytestArguments(click.Command):
    """A command that keeps what stands behind `--` for pytest, in `context.meta[PYTEST]`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split at `--`; without it, what the project's settings name is run, or else the quick profile."""
        if "--" in args:
            place = args.index("--")
            args, ctx.meta[PYTEST] = args[:place], args[place + 1 :]
        rest = super().parse_args(ctx, args)
        if PYTEST not in ctx.meta:  # a profile on the command line would go before the settings
            named = settings_here().keys() & {"profile", *SAID_BY_PROFILES}
            ctx.meta[PYTEST] = ["bench"] if named else ["bench", "--profile", "quick"]
        return rest
