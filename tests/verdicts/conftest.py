"""Synthetic runs: records like those of the bench tests, with effects that are known because they were planted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchsuite.record import KEY, Cell, Items, Metric, Record, Rounds, Values, Windows, to_json

Run = list[Record]
MakeRun = Callable[..., Run]
WriteRun = Callable[..., Path]
CLUSTER = np.repeat(np.arange(24), 4)
TOKENS = np.full(CLUSTER.size, 120)
FINGERPRINTS = {"weights": "w", "tokenizer": "t", "data": "d", "protocol": "p"}
MACHINE = {"fingerprint": "m", "processor": "a processor", "threads": 2, "libraries": {"torch": "2.13.0"}}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No noise floor of the developer's machine reaches a test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def make_run() -> MakeRun:
    return _make_run


@pytest.fixture
def write_run() -> WriteRun:
    return _write_run


def _make_run(
    seed: int = 0,
    *,
    cells: int = 2,
    rounds: int = 20,
    slowdown: float = 1.0,
    loss: float = 0.0,
    forgotten: int = 0,
    weight_bytes: int = 1_000_000,
    peak_bytes: int = 600_000_000,
    **fields: Any,
) -> Run:
    """A run: the quality of a cell is the same in every run but for what is planted, its rounds are `seed`'s own."""
    noise = np.random.default_rng(seed)
    records = []
    for index in range(cells):
        quality = np.random.default_rng([99, index])
        hard = 3 + 0.5 * quality.standard_normal(24)[CLUSTER]
        change = loss + abs(loss) * quality.standard_normal(CLUSTER.size) / 4
        sums = -(hard + change) * TOKENS
        outcomes = quality.random(100) < 0.7
        outcomes[np.flatnonzero(outcomes)[:forgotten]] = False
        divergence = 0.01 * quality.random(CLUSTER.size) * (1 + 100 * abs(change))
        seconds = 0.01 * slowdown * np.exp(0.01 * noise.standard_normal(rounds))
        metrics = {
            "perplexity": Metric(
                float(np.exp(-sums.sum() / TOKENS.sum())), "ppl", "lower", None, None, Windows(sums, TOKENS, CLUSTER)
            ),
            "accuracy": Metric(float(outcomes.mean()), "share", "higher", None, outcomes.size, Items(outcomes)),
            "kl": Metric(float(divergence.mean()), "nats", "lower", None, None, Values(divergence, CLUSTER)),
            "tokens_per_s": Metric(
                480 / float(np.median(seconds)), "tok/s", "higher", None, rounds, Rounds(seconds, 480.0)
            ),
            "weight_bytes": Metric(weight_bytes, "B", "lower"),
            "peak_memory_bytes": Metric(peak_bytes, "B", "lower"),
            "batch_latency_s": Metric(float(seconds.mean()), "s", "lower"),
            "share_of_padding": Metric(0.1, "share", None),
        }
        record = Record(
            Cell("perplexity", "tiny", "fp32", f"set{index}"),
            metrics,
            fingerprints=FINGERPRINTS,
            machine=MACHINE,
            protocol={"window": 128},
        )
        records.append(dataclasses.replace(record, **fields))
    return records


def _write_run(path: Path, run: Run, **changes: Mapping[str, Any]) -> Path:
    """The file that pytest-benchmark would write for a run."""
    benchmarks = [
        {
            "name": record.cell.label(),
            "fullname": record.cell.label(),
            "extra_info": {KEY: to_json(record)},
            "stats": {},
        }
        for record in run
        if record.status == "passed"
    ]
    unmeasured = [to_json(record) for record in run if record.status != "passed"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"benchmarks": benchmarks, KEY: {"unmeasured": unmeasured}, **changes}))
    return path
