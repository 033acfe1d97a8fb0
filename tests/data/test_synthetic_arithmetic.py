from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchsuite.data.examples import Problem
from benchsuite.data.synthetic.arithmetic import LARGEST, LARGEST_FACTOR, LONGEST, SHOTS, draw, problems
from benchsuite.data.synthetic.splits import stream

STEP = re.compile(r"[^<>]+ <<(\d+)([-+*/])(\d+)=(\d+)>>(\d+)(?: dollars)?\.")


def check(problem: Problem) -> None:
    """Every annotation is right, made of numbers that are known by then, and the last one is the answer."""
    *steps, last = problem.answer.split("\n")
    known = {int(number) for number in re.findall(r"\d+", problem.question)} | {2}  # half
    assert 2 <= len(steps) <= 4
    result = None
    for step in steps:
        parsed = STEP.fullmatch(step)
        assert parsed, step
        left, right, result = int(parsed[1]), int(parsed[3]), int(parsed[4])
        assert {left, right} <= known
        assert {"+": left + right, "-": left - right, "*": left * right, "/": left / right}[parsed[2]] == result
        assert int(parsed[5]) == result
        assert 1 <= result <= LARGEST
        assert parsed[2] not in "*/" or max(right, min(left, result)) <= LARGEST_FACTOR
        known.add(result)
    assert last == f"#### {result}"


@given(st.text(min_size=1, max_size=8))
def test_every_step_of_every_answer_adds_up(seed: str) -> None:
    check(draw(stream("test", seed)))


def test_the_published_problems_add_up() -> None:
    for problem in (*problems("test"), *problems("validation"), *problems("train", 5_000)):
        check(problem)


@pytest.mark.parametrize("steps", [2, 3, 4])
def test_each_number_of_steps_is_common_enough_to_count(steps: int) -> None:
    assert sum(problem.answer.count("<<") == steps for problem in problems("test")) >= 10


def test_the_train_split_begins_with_five_shots_of_different_operations() -> None:
    shots = problems("train", SHOTS)
    assert shots == problems("train", 2_000)[:SHOTS]
    operations = {tuple(re.findall(r"\d([-+*/])\d", shot.answer)) for shot in shots}
    assert len(operations) == SHOTS == 5
    assert {len(pair) for pair in operations} == {2}


def test_a_question_names_what_it_asks_for_and_ends_as_a_question() -> None:
    for problem in problems("test"):
        assert problem.question.endswith("?")
        assert "\n" not in problem.question
        assert len(problem.question) <= LONGEST
