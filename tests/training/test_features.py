from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchsuite.data.examples import Document, Examples, Instruction, LabelledText
from benchsuite.data.prompts import instruction_prompt
from benchsuite.errors import DataError
from benchsuite.training.features import IGNORED, causal_features, class_features, collate

END = 0


def encode(texts):
    """One token a character; none is the end-of-text token."""
    return [[ord(char) for char in text] for text in texts]


def of_instructions(*items, **options):
    examples = Examples("toys", "instructions", "train", items)
    return causal_features(examples, encode, end=END, **{"context": 1_000, "answer_only": False, **options})


ASKED = Instruction("Say ox.", "", "ox")


def test_an_instruction_is_its_prompt_its_output_and_the_end_of_text():
    [row] = of_instructions(ASKED).rows
    assert row["input_ids"] == [*encode([instruction_prompt(ASKED) + "ox"])[0], END]
    assert row["labels"] == row["input_ids"]


def test_with_answer_only_the_loss_is_on_the_output_and_the_end_alone():
    [row] = of_instructions(ASKED, answer_only=True).rows
    assert [label for label in row["labels"] if label != IGNORED] == [ord("o"), ord("x"), END]
    assert row["labels"][-3:] == [ord("o"), ord("x"), END]


def test_what_is_longer_than_the_context_is_cut_and_counted():
    context = len(instruction_prompt(ASKED)) + 1
    features = of_instructions(ASKED, context=context)
    assert len(features.rows[0]["input_ids"]) == len(features.rows[0]["labels"]) == context
    assert features.excluded == {"cut to the context": 1}


@pytest.mark.parametrize("answer_only", [False, True])
def test_an_example_without_room_for_its_answer_is_left_out_and_counted(answer_only):
    features = of_instructions(ASKED, context=len(instruction_prompt(ASKED)), answer_only=answer_only)
    assert features.rows == []
    assert features.excluded == {"without room for an answer": 1}


@given(st.lists(st.text(st.characters(min_codepoint=1, max_codepoint=99), max_size=30), min_size=1), st.integers(2, 9))
def test_packed_documents_hold_every_token_once_in_order(texts, context):
    examples = Examples("toys", "lm", "train", tuple(map(Document, texts)))
    features = causal_features(examples, encode, end=END, context=context, answer_only=False)
    stream = [token for ids in encode(texts) for token in [END, *ids]]
    found = [token for row in features.rows for token in row["input_ids"]]
    assert found in (stream, stream[:-1])  # a last row of one token has nothing to predict
    assert all(len(row["input_ids"]) <= context for row in features.rows)


def test_texts_keep_their_class_and_are_cut_to_the_context():
    examples = Examples("toys", "classification", "train", (LabelledText("abc", 1),), labels=("a", "b"))
    features = class_features(examples, encode, context=2)
    assert features.rows == [{"input_ids": [97, 98], "labels": 1}]
    assert features.excluded == {"cut to the context": 1}


def test_an_empty_text_is_named_with_its_row():
    examples = Examples("toys", "classification", "test", (LabelledText("a", 0), LabelledText("", 0)), labels=("a",))
    with pytest.raises(DataError, match=r"toys \(test\), row 1: an empty text"):
        class_features(examples, encode, context=2)


def test_a_batch_is_padded_on_the_right_and_padding_is_neither_seen_nor_scored():
    batch = collate([{"input_ids": [5, 6], "labels": [5, 6]}, {"input_ids": [7], "labels": [7]}], pad=9)
    assert batch["input_ids"].tolist() == [[5, 6], [7, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert batch["labels"].tolist() == [[5, 6], [7, IGNORED]]


def test_a_batch_of_texts_has_one_label_each():
    batch = collate([{"input_ids": [5, 6], "labels": 1}, {"input_ids": [7], "labels": 0}], pad=9)
    assert batch["labels"].tolist() == [1, 0]
