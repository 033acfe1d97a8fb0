"""The layout of `torch._convert_weight_to_int4pack_for_cpu`, read back: PyTorch has no inverse of it."""

from __future__ import annotations

import functools

import torch
from torch import Tensor


def unpack_int4(packed: Tensor, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """Codes minus 8, transposed: (columns, rows) in `dtype`, from the packed codes of a weight (rows, columns).

    The layout is blocks of rows; in a block, column by column, a byte for two rows: those two differ by vector width.
    """
    block, low, high = _layout()
    codes = packed.view(rows // block, columns, block // 2)  # (R / block, C, block / 2), two codes to the byte
    out = torch.empty(columns, rows, dtype=dtype)
    places = out.view(columns, rows // block, block).transpose(0, 1)  # (R / block, C, block)
    places[..., low] = (codes & 15).view(torch.int8).sub_(8)
    places[..., high] = (codes >> 4).view(torch.int8).sub_(8)
    return out


@functools.cache
def _layout() -> tuple[int, slice, slice]:
    """Rows in a block, and those of them in the low and in the high halves of its bytes."""
    capability = torch.backends.cpu.get_cpu_capability()
    if capability.startswith("AVX512"):
        return 64, slice(0, 32), slice(32, 64)
    if capability == "AVX2":
        return 32, slice(0, 16), slice(16, 32)
    return 32, slice(0, 32, 2), slice(1, 32, 2)
