"""What stands around a product is in C what PyTorch's operators make of it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from benchsuite.c_code import is_compiled
from benchsuite.quant import around
from benchsuite.quant.around import AROUND, finish, quantize_in_c
from benchsuite.quant.products import quantize_activations

pytestmark = pytest.mark.skipif(not is_compiled(AROUND), reason="no C compiler with OpenMP")
SIZES = st.integers(1, 100)
DTYPES = st.sampled_from([torch.float32, torch.bfloat16])


def in_pytorch(x: Tensor) -> tuple[Tensor, Tensor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(around, "_is_for_c", lambda _: False)
        return quantize_activations(x)


@given(tokens=st.integers(0, 20), columns=SIZES, dtype=DTYPES, exponent=st.integers(-45, 38), gaps=st.booleans())
def test_codes_and_scales_are_bit_for_bit_those_of_pytorch(
    tokens: int, columns: int, dtype: torch.dtype, exponent: int, gaps: bool
) -> None:
    x = torch.randn(columns, tokens, generator=torch.Generator().manual_seed(columns)).mul(10.0**exponent).to(dtype)
    x = x.t() if gaps else x.t().contiguous()
    found = quantize_in_c(x)
    assert found is not None
    for one, other in zip(found, in_pytorch(x), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


@given(halves=st.lists(st.integers(-253, 253), min_size=1, max_size=40))
def test_ties_go_to_the_even_code(halves: list[int]) -> None:
    x = torch.tensor([[127.0, *(half / 2 for half in halves)]])
    found = quantize_in_c(x)
    assert found is not None
    assert torch.equal(found[0], x.round().to(torch.int8))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_token_that_is_not_finite_has_such_a_scale(bad: float) -> None:
    x = torch.ones(3, 40)
    x[1, 39], x[1, 3] = bad, 1e38
    found = quantize_in_c(x)
    assert found is not None
    torch.testing.assert_close(found[1], in_pytorch(x)[1], equal_nan=True, rtol=0, atol=0)
    assert torch.equal(found[0][[0, 2]], torch.full((2, 40), 127, dtype=torch.int8))


@given(
    tokens=st.integers(0, 20),
    columns=SIZES,
    whole=st.booleans(),
    biased=st.booleans(),
    gelu=st.booleans(),
    apart=st.integers(0, 9),
    dtype=DTYPES,
)
def test_results_of_sums(
    tokens: int, columns: int, whole: bool, biased: bool, gelu: bool, apart: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(columns)
    sums = torch.randint(-(2**23), 2**23, (tokens, columns), generator=generator, dtype=torch.int32)
    scale = torch.rand(tokens, 1, generator=generator)
    row_scale = torch.rand(columns, generator=generator) * 1e-6
    bias = torch.randn(columns, generator=generator) if biased else None
    out = torch.full((tokens, columns + apart), 7.0, dtype=dtype)
    given = (sums, scale, row_scale) if whole else (sums * row_scale, scale, None)
    finish(*given, bias, out[:, :columns], gelu=gelu)
    wanted = sums.double() * row_scale.double() * scale.double() + (0 if bias is None else bias.double())
    if gelu:
        wanted = torch.nn.functional.gelu(wanted, approximate="tanh")
    rounding = 2.0**-8 if dtype == torch.bfloat16 else 2e-6
    torch.testing.assert_close(out[:, :columns].double(), wanted, atol=2e-6, rtol=rounding)
    assert (out[:, columns:] == 7).all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(around, "_is_for_c", lambda _: False)
        finish(*given, bias, again := torch.empty(tokens, columns, dtype=dtype), gelu=gelu)
    torch.testing.assert_close(again.double(), wanted, atol=2e-6, rtol=rounding)


def test_half_precision_takes_pytorchs_way() -> None:
    x = torch.ones(2, 40, dtype=torch.float16)
    assert quantize_in_c(x) is None
    out = torch.empty(2, 3, dtype=torch.float16)
    finish(torch.ones(2, 3, dtype=torch.int32), torch.ones(2, 1), torch.full((3,), 0.5), None, out, gelu=False)
    assert (out == 0.5).all()
