"""Instructions are judged by their normalised words and by the loss on the right answer alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchsuite.data.examples import Examples, Instruction
from benchsuite.data.prompts import instruction_prompt
from benchsuite.errors import DataError
from benchsuite.evals import answers, instructions
from benchsuite.evals.instructions import normalised, token_f1

ASKED = (Instruction("Say yes.", "", "Yes."), Instruction("Spell.", "cat", "The spelling is c-a-t."))


def asked(items: tuple[Instruction, ...] = ASKED) -> Examples:
    return Examples("asked", "instructions", "test", items)


@pytest.fixture
def roomy(model: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The small model, with prompts that fit its context."""
    monkeypatch.setattr(instructions, "instruction_prompt", lambda item: f"{item.instruction} {item.input}\n")
    return model


@pytest.mark.parametrize(
    ("answer", "expected", "f1"),
    [
        ("Pear", "a pear.", 1.0),
        ("pear tree", "pear", 2 / 3),
        ("plum", "pear", 0.0),
        ("", "pear", 0.0),
        ("the", "a", 1.0),
        ("no no yes", "no yes yes", 2 / 3),
        ("no no no", "no no", 0.8),
    ],
)
def test_token_f1_weighs_common_words(answer: str, expected: str, f1: float) -> None:
    assert token_f1(answer, expected) == pytest.approx(f1)


@given(st.text(), st.text())
def test_token_f1_lies_between_nothing_and_exact_match_and_has_no_direction(answer: str, expected: str) -> None:
    f1 = token_f1(answer, expected)
    assert 0 <= f1 <= 1
    assert f1 == token_f1(expected, answer)
    assert normalised(answer) != normalised(expected) or f1 == 1


def test_answers_count_as_right_after_normalisation(roomy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "generated", lambda *_, **__: ([" yes", "A spelling is cat"], 0))
    found = instructions.evaluate(roomy, asked(), batch_size=2, max_new_tokens=4)
    assert found.metrics["exact_match"].evidence.outcomes.tolist() == [True, True]
    assert found.metrics["token_f1"].value == 1.0


def test_the_loss_is_that_of_the_right_answer_alone(roomy: Any, log_likelihood: Any) -> None:
    found = instructions.evaluate(roomy, asked(), batch_size=2, max_new_tokens=4).metrics["answer_perplexity"]
    total = tokens = 0.0
    for item in ASKED:
        ids = roomy.tokenizer.encode(f"{item.instruction} {item.input}\n{item.output}")
        total += log_likelihood(ids, len(item.output))
        tokens += len(item.output)
    assert found.value == pytest.approx(math.exp(-total / tokens), rel=1e-6)


def test_a_prompt_longer_than_the_context_loses_its_beginning_and_is_counted(model: Any) -> None:
    assert len(instruction_prompt(ASKED[0])) > model.n_positions
    found = instructions.evaluate(model, asked(), batch_size=2, max_new_tokens=4)
    assert found.excluded["prompts truncated from the left"] == 2


@pytest.mark.parametrize("item", [Instruction("", "", "x"), Instruction("x", "", "\n")])
def test_an_empty_instruction_or_output_is_named_by_row(model: Any, item: Instruction) -> None:
    with pytest.raises(DataError, match=r"asked \(test\), row 2"):
        instructions.evaluate(model, asked((*ASKED, item)), batch_size=2)


def test_the_work_of_the_clock_is_the_tokens_that_were_generated(roomy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "generated", lambda *_, **__: (["", ""], 5))
    work = instructions.work(roomy, asked(), batch_size=2, max_new_tokens=12)
    assert (work.tokens, work.samples, work.run()) == (5, 2, 5)
