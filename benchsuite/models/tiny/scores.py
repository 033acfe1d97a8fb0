"""The figures of the model card: `python -m benchsuite.models.tiny.scores [DIR] [--precision P]` prints its table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchsuite.data import datasets
from benchsuite.errors import BenchsuiteError
from benchsuite.evals import classification, exact_match, instructions, perplexity
from benchsuite.models import TINY
from benchsuite.models.in_precision import apply_precision
from benchsuite.models.language_model import LanguageModel
from benchsuite.models.resolve import load_directory
from benchsuite.record import Metric

BATCH_SIZE = 32


def table(model: LanguageModel) -> dict[str, Metric]:
    """The card's metrics on the test splits, by the card's names."""
    held = {name: datasets[name].load("test", None) for name in ("prose", "arithmetic", "headlines", "instructions")}
    prose = perplexity.evaluate(model, held["prose"], batch_size=BATCH_SIZE)
    arithmetic = exact_match.evaluate(model, held["arithmetic"], batch_size=BATCH_SIZE)
    headlines = classification.evaluate(model, held["headlines"], batch_size=BATCH_SIZE)
    answers = instructions.evaluate(model, held["instructions"], batch_size=BATCH_SIZE)
    return {
        "prose: token perplexity": prose.metrics["perplexity"],
        "prose: word perplexity": prose.metrics["word_perplexity"],
        "arithmetic: exact match, 5 shots": arithmetic.metrics["exact_match"],
        "headlines: accuracy": headlines.metrics["accuracy"],
        "instructions: exact match": answers.metrics["exact_match"],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchsuite.models.tiny.scores", description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", default=TINY, help="the model (default: the embedded one)")
    parser.add_argument("--precision", default="fp32", help="how the weights are held (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        model = load_directory(options.directory, "tiny")
        apply_precision(model, options.precision, "cpu")
    except BenchsuiteError as error:
        parser.error(str(error))
    print("| test split | value | 95 % interval | n |\n| --- | --- | --- | --- |")
    for name, metric in table(model).items():
        low, high = metric.interval or (float("nan"), float("nan"))
        print(f"| {name} | {metric.value:.4f} | {low:.4f} to {high:.4f} | {metric.n} |")


if __name__ == "__main__":
    main()
