"""Commands that end in `-- PYTEST-ARGS`."""

from __future__ import annotations

import click

PYTEST = "benchsuite.pytest_arguments"


class WithPytestArguments(click.Command):
    """A command that keeps what stands behind `--` for pytest, in `context.meta[PYTEST]`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split at `--`; without it, the quick profile is what is run."""
        own, behind = args, ["bench", "--profile", "quick"]
        if "--" in args:
            place = args.index("--")
            own, behind = args[:place], args[place + 1 :]
        ctx.meta[PYTEST] = behind
        return super().parse_args(ctx, own)
