"""A timed generation does the work that it is counted for."""

from __future__ import annotations

from unittest import mock

import pytest

from benchsuite.c_code import is_compiled
from benchsuite.engines.native import NativeEngine
from benchsuite.errors import UsageError
from benchsuite.kernels.attention import ATTENTION, MANY_QUERIES
from benchsuite.measure.generation import prompts_of, time_generation
from benchsuite.measure.kernels import kernels_that_run
from benchsuite.models import models
from benchsuite.models.language_model import LanguageModel


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return models["random:tiny"].load("cpu", "sdpa")


def test_every_new_token_is_one_pass_and_the_first_comes_from_the_prompt(model: LanguageModel) -> None:
    prompts = prompts_of(model.tokenizer.vocab_size, count=3, length=10)
    with mock.patch.object(model, "hidden", wraps=model.hidden) as hidden:
        timing = time_generation(NativeEngine(model), prompts, new_tokens=6)
    assert [tuple(call.args[0].shape) for call in hidden.call_args_list] == [(3, 10)] + [(3, 1)] * 5
    assert len(timing.steps_s) == 5
    assert timing.prefill_s > 0
    assert [len(row) for row in timing.tokens] == [6, 6, 6]
    assert timing.decode_s == pytest.approx(sum(timing.steps_s))


def test_prompts_are_the_same_in_every_run_and_differ_from_each_other(model: LanguageModel) -> None:
    first, second = prompts_of(model.tokenizer.vocab_size, count=2, length=16)
    assert [first, second] == prompts_of(model.tokenizer.vocab_size, count=2, length=16)
    assert first != second


def test_prompts_of_different_lengths_cannot_be_timed_together(model: LanguageModel) -> None:
    with pytest.raises(UsageError, match="one length"):
        time_generation(NativeEngine(model), [[1, 2], [1]], new_tokens=4)


def test_the_kernels_that_ran_are_told_apart_from_composites(model: LanguageModel) -> None:
    prompts = prompts_of(model.tokenizer.vocab_size, count=1, length=8)
    found = kernels_that_run(lambda: time_generation(NativeEngine(model), prompts, new_tokens=3), model.module)[
        "operators"
    ]
    layers = len(model.module.h)  # type: ignore[arg-type]
    assert sum(calls for name, calls in found.items() if "attention" in name) == 3 * layers
    assert "aten::scaled_dot_product_attention" not in found


@pytest.mark.skipif(not is_compiled(ATTENTION), reason="no C compiler with OpenMP")
def test_our_own_loops_are_among_the_kernels_that_ran(model: LanguageModel) -> None:
    [prompt] = prompts_of(model.tokenizer.vocab_size, count=1, length=MANY_QUERIES)
    found = kernels_that_run(lambda: NativeEngine(model).prefill(prompt), model.module)["operators"]
    assert found["benchsuite::attention"] == len(model.module.h)  # type: ignore[arg-type]
    assert "benchsuite::attention" not in kernels_that_run(lambda: None)["operators"]
