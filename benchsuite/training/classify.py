"""Fine-tune a classifier of texts, and measure any classifier: plain, quantized by us, or by another library."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchsuite.data.examples import Examples
from benchsuite.device import synchronize
from benchsuite.errors import NumericalError
from benchsuite.evals import evaluation
from benchsuite.evals.classification import report
from benchsuite.evals.evaluation import Progress
from benchsuite.files import atomic_write, write_json
from benchsuite.measure.machine import describe_machine
from benchsuite.models.language_model import batches
from benchsuite.models.resolve import fingerprint
from benchsuite.quant.apply import size_bytes
from benchsuite.record import Cell, Metric, Record, to_json
from benchsuite.report.bar import bar
from benchsuite.report.confusion import plot_confusion
from benchsuite.report.curves import plot_losses
from benchsuite.report.track import track_training
from benchsuite.training import run_directory
from benchsuite.training.features import Feature, class_features, collate, excluded_of
from benchsuite.training.loop import SoftLoss, Trained, is_main_process, require_runnable, train
from benchsuite.training.qat import fake_quantize, grid_of
from benchsuite.training.settings import Settings
from benchsuite.training.splits import Splits
from benchsuite.training.start import Start

DEFAULTS = Settings(batch_size=16, epochs=3, context=128, weight_decay=0.01)


@dataclass(frozen=True)
class Classified:
    """What a classifier says of the texts of a split."""

    predicted: NDArray[np.int64]  # (N,)
    true: NDArray[np.int64]  # (N,)
    labels: tuple[str, ...]
    loss: float  # mean cross-entropy, nats
    seconds: float

    def metrics(self) -> dict[str, Metric]:
        """Accuracy with its interval and evidence, macro F1, loss and speed."""
        macro_f1, _ = report(self.true, self.predicted, self.labels)
        n = len(self.true)
        return {
            "accuracy": evaluation.share(self.predicted == self.true),
            "macro_f1": Metric(macro_f1, "F1", "higher", n=n),
            "test_loss": Metric(self.loss, "nats", "lower", n=n),
            "samples_per_s": Metric(n / self.seconds, "samples/s", "higher", n=n),
        }

    def text(self) -> str:
        """scikit-learn's classification report."""
        from sklearn.metrics import classification_report

        known = list(range(len(self.labels)))
        text: str = classification_report(
            self.true, self.predicted, labels=known, target_names=self.labels, digits=4, zero_division=0.0
        )
        return text

    def confusion(self) -> list[list[int]]:
        """Counts (K, K): rows are true classes, columns predicted ones."""
        counts: list[list[int]] = report(self.true, self.predicted, self.labels)[1]["confusion"]
        return counts


