"""Products of our loops in C are those of the definition, whatever holds the weight and wherever its rows end."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from benchsuite.kernels.in_c import Rows, fits, has_rows, multiply_rows
from benchsuite.quant.packing import pack_neighbours

pytestmark = pytest.mark.skipif(not has_rows(), reason="no C compiler with OpenMP")

SIZES = st.integers(1, 300)


def check(x: Tensor, weight: Tensor, y: Tensor) -> None:
    """`y` is x Wᵀ as exactly as sums of float32 are: a term of it is rounded at most once for each term."""
    terms = x.double().abs() @ weight.double().abs().t()
    assert ((y.double() - x.double() @ weight.double().t()).abs() <= terms * 2**-22 + 1e-30).all()


@given(rows=SIZES, columns=SIZES, tokens=st.integers(0, 9), dtype=st.sampled_from([torch.float32, torch.bfloat16]))
def test_floats(rows: int, columns: int, tokens: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(rows * columns)
    weight = torch.randn(rows, columns, generator=generator).to(dtype)
    x = torch.randn(tokens, columns, generator=generator)
    check(x, weight, multiply_rows(x, weight, None, None, None))


@given(rows=SIZES, columns=SIZES, tokens=st.integers(0, 9), shifted=st.booleans())
def test_codes_of_8_bits(rows: int, columns: int, tokens: int, shifted: bool) -> None:
    generator = torch.Generator().manual_seed(rows * columns)
    codes = torch.randint(-128, 128, (rows, columns), generator=generator, dtype=torch.int8)
    scale, offset = torch.rand(2, rows, generator=generator)
    x = torch.randn(tokens, columns, generator=generator)
    y = multiply_rows(x, codes, scale, offset if shifted else None, None)
    weight = codes.double() * scale.double()[:, None]
    magnitude = weight.abs()
    if shifted:
        weight, magnitude = weight + offset[:, None], magnitude + offset[:, None]
    terms = x.double().abs() @ magnitude.t()
    assert ((y.double() - x.double() @ weight.t()).abs() <= terms * 2**-22 + 1e-30).all()


@given(
    rows=st.integers(1, 40),
    groups=st.integers(1, 20),
    group=st.sampled_from([8, 16, 32, 64, 128, 256]),
    tokens=st.integers(0, 9),
    shifted=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_codes_of_4_bits(rows: int, groups: int, group: int, tokens: int, shifted: bool, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(rows * groups)
    codes = torch.randint(0, 16, (rows, groups * group), generator=generator, dtype=torch.uint8)
    values = torch.randn(16, generator=generator)
    scale, offset = torch.randn(2, rows, groups, generator=generator).to(dtype)
    x = torch.randn(tokens, groups * group, generator=generator)
    y = multiply_rows(x, pack_neighbours(codes), scale, offset if shifted else None, values)
    weight = values[codes.long()].double() * scale.double().repeat_interleave(group, 1)
    magnitude = weight.abs()
    if shifted:
        by_column = offset.double().repeat_interleave(group, 1)
        weight, magnitude = weight + by_column, magnitude + by_column.abs()
    terms = x.double().abs() @ magnitude.t()
    assert ((y.double() - x.double() @ weight.t()).abs() <= terms * 2**-22 + 1e-30).all()


def test_groups_that_no_tile_is_whole_of_do_not_fit() -> None:
    assert [group for group in range(1, 300) if fits(group)] == [8, 16, 32, 64, 128, 256]


def test_what_is_not_finite_stays_so() -> None:
    weight, x = torch.ones(3, 40), torch.ones(2, 40)
    weight[1, 39], x[1, 0] = float("nan"), float("inf")
    y = multiply_rows(x, weight, None, None, None)
    assert y[0].tolist()[::2] == [40, 40]
    assert y[:, 1].isnan().all()
    assert y[1].tolist()[::2] == [float("inf")] * 2


def test_a_weight_with_gaps_is_multiplied_by_its_values() -> None:
    weight, x = torch.randn(40, 30, generator=torch.Generator().manual_seed(3)).t(), torch.ones(2, 40)
    check(x, weight, multiply_rows(x, weight, None, None, None))


def test_a_struct_has_the_size_that_c_reads() -> None:
    assert len(Rows(torch.ones(3, 4)).struct()) == 11
