"""What every grid has to keep, as Hypothesis properties: one call in a test checks a grid of one's own.

    def test_my_grid_keeps_its_promises():
        check_grid(MyGrid())

Profiles of Hypothesis hold, but for the deadline: the first example pays for what is made once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from benchsuite.errors import QuantizationError
from benchsuite.quant.grids import Grid

Property = Callable[[st.SearchStrategy[Grid]], None]

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_TEXTURES = ("normal", "uniform", "constant", "outlier", "zeros", "subnormal", "largest", "mixed signs of zero", "ties")


def shapes(*, empty: bool = True) -> st.SearchStrategy[tuple[int, ...]]:
    """Of one to three dimensions, single elements and (unless `empty` is false) empty tensors among them."""
    least = 0 if empty else 1
    return st.one_of(
        st.tuples(st.integers(least, 5), st.integers(least, 70)),
        st.tuples(st.integers(least, 200)),
        st.tuples(st.integers(least, 2), st.integers(least, 3), st.integers(least, 40)),
        st.just((1, 1)),
    )


@st.composite
def weights(draw: st.DrawFn, *, dtype: torch.dtype | None = None, empty: bool = True) -> Tensor:
    """Finite weights: ordinary and adversarial (zeros, constants, a huge outlier, subnormals, the dtype's maximum)."""
    dtype = dtype or draw(st.sampled_from(DTYPES))
    shape = draw(shapes(empty=empty))
    if draw(st.booleans()) and math.prod(shape) <= 24:
        count = math.prod(shape)
        values = draw(
            st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=count, max_size=count)
        )
        return saturate(torch.tensor(values, dtype=torch.float64).view(shape), dtype)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = 2.0 ** draw(st.integers(-30, 30))
    return saturate(_texture(draw(st.sampled_from(_TEXTURES)), shape, dtype, generator, scale), dtype)


def saturate(values: Tensor, dtype: torch.dtype) -> Tensor:
    """`values` in `dtype`, those too large for it at its maximum."""
    largest = torch.finfo(dtype).max
    return values.clamp(-largest, largest).to(dtype)


def _texture(kind: str, shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator, scale: float) -> Tensor:
    info = torch.finfo(dtype)
    spread = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
    signs = torch.where(spread < 0, -1.0, 1.0).double()
    if kind == "normal":
        return torch.randn(shape, generator=generator, dtype=torch.float64) * scale
    if kind == "uniform":
        return spread * scale
    if kind == "constant":
        return torch.full(shape, scale, dtype=torch.float64)
    if kind == "outlier":
        return torch.where(spread == spread.max() if spread.numel() else spread > 0, scale * 1e4, spread * scale)
    if kind == "zeros":
        return torch.zeros(shape, dtype=torch.float64)
    if kind == "subnormal":
        return spread * info.tiny
    if kind == "largest":
        return torch.where(spread.abs() < 0.5, spread, signs) * info.max
    if kind == "ties":  # multiples of half a step of 8 bits
        return (spread * 254).round() / 2 * scale
    return signs * 0.0


def error_is_within_the_bound(grids: st.SearchStrategy[Grid]) -> None:
    """|w - dequantize(quantize(w))| <= bound, in float32 and in the weight's own dtype, element by element."""

    @settings(deadline=None)
    @given(grid=grids, weight=weights())
    def holds(grid: Grid, weight: Tensor) -> None:
        packed = grid.quantize(weight)
        for dtype in {torch.float32, weight.dtype}:
            held = grid.dequantize(packed, weight.shape, dtype)
            assert held.shape == weight.shape
            assert held.dtype == dtype
            bound = grid.bound(weight, dtype)
            assert bound.shape == weight.shape
            assert not torch.isnan(bound).any()
            excess = (held.double() - weight.double()).abs() - bound.double()
            assert not (excess > 0).any(), f"{grid} in {dtype}: {float(excess.max())} over the bound"
            assert torch.isfinite(held).all()

    holds()


def bound_is_tight(grids: st.SearchStrategy[Grid]) -> None:
    """Among 65,536 weights spread evenly one has an error of at least 98 % of its bound."""

    @settings(deadline=None)
    @given(grid=grids, seed=st.integers(0, 3))
    def holds(grid: Grid, seed: int) -> None:
        weight = torch.rand(64, 1024, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        error = (grid.dequantize(grid.quantize(weight), weight.shape) - weight).abs()
        assert 0.98 <= float((error / grid.bound(weight)).max()) <= 1

    holds()


def quantizing_twice_changes_nothing(grids: st.SearchStrategy[Grid]) -> None:
    """What was dequantized to float32 dequantizes to the same after it is quantized again (ordinary magnitudes)."""

    @settings(deadline=None)
    @given(grid=grids, weight=weights())
    def holds(grid: Grid, weight: Tensor) -> None:
        weight = ordinary(weight)
        once = grid.dequantize(grid.quantize(weight), weight.shape)
        twice = grid.dequantize(grid.quantize(once), weight.shape)
        assert torch.equal(once, twice)

    holds()


def scaling_by_a_power_of_two_commutes(grids: st.SearchStrategy[Grid]) -> None:
    """Weights times 2**k quantize to the same codes and to 2**k times the values (ordinary magnitudes)."""

    @settings(deadline=None)
    @given(grid=grids, weight=weights(), exponent=st.integers(-20, 20))
    def holds(grid: Grid, weight: Tensor, exponent: int) -> None:
        weight = ordinary(weight).float()
        plain = grid.quantize(weight)
        scaled = grid.quantize(weight * 2.0**exponent)
        for name, tensor in plain.items():
            assert tensor.is_floating_point() or torch.equal(tensor, scaled[name]), name
        values = grid.dequantize(plain, weight.shape) * 2.0**exponent
        assert torch.equal(grid.dequantize(scaled, weight.shape), values)

    holds()


def non_finite_weights_are_refused(grids: st.SearchStrategy[Grid]) -> None:
    """NaN and infinity raise QuantizationError that names the index; so do integers."""

    @settings(deadline=None)
    @given(
        grid=grids,
        weight=weights(empty=False),
        bad=st.sampled_from([math.nan, math.inf, -math.inf]),
        where=st.floats(0, 1, exclude_max=True),
    )
    def holds(grid: Grid, weight: Tensor, bad: float, where: float) -> None:
        place = int(where * weight.numel())
        weight.view(-1)[place] = bad
        index = tuple(int(i) for i in torch.unravel_index(torch.tensor(place), weight.shape))
        with pytest.raises(QuantizationError, match=re.escape(f"index {index}")):
            grid.quantize(weight)
        with pytest.raises(QuantizationError, match="int32"):
            grid.quantize(torch.ones(2, 2, dtype=torch.int32))

    holds()


PROPERTIES: tuple[Property, ...] = (
    error_is_within_the_bound,
    bound_is_tight,
    quantizing_twice_changes_nothing,
    scaling_by_a_power_of_two_commutes,
    non_finite_weights_are_refused,
)


def check_grid(grid: Grid, *, without: tuple[Property, ...] = ()) -> None:
    """Check all of `PROPERTIES` but those in `without`, which a grid may not claim to keep."""
    for keeps in PROPERTIES:
        if keeps not in without:
            keeps(st.just(grid))


def ordinary(weight: Tensor) -> Tensor:
    """`weight` with magnitudes below 2**-60 as zeros and those above 2**60 as 2**60: far from both ends of float32."""
    return torch.where(weight.abs() < 2.0**-60, 0.0, weight.float().clamp(-(2.0**60), 2.0**60)).to(weight.dtype)