def run(
    start: Start,
    splits: Splits,
    settings: Settings,
    directory: Path,
    *,
    resume: bool = False,
    metrics_file: str = "metrics.json",
    soft_loss: SoftLoss | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Record:
    """Train the classifier `start` and measure it on the test split; everything goes into `directory`.

    A model in Hugging Face layout, `metrics_file` (a record), classification_report.txt and the pictures of losses and
    confusion, beside the checkpoints of the epochs and training_args.json. `arguments` tell the run apart from others
    besides its settings.
    """
    require_runnable(settings)
    settings.require_context(start.name, start.context)
    start.tokenizer.model_max_length = settings.context  # whoever loads the classifier is to cut texts alike
    rows, validation, test = (
        class_features(examples, start.encode, context=settings.context)
        for examples in (splits.train, splits.validation, splits.test)
    )
    if is_main_process():
        run_directory.claim(
            directory,
            {"task": "classification", **start.origin(), "data": splits.fingerprint(), **(arguments or {})}
            | settings.to_json(),
            finished=metrics_file,
            resume=resume,
        )
    if settings.qat:
        fake_quantize(start.module.base_model, grid_of(settings.qat))
    trained = train(start, rows.rows, validation.rows, settings, directory, resume=resume, soft_loss=soft_loss)
    losses = {
        "train_loss": trained.loss(rows.rows[: len(test.rows)]),
        "validation_loss": trained.loss(validation.rows),
    }
    pad = int(start.tokenizer.pad_token_id)
    with bar("testing") as progress:
        found = classify(
            start.module, test.rows, splits.test, pad=pad, batch_size=settings.batch_size, progress=progress
        )
    record = record_of(start, found, splits.test, settings.qat or "fp32", settings.batch_size)
    # under QAT the module holds and computes in fp32: its size and its speed are not those of the precision
    metrics = {
        name: metric
        for name, metric in record.metrics.items()
        if not settings.qat or name not in ("weight_bytes", "samples_per_s")
    }
    record = replace(
        record,
        metrics={**metrics, **{name: Metric(loss, "nats", "lower") for name, loss in losses.items()}},
        protocol={**record.protocol, "settings": settings.to_json(), "training_s": trained.seconds},
        excluded=excluded_of(train=rows, test=test),
    )
    if is_main_process():
        _write(start, found, record, trained, directory, metrics_file, settings.track)
    return record


@torch.inference_mode()
def classify(
    module: Any,
    rows: list[Feature],
    examples: Examples,
    *,
    pad: int,
    batch_size: int,
    progress: Progress = evaluation.quiet,
) -> Classified:
    """Run a classifier over tokenised texts, longest first, after one batch of warm-up.

    Raises NumericalError where its logits are NaN or infinite.
    """
    module.eval()
    device = next(module.parameters()).device
    logits = torch.empty(len(rows), len(examples.labels))  # (N, K)
    order = list(batches([len(row["input_ids"]) for row in rows], batch_size))

    def answer(batch: list[int]) -> Tensor:
        inputs = collate([rows[index] for index in batch], pad)
        found = module(input_ids=inputs["input_ids"].to(device), attention_mask=inputs["attention_mask"].to(device))
        return found.logits.float().cpu()  # type: ignore[no-any-return]  # (B, K)

    answer(order[-1])
    synchronize(device)
    start, done = time.perf_counter(), 0
    for batch in order:
        logits[batch] = answer(batch)
        done += len(batch)
        progress(done, len(rows))
    seconds = time.perf_counter() - start
    if not torch.isfinite(logits).all():
        raise NumericalError("the classifier's logits are NaN or infinite; its weights are damaged")
    true = torch.tensor([row["labels"] for row in rows])  # (N,)
    return Classified(
        predicted=logits.argmax(1).numpy(),
        true=true.numpy(),
        labels=examples.labels,
        loss=float(F.cross_entropy(logits.double(), true)),
        seconds=seconds,
    )


def record_of(start: Start, found: Classified, test: Examples, precision: str, batch_size: int) -> Record:
    """What was found, as a record that can be compared with any other of the same texts."""
    device = str(next(start.module.parameters()).device.type)
    return Record(
        cell=Cell(
            "classification",
            start.name,
            precision,
            test.dataset,
            engine="transformers",
            batch_size=batch_size,
            device=device,
            limit=test.limited,
        ),
        metrics=found.metrics() | {"weight_bytes": Metric(size_bytes(start.module), "B", "lower")},
        fingerprints={"data": test.fingerprint()},
        protocol={"labels": list(test.labels), "answer": "classification head"},
        machine=describe_machine(device),
    )


def _write(
    start: Start,
    found: Classified,
    record: Record,
    trained: Trained,
    directory: Path,
    metrics_file: str,
    trackers: tuple[str, ...],
) -> None:
    start.save(directory)
    atomic_write(directory / "classification_report.txt", found.text())
    pictures = plot_losses(trained.history, directory / "loss")
    pictures += plot_confusion(found.confusion(), found.labels, directory / "confusion")
    record = replace(record, fingerprints={**record.fingerprints, "weights": fingerprint(directory)})
    write_json(directory / metrics_file, to_json(record))
    track_training(trackers, record, directory, pictures=pictures)
