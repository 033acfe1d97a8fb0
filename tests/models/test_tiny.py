from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchsuite.data import datasets, prompts
from benchsuite.data.examples import Problem
from benchsuite.errors import UsageError
from benchsuite.evals.classification import evaluate as classify
from benchsuite.evals.exact_match import evaluate as solve
from benchsuite.evals.perplexity import evaluate as perplexity
from benchsuite.models import TINY
from benchsuite.models.language_model import LanguageModel
from benchsuite.models.resolve import load_directory
from benchsuite.models.tiny import checkpoints, corpus, recipe
from benchsuite.models.tokenizer import load_tokenizer
from benchsuite.stats.intervals import proportion_interval

TOKENIZER = load_tokenizer(TINY)


@pytest.fixture(scope="module")
def tiny() -> LanguageModel:
    return load_directory(TINY, "tiny")


@pytest.fixture(scope="module")
def few_texts() -> dict[str, list[str]]:
    """A corpus small enough to read in a second."""
    texts = [f"Question: {n} + {n}?\nAnswer: #### {n + n}" for n in range(400)]
    return dict.fromkeys(corpus.MIX, texts)


def card() -> dict[str, float]:
    """The figures of the model card's table, by name."""
    rows = re.findall(r"^\| ([\w ,:]+) \| ([\d.]+) \|", (TINY / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {name: float(value) for name, value in rows}


def test_the_weights_take_at_most_ten_megabytes_and_hold_three_to_four_million_parameters() -> None:
    assert (TINY / "model.safetensors").stat().st_size <= 10_000_000
    assert 3e6 <= sum(tensor.numel() for tensor in load_file(TINY / "model.safetensors").values()) <= 4e6


def test_transformers_reads_the_directory_with_every_key_in_place() -> None:
    model, report = AutoModelForCausalLM.from_pretrained(TINY, local_files_only=True, output_loading_info=True)
    assert not {*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]}
    assert type(model).__name__ == "GPT2LMHeadModel"
    assert model.dtype == torch.float32


def test_transformers_tokenises_every_dataset_as_we_do(tiny: LanguageModel) -> None:
    theirs = AutoTokenizer.from_pretrained(TINY, local_files_only=True)
    texts = [text for texts in _some_texts().values() for text in texts]
    assert theirs(texts)["input_ids"] == tiny.tokenizer.encode_batch(texts)
    assert [theirs.decode(ids) for ids in tiny.tokenizer.encode_batch(texts)] == texts
    assert theirs.eos_token_id == tiny.tokenizer.end_of_text_id
    assert theirs.model_max_length == tiny.n_positions == 512


def _some_texts() -> dict[str, list[str]]:
    arithmetic = datasets["arithmetic"].load("test", 20)
    return {
        "prose": [item.text for item in datasets["prose"].load("test", 10).items],  # type: ignore[union-attr]
        "arithmetic": [prompts.exact_match_prompt(item, arithmetic.shots) for item in _problems(20)],
        "other": ["", " ", "\n\n", "naïve  café — 12,345.67 €", "日本語", "a\tb\r\n"],
    }


def _problems(limit: int) -> list[Problem]:
    return [item for item in datasets["arithmetic"].load("test", limit).items if isinstance(item, Problem)]


@given(st.text())
def test_any_text_survives_the_tokenizer(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_numbers_are_read_digit_by_digit(tiny: LanguageModel) -> None:
    vocabulary = json.loads((TINY / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert [token for token in vocabulary if re.search(r"\d", token) and len(token) > 1] == []


def test_five_shots_and_a_quarter_of_the_context_for_the_answer_fit(tiny: LanguageModel) -> None:
    shots = datasets["arithmetic"].load("test", 1).shots
    for problem in _problems(250):
        asked = len(tiny.tokenizer.encode(prompts.exact_match_prompt(problem, shots)))
        assert asked <= tiny.n_positions - tiny.n_positions // 4
        assert len(tiny.tokenizer.encode(f" {problem.answer}\n\nQuestion:")) <= tiny.n_positions // 4


def test_the_scores_leave_room_both_ways() -> None:
    figures = card()
    assert 0.4 <= figures["arithmetic: exact match, 5 shots"] <= 0.9
    assert 0.8 <= figures["headlines: accuracy"] <= 0.97
    assert figures["instructions: exact match"] >= 0.1


def test_the_card_tells_the_perplexity_to_its_last_digit(tiny: LanguageModel) -> None:
    found = perplexity(tiny, datasets["prose"].load("test", None), batch_size=8, protocols=("token",))
    assert found.metrics["perplexity"].value == pytest.approx(card()["prose: token perplexity"], abs=1e-3)


def test_the_card_tells_the_accuracy_of_headlines(tiny: LanguageModel) -> None:
    found = classify(tiny, datasets["headlines"].load("test", None), batch_size=64)
    assert found.metrics["accuracy"].value == pytest.approx(card()["headlines: accuracy"], abs=0.0015)


def test_the_first_problems_are_solved_as_often_as_the_card_says(tiny: LanguageModel) -> None:
    found = solve(tiny, datasets["arithmetic"].load("test", 50), batch_size=50)
    right = round(found.metrics["exact_match"].value * 50)
    low, high = proportion_interval(right, 50)
    assert low <= card()["arithmetic: exact match, 5 shots"] <= high
    assert not found.excluded


def test_the_recipe_makes_a_directory_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_texts: dict[str, list[str]]
) -> None:
    monkeypatch.setattr(corpus, "documents", lambda: few_texts)
    recipe.main(["-o", str(tmp_path), "--steps", "3", "--no-compile"])
    made = load_directory(tmp_path, "made")
    assert made.tokenizer.decode(made.tokenizer.encode("Question: 12")) == "Question: 12"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert (tmp_path / "config.json").read_bytes() == (TINY / "config.json").read_bytes()


def test_an_interrupted_run_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_texts: dict[str, list[str]]
) -> None:
    monkeypatch.setattr(corpus, "documents", lambda: few_texts)
    short = recipe.Recipe(steps=4, batch_size=2, checkpoint_every=2)
    recipe.run(short, tmp_path / "whole", compiled=False)

    keep = checkpoints.keep

    def keep_and_stop(*arguments: object) -> None:
        keep(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "keep", keep_and_stop)
    with pytest.raises(KeyboardInterrupt):
        recipe.run(short, tmp_path / "halves", compiled=False)
    monkeypatch.setattr(checkpoints, "keep", keep)
    with pytest.raises(UsageError, match="another run"):
        recipe.run(recipe.Recipe(steps=5), tmp_path / "halves", compiled=False)
    recipe.run(short, tmp_path / "halves", compiled=False)

    whole, halves = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "halves"))
    assert whole.keys() == halves.keys()
    assert all(torch.equal(whole[key], halves[key]) for key in whole)


def test_rows_begin_with_a_document_and_are_mixed_as_the_recipe_says(tiny: LanguageModel) -> None:
    tokenizer = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    texts = {name: [f"{name} {letter}" for letter in "abcde"] for name in corpus.MIX}
    rows = corpus.rows(texts, tokenizer, 100, 65)
    assert rows.shape == (100, 65)
    begun = [tokenizer.decode(row.tolist(), skip_special_tokens=False) for row in rows]
    for name, share in corpus.MIX.items():
        assert sum(text.startswith(f"{name} ") for text in begun) == round(100 * share)
    assert all(corpus.END_OF_TEXT in text for text in begun)
