"""Pictures of weights show what each precision did to them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from benchsuite.errors import UnavailableError
from benchsuite.quant.code_books import CodeBook
from benchsuite.quant.grids import Absmax
from benchsuite.quant.layers import QuantizedLinear
from benchsuite.quant.precision import precisions
from benchsuite.report.weights import draw_weights, level_counts, weight_of


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 64)).requires_grad_(False)


def test_each_precision_gets_a_picture_and_all_of_them_one_of_their_errors(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written = draw_weights(module, ["absmax4", "nf4-g32", "bnb-int8"], tmp_path, model="two layers")
    stems = ["weights-absmax4", "weights-nf4-g32", "weights-bnb-int8", "error-by-layer"]
    assert [path.name for path in written] == [f"{stem}.{form}" for stem in stems for form in ("svg", "png")]
    assert all(path.stat().st_size > 1_000 for path in written)


def test_a_cast_has_no_levels_and_no_curve(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_weights(module, ["bf16", "absmax4"], tmp_path, model="m")
    assert "<!-- bf16 -->" not in (tmp_path / "error-by-layer.svg").read_text()
    assert "<!-- levels used -->" not in (tmp_path / "weights-bf16.svg").read_text()


def test_the_same_weights_give_the_same_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first, second = (draw_weights(module, ["absmax3"], tmp_path / name, model="m") for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_precision_that_this_machine_cannot_run_is_not_drawn(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="fp8: it needs a CUDA device"):
        draw_weights(module, ["fp8"], tmp_path, model="m")


def test_levels_are_counted_in_units_of_the_scale() -> None:
    linear = nn.Linear(8, 1)
    linear.weight = nn.Parameter(torch.tensor([[7.0, -7.0, 0.0, 1.0, 1.0, 2.0, -3.0, 0.2]]), requires_grad=False)
    assert level_counts(QuantizedLinear.of(linear, Absmax(4, "row"))) == {-7: 1, -3: 1, 0: 2, 1: 2, 2: 1, 7: 1}
    levels = level_counts(QuantizedLinear.of(linear, CodeBook("nf4", 8)))
    assert sum(levels.values()) == 8
    assert (min(levels), max(levels)) == (-1, 1)
    assert level_counts(linear) == {}


@pytest.mark.parametrize(
    ("ours", "theirs"), [("nf4-g64", "bnb-nf4"), ("fp4-g64", "bnb-fp4"), ("absmax8-row", "bnb-int8")]
)
def test_levels_of_bitsandbytes_are_those_of_the_same_grid(ours: str, theirs: str) -> None:
    counted = []
    for name in (ours, theirs):
        held = module()
        precisions[name].apply(held, device="cpu")
        counted.append(level_counts(held[0]))  # type: ignore[index]
    first, second = counted
    assert sum(first.values()) == sum(second.values()) == 64 * 32
    # its int8 begins with float16: a weight that lies between two codes may take either
    assert sum((first - second).values()) <= (0.02 * 64 * 32 if ours == "absmax8-row" else 0)


def test_the_weight_drawn_is_the_one_that_the_layer_computes_with() -> None:
    linear = module()[0]  # type: ignore[index]
    layer = QuantizedLinear.of(linear, Absmax(3, "row"))
    assert torch.equal(weight_of(layer), layer.dequantize())
    assert torch.equal(weight_of(linear), linear.weight)
