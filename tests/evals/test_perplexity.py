"""Perplexities equal those of the tools that their protocols come from."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from sliding_perplexity import sliding_perplexity

from benchsuite.data.examples import Document, Examples
from benchsuite.data.wikitext import pages
from benchsuite.errors import DataError
from benchsuite.evals import perplexity
from benchsuite.models import language_model

CONTEXT = 96  # of the small model
STORIES = (
    "It rained all day. Nobody came, and the café stayed dark. " * 4,
    "A short one.",
    "Two people met by the river; one of them had a boat. " * 3,
)


def stories() -> Examples:
    return Examples("stories", "lm", "test", tuple(Document(text) for text in STORIES))


@pytest.mark.parametrize("stride", [24, 40])
def test_token_perplexity_is_that_of_the_documentation_of_transformers(
    model: Any, reference: transformers.GPT2LMHeadModel, monkeypatch: pytest.MonkeyPatch, stride: int
) -> None:
    monkeypatch.setattr(perplexity, "STRIDE", stride)
    found = perplexity.evaluate(model, stories(), batch_size=3).metrics
    ids = model.tokenizer.encode("\n\n".join(STORIES))
    assert found["perplexity"].value == pytest.approx(sliding_perplexity(reference, ids, CONTEXT, CONTEXT), rel=1e-6)
    assert found["perplexity_stride512"].value == pytest.approx(
        sliding_perplexity(reference, ids, CONTEXT, stride), rel=1e-6
    )


def test_document_perplexity_is_that_of_the_harness(model: Any, log_likelihood: Any) -> None:
    found = perplexity.evaluate(model, stories(), batch_size=3).metrics
    total = 0.0
    for text in STORIES:
        ids = [model.tokenizer.end_of_text_id, *model.tokenizer.encode(text)]
        for first in range(1, len(ids), CONTEXT):
            end = min(first + CONTEXT, len(ids))
            total += log_likelihood(ids[max(0, end - CONTEXT - 1) : end], end - first)
    words = sum(len(re.split(r"\s+", text)) for text in STORIES)
    in_bytes = sum(len(text.encode()) for text in STORIES)
    assert found["word_perplexity"].value == pytest.approx(math.exp(-total / words), rel=1e-6)
    assert found["byte_perplexity"].value == pytest.approx(math.exp(-total / in_bytes), rel=1e-6)
    assert found["bits_per_byte"].value == pytest.approx(-total / in_bytes / math.log(2), rel=1e-6)


def test_words_and_bytes_are_those_of_the_original_page(model: Any) -> None:
    page = Document("It 's", original=" It  's a page \n")
    metrics = perplexity.evaluate(model, Examples("d", "lm", "test", (page,)), batch_size=1).metrics
    assert metrics["word_perplexity"].n == 6
    assert metrics["byte_perplexity"].n == 16


def test_a_page_without_blanks_has_no_perplexity_of_words_and_all_else(model: Any) -> None:
    metrics = perplexity.evaluate(model, Examples("d", "lm", "test", (Document("雨" * 100),)), batch_size=1).metrics
    assert metrics.keys() == perplexity.evaluate(model, stories(), batch_size=1).metrics.keys() - {"word_perplexity"}
    assert metrics["byte_perplexity"].n == 300


def test_second_halves_are_the_perplexity_of_llama_cpp(model: Any, log_likelihood: Any) -> None:
    found = perplexity.evaluate(model, stories(), batch_size=3).metrics["llama_cpp_perplexity"]
    ids = model.tokenizer.encode("\n\n".join(STORIES))
    begins = range(0, len(ids) - CONTEXT + 1, CONTEXT)
    scored = CONTEXT - CONTEXT // 2 - 1
    total = sum(log_likelihood(ids[begin : begin + CONTEXT], scored) for begin in begins)
    assert found.value == pytest.approx(math.exp(-total / (scored * len(begins))), rel=1e-6)


def test_no_window_is_computed_twice_for_two_protocols(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perplexity, "STRIDE", CONTEXT // 2)
    tokens = len(model.tokenizer.encode("\n\n".join(STORIES)))
    perplexity.evaluate(model, stories(), batch_size=1, protocols=("token", "stride512", "llama.cpp"))
    windows = len(range(0, tokens - CONTEXT // 2, CONTEXT // 2)) + (tokens % CONTEXT <= CONTEXT // 2)
    assert len(model.seen) == windows + 1  # one window is computed again to check the batch


def test_logits_exist_only_for_scored_positions_and_few_at_a_time(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "HEAD_ROWS", 10)
    found = perplexity.evaluate(model, stories(), batch_size=1, protocols=("llama.cpp",))
    assert max(model.heads) <= 10
    scored = found.metrics["llama_cpp_perplexity"].n
    assert scored is not None
    assert sum(model.heads) == scored + CONTEXT - CONTEXT // 2 - 1


def test_the_batch_size_changes_no_metric(model: Any) -> None:
    one, many = (perplexity.evaluate(model, stories(), batch_size=size).metrics for size in (1, 16))
    for name in one.keys() - {"batch_invariance"}:
        assert many[name].value == pytest.approx(one[name].value, rel=1e-6)
    assert one["batch_invariance"].value == 0
    assert many["batch_invariance"].value < 1e-3


def test_windows_of_one_document_are_one_cluster(model: Any) -> None:
    evidence: Any = perplexity.evaluate(model, stories(), batch_size=2).metrics["perplexity"].evidence
    ids = [model.tokenizer.encode(text + "\n\n") for text in STORIES]
    owners = np.repeat([0, 1, 2], [len(part) for part in ids])
    assert evidence.cluster.tolist() == [owners[begin + 1] for begin in range(0, sum(map(len, ids)) - 2, CONTEXT)]


def test_a_document_without_text_is_counted(model: Any) -> None:
    documents = (Document(" \n"), *stories().items)
    found = perplexity.evaluate(model, Examples("d", "lm", "test", documents), batch_size=2)
    assert found.excluded == {"documents without text": 1}
    assert found.details["documents"] == 3


@pytest.mark.parametrize("texts", [[], [" "], ["x"]])
def test_nothing_to_score_is_an_error(model: Any, texts: list[str]) -> None:
    with pytest.raises(DataError):
        perplexity.evaluate(model, Examples("d", "lm", "test", tuple(map(Document, texts))), batch_size=2)


def test_what_is_found_is_json_and_its_samples_are_short(model: Any) -> None:
    found = perplexity.evaluate(model, stories(), batch_size=2)
    json.dumps([found.protocol, found.items, found.excluded, found.details], allow_nan=False)
    assert all(len(value) < 500 for sample in found.samples for value in sample.values() if isinstance(value, str))


def test_progress_ends_when_all_is_done(model: Any) -> None:
    told: list[tuple[int, int]] = []
    perplexity.evaluate(model, stories(), batch_size=2, progress=lambda *at: told.append(at))
    done, total = zip(*told, strict=True)
    assert list(done) == list(range(1, total[0] + 1))


def test_the_work_of_the_clock_is_one_batch_of_windows(model: Any) -> None:
    work = perplexity.work(model, stories(), batch_size=2)
    model.heads.clear()
    work.run()
    assert sum(model.heads) == work.tokens == 2 * (CONTEXT - 1)
    assert work.samples == 2


def test_pages_keep_all_rows_and_leave_what_stands_before_the_first_heading_out_of_the_text() -> None:
    rows = ["", " = One = \n", "", " Text @-@ like this . \n", " = = Part = = \n", " = Two = \n", " More . \n", ""]
    documents = pages(rows)
    assert [row for document in documents for row in document.rows] == rows
    assert [document.original for document in documents] == [
        " = One = \n \n Text @-@ like this . \n = = Part = = ",
        " = Two = \n More . \n \n",
    ]
    assert documents[0].text == " = One =\n\nText-like this.\n== Part == "


def test_a_wikitext_page_scores_as_the_documentation_of_transformers_says(shared: Path, hub_cache: Path) -> None:
    from benchsuite.data import datasets
    from benchsuite.models.resolve import load_directory

    path = shared / "models" / "gpt2-wt2"
    model = load_directory(path, "gpt2-wt2")
    examples = datasets["wikitext2"].load("test", 1)
    found = perplexity.evaluate(model, examples, batch_size=2, protocols=("token", "stride512")).metrics
    rows = [row for document in examples.items for row in document.rows]  # type: ignore[union-attr]
    ids = model.tokenizer.encode("\n\n".join(rows))
    reference = transformers.GPT2LMHeadModel.from_pretrained(path).eval()
    assert found["perplexity"].value == pytest.approx(sliding_perplexity(reference, ids, 1_024, 1_024), rel=1e-5)
    assert found["perplexity_stride512"].value == pytest.approx(
        sliding_perplexity(reference, ids, 1_024, 512), rel=1e-5
    )
