"""NF4 and FP4 are bitsandbytes' own, code by code."""

from __future__ import annotations

import bitsandbytes.functional as bnb
import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from benchsuite.errors import QuantizationError
from benchsuite.quant.bounds import dynamic_scale_bound
from benchsuite.quant.code_books import CodeBook, dequantize_scales, dynamic_map, quantize_scales
from benchsuite.quant.packing import pack_neighbours, unpack
from benchsuite.quant.testing import DTYPES, weights

books = st.sampled_from(["nf4", "fp4"])
blocks = st.sampled_from([32, 64, 128, 256])


@st.composite
def whole_blocks(draw: st.DrawFn) -> tuple[Tensor, int]:
    """A weight of one to three rows of whole blocks, and the block."""
    block = draw(blocks)
    values = draw(weights(empty=False)).reshape(-1)
    rows, count = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return values.repeat(-(-rows * count * block // values.numel()))[: rows * count * block].view(rows, -1), block


def as_bitsandbytes(codes: Tensor) -> Tensor:
    """Packed codes (R, C / 2), put as bitsandbytes puts them: one row, the even column in the high nibble."""
    return pack_neighbours(unpack(codes, 4, 2 * codes.shape[1])).reshape(-1)


@given(book=books, blocked=whole_blocks())
def test_codes_and_scales_equal_those_of_bitsandbytes(book: str, blocked: tuple[Tensor, int]) -> None:
    weight, block = blocked
    codes, state = bnb.quantize_4bit(weight, blocksize=block, quant_type=book)
    packed = CodeBook(book, block).quantize(weight)  # type: ignore[arg-type]
    assert torch.equal(as_bitsandbytes(packed["codes"]), codes.reshape(-1))
    assert torch.equal(packed["scale"].reshape(-1), state.absmax)


@given(book=books, block=blocks, dtype=st.sampled_from(DTYPES), step=st.integers(-2, 2))
def test_a_weight_on_a_threshold_or_next_to_it_takes_the_code_that_bitsandbytes_gives_it(
    book: str, block: int, dtype: torch.dtype, step: int
) -> None:
    values = bnb.get_4bit_type(book, device="cpu").sort().values
    thresholds = (values[:-1] + values[1:]) / 2
    near = (thresholds.view(torch.int32) + step).view(torch.float32)  # neighbours in float32
    weight = torch.zeros(1, block)
    weight[0, :15], weight[0, 15] = near.nan_to_num(0), 1
    weight = weight.to(dtype)
    codes, _ = bnb.quantize_4bit(weight, blocksize=block, quant_type=book)
    packed = CodeBook(book, block).quantize(weight)  # type: ignore[arg-type]
    assert torch.equal(as_bitsandbytes(packed["codes"]), codes.reshape(-1))


@pytest.mark.parametrize("book", ["nf4", "fp4"])
@pytest.mark.parametrize("double", [False, True])
def test_what_bitsandbytes_dequantizes_from_its_codes_is_what_ours_stand_for(book: str, double: bool) -> None:
    weight = torch.randn(96, 512, generator=torch.Generator().manual_seed(0)) * 0.02
    codes, state = bnb.quantize_4bit(weight, blocksize=64, quant_type=book, compress_statistics=double)
    grid = CodeBook(book, 64, double)  # type: ignore[arg-type]
    ours, theirs = grid.dequantize(grid.quantize(weight), weight.shape), bnb.dequantize_4bit(codes, state)
    assert torch.allclose(ours, theirs, rtol=0 if not double else 1e-3, atol=1e-9)


def test_the_map_of_double_quantization_is_that_of_bitsandbytes() -> None:
    assert torch.equal(dynamic_map(torch.device("cpu")), bnb.create_dynamic_map())


@given(seed=st.integers(0, 2**31), rows=st.integers(1, 40))
def test_double_quantized_scales_are_the_nearest_of_the_map_as_bitsandbytes_finds_them(seed: int, rows: int) -> None:
    weight = torch.randn(rows, 1024, generator=torch.Generator().manual_seed(seed))
    packed = CodeBook("nf4", 64, double_quantized=True).quantize(weight)
    _, state = bnb.quantize_4bit(weight, blocksize=64, quant_type="nf4", compress_statistics=True)
    assert torch.equal(packed["scale_offset"].view(()), state.offset)
    assert torch.equal(packed["scale_absmax"], state.state2.absmax)
    # for float32 its CPU library looks codes up in a coarse table; for float64 it searches for the nearest
    values, ours = dynamic_map(torch.device("cpu")), packed["scale_codes"].reshape(-1)
    centred = CodeBook("nf4", 64).quantize(weight)["scale"].reshape(-1) - state.offset
    theirs, absmax = torch.ops.bitsandbytes.quantize_blockwise(centred.double(), values, 256)
    x = centred / absmax.repeat_interleave(256)[: centred.numel()]
    assert torch.allclose((values[theirs.int()] - x).abs(), (values[ours.int()] - x).abs(), rtol=0, atol=1e-7)


def test_a_double_quantized_scale_reaches_98_percent_of_its_bound() -> None:
    values = dynamic_map(torch.device("cpu"))
    gap = values.diff().argmax()
    middle = float(values[gap] + values[gap + 1]) / 2
    x = torch.tensor([1.0, -1.0] + [middle, -middle] * 127)  # the largest is 1 and the mean 0
    scale = (x + 8).view(1, -1)
    error = (dequantize_scales(quantize_scales(scale), 1e9) - scale).abs()
    bound = dynamic_scale_bound(scale, values, 256, 1e-38)
    assert (error <= bound).all()
    assert (error / bound).max() >= 0.98


def test_an_unknown_book_is_refused() -> None:
    with pytest.raises(QuantizationError, match="nf4"):
        CodeBook("nf5")  # type: ignore[arg-type]
