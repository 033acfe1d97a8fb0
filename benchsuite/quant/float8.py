"""Eight-bit floating point, e4m3 (Micikevicius et al. 2022): four bits of exponent, three of mantissa, at most 448."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchsuite.quant.bounds import SMALLEST_SCALE, cut, float8_bound, rounding_bound
from benchsuite.quant.grids import Grid, Packed
from benchsuite.quant.groups import as_rows, magnitudes
from benchsuite.quant.products import padded

_LARGEST = 448.0
_MULTIPLE = 16  # of every dimension of CUDA's product


@dataclass(frozen=True)
class Float8:
    """Each row as float8_e4m3fn times a scale, absmax / 448.

    `packed`: `codes` float8 (R, C), `scale` float32 (R, 1).
    """

    def quantize(self, weight: Tensor) -> Packed:
        """Codes and scales of `weight` (..., C)."""
        scale = float8_scale(magnitudes(weight, "row"))
        return {"codes": (as_rows(weight).float() / scale).to(torch.float8_e4m3fn), "scale": scale}

    def dequantize(self, packed: Packed, shape: torch.Size, dtype: torch.dtype = torch.float32) -> Tensor:
        """The weight in `dtype`: code · scale."""
        return packed["codes"].float().mul_(packed["scale"]).to(dtype).view(shape)

    def bound(self, weight: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """A seventeenth of the weight, or the smallest step; proof in `bounds.float8_bound`."""
        bound = float8_bound(as_rows(weight).float(), magnitudes(weight, "row") / _LARGEST)
        return rounding_bound(bound.view(weight.shape), weight, dtype)


def float8_scale(absmax: Tensor) -> Tensor:
    """Scales for largest magnitudes `absmax`, of 16 significant bits."""
    return cut(absmax / _LARGEST).clamp_(min=SMALLEST_SCALE)


def float8(x: Tensor, grid: Grid, packed: Packed, shape: torch.Size) -> Tensor:  # noqa: ARG001
    """x (N, in) in float8 with a scale per token, times the weight: float32 sums of float8 products."""
    wide = x.float()
    scale = float8_scale(wide.abs().amax(1, keepdim=True))  # (N, 1)
    codes, weight = (wide / scale).to(torch.float8_e4m3fn), packed["codes"]
    rows, (out, inner) = x.shape[0], shape
    codes = padded(codes.view(torch.uint8), -inner % _MULTIPLE, -rows % _MULTIPLE).view(torch.float8_e4m3fn)
    weight = padded(weight.view(torch.uint8), -inner % _MULTIPLE, -out % _MULTIPLE).view(torch.float8_e4m3fn)
    one = torch.ones((), device=x.device)
    sums = torch._scaled_mm(codes, weight.t(), one, one, out_dtype=torch.float32)[:rows, :out]
    return (sums * scale * packed["scale"].view(1, -1)).to(x.dtype)
