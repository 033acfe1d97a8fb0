"""A classifier that was trained is measured elsewhere as the run itself measured it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchsuite.evals import classification
from benchsuite.models.resolve import load_directory
from benchsuite.training import classify
from benchsuite.training.features import class_features
from benchsuite.training.settings import Settings
from benchsuite.training.splits import Splits
from benchsuite.training.start import classifier


def test_texts_are_cut_to_the_context_of_the_training_wherever_it_is_loaded(
    two_layers: Path, text_splits: Splits, tmp_path: Path
) -> None:
    start = classifier(str(two_layers), text_splits.train.labels)
    settings = Settings(epochs=1, batch_size=8, learning_rate=1e-3, context=4)  # of at most 64
    record = classify.run(start, text_splits, settings, tmp_path / "run")
    found = classification.evaluate(load_directory(tmp_path / "run", "news"), text_splits.test, batch_size=4)
    labels = text_splits.test.labels
    items = zip(found.items, text_splits.test.items, strict=True)
    losses = [-np.float64(item["log_likelihood"][labels[text.label]]) for item, text in items]
    assert found.excluded == {"cut to the context": record.excluded["test: cut to the context"]} != {}
    assert found.metrics["accuracy"].value == record.metrics["accuracy"].value
    assert np.mean(losses) == pytest.approx(record.metrics["test_loss"].value, rel=1e-5)


def test_the_speed_is_of_all_texts_and_leaves_the_warm_up_out(
    two_layers: Path, text_splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = text_splits.test
    start = classifier(str(two_layers), test.labels)
    rows = class_features(test, start.encode, context=64).rows
    batches: list[int] = []  # each takes a second
    start.module.register_forward_hook(lambda *_: batches.append(1))
    monkeypatch.setattr(classify, "time", SimpleNamespace(perf_counter=lambda: len(batches)))
    found = classify.classify(start.module, rows, test, pad=0, batch_size=10)
    assert (len(rows), len(batches)) == (30, 4)
    assert found.seconds == 3
    assert found.metrics()["samples_per_s"].value == 10
