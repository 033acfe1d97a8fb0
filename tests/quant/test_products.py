"""Products with packed weights stay within their bounds, and compute what the method says."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from benchsuite.quant.bounds import product_bound
from benchsuite.quant.float8 import Float8, float8
from benchsuite.quant.grids import Absmax, Grid, ZeroPoint
from benchsuite.quant.products import OUTLIER_THRESHOLD, int8_matmul, llm_int8, quantize_activations, w8a8, weight_only
from tests.quant.strategies import GRIDS, factors, true_product

INT8 = Absmax(8, "row")


@given(factors())
def test_the_error_of_w8a8_is_within_its_bound(both: tuple[Tensor, Tensor]) -> None:
    x, weight = both
    y = w8a8(x, INT8, INT8.quantize(weight), weight.shape)
    assert y.dtype == x.dtype
    assert ((y.double() - true_product(x, weight)).abs() <= product_bound(x, weight).double()).all()


@given(factors())
def test_the_error_of_llm_int8_is_within_its_bound(both: tuple[Tensor, Tensor]) -> None:
    x, weight = both
    y = llm_int8(x, INT8, INT8.quantize(weight), weight.shape)
    bound = product_bound(x, weight, OUTLIER_THRESHOLD)
    assert y.dtype == x.dtype
    assert ((y.double() - true_product(x, weight)).abs() <= bound.double()).all()


def test_an_error_of_w8a8_reaches_98_percent_of_its_bound() -> None:
    # all roundings down, of weights and of activations, by just under half a step
    x = torch.full((1, 4096), 125.4999)
    x[0, 0] = 127
    error = (w8a8(x, INT8, INT8.quantize(x), x.shape).double() - true_product(x, x)).abs()
    assert error / product_bound(x, x) >= 0.98


def test_w8a8_is_an_exact_integer_product_times_both_scales() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(5, 300, generator=generator), torch.randn(7, 300, generator=generator)
    packed = INT8.quantize(weight)
    codes, scale = quantize_activations(x)
    sums = codes.long() @ packed["codes"].long().t()
    assert torch.equal(w8a8(x, INT8, packed, weight.shape), sums.float() * scale * packed["scale"].t())


@given(rows=st.integers(1, 40), inner=st.integers(1, 300), out=st.integers(1, 20), seed=st.integers(0, 2**31))
def test_int8_sums_are_exact_at_the_ends_of_the_range_too(rows: int, inner: int, out: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-1, 2, (rows, inner), generator=generator).mul(127).to(torch.int8)
    weight = torch.randint(-127, 128, (out, inner), generator=generator, dtype=torch.int8)
    weight[0] = x[0]  # the largest sum there can be
    assert torch.equal(int8_matmul(x, weight).long(), x.long() @ weight.long().t())


def test_llm_int8_keeps_an_outlier_from_stretching_the_other_features_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(16, 256, generator=generator), torch.randn(32, 256, generator=generator)
    x[:, 17] = 200
    packed, true = INT8.quantize(weight), true_product(x, weight)
    plain = (w8a8(x, INT8, packed, weight.shape) - true).square().mean()
    assert (llm_int8(x, INT8, packed, weight.shape) - true).square().mean() < plain / 20


@pytest.mark.parametrize(("magnitude", "kept"), [(6.0, True), (-6.0, True), (5.99, False), (-5.99, False)])
def test_llm_int8_keeps_a_feature_in_16_bits_from_a_magnitude_of_6_on(magnitude: float, kept: bool) -> None:
    # where the large feature is kept apart, the small ones get a finer scale
    x = torch.tensor([[0.013, 0.4, magnitude]])
    weight = torch.tensor([[1.0, -1.0, 1.0]])
    grid = Absmax(8, "row")
    y = llm_int8(x, grid, grid.quantize(weight), weight.shape)
    regular = torch.tensor([[0.013, 0.4]] if kept else [[0.013, 0.4, magnitude]])
    codes, scale = quantize_activations(regular)
    wanted = ((codes * scale) * torch.tensor([1.0, -1.0, 1.0])[: regular.shape[1]]).sum() + (magnitude if kept else 0)
    torch.testing.assert_close(y.squeeze(), wanted, atol=1e-5, rtol=0)


def test_llm_int8_is_w8a8_where_no_feature_reaches_the_threshold() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(16, 256, generator=generator).clamp(-5.99, 5.99)
    packed = INT8.quantize(torch.randn(32, 256, generator=generator))
    shape = torch.Size((32, 256))
    assert torch.equal(llm_int8(x, INT8, packed, shape), w8a8(x, INT8, packed, shape))


@pytest.mark.parametrize("product", [w8a8, llm_int8, float8])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_activation_that_is_not_finite_gives_results_that_are_not(product: object, bad: float) -> None:
    x, weight = torch.ones(2, 64), torch.ones(16, 64)
    x[1, 3] = bad
    grid = Float8() if product is float8 else INT8
    y = product(x, grid, grid.quantize(weight), weight.shape)  # type: ignore[operator]
    assert torch.isfinite(y[0]).all()
    assert not torch.isfinite(y[1]).any()


@given(grid=st.one_of(*GRIDS.values()), both=factors())
def test_a_weight_only_product_is_that_of_the_dequantized_weight(grid: Grid, both: tuple[Tensor, Tensor]) -> None:
    x, weight = both
    packed = grid.quantize(weight)
    y = weight_only(x, grid, packed, weight.shape)
    held = grid.dequantize(packed, weight.shape, x.dtype)
    true = true_product(x, held)
    slack = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 2e-2}[x.dtype]
    assert y.dtype == x.dtype
    assert ((y.double() - true).abs() <= slack * (x.double().abs() @ held.double().abs().t()) + 1e-6).all()


def test_a_float8_product_is_near_the_true_one() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(5, 300, generator=generator), torch.randn(7, 300, generator=generator)
    y = float8(x, Float8(), Float8().quantize(weight), weight.shape)
    size = x.abs() @ weight.abs().t()
    assert ((y - true_product(x, weight)).abs() <= size * 2.1 / 17).all()


def test_a_zero_point_weight_of_one_sign_multiplies_as_it_dequantizes() -> None:
    weight = torch.rand(8, 64, generator=torch.Generator().manual_seed(0)) + 3
    grid = ZeroPoint(8, "row")
    y = weight_only(torch.eye(64), grid, grid.quantize(weight), weight.shape)
    assert ((y.t() - weight).abs() <= grid.bound(weight)).all()


def test_weights_that_are_subnormal_in_16_bits_are_within_the_bound_of_llm_int8() -> None:
    x, weight = torch.full((1, 4), 100.0, dtype=torch.float16), torch.full((1, 4), 2.4 * 2.0**-24)
    error = (llm_int8(x, INT8, INT8.quantize(weight), weight.shape).double() - true_product(x, weight)).abs()
    assert 0.1 * product_bound(x, weight, OUTLIER_THRESHOLD) < error
    assert error <= product_bound(x, weight, OUTLIER_THRESHOLD)
