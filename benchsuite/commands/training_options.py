"""The options that all commands share which train a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchsuite.commands.shared_options import together
from benchsuite.models import ATTENTIONS
from benchsuite.training.settings import Settings

if TYPE_CHECKING:
    from benchsuite.record import Record

# one that is not given keeps the command's own default
training_options = together(
    click.option("--learning-rate", type=float, help="peak of the schedule: linear warm-up, linear decay"),
    click.option("--batch-size", type=int, help="examples a step and device"),
    click.option("--epochs", type=float, help="times that the train split is read"),
    click.option("--warmup-steps", type=int, help="steps until the peak"),
    click.option("--weight-decay", type=float, help="of AdamW"),
    click.option("--context", type=int, help="tokens that an example is cut to"),
    click.option("--accumulation", type=int, help="batches whose gradients make one step"),
    click.option("--early-stopping", type=int, metavar="EPOCHS", help="stop when the validation loss has not fallen"),
    click.option("--autocast", type=click.Choice(["bf16", "fp16"]), help="arithmetic of the matrix products"),
    click.option("--attention", type=click.Choice(ATTENTIONS), help="attention kernel"),
    click.option("--qat", metavar="PRECISION", help="quantization-aware training: compute with weights on that grid"),
    click.option("--gradient-checkpointing", is_flag=True, default=None, help="recompute activations: less memory"),
    click.option("--compile", is_flag=True, default=None, help="torch.compile"),
    click.option("--device", help="auto, cpu or cuda"),
    click.option("--track", multiple=True, default=None, help="wandb, tensorboard or trackio; may be repeated"),
    click.option("--seed", type=int, help="of weights, order and splits"),
)
output_option = together(
    click.option("--resume", is_flag=True, help="go on with the unfinished run in the output directory"),
    click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="directory that is written"),
)
limit_options = together(
    click.option("--train-limit", type=click.IntRange(1), metavar="N", help="train on the first N examples"),
    click.option("--test-limit", type=click.IntRange(1), metavar="N", help="test on the first N examples"),
)


def settings_from(defaults: Settings, options: dict[str, Any]) -> Settings:
    """The defaults with those of the `training_options` that were given."""
    return replace(defaults, **{name: value for name, value in options.items() if value not in (None, ())})


def echo_record(record: Record) -> None:
    """Print what a run measured, and what of its data it did not take whole."""
    for name, metric in record.metrics.items():
        click.echo(f"{name:>22} {metric.value:,.4g} {metric.unit}")
    for what, count in record.excluded.items():
        click.echo(f"{what}: {count:,}")
