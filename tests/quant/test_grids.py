"""Grids keep their bounds on every weight there is, and their codes are the ones that the field knows."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from benchsuite.errors import QuantizationError
from benchsuite.quant import bounds, groups, testing
from benchsuite.quant.grids import Absmax, ZeroPoint
from benchsuite.quant.groups import Group
from benchsuite.quant.packing import unpack
from benchsuite.quant.testing import weights
from tests.quant.strategies import GRIDS, WIDE_GRIDS, bits, sizes


@pytest.mark.parametrize("kind", GRIDS)
def test_no_error_exceeds_its_bound(kind: str) -> None:
    testing.error_is_within_the_bound(GRIDS[kind])


@pytest.mark.parametrize("kind", WIDE_GRIDS)
def test_some_error_reaches_98_percent_of_its_bound(kind: str) -> None:
    testing.bound_is_tight(WIDE_GRIDS[kind])


@pytest.mark.parametrize("kind", [kind for kind in GRIDS if kind != "double-quantized code book"])
def test_quantizing_twice_changes_nothing(kind: str) -> None:
    testing.quantizing_twice_changes_nothing(GRIDS[kind])


@pytest.mark.parametrize("kind", GRIDS)
def test_scaling_by_a_power_of_two_commutes(kind: str) -> None:
    testing.scaling_by_a_power_of_two_commutes(GRIDS[kind])


@pytest.mark.parametrize("kind", GRIDS)
def test_weights_that_are_not_finite_are_refused_with_their_index(kind: str) -> None:
    testing.non_finite_weights_are_refused(GRIDS[kind])


@given(grid=GRIDS["absmax"], weight=weights())
def test_absmax_is_a_fixed_point_in_the_weights_own_dtype_too_however_large_or_small_they_are(
    grid: Absmax, weight: Tensor
) -> None:
    once = grid.dequantize(grid.quantize(weight), weight.shape, weight.dtype)
    assert torch.equal(grid.dequantize(grid.quantize(once), weight.shape, weight.dtype), once)


@given(grid=GRIDS["absmax"], weight=weights())
def test_absmax_codes_are_symmetric_and_in_range(grid: Absmax, weight: Tensor) -> None:
    codes = _codes(grid, grid.quantize(weight)["codes"], weight) - grid.offset
    assert codes.numel() == 0 or codes.abs().max() <= grid.qmax
    negated = _codes(grid, grid.quantize(-weight)["codes"], weight) - grid.offset
    assert torch.equal(negated, -codes)


@given(grid=GRIDS["zero-point"], weight=weights())
def test_zero_point_codes_are_in_range_and_zero_stays_exactly_zero(grid: ZeroPoint, weight: Tensor) -> None:
    packed = grid.quantize(weight)
    assert _codes(grid, packed["codes"], weight).le(grid.levels).all()
    assert packed["zero_point"].le(grid.levels).all()
    assert (grid.dequantize(packed, weight.shape)[weight == 0] == 0).all()


@given(grid=st.one_of(GRIDS["absmax"], GRIDS["zero-point"]), weight=weights(dtype=torch.float32))
def test_scales_have_16_significant_bits_and_never_vanish(grid: Absmax | ZeroPoint, weight: Tensor) -> None:
    scale = grid.quantize(weight)["scale"]
    assert (scale.view(torch.int32) & 0xFF == 0).all()
    assert (scale >= torch.finfo(torch.float32).tiny).all()


@given(weight=weights(empty=False), bits=bits, size=sizes)
def test_a_group_is_quantized_as_if_it_were_a_row_of_its_own(weight: Tensor, bits: int, size: int) -> None:
    columns = weight.shape[-1]
    whole = Absmax(bits, size)
    held = whole.dequantize(whole.quantize(weight), weight.shape)
    row = Absmax(bits, "row")
    for start in range(0, columns, size):
        part = weight[..., start : start + size]
        assert torch.equal(row.dequantize(row.quantize(part), part.shape), held[..., start : start + size])


def test_absmax_rounds_to_the_nearest_multiple_of_absmax_over_127() -> None:
    weight = torch.tensor([[127.0, -63.4, 0.5, 1.5, -1.5, 2.51]])
    packed = Absmax(8, "row").quantize(weight)
    assert packed["scale"].item() == 1
    assert packed["codes"].tolist() == [[127, -63, 0, 2, -2, 3]]
    assert packed["codes"].dtype == torch.int8


def test_zero_point_spans_the_range_widened_to_hold_zero() -> None:
    packed = ZeroPoint(8, "row").quantize(torch.tensor([[-55.0, 200.0, 3.4], [51.0, 255.0, 0.6]]))
    assert packed["scale"].tolist() == [[1], [1]]
    assert packed["zero_point"].tolist() == [[55], [0]]
    assert packed["codes"].tolist() == [[0, 255, 58], [51, 255, 1]]


@pytest.mark.parametrize("group", ["tensor", "row", 1, 50, 500])
@pytest.mark.parametrize("scheme", [Absmax, ZeroPoint])
@pytest.mark.parametrize("dtype", testing.DTYPES)
def test_a_weight_goes_through_in_runs_of_rows(
    scheme: type[Absmax | ZeroPoint], group: Group, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = scheme(4, group)
    weight = torch.randn(40, 131, generator=torch.Generator().manual_seed(0)).to(dtype)
    whole, bound = grid.quantize(weight), grid.bound(weight)
    held = grid.dequantize(whole, weight.shape)
    for elements in (131, 400):  # one row at a time, and three
        monkeypatch.setattr(groups, "_CHUNK_ELEMENTS", elements)
        packed = grid.quantize(weight)
        assert all(torch.equal(packed[name], whole[name]) for name in whole)
        assert torch.equal(grid.bound(weight), bound)
        assert torch.equal(grid.dequantize(packed, weight.shape), held)


def test_ranges_near_the_smallest_scale_keep_what_the_grid_holds() -> None:
    weight = -torch.arange(256.0)[None] * 2.0**-118
    grid = ZeroPoint(8, "row")
    assert torch.equal(grid.dequantize(grid.quantize(weight), weight.shape), weight)


@given(
    grid=GRIDS["zero-point"],
    significand=st.integers(1 << 15, (1 << 16) - 1),
    exponent=st.integers(-141, 60),
    share=st.floats(0, 1),
    off=st.integers(-3, 3),
)
def test_zero_point_scales_use_both_end_codes_and_lead_back_to_themselves(
    grid: ZeroPoint, significand: int, exponent: int, share: float, off: int
) -> None:
    step = significand * 2.0**exponent
    # both ends near the tie between two codes, where both may be rounded towards zero
    below = round(share * (grid.levels - 1)) + 0.5
    low, high = torch.tensor(-below * step), torch.tensor((grid.levels - below) * step)
    low = (low.view(torch.int32) + off).view(torch.float32)
    scale, zero_point = grid.parameters(low, high)
    codes = ZeroPoint(grid.bits, "row").quantize(torch.stack([low, high])[None])["codes"]
    assert torch.equal(ZeroPoint(grid.bits, "tensor").quantize(torch.stack([low, high])[None])["codes"], codes)
    assert unpack(codes, grid.bits, 2).tolist() == [[0, grid.levels]] or scale == bounds.SMALLEST_SCALE
    # the range of the values that are held
    again = grid.parameters(-zero_point * scale, (grid.levels - zero_point) * scale)
    assert again == (scale, zero_point)


@pytest.mark.parametrize(
    ("bits", "row"),
    [(3, [7, 5.5, -1, -6.9999995, 5]), (4, [15, -14.999999, 3]), (8, [255, -254.99998, 3]), (8, [51, -458.9999, 3])],
)
def test_ties_at_the_upper_end_lead_back_to_themselves_too(bits: int, row: list[float]) -> None:
    grid, weight = ZeroPoint(bits, "row"), torch.tensor([row])
    held = grid.dequantize(grid.quantize(weight), weight.shape)
    assert torch.equal(grid.dequantize(grid.quantize(held), weight.shape), held)


@pytest.mark.parametrize("scheme", [Absmax, ZeroPoint])
@pytest.mark.parametrize("size", [0, -8, True, 2.5, "column"])
def test_a_group_size_that_is_none_is_refused(scheme: type[Absmax | ZeroPoint], size: object) -> None:
    with pytest.raises(QuantizationError, match="group size"):
        scheme(8, size)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", [Absmax, ZeroPoint])
@pytest.mark.parametrize("bits", [0, 1, 2, 5, 16, -4])
def test_bits_that_are_not_supported_are_refused(scheme: type[Absmax | ZeroPoint], bits: int) -> None:
    with pytest.raises(QuantizationError, match=r"choose one of \(8, 4, 3\)"):
        scheme(bits)


def test_a_weight_without_a_dimension_is_refused() -> None:
    with pytest.raises(QuantizationError, match="dimension"):
        Absmax().quantize(torch.tensor(1.0))


def _codes(grid: Absmax | ZeroPoint, codes: Tensor, weight: Tensor) -> Tensor:
    return unpack(codes, grid.bits, weight.shape[-1]).int()
