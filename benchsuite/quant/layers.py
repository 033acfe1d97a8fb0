"""A linear layer that holds packed weights only, and computes from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchsuite.quant.grids import Grid, Packed
from benchsuite.quant.products import Product, weight_only


class Form(NamedTuple):
    """What a quantized layer is besides its tensors: how codes become weights, and how a product is computed."""

    grid: Grid
    product: Product = weight_only


class QuantizedLinear(nn.Module):
    """y = x Wᵀ + b with W (out, in) on a grid. Its buffers are the codes and scales of `packed`, and the bias.

    `product` computes x Wᵀ from the packed weight; see `benchsuite.quant.products`. Scales stay float32 when the module
    is cast to another dtype, because the grid's bounds and codes hold for them alone.
    """

    def __init__(self, packed: Packed, linear: nn.Linear, grid: Grid, product: Product = weight_only) -> None:
        """`packed` in place of the weight of `linear`, whose bias is kept as it is."""
        super().__init__()
        self.grid, self.product = grid, product
        self.out_features, self.in_features = linear.out_features, linear.in_features
        self._names = tuple(packed)
        for name, tensor in packed.items():
            self.register_buffer(name, tensor)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    @classmethod
    def of(cls, linear: nn.Linear, grid: Grid, product: Product = weight_only) -> QuantizedLinear:
        """The layer with the weight of `linear` quantized."""
        return cls(grid.quantize(linear.weight), linear, grid, product)

    @property
    def shape(self) -> torch.Size:
        """Of the weight: (out, in)."""
        return torch.Size((self.out_features, self.in_features))

    @property
    def packed(self) -> Packed:
        """The buffers that stand for the weight."""
        return {name: self.get_buffer(name) for name in self._names}

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The weight (out, in) that the codes stand for."""
        return self.grid.dequantize(self.packed, self.shape, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out) in the dtype of x."""
        y = self.product(x.reshape(-1, self.in_features), self.grid, self.packed, self.shape)  # (N, out)
        bias = self.get_buffer("bias") if self.bias is not None else None
        y = y if bias is None else y + bias.to(y.dtype)
        return y.view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """Shape, grid and product, for print(model)."""
        return f"{self.in_features}, {self.out_features}, {self.grid}, product={self.product.__name__}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> QuantizedLinear:
        kept = self.packed
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, tensor in kept.items():
            moved = self.get_buffer(name)
            if moved.dtype != tensor.dtype:
                self.register_buffer(name, tensor.to(moved.device))
        return self
