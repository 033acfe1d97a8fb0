"""A linear layer of 4-bit codes, two to the byte, that never stand side by side as a whole weight."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchsuite.kernels.cpu import PreparedLinear, has_bf16
from benchsuite.kernels.in_c import FEW_TOKENS, fits, has_rows, multiply_rows
from benchsuite.quant.groups import chunks
from benchsuite.quant.packing import pack_neighbours


class CodeBookLinear(PreparedLinear):
    """y = gelu?(x Wᵀ + b), W (out, in) as codes that stand for 16 values, two in a byte of (out, in / 2), with a scale,
    and an offset too, (out, G) per group.

    A few tokens go through loops in C where they were compiled. For many, and else, the weight is made run of rows by
    run of rows, in the cache, from a table of all 256 bytes: the values of the even and the odd column that a byte
    stands for. It is then rounded to `wide`, or to the dtype of x, as `weight_only` does.
    """

    codes: Tensor
    values: Tensor
    scale: Tensor
    offset: Tensor | None
    pairs: Tensor

    def __init__(
        self,
        codes: Tensor,
        values: Tensor,
        scale: Tensor,
        bias: Tensor | None,
        *,
        offset: Tensor | None = None,
        wide: torch.dtype | None = None,
    ) -> None:
        super().__init__(codes.shape[0], codes.shape[1], bias)
        self.wide = wide
        self.in_c = has_rows() and fits(self.in_features // scale.shape[1])
        self.register_buffer("codes", pack_neighbours(codes))
        self.register_buffer("values", values)
        self.register_buffer("scale", scale.contiguous())
        self.register_buffer("offset", None if offset is None else offset.contiguous())
        # two float32 looked up as the one float64 whose bytes they are
        pairs = torch.stack((values.repeat_interleave(16), values.repeat(16)), dim=1)  # (256, 2)
        self.register_buffer("pairs", pairs.view(torch.float64).view(256))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out) in the dtype of x."""
        rows = x.reshape(-1, self.in_features)  # (N, in)
        if self.in_c and rows.shape[0] <= FEW_TOKENS:
            y = multiply_rows(rows, self.codes, self.scale, self.offset, self.values)
        else:
            y = self._many(rows, self.wide or x.dtype)
        return self.finished(y.float(), x)

    def _many(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        x = x.to(dtype)
        y = torch.empty(x.shape[0], self.out_features, dtype=dtype)
        for run in chunks(self.out_features, self.in_features):
            weight = self.pairs.index_select(0, self.codes[run].reshape(-1).int()).view(torch.float32)
            scale = self.scale[run].float().unsqueeze(2)  # (r, G, 1)
            weight = weight.view(scale.shape[0], scale.shape[1], -1).mul_(scale)  # (r, G, in / G)
            if self.offset is not None:
                weight.add_(self.offset[run].float().unsqueeze(2))
            y[:, run] = F.linear(x, weight.view(-1, self.in_features).to(dtype))
        return y


def evenly_spaced(codes: Tensor, scale: Tensor, offset: Tensor | None, bias: Tensor | None) -> CodeBookLinear:
    """Codes 0 to 15 that stand for (code - 8) · scale + offset, as in `Int4Linear`: scale and offset are rounded to
    bfloat16, in which the weight is multiplied by many tokens where the processor does that.
    """
    offset = None if offset is None else offset.bfloat16()
    wide = torch.bfloat16 if has_bf16() else torch.float32
    return CodeBookLinear(codes, torch.arange(-8.0, 8.0), scale.bfloat16(), bias, offset=offset, wide=wide)
