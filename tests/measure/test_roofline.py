"""The work of a cell is counted from shapes: by hand for a small model, and against PyTorch's own counter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchsuite.engines.native import NativeEngine
from benchsuite.kernels.cpu import capabilities, has_bf16
from benchsuite.measure.limits import Limits
from benchsuite.measure.roofline import Part, counted, part_of, parts_of_generation
from benchsuite.models import gpt2, models
from benchsuite.models.in_precision import load
from benchsuite.models.language_model import LanguageModel
from benchsuite.quant.apply import size_bytes
from benchsuite.report.roofline import draw_roofline, roofline_table


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return models["random:tiny"].load("cpu", "eager")


def test_flop_are_those_that_pytorch_counts(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpt2.cpu, "linear", torch.nn.functional.linear)  # which PyTorch's counter knows
    ids = torch.arange(7)[None]
    with counted(model) as passes, FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.head(model.hidden(ids))
    config = model.module.config  # type: ignore[union-attr]
    # the eager attention multiplies what the mask hides, too: T² pairs for T(T+1)/2
    hidden = 4 * config.n_layer * config.n_embd * (7 * 7 - 7 * 8 // 2)
    assert sum(each.flop for each in passes) == counter.get_total_flops() - hidden


def test_a_token_reads_the_weights_and_the_keys_and_values_before_it_once(model: LanguageModel) -> None:
    module, config = model.module, model.module.config  # type: ignore[union-attr]
    with counted(model) as passes:
        NativeEngine(model).generate([[1, 2, 3], [4, 5, 6]], 2)
    prefill, head, step, _ = passes
    per_token = 2 * config.n_layer * config.n_embd * 4
    weights = size_bytes(module.h)  # type: ignore[arg-type]
    assert prefill.bytes_read == weights + 2 * 3 * per_token
    assert step.bytes_read == weights + 2 * 4 * per_token
    assert head.bytes_read == config.vocab_size * config.n_embd * 4
    assert head.flop == 2 * 2 * config.vocab_size * config.n_embd
    assert [each.is_head for each in passes] == [False, True, False, True]


def test_a_prefix_that_rows_share_is_read_once(model: LanguageModel) -> None:
    module, config = model.module, model.module.config  # type: ignore[union-attr]
    prefix = model.new_cache(1, 20)
    model.hidden(torch.arange(20)[None], prefix)
    with counted(model) as passes:
        model.hidden(torch.zeros(4, 1, dtype=torch.int64), model.new_cache(4, 21, prefix))
    per_token = 2 * config.n_layer * config.n_embd * 4
    assert passes[0].bytes_read == size_bytes(module.h) + (20 + 4 * 1) * per_token  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("precision", "dtypes"),
    [
        ("fp32", {"fp32"}),
        ("bf16", {"bf16"}),
        ("w8a8", {"int8", "fp32"}),
        ("llm-int8", {"int8", "fp32"}),
        ("absmax8-row", {"fp32"}),
        ("absmax4-g32", {"bf16", "fp32"}),
        ("absmax4-g128", {"bf16", "fp32"}),
    ],
)
def test_each_layer_counts_as_what_its_kernel_multiplies(precision: str, dtypes: set[str]) -> None:
    if not capabilities() >= {"exact_int8", "int4", "onednn"}:
        pytest.skip("the table chooses other kernels on this processor")
    model, _ = load("random:tiny", precision, "cpu", "sdpa")
    config, ids = model.module.config, torch.arange(7)[None]  # type: ignore[union-attr]
    with counted(model) as passes, torch.inference_mode():
        model.hidden(ids)
    wide = "bf16" if has_bf16() else "fp32"  # what 4-bit weights become for many tokens
    assert passes[0].flop_of.keys() == ({*dtypes - {"bf16"}, wide} if precision.startswith("absmax4") else dtypes)
    if precision == "absmax4-g128" and has_bf16():  # groups that fit the width of one layer in four: 4 C of 192
        assert passes[0].flop_of["bf16"] == 2 * 7 * 4 * config.n_layer * config.n_embd**2
    if precision == "w8a8":
        assert passes[0].flop_of["int8"] == 2 * 7 * 12 * config.n_layer * config.n_embd**2


def test_counting_ends_with_its_block(model: LanguageModel) -> None:
    with counted(model) as passes:
        pass
    NativeEngine(model).prefill([1, 2])
    assert passes == []


def test_prefill_ends_with_the_first_head_and_shares_are_of_the_least_time(model: LanguageModel) -> None:
    with counted(model) as passes:
        NativeEngine(model).generate([[1, 2, 3]], 3)
    limits = Limits("m", 1e9, {"fp32": 1e9})
    prefill, decode = parts_of_generation(passes, 1.0, 2.0, limits)
    assert prefill.flop == passes[0].flop + passes[1].flop
    assert decode.flop == sum(each.flop for each in passes[2:])
    least = sum(max(each.flop, each.bytes_read) / 1e9 for each in passes[2:])
    assert decode.share == pytest.approx(least / 2.0)
    assert part_of("batch", passes, 1.0, None).share is part_of("batch", [], 1.0, limits).share is None


def test_the_table_says_what_was_not_measured() -> None:
    part = Part("decode", 2e9, 1e9, 0.5, None)
    table = roofline_table([part], None)
    assert "unknown" in table
    assert "benchsuite calibrate --limits" in table
    assert "not here" in roofline_table([], None)


def test_the_picture_shows_each_part_under_the_roof(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    parts = [Part("prefill", 2e10, 5e8, 0.1, 0.05), Part("decode", 2e9, 1e9, 0.05, 0.02)]
    limits = Limits("m", 50e9, {"fp32": 500e9})
    written = draw_roofline(parts, limits, "a cell", tmp_path / "roofline")
    assert [path.suffix for path in written] == [".svg", ".png"]
    table = roofline_table(parts, limits)
    assert "50 %" in table
    assert "40 %" in table
    assert "reads 50.0 GB/s; products: fp32 500 GFLOP/s" in table


def test_a_row_of_the_table_is_in_the_units_of_its_heading() -> None:
    heading, row, *_ = roofline_table([Part("decode", 2e9, 1e8, 0.05, 0.02)], None).splitlines()
    assert dict(zip(re.split(" {2,}", heading), re.split(" {2,}", row), strict=True)) == {
        "part": "decode", "GFLOP": "2", "read MB": "100", "FLOP/B": "20", "ms": "50", "GFLOP/s": "40", "GB/s": "2",
        "of the limit": "40 %",
    }  # fmt: skip
