"""A cell's figures are those of the clock's rounds, by a clock that is told what to show."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchsuite.data import datasets
from benchsuite.evals import evaluation_for
from benchsuite.measure import generation
from benchsuite.measure.cell import Measurement, quantizing, speeds
from benchsuite.measure.generation import NEW_TOKENS, PROMPT_TOKENS
from benchsuite.models import models
from benchsuite.record import Cell, Metric


def values(metrics: dict[str, Metric]) -> dict[str, float]:
    return {name: metric.value for name, metric in metrics.items()}


def test_speeds_are_those_of_the_median_round_and_the_latency_is_the_mean() -> None:
    assert values(speeds([1.0, 2.0, 6.0], tokens=40, samples=4)) == pytest.approx(
        {"tokens_per_s": 20, "samples_per_s": 2, "batch_latency_s": 3, "batch_latency_std_s": np.std([1, 2, 6], ddof=1)}
    )


def test_a_batch_is_counted_in_its_own_tokens_and_samples() -> None:
    model, examples = models["random:tiny"].load("cpu", "sdpa"), datasets["headlines"].load("test", 3)
    work = evaluation_for(examples.task).work(model, examples, batch_size=2)
    measurement = Measurement(Cell("classification", "random:tiny", "fp32", "headlines", batch_size=2))
    measurement.time_work(model, examples, lambda *_, **__: [2.0, 2.0, 2.0])
    found = values(measurement.metrics)
    assert (found["tokens_per_s"], found["samples_per_s"]) == (work.tokens / 2, work.samples / 2)
    assert work.tokens > work.samples == 2


def test_the_figures_of_a_generation_are_of_all_rows_and_the_warm_up_is_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, paces = [0.0], iter([100.0, 1.0, 4.0, 2.0])  # the warm-up first
    monkeypatch.setattr(generation, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def generate(prompts: Any, new_tokens: int, mark: Any) -> list[list[int]]:
        pace = next(paces)
        for token in range(new_tokens):
            now[0] += pace * {0: 10, new_tokens - 1: 2}.get(token, 1)
            mark()
        return [[1] * new_tokens for _ in prompts]

    def clock(run: Any, *, warm_up: Any = None) -> list[float]:
        seconds = []
        for work in (warm_up, run, run, run):
            start = now[0]
            work()
            seconds.append(now[0] - start)
        return seconds[1:]

    measurement = Measurement(Cell("generation", "m", "fp32", batch_size=2))
    engine: Any = SimpleNamespace(generate=generate)
    measurement.time_generation(engine, 100, clock)
    prefill, decode = 2.0 * 10, 2.0 * NEW_TOKENS  # seconds of the median round
    found = values(measurement.metrics)
    assert found["time_to_first_token_s"] == prefill
    assert found["prefill_tokens_per_s"] == pytest.approx(2 * PROMPT_TOKENS / prefill)
    assert found["decode_tokens_per_s"] == pytest.approx(2 * (NEW_TOKENS - 1) / decode)
    assert found["tokens_per_s"] == pytest.approx(2 * NEW_TOKENS / (prefill + decode))
    assert [found[f"token_latency_p{percent}_s"] for percent in (50, 90)] == [2, 4]
    assert 4 < found["token_latency_p99_s"] <= 8


def test_quantizing_takes_the_median_round_and_compression_is_bytes_before_for_each_byte_after() -> None:
    found = values(quantizing([1.0, 2.0, 6.0], 400, 100, {"share": 0.5}))
    assert found == {
        "quantizing_s": 2, "bytes_before": 400, "weight_bytes": 100, "compression": 4, "coverage": 0.5,
    }  # fmt: skip
