"""Train a language model for the next token: on instructions, which it then answers, or on documents."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchsuite.data.examples import Examples
from benchsuite.device import resolve_device, synchronize
from benchsuite.errors import DataError
from benchsuite.evals import instructions
from benchsuite.files import atomic_write, write_json
from benchsuite.measure.machine import describe_machine
from benchsuite.models.in_precision import apply_precision
from benchsuite.models.resolve import load_directory
from benchsuite.quant.apply import size_bytes
from benchsuite.record import Cell, Metric, Record, protocol_fingerprint, to_json
from benchsuite.report.bar import bar
from benchsuite.report.columns import markdown_table
from benchsuite.report.curves import plot_losses
from benchsuite.report.track import track_training
from benchsuite.training import run_directory
from benchsuite.training.features import causal_features, excluded_of
from benchsuite.training.loop import SoftLoss, is_main_process, require_runnable, train
from benchsuite.training.qat import fake_quantize, grid_of
from benchsuite.training.settings import Settings
from benchsuite.training.splits import Splits
from benchsuite.training.start import Start

METRICS = "metrics.json"
TIMED_ROUNDS = 5  # of a batch of test instructions, whose median time gives the tokens/s of inference


def run(
    start: Start,
    splits: Splits,
    settings: Settings,
    directory: Path,
    *,
    answer_only: bool = False,
    resume: bool = False,
    soft_loss: SoftLoss | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Record:
    """Train `start` for the next token on instructions or documents; everything goes into `directory`.

    A model in Hugging Face layout, metrics.json (a record: train, validation and test loss in nats a token, of
    instructions also exact match, token F1 and tokens/s of inference), the picture of the losses and, of instructions,
    answers.md, beside the checkpoints of the epochs and training_args.json.
    """
    require_runnable(settings)
    settings.require_context(start.name, start.context)
    task = splits.train.task
    end = int(start.tokenizer.eos_token_id)
    rows, validation, test = (
        causal_features(examples, start.encode, end=end, context=settings.context, answer_only=answer_only)
        for examples in (splits.train, splits.validation, splits.test)
    )
    for part, features in ((splits.train, rows), (splits.validation, validation), (splits.test, test)):
        if not features.rows:
            raise DataError(f"{part.where}: nothing fits a context of {settings.context} tokens; --context sets more")
    if is_main_process():
        told = {"task": task, **start.origin(), "data": splits.fingerprint(), "answer_only": answer_only}
        run_directory.claim(
            directory, {**told, **(arguments or {}), **settings.to_json()}, finished=METRICS, resume=resume
        )
    if settings.qat:
        fake_quantize(start.module, grid_of(settings.qat))
    trained = train(start, rows.rows, validation.rows, settings, directory, resume=resume, soft_loss=soft_loss)
    losses = {
        "train_loss": trained.loss(rows.rows[: len(test.rows)]),
        "validation_loss": trained.loss(validation.rows),
        "test_loss": trained.loss(test.rows),
    }
    device = resolve_device(settings.device)
    record = Record(
        cell=Cell("instructions" if task == "instructions" else "training", start.name, settings.qat or "fp32",
                  splits.test.dataset, batch_size=settings.batch_size, device=device, limit=splits.test.limited),
        metrics={name: Metric(loss, "nats", "lower") for name, loss in losses.items()}
        | ({} if settings.qat else {"weight_bytes": Metric(size_bytes(start.module), "B", "lower")}),
        protocol={"settings": settings.to_json(), "answer_only": answer_only, "training_s": trained.seconds},
        machine=describe_machine(device),
        excluded=excluded_of(train=rows, test=test),
    )  # fmt: skip
    if is_main_process():
        start.save(directory)
        pictures = plot_losses(trained.history, directory / "loss")
        answers: Sequence[Mapping[str, Any]] = ()
        if task == "instructions":
            record, answers = _answered(record, directory, splits.test, settings, device)
        record = replace(
            record, fingerprints={**record.fingerprints, "protocol": protocol_fingerprint(record.protocol)}
        )
        write_json(directory / METRICS, to_json(record))
        track_training(settings.track, record, directory, table=answers, pictures=pictures)
    return record


def _answered(
    record: Record,
    directory: Path,
    test: Examples,
    settings: Settings,
    device: str,
) -> tuple[Record, Sequence[Mapping[str, Any]]]:
    """The record with what the saved model answers, and each answer; writes answers.md."""
    model = load_directory(directory, record.cell.model, device=device)
    if settings.qat:
        apply_precision(model, settings.qat, device)
    batch_size = settings.batch_size
    with bar("answering test instructions") as progress:
        found = instructions.evaluate(model, test, batch_size=batch_size, progress=progress)
    work = instructions.work(model, test, batch_size=batch_size)
    seconds = []
    for _ in range(TIMED_ROUNDS):
        start = time.perf_counter()
        work.run()
        synchronize(model.device)
        seconds.append(time.perf_counter() - start)
    speed = Metric(work.tokens / statistics.median(seconds), "tok/s", "higher", n=TIMED_ROUNDS)
    atomic_write(directory / "answers.md", _table(found.items))
    record = replace(
        record,
        metrics={
            **record.metrics,
            **found.metrics,
            "inference_tokens_per_s": speed,
            "weight_bytes": Metric(size_bytes(model.module), "B", "lower"),  # of what answered
        },
        protocol={**record.protocol, **found.protocol},
        fingerprints={
            "weights": model.fingerprint,
            "tokenizer": model.tokenizer.fingerprint(),
            "data": test.fingerprint(),
        },
        samples=found.samples,
        excluded={**record.excluded, **found.excluded},
    )
    return record, found.items


def _table(items: Sequence[Mapping[str, Any]]) -> str:
    """Instructions with the right answer and the model's, as Markdown."""
    rows = [("instruction", "right answer", "model's answer", "right")]
    for item in items:
        asked = item["prompt"].partition("### Instruction:\n")[2].partition("\n\n### Response:")[0]
        rows.append((asked, item["expected"], item["answer"], "yes" if item["right"] else "no"))
    return "\n".join(markdown_table(rows, left=len(rows[0]))) + "\n"
