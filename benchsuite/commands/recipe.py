"""`benchsuite recipe`: fine-tune, quantize in several ways, compare: one command to the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchsuite.commands.training_options import limit_options, output_option, settings_from, training_options


@click.command()
@click.argument("name", type=click.Choice(["ag-news"]))
@click.option("--model", default="gpt2", show_default=True, help="name, hub id, directory or random:NAME")
@click.option("--data", default="ag-news", show_default=True, help="a dataset of texts and labels, or a file")
@click.option("--step", "steps", type=click.Choice(["baseline", "ptq", "bnb"]), multiple=True, help="only this step")
@limit_options
@training_options
@output_option
def command(
    name: str,  # noqa: ARG001  there is one recipe
    model: str,
    data: str,
    steps: tuple[str, ...],
    train_limit: int | None,
    test_limit: int | None,
    output: Path,
    resume: bool,
    **options: Any,
) -> None:
    """Fine-tune a classifier, quantize it with our int8 and with bitsandbytes' int8 and NF4, and compare all four.

    With --qat PRECISION two rows more: the baseline in that precision, and the same after training under it.
    """
    from dataclasses import replace

    from benchsuite.training import recipe
    from benchsuite.training.classify import DEFAULTS
    from benchsuite.training.qat import grid_of
    from benchsuite.training.splits import load_splits
    from benchsuite.training.start import positions_of

    settings = settings_from(DEFAULTS.within(positions_of(model)), options)
    if settings.qat:
        grid_of(settings.qat)  # a precision that cannot be trained under is found out before hours of training
    if steps and "baseline" not in steps:  # what is missing is said before the data are fetched
        recipe.require_baseline(recipe.baseline_of(model, output))
    splits = load_splits(data, ("classification",), seed=settings.seed).limited(train_limit, test_limit)
    table = recipe.run(
        recipe.Recipe(model, splits, replace(settings, qat=None), output, qat=settings.qat, resume=resume),
        steps or recipe.STEPS,
    )
    click.echo(table)
    click.echo(f"written to {output}")
