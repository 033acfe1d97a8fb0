"""Calibration windows are text of train splits, whole, and as many as there is text for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from benchsuite.data import datasets
from benchsuite.data.examples import Document, Examples, Instruction, Problem, Source, Split
from benchsuite.errors import MissingError, QuantizationError, UnavailableError
from benchsuite.models import models
from benchsuite.models.calibration import LONGEST_WINDOW, WINDOWS, calibration_windows
from benchsuite.models.language_model import LanguageModel
from benchsuite.quant.precision import precisions


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return models["random:tiny"].load("cpu", "sdpa")


def registered(monkeypatch: pytest.MonkeyPatch, texts: list[str]) -> list[Split]:
    """A dataset `own` of these documents; the splits that are asked for."""
    asked: list[Split] = []

    def load(split: Split, limit: int | None) -> Examples:
        asked.append(split)
        if split != "train":
            raise UnavailableError(f"there is no {split} split")
        return Examples("own", "lm", split, tuple(map(Document, texts))[:limit])

    monkeypatch.setitem(datasets._exact, "own", Source("own", "lm", load))
    return asked


@pytest.mark.parametrize("dataset", [None, "prose", "headlines"])
def test_windows_are_of_the_models_context_and_the_same_every_time(model: LanguageModel, dataset: str | None) -> None:
    windows = calibration_windows(model, dataset)
    assert windows.shape == (WINDOWS, model.n_positions)
    assert windows.dtype == torch.int64
    assert torch.equal(windows, calibration_windows(model, dataset))


def test_text_of_every_embedded_task_is_in_them(model: LanguageModel) -> None:
    text = model.tokenizer.decode(calibration_windows(model).view(-1).tolist())
    for mark in (datasets["prose"].load("train", 1).items[0].text, "Question:", "\nTopic:", "### Response:"):  # type: ignore[union-attr]
        assert mark in text
    [instruction], [problem] = (datasets[name].load("train", 1).items for name in ("instructions", "arithmetic"))
    assert isinstance(instruction, Instruction)
    assert f"### Response:\n{instruction.output}" in text
    assert isinstance(problem, Problem)
    assert f"\nAnswer: {problem.answer}" in text


def test_only_the_train_split_is_asked_for(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = registered(monkeypatch, ["a b c d " * 4_000])
    windows = calibration_windows(model, "own")
    assert asked == ["train"]
    assert model.tokenizer.decode(windows[0].tolist()[1:]).startswith("a b c d")
    assert windows[0, 0] == model.tokenizer.end_of_text_id


@pytest.mark.parametrize("texts", [[], ["short"]])
def test_a_split_that_does_not_fill_a_window_is_refused(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch, texts: list[str]
) -> None:
    registered(monkeypatch, texts)
    with pytest.raises(QuantizationError, match=rf"a window of {model.n_positions} tokens; the train split of own has"):
        calibration_windows(model, "own")


def test_a_split_that_cannot_be_had_fails_and_is_not_taken_for_what_the_machine_cannot_do(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(split: Split, limit: int | None) -> Examples:
        raise UnavailableError("the train split is not here")

    monkeypatch.setitem(datasets._exact, "own", Source("own", "lm", load))
    with pytest.raises(MissingError, match="the train split is not here"):
        calibration_windows(model, "own")


def test_a_window_is_not_longer_than_the_papers(model: LanguageModel) -> None:
    long = SimpleNamespace(tokenizer=model.tokenizer, n_positions=100_000, device=model.device)
    assert calibration_windows(long, "prose").shape[1] == LONGEST_WINDOW  # type: ignore[arg-type]


def test_a_precision_names_its_calibration_set_and_the_report_says_what_it_was() -> None:
    asked: list[str | None] = []

    def calibration(dataset: str | None) -> torch.Tensor:
        asked.append(dataset)
        return torch.arange(64).view(2, 32)

    for name in ("gptq8", "gptq4-g128-act@wikitext2"):
        module = models["random:tiny"].load("cpu", "sdpa").module
        covered = precisions[name].apply(module, device="cpu", calibration=calibration)
        assert precisions[name].name == name
        assert covered.calibration.startswith("2 windows of 32 tokens from the ")
    assert asked == [None, "wikitext2"]
    assert covered.calibration.endswith("train split of wikitext2")
