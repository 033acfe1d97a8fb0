"""`torchrun` spreads a run over processes: the same files, written once, and losses that are no multiples."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TEXTS = {"rain": ["It rained again today.", "Wet streets and umbrellas."], "sun": ["A bright, dry day.", "Blue skies."]}


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch has no distributed package")
def test_two_processes_train_one_classifier(tmp_path: Path) -> None:
    rows = [{"text": text, "label": label} for label, texts in TEXTS.items() for text in texts * 8]
    data, held_out = tmp_path / "train.jsonl", tmp_path / "held_out.jsonl"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    held_out.write_text("".join(f"{json.dumps(row)}\n" for row in rows[::4]), encoding="utf-8")
    out = tmp_path / "out"
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"),
        *("-m", "benchsuite", "finetune", str(data), "--validation", str(held_out), "--test", str(held_out)),
        *("--model", "random:tiny", "--epochs", "1", "--batch-size", "4", "--device", "cpu", "-o", str(out)),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    assert (out / "checkpoint-4").is_dir()  # 32 texts, 2 processes, 4 a step and process
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    # one split, by Trainer over both processes and by our own loop in one
    assert metrics["validation_loss"]["value"] == pytest.approx(metrics["test_loss"]["value"], rel=1e-5)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch has no distributed package")
def test_a_teacher_counts_as_much_over_two_processes(tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {word}.", "output": word} for word in ("rain", "sun", "snow", "wind") * 8]
    data = tmp_path / "asked.json"
    data.write_text(json.dumps(rows), encoding="utf-8")

    def step(processes: int) -> dict[str, float]:
        launched = ("torch.distributed.run", "--nproc-per-node", str(processes), "--standalone", "-m")
        out = tmp_path / str(processes)
        command = [
            *(sys.executable, "-m", *(launched if processes > 1 else ()), "benchsuite", "distill"),
            *("--teacher", "tiny", "--layers", "1", "--data", str(data), "--soft", "1", "--epochs", "1"),
            *("--train-limit", "16", "--test-limit", "1", "--batch-size", str(16 // processes), "--device", "cpu"),
            *("--warmup-steps", "0", "-o", str(out)),
        ]
        run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300)
        assert run.returncode == 0, run.stderr[-2000:]
        [state] = out.glob("checkpoint-1/trainer_state.json")
        return next(entry for entry in json.loads(state.read_text())["log_history"] if "grad_norm" in entry)

    one, two = step(1), step(2)
    assert two["loss"] == pytest.approx(one["loss"], rel=0.1)  # dropout is drawn anew
    assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=0.3)
