"""A class is chosen by the likelihood of its whole name, as if each name were scored on its own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from benchsuite.data.examples import Examples, LabelledText
from benchsuite.data.prompts import classification_prompt
from benchsuite.errors import DataError
from benchsuite.evals import classification
from benchsuite.models.language_model import Sequenced, score

LABELS = ("A", "Sci/Tech", "World")
TEXTS = tuple(
    LabelledText(text, label)
    for text, label in [("Rovers win the cup", 0), ("Rain", 2), ("New chip is twice as fast as the old", 1), ("x", 1)]
)


def texts(items: tuple[LabelledText, ...] = TEXTS, labels: tuple[str, ...] = LABELS) -> Examples:
    return Examples("topics", "classification", "test", items, labels=labels)


@pytest.mark.parametrize("labels", [LABELS, ("A", "B", "C")])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_labels_score_as_if_each_were_written_behind_the_prompt(
    model: Any, labels: tuple[str, ...], batch_size: int
) -> None:
    found = classification.evaluate(model, texts(labels=labels), batch_size=batch_size)
    for item, text in zip(found.items, TEXTS, strict=True):
        before = model.tokenizer.encode(classification_prompt(text.text))
        whole = [model.tokenizer.encode(f"{classification_prompt(text.text)} {label}") for label in labels]
        scored = dict(score(model, [Sequenced(ids, len(before)) for ids in whole], batch_size=1))
        wanted = [scored[index].total for index in range(len(labels))]
        np.testing.assert_allclose([item["log_likelihood"][label] for label in labels], wanted, rtol=1e-5)
        assert item["answer"] == labels[int(np.argmax(wanted))]


def test_a_text_is_computed_once_for_all_labels(model: Any) -> None:
    classification.evaluate(model, texts(labels=("A", "B", "C")), batch_size=1)
    prompts = [len(model.tokenizer.encode(classification_prompt(text.text))) for text in TEXTS]
    labels = 3 * (len(" A") - 1)  # the last token of a label is only predicted
    assert sum(model.seen[: 4 * len(TEXTS)]) == sum(prompts) + labels * len(TEXTS)


def test_accuracy_f1_and_confusion_are_those_of_the_items(model: Any) -> None:
    found = classification.evaluate(model, texts(), batch_size=2)
    right = [item["answer"] == item["expected"] for item in found.items]
    assert found.metrics["accuracy"].value == np.mean(right)
    assert found.metrics["accuracy"].evidence.outcomes.tolist() == right
    confusion = np.array(found.details["confusion"])
    assert confusion.sum(axis=1).tolist() == [1, 2, 1]
    assert confusion.trace() == sum(right)
    assert found.metrics["macro_f1"].value == pytest.approx(
        np.mean([found.details["report"][label]["f1-score"] for label in LABELS])
    )


def test_macro_f1_is_the_mean_over_classes_of_the_harmonic_mean() -> None:
    f1, details = classification.report(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), ["a", "b", "c"])
    assert f1 == pytest.approx((0.5 + 2 / 3 + 0) / 3)
    assert details["confusion"] == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_a_class_that_no_text_has_and_nobody_says_is_no_part_of_macro_f1() -> None:
    true = np.array([0, 2, 2])
    assert classification.report(true, true, ["a", "b", "c"])[0] == 1
    assert classification.report(true, np.array([0, 2, 1]), ["a", "b", "c"])[0] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_a_label_outside_the_classes_is_named_by_row(model: Any) -> None:
    with pytest.raises(DataError, match=r"topics \(test\), row 4: label 3"):
        classification.evaluate(model, texts((*TEXTS, LabelledText("y", 3))), batch_size=2)


def test_a_text_longer_than_the_context_loses_its_beginning_and_is_counted(model: Any) -> None:
    long = "long " * 50
    found = classification.evaluate(model, texts((*TEXTS, LabelledText(long, 0))), batch_size=2)
    assert found.excluded == {"texts truncated from the left": 1}
    longest = len(" Sci/Tech")
    ids = model.tokenizer.encode(f"{classification_prompt(long)} World")[-(model.n_positions - longest + 1 + 6) :]
    wanted = next(score(model, [Sequenced(ids, len(ids) - 6)], batch_size=1))[1].total
    assert found.items[4]["log_likelihood"]["World"] == pytest.approx(wanted, rel=1e-5)


def test_the_batch_size_changes_no_metric(model: Any) -> None:
    one, many = (classification.evaluate(model, texts(), batch_size=size) for size in (1, 16))
    for before, after in zip(one.items, many.items, strict=True):
        assert after["log_likelihood"] == pytest.approx(before["log_likelihood"], rel=1e-6)
    assert one.metrics["batch_invariance"].value == 0


def test_what_is_found_is_json(model: Any) -> None:
    found = classification.evaluate(model, texts(), batch_size=2)
    json.dumps([found.protocol, found.items, found.samples, found.excluded, found.details], allow_nan=False)


def test_the_work_of_the_clock_is_the_tokens_of_one_batch_of_prompts(model: Any) -> None:
    work = classification.work(model, texts(), batch_size=2)
    wanted = sum(len(model.tokenizer.encode(classification_prompt(text.text))) for text in TEXTS[:2])
    assert (work.tokens, work.samples) == (wanted, 2)


def test_one_class_is_no_question(model: Any) -> None:
    one = (LabelledText("a text", 0),)
    with pytest.raises(DataError, match="one label only, 'A'"):
        classification.evaluate(model, texts(one, ("A",)), batch_size=1)
