"""Code books of 4 bits in blocks: NF4 (Dettmers et al. 2023, QLoRA) and FP4, code by code as bitsandbytes makes them.

With double quantization the blocks' absmax is held in 8 bits of bitsandbytes' dynamic map, less their mean, in blocks
of 256. Blocks lie in a row: where the row's length is a multiple of the block they are bitsandbytes' blocks too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from benchsuite.errors import QuantizationError
from benchsuite.quant.bounds import code_book_bound, dynamic_scale_bound, mean_scale
from benchsuite.quant.codes import book_codes, decode_rows, encode_rows
from benchsuite.quant.grids import Packed
from benchsuite.quant.groups import Group, check_group, elementwise_bound, magnitude, magnitudes

Book = Literal["nf4", "fp4"]
# fmt: off
_VALUES: dict[Book, tuple[float, ...]] = {
    "nf4": (
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634,
        0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ),
    # sign, two bits of exponent, one of mantissa, in twelfths of the largest value
    "fp4": tuple(sign * value / 12 for sign in (1.0, -1.0) for value in (0, 0.0625, 8, 12, 4, 6, 2, 3)),
}
# Codes by rising value. FP4 has two zeros: a weight at or below zero takes the first, one above zero the second.
_ORDER: dict[Book, tuple[int, ...]] = {
    "nf4": tuple(range(16)),
    "fp4": (11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3),
}
# fmt: on
_SMALLEST_DIVISOR = 1e-38
_NESTED_BLOCK = 256


@dataclass(frozen=True)
class CodeBook:
    """Each weight as the nearest value of a book of 16, times the absmax of its block.

    `packed`: `codes` uint8 (R, packed) and `scale` float32 (R, G); with `double_quantized` scales instead of that
    `scale_codes` uint8 (R, G), `scale_absmax` float32 (ceil(R · G / 256),) and `scale_offset` float32 (1,).
    """

    book: Book = "nf4"
    block: int = 64
    double_quantized: bool = False

    def __post_init__(self) -> None:
        if self.book not in _VALUES:
            raise QuantizationError(f"unknown code book {self.book!r}; choose one of {tuple(_VALUES)}")
        check_group(self.block)

    @property
    def values(self) -> Tensor:
        """The value of each of the 16 codes, float32."""
        return _values(self.book, torch.device("cpu"))

    def quantize(self, weight: Tensor) -> Packed:
        """Codes and scales of `weight` (..., C)."""
        midpoints, order = _midpoints(self.book, weight.device)

        def encode(codes: Tensor, x: Tensor, group: Group, absmax: Tensor) -> None:
            factor = absmax.clamp(min=_SMALLEST_DIVISOR).reciprocal_()
            book_codes(codes, x, group, factor, midpoints, order)

        codes, (absmax,) = encode_rows(weight, self.block, 4, lambda low, high: (magnitude(low, high),), encode)
        return {"codes": codes, **(quantize_scales(absmax) if self.double_quantized else {"scale": absmax})}

    def dequantize(self, packed: Packed, shape: torch.Size, dtype: torch.dtype = torch.float32) -> Tensor:
        """The weight in `dtype`: value of the code · scale."""
        values = _values(self.book, packed["codes"].device)
        # a scale from 8 bits may lie above the true one, which the dtype could hold
        scale = dequantize_scales(packed, torch.finfo(dtype).max) if self.double_quantized else packed["scale"]

        def decode(codes: Tensor, scale: Tensor) -> Tensor:
            return values.index_select(0, codes.reshape(-1).int()).view(codes.shape).mul_(scale)

        return decode_rows(packed["codes"], self.block, 4, shape, dtype, decode, scale)

    def bound(self, weight: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Half the widest gap times absmax, and with double quantization what that adds; proofs in `bounds`."""
        absmax = magnitudes(weight, self.block)
        book = torch.tensor(_VALUES[self.book], dtype=torch.float64).sort().values
        bound = code_book_bound(absmax, float(book.diff().max()) / 2, _SMALLEST_DIVISOR)
        if self.double_quantized:
            bound = bound + dynamic_scale_bound(absmax, dynamic_map(absmax.device), _NESTED_BLOCK, _SMALLEST_DIVISOR)
        return elementwise_bound(bound, weight, self.block, dtype)


@cache
def _values(book: Book, device: torch.device) -> Tensor:
    return torch.tensor(_VALUES[book], device=device)


@cache
def _midpoints(book: Book, device: torch.device) -> tuple[Tensor, Tensor]:
    """The 15 thresholds between neighbouring values and the code of each rank; on a threshold the lower rank counts."""
    order = torch.tensor(_ORDER[book], device=device)
    ordered = _values(book, device)[order]
    return (ordered[:-1] + ordered[1:]) / 2, order.to(torch.uint8)


@cache
def dynamic_map(device: torch.device) -> Tensor:
    """The 256 values of bitsandbytes' signed dynamic 8-bit map (Dettmers 2016, 2022), rising, float32.

    Seven decades; the one below 10**-i is divided into 2**(6-i) even parts, of which the middles are taken; and 0 and
    1.
    """
    positive = []
    for decade in range(7):
        edges = torch.linspace(0.1, 1, 2**decade + 1)
        positive.append(10.0 ** (decade - 6) * (edges[:-1] + edges[1:]) / 2)
    half = torch.cat(positive)
    return torch.cat([-half, torch.zeros(1), half, torch.ones(1)]).sort().values.to(device)


def quantize_scales(scale: Tensor) -> Packed:
    """Scales (R, G) in 8 bits of the dynamic map, less their mean, in blocks of 256."""
    offset = mean_scale(scale) if scale.numel() else scale.new_zeros(())
    centred = (scale - offset).reshape(-1)
    count = -(-centred.numel() // _NESTED_BLOCK)
    blocks = F.pad(centred, (0, count * _NESTED_BLOCK - centred.numel())).view(count, _NESTED_BLOCK)
    absmax = blocks.abs().amax(-1, keepdim=True)
    x = (blocks * absmax.clamp(min=_SMALLEST_DIVISOR).reciprocal_()).clamp_(-1, 1)
    values = dynamic_map(scale.device)
    codes = torch.bucketize(x, (values[:-1] + values[1:]) / 2, out_int32=True).to(torch.uint8)
    return {
        "scale_codes": codes.reshape(-1)[: scale.numel()].view(scale.shape),
        "scale_absmax": absmax.reshape(-1),
        "scale_offset": offset.reshape(1),
    }


def dequantize_scales(packed: Packed, largest: float) -> Tensor:
    """Scales (R, G) of double quantization, at most `largest`."""
    codes = packed["scale_codes"]
    values = dynamic_map(codes.device).index_select(0, codes.reshape(-1).int())
    absmax = packed["scale_absmax"].repeat_interleave(_NESTED_BLOCK)[: codes.numel()]
    return (values * absmax + packed["scale_offset"]).clamp_(max=largest).view(codes.shape)
