from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from benchsuite.errors import UnknownNameError, UsageError
from benchsuite.record import Cell, Items, Metric, Record, Rounds, Values, Windows
from benchsuite.verdicts.budgets import Amount, make_budgets, metric_class
from benchsuite.verdicts.compare import Policy, compare

CELL = Cell("generation", "tiny", "nf4-g64", "prose")
ONE = np.ones(1)
WINDOWS = Windows(ONE, ONE.astype(np.int64), ONE.astype(np.int64))
SPEED = Metric(100.0, "tok/s", "higher", evidence=Rounds(ONE, 1.0))
VALUES = Values(ONE, ONE.astype(np.int64))
ONE_POINT = Amount(0.01, relative=False)
PERPLEXITY = Metric(20.0, "ppl", "lower", evidence=WINDOWS)


@pytest.mark.parametrize(
    ("name", "metric", "kind", "default"),
    [
        ("word_perplexity", PERPLEXITY, "perplexity", Amount(0.005, relative=True)),
        ("bits_per_byte", PERPLEXITY, None, None),
        ("byte_perplexity", PERPLEXITY, None, None),
        ("llama_cpp_perplexity", PERPLEXITY, None, None),
        ("exact_match", Metric(0.5, "share", "higher", evidence=Items(ONE > 0)), "accuracy", ONE_POINT),
        ("agreement", Metric(0.5, "share", "higher", evidence=VALUES), "accuracy", ONE_POINT),
        ("kl", Metric(0.1, "nats", "lower", evidence=VALUES), "divergence", Amount(0.005, relative=False)),
        ("judge", Metric(7.0, "points", "higher", evidence=VALUES), "score", Amount(0.01, relative=True)),
        ("prefill_tokens_per_s", SPEED, "speed", Amount(0.05, relative=True)),
        ("peak_memory_bytes", Metric(1e6, "B", "lower"), "memory", Amount(0.02, relative=True)),
        ("working_memory_bytes", Metric(1e6, "B", "lower"), None, None),
        ("weight_bytes", Metric(1e6, "B", "lower"), "size", Amount(0.0, relative=False)),
        ("batch_latency_s", Metric(0.1, "s", "lower"), None, None),
        ("bytes_before", Metric(1e6, "B", None), "size", None),
    ],
)  # fmt: skip
def test_a_metric_falls_under_the_default_of_its_evidence(
    name: str, metric: Metric, kind: str | None, default: Amount | None
) -> None:
    assert metric_class(name, metric) == kind
    assert make_budgets().amount(name, metric, CELL) == default


def test_the_command_line_goes_before_the_settings_and_the_narrower_before_the_wider() -> None:
    settings: dict[str, Any] = {
        "speed": "10%",
        "*_tokens_per_s": "9%",
        "decode_tokens_per_s": "8%",
        "decode_tokens_per_s@prose": "7%",
        "speed@generation tiny-nf4*": "6%",
        "perplexity": 0,
    }
    budgets = make_budgets(["speed@headlines=3%", "decode_tokens_per_s@arithmetic=off"], settings)

    def amount(name: str, dataset: str, precision: str = "fp32") -> str:
        return str(budgets.amount(name, SPEED, Cell("generation", "tiny", precision, dataset)))

    assert amount("tokens_per_s", "stories") == "10 %"
    assert amount("prefill_tokens_per_s", "stories") == "9 %"
    assert amount("decode_tokens_per_s", "stories") == "8 %"
    assert amount("decode_tokens_per_s", "prose") == "7 %"
    assert amount("decode_tokens_per_s", "prose", "nf4-g64") == "6 %"
    assert amount("decode_tokens_per_s", "headlines") == "3 %"
    assert amount("decode_tokens_per_s", "arithmetic") == "None"
    assert str(budgets.amount("perplexity", PERPLEXITY, CELL)) == "0"


def test_a_margin_is_the_largest_loss_in_the_direction_of_the_metric() -> None:
    assert Amount(0.05, relative=True).margin(SPEED, ratio=True) == pytest.approx(-math.log(0.95))
    assert Amount(0.005, relative=True).margin(PERPLEXITY, ratio=True) == pytest.approx(math.log(1.005))
    assert Amount(0.1, relative=False).margin(PERPLEXITY, ratio=True) == pytest.approx(math.log(20.1 / 20))
    assert Amount(0.1, relative=True).margin(PERPLEXITY, ratio=False) == pytest.approx(2.0)
    with pytest.raises(UsageError, match="name less, or 'off'"):
        Amount(1.5, relative=True).margin(SPEED, ratio=True)
    with pytest.raises(UsageError, match="name less, or 'off'"):  # before a second run is spent
        make_budgets(["speed=110%"]).check_used([Record(CELL, {"tokens_per_s": SPEED})])


@pytest.mark.parametrize(
    "text", ["perplexity", "=1%", "perplexity=", "perplexity=-1%", "perplexity=1x", "perplexity=nan", "p=1 pt %"]
)
def test_what_is_no_budget_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="wanted"):
        make_budgets([text])


@pytest.mark.parametrize("settings", [{"perplexity": True}, {"perplexity": [1]}, {"perplexity": math.nan}, ["x"], "5%"])
def test_a_setting_that_is_no_budget_is_a_usage_error(settings: Any) -> None:
    with pytest.raises(UsageError, match=r"tool\.benchsuite\.budgets"):
        make_budgets((), settings)


def test_a_setting_for_no_metric_of_the_comparison_is_said_and_not_refused() -> None:
    record = Record(CELL, {"perplexity": PERPLEXITY})
    settings = {"perplexty": "1%", "perp*@stories": "1%", "perp*@prose": "1%", "perp*@*nf4*": "1%", "speed": "1%"}
    budgets = make_budgets((), settings)
    assert budgets.unused_settings([record]) == ["perplexty", "perp*@stories"]
    side = {record.cell.key(): record}
    assert any("perplexty: fits no metric" in note for note in compare(side, side, Policy(budgets)).notes)


def test_a_budget_that_gates_nothing_is_a_usage_error_with_the_nearest_name() -> None:
    record = Record(CELL, {"perplexity": PERPLEXITY})
    make_budgets(["perplexity@prose=1%"]).check_used([record])
    with pytest.raises(UnknownNameError, match="did you mean 'perplexity'"):
        make_budgets(["perplexty=1%"]).check_used([record])
    with pytest.raises(UsageError, match="no cell or dataset"):
        make_budgets(["perplexity@stories=1%"]).check_used([record])
    spread = Record(CELL, {"batch_latency_std_s": Metric(1.0, "s", None)})
    with pytest.raises(UsageError, match="no metric that can get worse"):
        make_budgets(["batch_latency_std_s=1%"]).check_used([spread])
