"""Linear layers for the CPU whose weight is held once, in the layout that the fastest product wants.

They infer only (no gradient), and no plain copy of the weight stays beside the packed one.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchsuite.kernels.int4 import unpack_int4
from benchsuite.kernels.table import Capability
from benchsuite.quant.products import int8_is_exact, quantize_activations

INT4_TOKENS = 32  # up to here the 4-bit kernel beats dequantizing the weight for a product in bf16
INT8_TOKENS = 256  # rows whose codes, sums and scaled results stay in the second-level cache together


@functools.cache
def capabilities() -> frozenset[Capability]:
    """What this processor and this PyTorch have: asked of PyTorch, and of its int8 product by trying it."""
    found: set[Capability] = {"int4"} if torch.backends.cpu.get_cpu_capability() != "DEFAULT" else set()
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        found.add("onednn")
        if torch.ops.mkldnn._is_mkldnn_bf16_supported():
            found.add("bf16")
    if int8_is_exact():
        found.add("exact_int8")
    return frozenset(found)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x (..., in) times weight (out, in) transposed, the weight as it is: for the head, which is the embedding too.

    oneDNN takes it without a copy; with gradients, on another device or in another dtype it is F.linear.
    """
    if x.is_cpu and not torch.is_grad_enabled() and _onednn_takes(weight.dtype):
        return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")  # type: ignore[no-any-return]
    return F.linear(x, weight)


class PackedLinear(nn.Module):
    """y = gelu?(x Wᵀ + b) in float32 or bfloat16, the weight (out, in) in oneDNN's own layout."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.register_buffer("weight", torch.ops.mkldnn._reorder_linear_weight(weight.detach()))
        self.register_buffer("bias", None if bias is None else bias.detach())
        self.post = ("none", "")

    def fuse_gelu(self) -> None:
        """Apply GELU in its tanh form to every result from now on."""
        self.post = ("gelu", "tanh")

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out)."""
        name, algorithm = self.post
        return torch.ops.mkldnn._linear_pointwise(  # type: ignore[no-any-return]
            x, self.weight, self.bias, name, [], algorithm
        )


class Int8Linear(nn.Module):
    """`w8a8`: int8 weights (out, in) with a scale per row, activations in int8 with a scale per token, exact sums.

    The weight is prepacked by oneDNN. A single token's scale, the bias and GELU are part of the product; for more
    tokens oneDNN knows only one scale, so the tokens' scales follow it.
    """

    codes: Tensor
    scale: Tensor
    zero_point: Tensor
    bias: Tensor | None

    def __init__(self, codes: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = codes.shape
        self.register_buffer("codes", torch.ops.onednn.qlinear_prepack(codes, None))
        self.register_buffer("scale", scale.float().expand(self.out_features, 1).reshape(-1).contiguous())
        self.register_buffer("zero_point", torch.zeros(self.out_features, dtype=torch.int8))
        self.register_buffer("bias", None if bias is None else bias.detach().float())
        self.post = ("none", "")

    def fuse_gelu(self) -> None:
        """Apply GELU in its tanh form to every result from now on."""
        self.post = ("gelu", "tanh")

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out) in the dtype of x."""
        rows = x.reshape(-1, self.in_features)  # (N, in)
        if rows.shape[0] <= INT8_TOKENS:
            y = self._rows(rows)
        else:
            y = torch.empty(rows.shape[0], self.out_features, dtype=x.dtype)
            for start in range(0, rows.shape[0], INT8_TOKENS):
                run = slice(start, start + INT8_TOKENS)
                y[run] = self._rows(rows[run])
        return y.view(*x.shape[:-1], self.out_features)

    def _rows(self, x: Tensor) -> Tensor:
        codes, scale = quantize_activations(x)  # (N, in), (N, 1)
        name, algorithm = self.post
        if x.shape[0] == 1:
            y = self._product(codes, float(scale), self.bias, name, algorithm)  # (1, out)
        else:
            y = self._product(codes, 1.0, None, "none", "").mul_(scale)  # (N, out)
            if self.bias is not None:
                y += self.bias
            if name == "gelu":
                y = F.gelu(y, approximate=algorithm)
        return y.to(x.dtype)

    def _product(self, codes: Tensor, scale: float, bias: Tensor | None, name: str, algorithm: str) -> Tensor:
        return torch.ops.onednn.qlinear_pointwise(  # type: ignore[no-any-return]
            codes, scale, 0, self.codes, self.scale, self.zero_point, bias, 1.0, 0, torch.float32, name, [], algorithm
        )


class Int4Linear(nn.Module):
    """Four-bit codes (out, in) with scale and offset per group of columns; both, like the activations, in bfloat16.

    w = (code - 8) · scale + offset. Few tokens go through PyTorch's 4-bit kernel; for many the weight is dequantized
    once for the product, in bfloat16 where the processor multiplies it and float32 where not.
    """

    codes: Tensor
    scales: Tensor
    bias: Tensor | None

    def __init__(self, codes: Tensor, scale: Tensor, offset: Tensor | None, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = codes.shape
        self.group_size = self.in_features // scale.shape[1]
        offset = torch.zeros_like(scale) if offset is None else offset
        self.register_buffer("codes", torch._convert_weight_to_int4pack_for_cpu(codes.to(torch.int32), 1))
        self.register_buffer("scales", torch.stack((scale, offset), -1).transpose(0, 1).bfloat16().contiguous())
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out) in the dtype of x."""
        rows = x.reshape(-1, self.in_features)  # (N, in)
        if rows.shape[0] <= INT4_TOKENS:
            y = torch._weight_int4pack_mm_for_cpu(rows.bfloat16(), self.codes, self.group_size, self.scales)
        else:
            dtype = torch.bfloat16 if "bf16" in capabilities() else torch.float32
            y = rows.to(dtype) @ self.dequantize(dtype)  # (N, out)
        y = y.to(x.dtype)
        if self.bias is not None:
            y += self.bias
        return y.view(*x.shape[:-1], self.out_features)

    def dequantize(self, dtype: torch.dtype) -> Tensor:
        """The weight, transposed: (in, out)."""
        weight = unpack_int4(self.codes, self.out_features, self.in_features, dtype)  # (in, out)
        groups = weight.view(-1, self.group_size, self.out_features)  # (G, size, out)
        scales = self.scales.to(dtype).unsqueeze(1)  # (G, 1, out, 2)
        groups.mul_(scales[..., 0]).add_(scales[..., 1])
        return weight


def int4_takes(out_features: int, in_features: int, group_size: int) -> bool:
    """Whether the 4-bit kernel has this shape: whole blocks of 64 rows, groups of 32, 64, 128 or 256."""
    return out_features % 64 == 0 and group_size in (32, 64, 128, 256) and in_features % group_size == 0


@functools.cache
def _onednn_takes(dtype: torch.dtype) -> bool:
    return "onednn" in capabilities() and (
        dtype == torch.float32 or (dtype == torch.bfloat16 and "bf16" in capabilities())
    )
