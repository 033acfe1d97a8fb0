"""What stands around a product: on the CPU our own loops in C, which read and write each number once."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchsuite.c_code import call

AROUND = Path(__file__).with_name("around.c")
_DTYPES = (torch.float32, torch.bfloat16)


def quantize_in_c(x: Tensor) -> tuple[Tensor, Tensor] | None:
    """`quantize_activations` of x (N, in): codes int8 (N, in), scales float32 (N, 1). None where C does not do it."""
    if not _is_for_c(x) or x.dtype not in _DTYPES:
        return None
    codes, scale = torch.empty(x.shape, dtype=torch.int8), torch.empty(len(x), 1)
    given = (*x.shape, int(x.dtype == torch.bfloat16), x.contiguous(), codes, scale)
    return (codes, scale) if call(AROUND, "quantize_tokens", *given) else None


def finish(
    sums: Tensor, scale: Tensor | None, row_scale: Tensor | None, bias: Tensor | None, out: Tensor, *, gelu: bool
) -> None:
    """Write gelu?(sums · scale (N, 1) · row_scale (out,) + bias (out,)), computed in float32, to `out` (N, out).

    Sums (N, out) are int32, or float32 that has the rows' scales already; the latter may be `out` itself. Rows of `out`
    may stand apart.
    """
    if _is_for_c(sums) and out.dtype in _DTYPES and out.stride(1) == 1:
        flags = (sums.dtype == torch.int32, gelu, out.dtype == torch.bfloat16)
        given = (*sums.shape, *map(int, flags), sums.contiguous(), scale, row_scale, bias, out, out.stride(0))
        if call(AROUND, "finish", *given):
            return
    y = out.copy_(sums) if out.dtype == torch.float32 else sums.to(torch.float32, copy=True)
    for factor in (row_scale, scale):
        if factor is not None:
            y *= factor
    if bias is not None:
        y += bias
    if gelu or y is not out:
        out.copy_(F.gelu(y, approximate="tanh") if gelu else y)


def _is_for_c(x: Tensor) -> bool:
    return x.is_cpu and not (x.requires_grad or torch.compiler.is_compiling())
