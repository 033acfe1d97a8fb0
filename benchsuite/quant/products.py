"""Products with a packed weight: x (N, in) times Wᵀ, computed from codes and scales as the method says.

A layer asks one function for its product; a faster kernel is another function of this type.
"""

from __future__ import annotations

import functools
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from benchsuite.opaque import opaque
from benchsuite.quant.around import quantize_in_c
from benchsuite.quant.bounds import SMALLEST_SCALE
from benchsuite.quant.grids import Absmax, Grid, Packed

_INT8_MAX = 127
_EXACT_TERMS = 2**24 // _INT8_MAX**2  # so many products of codes sum exactly in float32, in whatever order
OUTLIER_THRESHOLD = 6.0  # Dettmers et al. 2022, section 3.2


class Product(Protocol):
    """What computes y (N, out) from x (N, in) and the packed weight (out, in), in the dtype of x."""

    __name__: str

    def __call__(self, x: Tensor, grid: Grid, packed: Packed, shape: torch.Size) -> Tensor:
        """The product x Wᵀ, (N, out)."""
        ...


def weight_only(x: Tensor, grid: Grid, packed: Packed, shape: torch.Size) -> Tensor:
    """Dequantize for this product alone and multiply in the dtype of x; nothing dequantized stays."""
    if one_scale_a_row(grid) and x.dtype != torch.float16:  # sums of codes could leave the range of float16
        y = F.linear(x, packed["codes"].to(x.dtype))  # codes of 8 bits are exact in bfloat16
        return (y * packed["scale"].view(1, -1)).to(x.dtype)
    return F.linear(x, grid.dequantize(packed, shape, x.dtype))


def w8a8(x: Tensor, grid: Grid, packed: Packed, shape: torch.Size) -> Tensor:  # noqa: ARG001
    """Activations in int8 with a scale per token, weights in int8 with a scale per row, exact sums in int32."""
    codes, scale = quantize_activations(x)  # (N, in), (N, 1)
    sums = int8_matmul(codes, packed["codes"])  # (N, out)
    return (sums * scale * packed["scale"].view(1, -1)).to(x.dtype)


def llm_int8(x: Tensor, grid: Grid, packed: Packed, shape: torch.Size) -> Tensor:
    """LLM.int8() (Dettmers et al. 2022): features of x with a magnitude of 6 or more are multiplied in the dtype of x.

    Their weight columns are dequantized for it; all other features go through `w8a8` with scales that the outliers do
    not stretch.
    """
    outliers = (x.abs() >= OUTLIER_THRESHOLD).any(0).nonzero().squeeze(1)  # (K,)
    if not outliers.numel():
        return w8a8(x, grid, packed, shape)
    y = w8a8(x.index_fill(1, outliers, 0), grid, packed, shape)  # (N, out)
    columns = packed["codes"].index_select(1, outliers) * packed["scale"]  # (out, K)
    return y + F.linear(x.index_select(1, outliers), columns.to(x.dtype))


def quantize_activations(x: Tensor) -> tuple[Tensor, Tensor]:
    """Absmax codes int8 (N, in) and float32 scales (N, 1) per token; a token with NaN or infinity has such a scale."""
    if (found := quantize_in_c(x)) is not None:
        return found
    x = x.float()
    absmax = x.abs().amax(1, keepdim=True)
    scale = absmax.div_(_INT8_MAX).clamp_(min=SMALLEST_SCALE)
    return (x / scale).round_().to(torch.int8), scale  # a quotient exceeds 127 by rounding at most


@opaque(lambda x, weight: x.new_empty(x.shape[0], weight.shape[0], dtype=torch.int32))
def int8_matmul(x: Tensor, weight: Tensor) -> Tensor:
    """x (N, in) times weight (out, in) transposed, both int8, summed exactly: int32 (N, out).

    CUDA's kernel wants more than 16 rows and multiples of 8; zeros are added for it.
    """
    if not x.is_cuda:
        # PyTorch 2.13 leaves the result unwritten where the products have a single term
        sound = x.shape[1] > 1 and int8_is_exact()
        return torch._int_mm(x, weight.t()) if sound else _int8_matmul_in_float32(x, weight)
    rows, (out, inner) = x.shape[0], weight.shape
    x = padded(x, -inner % 8, max(0, 17 - rows))
    weight = padded(weight, -inner % 8, -out % 8)
    return torch._int_mm(x, weight.t())[:rows, :out]


def padded(x: Tensor, columns: int, rows: int) -> Tensor:
    """x (N, C) with zeros behind it: as it is where there are none to add, which F.pad would copy."""
    return F.pad(x, (0, columns, 0, rows)) if columns or rows else x


@functools.cache
def int8_is_exact() -> bool:
    """Whether this CPU sums int8 products without saturating: without VNNI, PyTorch's product saturates at 16 bits."""
    extreme = torch.full((2, 64), _INT8_MAX, dtype=torch.int8)
    return bool((torch._int_mm(extreme, extreme.t()) == 64 * _INT8_MAX**2).all())


def _int8_matmul_in_float32(x: Tensor, weight: Tensor) -> Tensor:
    sums = torch.zeros(x.shape[0], weight.shape[0], dtype=torch.int32)
    for a, b in zip(torch.split(x, _EXACT_TERMS, dim=1), torch.split(weight, _EXACT_TERMS, dim=1), strict=True):
        sums += F.linear(a.float(), b.float()).to(torch.int32)
    return sums


def one_scale_a_row(grid: Grid) -> bool:
    """Whether integer sums of int8 codes need one factor a row, and no offset."""
    return isinstance(grid, Absmax) and grid.bits == 8 and grid.group in ("row", "tensor")
