"""Numbers equal those of lm-evaluation-harness on the same weights and data, item by item."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from benchsuite.data import datasets
from benchsuite.data.examples import Document, Examples, LabelledText
from benchsuite.data.hub import last_word
from benchsuite.data.prompts import classification_prompt
from benchsuite.evals import classification, exact_match, perplexity
from benchsuite.models import TINY
from benchsuite.models.resolve import load_directory

BATCH_SIZE = 8
EMBEDDED = ("arithmetic", "headlines")


@pytest.fixture
def path(dataset: str, request: pytest.FixtureRequest) -> Path:
    """The embedded model for an embedded dataset; for a real one the trained model that a developer has."""
    if dataset in EMBEDDED:
        return TINY
    request.getfixturevalue("hub_cache")
    shared: Path = request.getfixturevalue("shared")
    return shared / "models" / "gpt2-wt2"


def first_items(samples: list[dict[str, Any]], key: str, filtered: str | None = None) -> list[float]:
    """A metric of each item, in the order of the rows; `filtered` names the extraction."""
    kept = [sample for sample in samples if filtered is None or sample["filter"] == filtered]
    return [sample[key] for sample in sorted(kept, key=lambda sample: int(sample["doc_id"]))]


def originals(examples: Examples) -> list[str]:
    return [item.original or item.text for item in examples.items if isinstance(item, Document)]


def assert_document_perplexity(harness: Any, path: Path, examples: Examples, **overrides: Any) -> None:
    pages = [{"page": page} for page in originals(examples)]
    wanted = harness(path, "wikitext", dict.fromkeys(("train", "validation", "test"), pages), **overrides)
    model = load_directory(path, path.name)
    found = perplexity.evaluate(model, examples, batch_size=BATCH_SIZE, protocols=("document",)).metrics
    for name in ("word_perplexity", "byte_perplexity", "bits_per_byte"):
        assert found[name].value == pytest.approx(wanted["metrics"][f"{name},none"], rel=1e-6), name
    evidence: Any = found["word_perplexity"].evidence
    pairs = first_items(wanted["samples"], "word_perplexity")
    for mine, (log_likelihood, words) in zip(
        zip(evidence.log_likelihood, evidence.tokens, strict=True), pairs, strict=True
    ):
        assert mine == pytest.approx((log_likelihood, words), rel=1e-6)


def test_perplexities_of_prose_documents(harness: Any, directory: Path) -> None:
    examples = datasets["prose"].load("test", None)
    assert_document_perplexity(harness, directory, examples, doc_to_target="{{page}}")


def test_perplexities_of_all_documents_of_wikitext2(harness: Any, shared: Path, hub_cache: Path) -> None:
    """Its own detokeniser runs on the pages that our rows make, and ours gave the text that we score."""
    examples = datasets["wikitext2"].load("test", None)
    assert len(examples.items) == 62
    assert_document_perplexity(harness, shared / "models" / "gpt2-wt2", examples)


@pytest.mark.parametrize("dataset", ["arithmetic", "gsm8k"])
def test_exact_match_of_a_hundred_problems(harness: Any, dataset: str, path: Path) -> None:
    examples = datasets[dataset].load("test", 100)
    model = load_directory(path, path.name)
    found = exact_match.evaluate(model, examples, batch_size=BATCH_SIZE)
    wanted = harness(
        path,
        "gsm8k",
        {"train": [vars(shot) for shot in examples.shots], "test": [vars(item) for item in examples.items]},
        fewshot_config={"sampler": "first_n"},
        generation_kwargs={
            "until": list(exact_match.UNTIL),
            "do_sample": False,
            "temperature": 0.0,
            "max_gen_toks": found.protocol["max_new_tokens"],
        },
    )
    answers = [sample["resps"][0][0] for sample in wanted["samples"] if sample["filter"] == "strict-match"]
    assert [item["answer"] for item in found.items] == answers
    for name, filtered in (("exact_match", "strict-match"), ("exact_match_flexible", "flexible-extract")):
        evidence: Any = found.metrics[name].evidence
        assert evidence.outcomes.tolist() == [
            bool(right) for right in first_items(wanted["samples"], "exact_match", filtered)
        ]


@pytest.mark.parametrize("dataset", ["headlines", "ag_news"])
def test_classes_of_texts(harness: Any, dataset: str, path: Path) -> None:
    examples = datasets[dataset].load("test", 300)
    rows = [
        {"prompt": classification_prompt(item.text), "label": item.label}
        for item in examples.items
        if isinstance(item, LabelledText)
    ]
    wanted = harness(
        path,
        "topics",
        {"test": rows},
        test_split="test",
        output_type="multiple_choice",
        doc_to_text="{{prompt}}",
        doc_to_choice=list(examples.labels),
        doc_to_target="label",
        metric_list=[{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    )
    model = load_directory(path, path.name)
    found = classification.evaluate(model, examples, batch_size=BATCH_SIZE)
    evidence: Any = found.metrics["accuracy"].evidence
    assert evidence.outcomes.tolist() == [bool(right) for right in first_items(wanted["samples"], "acc")]
    for item, sample in zip(found.items, sorted(wanted["samples"], key=lambda row: int(row["doc_id"])), strict=True):
        theirs = [response[0][0] for response in sample["resps"]]
        assert list(item["log_likelihood"].values()) == pytest.approx(theirs, rel=1e-4)


def test_endings_as_lambada_has_them(harness: Any, directory: Path) -> None:
    texts = [item.text for item in datasets["prose"].load("test", 40).items if isinstance(item, Document)]
    texts = [text[: text.index(".")].replace("\n", " ") for text in texts]
    texts[0] = texts[0].replace(" ", "  ")  # white space before the last word is part of what is predicted
    texts.append(" ".join(texts * 2))  # longer than the context
    wanted = harness(directory, "lambada_openai", {"test": [{"text": text} for text in texts]})
    items = tuple(Document(text, ending=last_word(text)) for text in texts)
    model = load_directory(directory, directory.name)
    found = perplexity.evaluate(model, Examples("endings", "lm", "test", items), batch_size=BATCH_SIZE).metrics
    evidence: Any = found["accuracy"].evidence
    assert evidence.outcomes.tolist() == [bool(right) for right in first_items(wanted["samples"], "acc")]
    assert math.isclose(found["perplexity"].value, wanted["metrics"]["perplexity,none"], rel_tol=1e-5)
