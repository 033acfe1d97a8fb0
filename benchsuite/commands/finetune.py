"""`benchsuite finetune`: train a model for instructions or for the classes of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchsuite.commands.training_options import (
    echo_record,
    limit_options,
    output_option,
    settings_from,
    training_options,
)


@click.command()
@click.argument("task")
@click.option("--model", default="tiny", show_default=True, help="name, hub id, directory or random:NAME")
@click.option("--data", help="for instruct: a dataset's name or a file  [instructions]")
@click.option("--validation", help="a file to validate with, where the data are a file")
@click.option("--test", help="a file to test on, where the data are a file")
@click.option("--answer-only", is_flag=True, help="for instruct: no loss on the prompt")
@limit_options
@training_options
@output_option
def command(
    task: str,
    model: str,
    data: str | None,
    validation: str | None,
    test: str | None,
    answer_only: bool,
    train_limit: int | None,
    test_limit: int | None,
    output: Path,
    resume: bool,
    **options: Any,
) -> None:
    """Fine-tune a model for TASK and measure it on the test split.

    TASK is `instruct`, or a dataset of texts and labels: a name such as ag-news or headlines, or a file.
    """
    from benchsuite.errors import UsageError
    from benchsuite.training import classify, next_token, start
    from benchsuite.training.settings import Settings
    from benchsuite.training.splits import load_splits

    instruct = task == "instruct"
    if not instruct and (data or answer_only):
        raise UsageError(f"--data and --answer-only go with instruct; the data of {task} are named by TASK itself")
    defaults = Settings() if instruct else classify.DEFAULTS
    settings = settings_from(defaults.within(start.positions_of(model)), options)
    splits = load_splits(
        (data or "instructions") if instruct else task,
        ("instructions",) if instruct else ("classification",),
        seed=settings.seed,
        validation=validation,
        test=test,
    ).limited(train_limit, test_limit)
    how: Any = {"attention": settings.attention, "seed": settings.seed}
    if instruct:
        begun = start.causal(model, **how)
        record = next_token.run(begun, splits, settings, output, answer_only=answer_only, resume=resume)
    else:
        begun = start.classifier(model, splits.train.labels, **how)
        record = classify.run(begun, splits, settings, output, resume=resume)
    echo_record(record)
    click.echo(f"written to {output}")
