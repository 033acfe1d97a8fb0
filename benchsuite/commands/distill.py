"""`benchsuite distill`: train a small model to say what a large one says."""

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
@click.option("--teacher", required=True, help="name, hub id or directory; for classification a fine-tuned directory")
@click.option("--student", help="name, hub id, directory or random:NAME")
@click.option("--layers", type=int, help="instead of --student: this many of the teacher's layers, evenly spaced")
@click.option("--data", default="prose", show_default=True, help="a dataset's name, or a file of rows for it")
@click.option("--temperature", default=2.0, show_default=True, help="softens both distributions")
@click.option("--soft", default=0.5, show_default=True, help="share of the teacher in the loss; 0 trains without it")
@limit_options
@training_options
@output_option
def command(
    teacher: str,
    student: str | None,
    layers: int | None,
    data: str,
    temperature: float,
    soft: float,
    train_limit: int | None,
    test_limit: int | None,
    output: Path,
    resume: bool,
    **options: Any,
) -> None:
    """Train a student on the soft targets of a teacher and on the right answers."""
    from benchsuite.errors import UsageError
    from benchsuite.training import classify, distill
    from benchsuite.training.settings import Settings
    from benchsuite.training.splits import load_splits
    from benchsuite.training.start import positions_of

    if (student is None) == (layers is None):
        raise UsageError("name the student with --student, or with --layers how many of the teacher's layers it has")
    distillation = distill.Distillation(temperature=temperature, soft=soft)
    seed = options["seed"] or 0
    splits = load_splits(data, distill.tasks_of(teacher), seed=seed).limited(train_limit, test_limit)
    defaults = classify.DEFAULTS if splits.train.task == "classification" else Settings()
    positions = min(positions_of(name) for name in (teacher, student) if name)
    settings = settings_from(defaults.within(positions), options)
    made = student if student is not None else layers or 0
    record = distill.run(teacher, made, splits, settings, distillation, output, resume=resume)
    echo_record(record)
    click.echo(f"written to {output}; `pytest bench --model {teacher} --model {output}/` measures the two side by side")
