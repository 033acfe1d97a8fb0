"""The grids that weights are rounded to: evenly spaced (absmax, zero-point) and code books (NF4, FP4).

A grid turns a weight into `Packed`, named tensors of codes and scales, and back. Arithmetic is float32 whatever the
weight's dtype, so that nothing overflows and a 16-bit weight enters exactly. Values dequantized to float32 are a fixed
point: quantizing them again gives the same values, except where a zero-point grid saturates and with double
quantization. Evenly spaced scales have 16 significant bits for that reason (see `benchsuite.quant.bounds`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from benchsuite.errors import QuantizationError
from benchsuite.quant import bounds
from benchsuite.quant.codes import decode_rows, encode_rows, even_codes
from benchsuite.quant.groups import Group, check_group, elementwise_bound, magnitude, magnitudes, ranges
from benchsuite.quant.packing import SUPPORTED_BITS

Packed = dict[str, Tensor]
# A float32 between 2**23 and 2**24 has no fraction: adding this one rounds to the nearest integer, ties to even, and
# leaves that integer in the low bits of the sum.
_TO_INTEGER = 3.0 * 2**22


class Grid(Protocol):
    """What a grid has to offer, one's own too; the built-in ones are frozen dataclasses."""

    def quantize(self, weight: Tensor) -> Packed:
        """Codes and scales of a floating-point `weight` (..., C); QuantizationError for NaN, infinity and integers."""
        ...

    def dequantize(self, packed: Packed, shape: torch.Size, dtype: torch.dtype = torch.float32) -> Tensor:
        """The weight (shape) that `packed` stands for, in `dtype`."""
        ...

    def bound(self, weight: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Float32 tensor in the shape of `weight`: |w - dequantize(quantize(w), dtype)| is never larger."""
        ...


@dataclass(frozen=True)
class Absmax:
    """Symmetric: scale = absmax / qmax, codes -qmax to qmax with qmax 127, 7 or 3.

    `packed`: `codes` int8 (R, C), or of fewer bits uint8 (R, packed) with qmax + 1 added; `scale` float32 (R, G).
    """

    bits: int = 8
    group: Group = "row"

    def __post_init__(self) -> None:
        _check_bits(self.bits)
        check_group(self.group)

    @property
    def qmax(self) -> int:
        """The largest code."""
        return (1 << self.bits - 1) - 1

    @property
    def offset(self) -> int:
        """What is added to a code where it is stored: codes of fewer than 8 bits are packed without sign."""
        return 0 if self.bits == 8 else self.qmax + 1

    def quantize(self, weight: Tensor) -> Packed:
        """Codes and scales of `weight` (..., C)."""
        codes, (scale,) = encode_rows(weight, self.group, self.bits, self._fit, self._encode)
        return {"codes": codes.view(torch.int8) if self.bits == 8 else codes, "scale": scale}

    def _fit(self, low: Tensor, high: Tensor) -> tuple[Tensor]:
        return (bounds.cut(magnitude(low, high) / self.qmax).clamp_(min=bounds.SMALLEST_SCALE),)

    def _encode(self, codes: Tensor, x: Tensor, group: Group, scale: Tensor) -> None:
        zero = _TO_INTEGER + self.offset
        even_codes(codes, x, group, scale, torch.full_like(scale, zero), zero + self.qmax)

    def dequantize(self, packed: Packed, shape: torch.Size, dtype: torch.dtype = torch.float32) -> Tensor:
        """The weight in `dtype`: code · scale."""

        def values(codes: Tensor, scale: Tensor) -> Tensor:
            x = codes.float()
            return (x.sub_(self.offset) if self.offset else x).mul_(scale)

        return decode_rows(packed["codes"], self.group, self.bits, shape, dtype, values, packed["scale"])

    def bound(self, weight: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Half a step; proof in `bounds.absmax_bound`."""
        bound = bounds.absmax_bound(magnitudes(weight, self.group), self.qmax)
        return elementwise_bound(bound, weight, self.group, dtype)


@dataclass(frozen=True)
class ZeroPoint:
    """Asymmetric with an integer zero point: codes 0 to 2**bits - 1 span the range, widened to hold zero.

    `packed`: `codes` uint8 (R, packed), `scale` float32 (R, G), `zero_point` uint8 (R, G).
    """

    bits: int = 8
    group: Group = "row"

    def __post_init__(self) -> None:
        _check_bits(self.bits)
        check_group(self.group)

    @property
    def levels(self) -> int:
        """The largest code."""
        return (1 << self.bits) - 1

    def quantize(self, weight: Tensor) -> Packed:
        """Codes, scales and zero points of `weight` (..., C)."""
        codes, (scale, shift) = encode_rows(weight, self.group, self.bits, self._fit, self._encode)
        return {"codes": codes, "scale": scale, "zero_point": (shift - _TO_INTEGER).to(torch.uint8)}

    def parameters(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Scales and zero points (both float32) of groups with smallest and largest weight `low` and `high`.

        The scale is such that the codes 0 and 2**bits - 1 are both used, unless it is the smallest there is; proofs in
        `bounds.zero_point_bound`.
        """
        scale, shift = self._fit(low, high)
        return scale, shift - _TO_INTEGER

    def _fit(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Scale, and zero point with `_TO_INTEGER` added."""
        low, high = low.clamp(max=0), high.clamp(min=0)
        scale = bounds.cut((high * self._unit).sub_(low * self._unit)).clamp_(min=bounds.SMALLEST_SCALE)
        shift = _TO_INTEGER - low / scale
        unused = (high / scale).add_(shift) < self._last
        if unused.any():  # rare but for groups of zeros: both ends round towards zero
            narrower = (scale.view(torch.int32) - bounds.CUT_UNIT).view(torch.float32)
            scale = torch.where(unused, narrower.clamp_(min=bounds.SMALLEST_SCALE), scale)
            shift = _TO_INTEGER - low / scale
        return scale, shift

    @property
    def _unit(self) -> float:
        """A step's share of the range, and a little more: rounded, the scale is to be no less before it is cut."""
        return (1 + 2.0**-21) / self.levels

    @property
    def _last(self) -> float:
        """The largest code with `_TO_INTEGER` added."""
        return self.levels + _TO_INTEGER

    def _encode(self, codes: Tensor, x: Tensor, group: Group, scale: Tensor, shift: Tensor) -> None:
        even_codes(codes, x, group, scale, shift, self._last)

    def dequantize(self, packed: Packed, shape: torch.Size, dtype: torch.dtype = torch.float32) -> Tensor:
        """The weight in `dtype`: (code - zero_point) · scale, saturated at the largest value of `dtype`."""
        largest = torch.finfo(dtype).max

        def values(codes: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
            return codes.float().sub_(zero_point).mul_(scale).clamp_(-largest, largest)

        parameters = (packed["scale"], packed["zero_point"].float())
        return decode_rows(packed["codes"], self.group, self.bits, shape, dtype, values, *parameters)

    def bound(self, weight: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Half a step and a little; proof in `bounds.zero_point_bound`."""
        low, high = ranges(weight, self.group)
        bound = bounds.zero_point_bound(low.clamp(max=0), high.clamp(min=0), self.levels)
        return elementwise_bound(bound, weight, self.group, dtype)


def _check_bits(bits: int) -> None:
    if bits not in SUPPORTED_BITS:
        raise QuantizationError(f"{bits!r} bits are not supported; choose one of {SUPPORTED_BITS}")
