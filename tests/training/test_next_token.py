"""The losses of a run are those of the model that it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from benchsuite.training import next_token
from benchsuite.training.features import IGNORED, causal_features
from benchsuite.training.settings import Settings
from benchsuite.training.splits import Splits
from benchsuite.training.start import causal


def test_with_answer_only_the_losses_are_of_the_answers_of_their_split(
    two_layers: Path, instruction_splits: Splits, tmp_path: Path
) -> None:
    start, splits = causal(str(two_layers)), instruction_splits.limited(16, 8)
    settings = Settings(learning_rate=3e-3, epochs=1, context=64, warmup_steps=0, device="cpu")
    metrics = next_token.run(start, splits, settings, tmp_path / "run", answer_only=True).metrics
    left = causal(str(tmp_path / "run")).module.eval()
    for name, part in (("validation_loss", splits.validation), ("test_loss", splits.test)):
        rows = causal_features(part, start.encode, end=0, context=64, answer_only=True).rows
        labels = torch.tensor([label for row in rows for label in row["labels"][1:]])
        with torch.inference_mode():
            logits = torch.cat([left(torch.tensor([row["input_ids"]])).logits[0, :-1] for row in rows])
        wanted = F.cross_entropy(logits, labels, ignore_index=IGNORED)
        assert metrics[name].value == pytest.approx(float(wanted), rel=1e-5), name
