"""The loops in C give what PyTorch's operators give, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from benchsuite import c_code
from benchsuite.c_code import is_compiled
from benchsuite.measure.kernels import loops_that_run
from benchsuite.quant import testing
from benchsuite.quant.code_books import CodeBook
from benchsuite.quant.grids import Absmax, Grid, Packed, ZeroPoint
from benchsuite.quant.groups import Group, extremes
from benchsuite.quant.packing import LOOPS, pack, unpack
from tests.quant.strategies import GRIDS, WIDE_GRIDS, groups

needs_loops = pytest.mark.skipif(not is_compiled(LOOPS), reason="no C compiler with OpenMP")


@contextmanager
def without_c() -> Iterator[None]:
    with patch.object(c_code, "_library", lambda _: None):
        yield


def same(one: Packed, other: Packed) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@needs_loops
@pytest.mark.parametrize("kind", ["absmax", "zero-point", "code book", "double-quantized code book"])
def test_grids_quantize_to_the_same(kind: str) -> None:
    @given(grid=st.one_of(GRIDS[kind], WIDE_GRIDS[kind]), weight=testing.weights())
    def check(grid: Grid, weight: Tensor) -> None:
        found, bound = grid.quantize(weight), grid.bound(weight)
        with without_c():
            assert same(found, grid.quantize(weight))
            assert torch.equal(bound, grid.bound(weight))

    check()


@needs_loops
@pytest.mark.parametrize(
    "grid", [Absmax(8, 128), Absmax(3, "row"), ZeroPoint(8, "tensor"), ZeroPoint(4, 96), CodeBook("fp4")]
)
def test_a_million_weights_are_rounded_the_same_way(grid: Grid) -> None:
    weight = torch.randn(1000, 1100, generator=torch.Generator().manual_seed(0))
    found = grid.quantize(weight)
    with without_c():
        assert same(found, grid.quantize(weight))


@needs_loops
@given(
    x=st.lists(st.floats(width=32), min_size=1, max_size=40),
    group=groups(st.integers(1, 50)),
)
def test_groups_with_nan_or_infinity_are_found(x: list[float], group: Group) -> None:
    row = torch.tensor([x])
    low, high = extremes(row, group)
    with without_c():
        lowest, highest = extremes(row, group)
    assert torch.equal(low.isfinite() & high.isfinite(), lowest.isfinite() & highest.isfinite())
    finite = row.isfinite().all()
    assert not finite or (torch.equal(low, lowest) and torch.equal(high, highest))


@needs_loops
@given(bits=st.sampled_from([4, 3]), rows=st.integers(0, 5), columns=st.integers(0, 300), seed=st.integers(0, 2**31))
def test_codes_are_packed_to_the_same_bytes(bits: int, rows: int, columns: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 1 << bits, (rows, columns), dtype=torch.uint8, generator=generator)
    packed = pack(codes, bits)
    assert torch.equal(unpack(packed, bits, columns), codes)
    with without_c():
        assert torch.equal(packed, pack(codes, bits))


@pytest.mark.parametrize("bits", [8, 4, 3])
def test_codes_of_another_dtype_or_with_gaps_are_packed_by_their_values(bits: int) -> None:
    codes = torch.arange(24).view(3, 8).t() % (1 << bits)  # int64 (8, 3), not contiguous
    assert torch.equal(unpack(pack(codes, bits), bits, 3), codes.to(torch.uint8))
    with without_c():
        assert torch.equal(unpack(pack(codes, bits), bits, 3), codes.to(torch.uint8))


@needs_loops
def test_another_default_dtype_changes_nothing() -> None:
    weight = torch.randn(3, 70, generator=torch.Generator().manual_seed(0))
    found = extremes(weight, 32)
    torch.set_default_dtype(torch.float64)
    try:
        assert all(torch.equal(one, other) for one, other in zip(extremes(weight, 32), found, strict=True))
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("kind", GRIDS)
def test_without_c_what_is_not_finite_is_refused_too(kind: str) -> None:
    with without_c():
        testing.non_finite_weights_are_refused(GRIDS[kind])


def test_a_record_tells_which_loops_ran() -> None:
    assert loops_that_run("cpu")["loops"] == ("C" if is_compiled(LOOPS) else "PyTorch")
    assert loops_that_run("cuda:1")["loops"] == "PyTorch"
    with without_c():
        assert loops_that_run("cpu")["loops"] == "PyTorch"
