"""Every task has its evaluation, and naming them costs no torch."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np

from benchsuite.data.examples import TASKS
from benchsuite.evals import evaluation, evaluation_for
from benchsuite.stats.intervals import mean_interval, perplexity_interval, proportion_interval


def test_every_task_has_an_evaluation() -> None:
    assert all(callable(evaluation_for(task).evaluate) and callable(evaluation_for(task).work) for task in TASKS)


def test_naming_the_evaluations_imports_no_torch() -> None:
    code = "import sys, benchsuite.evals, benchsuite.evals.evaluation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_bits_per_byte_are_the_logarithm_of_byte_perplexity() -> None:
    windows = evaluation.windows([-10.0, -30.0, -12.0], [7, 20, 9])
    bits, ppl = evaluation.bits_per_byte(windows), evaluation.perplexity(windows)
    assert bits.interval is not None
    assert ppl.interval is not None
    np.testing.assert_allclose([bits.value, *bits.interval], np.log2([ppl.value, *ppl.interval]))


def test_the_interval_of_a_share_is_that_of_its_right_items() -> None:
    assert evaluation.share([True, True, True, False]).interval == proportion_interval(3, 4)


def test_intervals_of_a_text_know_which_windows_are_of_one_document() -> None:
    totals, tokens, cluster = [-10.0, -11.0, -30.0, -9.0], [10, 10, 10, 10], [0, 0, 1, 2]
    wanted = perplexity_interval(totals, tokens, cluster)
    assert wanted is not None
    assert wanted != perplexity_interval(totals, tokens)
    windows = evaluation.windows(totals, tokens, cluster)
    assert evaluation.perplexity(windows).interval == wanted
    assert evaluation.bits_per_byte(windows).interval == (math.log2(wanted[0]), math.log2(wanted[1]))


def test_a_window_counts_by_its_tokens_in_the_interval_of_a_mean() -> None:
    found = evaluation.mean_of_windows([np.ones(9), np.zeros(1), np.full(5, 0.5)], np.arange(3), "share", "higher")
    assert found.interval == mean_interval([1, 0, 0.5], np.arange(3), [9, 1, 5])
    assert found.interval != mean_interval([1, 0, 0.5], np.arange(3))


def test_what_a_text_costs_is_better_when_it_is_lower() -> None:
    windows = evaluation.windows([-10.0, -30.0], [7, 20])
    assert evaluation.perplexity(windows).better == evaluation.bits_per_byte(windows).better == "lower"


def test_batch_invariance_is_the_largest_change_of_any_item() -> None:
    assert evaluation.batch_invariance([0.0, -4.0, 3.0], [0.0, -1.0, 2.0]).value == 3


def test_a_perplexity_too_large_for_a_float_is_told_and_no_number() -> None:
    assert evaluation.overflows(page := evaluation.windows([-1e6], [1]))
    assert evaluation.perplexity(page).value == np.inf
    assert not evaluation.overflows(evaluation.windows([-699.0], [1]))


def test_long_texts_of_samples_are_cut_in_the_middle() -> None:
    items = tuple({"prompt": "a" * 999 + "b", "answer": 1.5} for _ in range(9))
    found = evaluation.Evaluation({}, {}, items)
    assert len(found.samples) == evaluation.SAMPLES
    assert len(found.samples[0]["prompt"]) < 500
    assert found.samples[0]["prompt"].endswith("b")
    assert len(found.items[0]["prompt"]) == 1_000


def test_only_exclusions_that_happened_are_counted() -> None:
    assert evaluation.counted(rows_left_out=2, rows_cut=0) == {"rows left out": 2}
