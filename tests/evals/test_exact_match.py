"""Worked answers are asked for, cut, read and compared as lm-evaluation-harness `gsm8k` 3.0 does."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchsuite.data.examples import Examples, Problem
from benchsuite.data.prompts import exact_match_prompt
from benchsuite.errors import DataError
from benchsuite.evals import answers as answering
from benchsuite.evals import exact_match
from benchsuite.evals.exact_match import FLEXIBLE, STRICT, UNTIL, extracted, normalised

SHOTS = (Problem("1+1?", "1+1=2\n#### 2"),)
PROBLEMS = tuple(Problem(f"{n}+{n}?", f"{n}+{n}={2 * n}\n#### {2 * n}") for n in (3, 40, 5, 600))


def problems(items: tuple[Problem, ...] = PROBLEMS, shots: tuple[Problem, ...] = SHOTS) -> Examples:
    return Examples("sums", "exact-match", "test", items, shots=shots)


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        ("It is 4.\n#### 4", "4", "4"),
        ("#### 1,200.\n#### 7", "1200", "7"),
        ("so $1,200 it is", "[invalid]", "1200"),
        ("#### -3.5", "-3.5", "-3.5"),
        ("no number", "[invalid]", "[invalid]"),
        ("5 apples, 6 pears.", "[invalid]", "6"),
        ("5 apples...", "[invalid]", ".."),
    ],
)
def test_strict_takes_the_first_marked_number_and_flexible_the_last_of_all(
    text: str, strict: str, flexible: str
) -> None:
    assert normalised(extracted(text, STRICT, 0)) == strict
    assert normalised(extracted(text, FLEXIBLE, -1)) == flexible


@given(st.integers(-(10**9), 10**9), st.text(max_size=30))
def test_a_number_is_the_same_however_it_is_written(number: int, before: str) -> None:
    plain = normalised(f"{before}#### {number}")
    assert plain == str(number)
    assert normalised(f"{before}#### {number:,}.") == plain
    assert normalised(f"{before}#### ${number}") == plain


def test_answers_are_those_of_transformers_cut_at_the_first_stop_string(model: Any, reference: Any) -> None:
    found = exact_match.evaluate(model, problems(), batch_size=3, max_new_tokens=12)
    for item, problem in zip(found.items, PROBLEMS, strict=True):
        ids = model.tokenizer.encode(exact_match_prompt(problem, SHOTS))
        with torch.inference_mode():
            new = reference.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, pad_token_id=256)
        text = model.tokenizer.decode(new[0, len(ids) :].tolist())
        assert item["answer"] == re.split("|".join(map(re.escape, UNTIL)), text)[0]


def test_a_stop_string_ends_an_answer_and_is_not_part_of_it(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = exact_match.evaluate(model, problems(), batch_size=2, max_new_tokens=12).items[0]["answer"]
    stop = whole[4:6]
    monkeypatch.setattr(exact_match, "UNTIL", (stop,))
    model.seen.clear()
    found = exact_match.evaluate(model, problems(PROBLEMS[:1]), batch_size=1, max_new_tokens=12).items[0]["answer"]
    assert found == whole.split(stop)[0]
    assert sum(seen == 1 for seen in model.seen) <= 5


def test_right_answers_are_counted_strictly_and_flexibly(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["#### 6", "it is 80", "#### 11", "#### 1200."]
    monkeypatch.setattr(answering, "generated", lambda *_, **__: (answers, 0))
    found = exact_match.evaluate(model, problems(), batch_size=2).metrics
    assert found["exact_match"].value == 0.5
    assert found["exact_match"].evidence.outcomes.tolist() == [True, False, False, True]
    assert found["exact_match_flexible"].value == 0.75


def test_of_several_numbers_the_first_marked_and_the_last_of_all_count(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["#### 6\n#### 7", "80 and 40", "40 and 10", "#### 7\n#### 1200"]
    monkeypatch.setattr(answering, "generated", lambda *_, **__: (answers, 0))
    found = exact_match.evaluate(model, problems(), batch_size=2).metrics
    assert found["exact_match"].evidence.outcomes.tolist() == [True, False, False, False]
    assert found["exact_match_flexible"].evidence.outcomes.tolist() == [False, False, True, True]


def test_bits_per_byte_are_those_of_the_right_answer_alone(model: Any, log_likelihood: Any) -> None:
    found = exact_match.evaluate(model, problems(), batch_size=3, max_new_tokens=4).metrics["answer_bits_per_byte"]
    total = size = 0.0
    for problem in PROBLEMS:
        ids = model.tokenizer.encode(f"{exact_match_prompt(problem, SHOTS)} {problem.answer}")
        answer = f" {problem.answer}".encode()
        total += log_likelihood(ids, len(answer))
        size += len(answer)
    assert found.value == pytest.approx(-total / size / math.log(2), rel=1e-6)


def test_the_shots_are_computed_once_for_all_prompts(model: Any) -> None:
    exact_match.evaluate(model, problems(), batch_size=1, max_new_tokens=1)
    common = len(model.tokenizer.encode(exact_match_prompt(Problem("", ""), SHOTS))) - len("\nAnswer:")
    asked = [len(model.tokenizer.encode(exact_match_prompt(problem))) for problem in PROBLEMS]
    assert model.seen[0] == common
    assert sorted(model.seen[1:5]) == sorted(length - len("Question: ") for length in asked)


def test_a_prompt_without_room_for_its_answer_loses_its_beginning_and_is_counted(model: Any, reference: Any) -> None:
    long = Problem("word " * 30 + "?", "#### 1")
    found = exact_match.evaluate(model, problems((long, *PROBLEMS)), batch_size=2, max_new_tokens=20)
    assert found.excluded["prompts truncated from the left"] == 1
    ids = model.tokenizer.encode(exact_match_prompt(long, SHOTS))[-(model.n_positions - 20) :]
    with torch.inference_mode():
        new = reference.generate(torch.tensor([ids]), max_new_tokens=20, do_sample=False, pad_token_id=256)
    assert found.items[0]["answer"] == model.tokenizer.decode(new[0, len(ids) :].tolist()).split("Question:")[0]


def test_a_prompt_that_loses_its_beginning_for_the_right_answer_alone_is_counted_once(model: Any) -> None:
    room, length = 4, len(exact_match_prompt(Problem("", ""), SHOTS))
    fits = Problem("w" * (model.n_positions - room - length), "1234")  # whose right answer, behind a space, fits too
    cut = Problem(fits.question, "12345")
    lost = Problem(f"w{fits.question}", "12345")
    found = exact_match.evaluate(model, problems((fits, fits, cut, lost)), batch_size=2, max_new_tokens=room)
    assert found.excluded == {"prompts truncated from the left": 1, "prompts truncated for the right answer": 1}


def test_the_batch_size_changes_no_metric(model: Any) -> None:
    one, many = (exact_match.evaluate(model, problems(), batch_size=size, max_new_tokens=8) for size in (1, 16))
    assert [item["answer"] for item in one.items] == [item["answer"] for item in many.items]
    for name in one.metrics.keys() - {"batch_invariance"}:
        assert many.metrics[name].value == pytest.approx(one.metrics[name].value, rel=1e-6)


def test_an_answer_may_take_a_quarter_of_the_context_unless_it_is_said(model: Any) -> None:
    assert exact_match.evaluate(model, problems(), batch_size=4).protocol["max_new_tokens"] == model.n_positions // 4


@pytest.mark.parametrize("problem", [Problem("", "#### 1"), Problem("1?", " ")])
def test_an_empty_question_or_answer_is_named_by_row(model: Any, problem: Problem) -> None:
    with pytest.raises(DataError, match=r"sums \(test\), row 4"):
        exact_match.evaluate(model, problems((*PROBLEMS, problem)), batch_size=2)


def test_an_answer_longer_than_the_context_is_named_by_row(model: Any) -> None:
    with pytest.raises(DataError, match=r"sums \(test\), row 4: an answer of"):
        exact_match.evaluate(model, problems((*PROBLEMS, Problem("1?", "1" * 200))), batch_size=2)


def test_what_is_found_is_json(model: Any) -> None:
    found = exact_match.evaluate(model, problems(), batch_size=2, max_new_tokens=4)
    json.dumps([found.protocol, found.items, found.samples, found.excluded], allow_nan=False)


def test_the_work_of_the_clock_is_the_tokens_that_were_generated(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "generated", lambda *_, **__: (["", ""], 5))
    work = exact_match.work(model, problems(), batch_size=2, max_new_tokens=12)
    assert (work.tokens, work.samples, work.run()) == (5, 2, 5)


def test_the_work_of_the_clock_answers_one_batch(model: Any) -> None:
    work = exact_match.work(model, problems(), batch_size=2, max_new_tokens=6)
    assert work.samples == 2
    model.seen.clear()
    work.run()
    assert 0 < work.tokens <= 12
