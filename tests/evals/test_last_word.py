"""Where documents have an ending, it alone is scored, as lm-evaluation-harness `lambada_openai` does."""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchsuite.data.examples import Document, Examples
from benchsuite.errors import DataError
from benchsuite.evals import perplexity

TEXTS = ("The ship came in at noon", "He said no", "word " * 40 + "end")


def passages(*documents: Document) -> Examples:
    return Examples("passages", "lm", "test", documents)


def passage(text: str) -> Document:
    return Document(text, ending=" " + text.split(" ")[-1])


def test_only_the_ending_is_scored_whatever_the_batch_size(model: Any, log_likelihood: Any) -> None:
    wanted = 0.0
    for text in TEXTS:
        ids = model.tokenizer.encode(text)[-(model.n_positions + 1) :]  # the last token is only predicted
        wanted += log_likelihood(ids, len(text.split(" ")[-1]) + 1)
    for batch_size in (1, 16):
        found = perplexity.evaluate(model, passages(*map(passage, TEXTS)), batch_size=batch_size)
        assert found.metrics["perplexity"].value == pytest.approx(math.exp(-wanted / len(TEXTS)), rel=1e-5)
        assert found.excluded == {"passages truncated from the left": 1}


def test_a_passage_as_long_as_the_context_is_cut_for_its_own_ending_alone(model: Any, log_likelihood: Any) -> None:
    fits = model.n_positions + 1
    whole, longer, longest = (passage("w" * (fits - 4 + more) + " end") for more in (0, 1, 40))
    other = passage("He said " + "n" * 30)
    found = perplexity.evaluate(model, passages(whole, longer, longest, other), batch_size=2)
    assert found.excluded == {"passages truncated from the left": 2}
    for item, document in zip(found.items, (whole, longer, longest, other), strict=True):
        ids = model.tokenizer.encode(document.text)[-fits:]
        assert item["log_likelihood"] == pytest.approx(log_likelihood(ids, len(document.ending)), rel=1e-5)


def test_an_ending_longer_than_the_context_is_named_by_row(model: Any) -> None:
    with pytest.raises(DataError, match=r"passages \(test\), row 1: an answer of 101 tokens"):
        perplexity.evaluate(model, passages(passage(TEXTS[0]), passage("He said " + "n" * 100)), batch_size=1)


def test_the_work_of_the_clock_counts_the_tokens_of_passages_as_they_are_cut(model: Any) -> None:
    work = perplexity.work(model, passages(*map(passage, (TEXTS[0], TEXTS[2], TEXTS[1]))), batch_size=2)
    assert (work.tokens, work.samples) == (len(TEXTS[0]) + model.n_positions + 1, 2)


def test_an_ending_is_right_where_each_of_its_tokens_is_the_most_likely_one(model: Any, reference: Any) -> None:
    import torch

    ids = model.tokenizer.encode("The ship came")
    with torch.inference_mode():
        new = reference.generate(torch.tensor([ids]), max_new_tokens=3, do_sample=False, pad_token_id=256)
    ending = model.tokenizer.decode(new[0, len(ids) :].tolist())
    assert model.tokenizer.encode(ending) == new[0, len(ids) :].tolist()
    likely, unlikely = Document(f"The ship came{ending}", ending=ending), passage(TEXTS[1])
    found = perplexity.evaluate(model, passages(likely, unlikely), batch_size=2)
    assert found.metrics["accuracy"].evidence.outcomes.tolist() == [True, False]


@pytest.mark.parametrize("document", [Document("a b", ending=" c"), Document(" b", ending=" b"), Document("a b")])
def test_an_ending_with_nothing_before_it_is_named_by_row(model: Any, document: Document) -> None:
    with pytest.raises(DataError, match=r"passages \(test\), row 1: .* does not end"):
        perplexity.evaluate(model, passages(passage(TEXTS[0]), document), batch_size=1)
