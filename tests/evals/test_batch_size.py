"""The batch size is how the work is cut, and no part of any result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from benchsuite.data import datasets
from benchsuite.evals import evaluation_for, perplexity
from benchsuite.models import TINY
from benchsuite.models.language_model import LanguageModel
from benchsuite.models.resolve import load_directory
from benchsuite.record import Metric


@pytest.fixture(scope="module")
def tiny() -> LanguageModel:
    return load_directory(TINY, "tiny")


def assert_equal(one: Mapping[str, Metric], many: Mapping[str, Metric]) -> None:
    assert one["batch_invariance"].value == 0
    assert many["batch_invariance"].value < 1e-3
    for name in one.keys() - {"batch_invariance"}:
        assert many[name].value == pytest.approx(one[name].value, rel=1e-6), name


@pytest.mark.parametrize(
    ("dataset", "items"), [("prose", 100), ("arithmetic", 40), ("headlines", 100), ("instructions", 40)]
)
def test_a_batch_of_sixteen_gives_the_metrics_of_one_by_one(tiny: LanguageModel, dataset: str, items: int) -> None:
    examples = datasets[dataset].load("test", items)
    one, many = (evaluation_for(examples.task).evaluate(tiny, examples, batch_size=size).metrics for size in (1, 16))
    assert_equal(one, many)


def test_windows_of_wikitext_score_alike_in_every_batch(shared: Path, hub_cache: Path) -> None:
    model = load_directory(shared / "models" / "gpt2-wt2", "gpt2-wt2")
    examples = datasets["wikitext2"].load("test", 1)
    one, many = (perplexity.evaluate(model, examples, batch_size=size).metrics for size in (1, 16))
    assert_equal(one, many)
