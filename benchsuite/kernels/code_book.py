"""A linear layer whose 4-bit codes are looked up two at a time, and never stand side by side as a whole weight."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchsuite.quant.groups import chunks
from benchsuite.quant.packing import pack_neighbours


class CodeBookLinear(nn.Module):
    """y = x Wᵀ + b, W (out, in) as codes into a book, two in a byte of (out, in / 2), and a scale (out, G) per block.

    The weight is made run of rows by run of rows, in the cache, from a table of all 256 bytes: the values of the
    even and the odd column that a byte stands for. It is rounded to the dtype of x, as `weight_only` does.
    """

    codes: Tensor
    scale: Tensor
    pairs: Tensor
    bias: Tensor | None

    def __init__(self, codes: Tensor, values: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = codes.shape
        self.register_buffer("codes", pack_neighbours(codes))
        self.register_buffer("scale", scale)
        # two float32 looked up as the one float64 whose bytes they are
        pairs = torch.stack((values.repeat_interleave(16), values.repeat(16)), dim=1)  # (256, 2)
        self.register_buffer("pairs", pairs.view(torch.float64).view(256))
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out) in the dtype of x."""
        rows = x.reshape(-1, self.in_features)  # (N, in)
        y = torch.empty(rows.shape[0], self.out_features, dtype=x.dtype)
        for run in chunks(self.out_features, self.in_features):
            weight = self.pairs.index_select(0, self.codes[run].reshape(-1).int()).view(torch.float32)
            scale = self.scale[run].unsqueeze(2)  # (r, G, 1)
            weight = weight.view(scale.shape[0], scale.shape[1], -1).mul_(scale).view(-1, self.in_features)  # (r, in)
            y[:, run] = F.linear(rows, weight.to(x.dtype))
        if self.bias is not None:
            y += self.bias
        return y.view(*x.shape[:-1], self.out_features)
