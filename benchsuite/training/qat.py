"""Quantization-aware training: the forward pass computes with the weights that quantizing would give.

The gradient passes the rounding unchanged (straight-through estimator: Bengio, Léonard and Courville 2013; for weights
and activations of a network Jacob et al. 2018). Parameters keep their names and full precision, so that checkpoints
are ordinary ones; quantizing them to the same precision gives exactly what was trained.
"""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from benchsuite.errors import UsageError
from benchsuite.quant.apply import head_of, is_conv1d
from benchsuite.quant.grids import Grid
from benchsuite.quant.methods import OnGrid
from benchsuite.quant.precision import precisions
from benchsuite.quant.products import weight_only


def grid_of(precision: str) -> Grid:
    """The weight grid of a precision; UsageError where it is more, or something else, than a grid."""
    method = precisions[precision]
    form = method.form() if isinstance(method, OnGrid) else None
    if form is None or form.product is not weight_only:
        raise UsageError(f"{precision} is not a grid for weights alone; --qat takes one such as absmax4-g32 or nf4-g64")
    return form.grid


def fake_quantize(module: nn.Module, grid: Grid) -> None:
    """Let every linear layer of `module` (but a language model's head) compute with its weight on `grid`, in place."""
    head = head_of(module)
    for layer in module.modules():
        if is_conv1d(layer):
            layer.forward = partial(_conv1d, layer, grid)
        elif isinstance(layer, nn.Linear) and layer is not head:
            layer.forward = partial(_linear, layer, grid)  # type: ignore[method-assign]


def on_grid(weight: Tensor, grid: Grid) -> Tensor:
    """The values of `weight` (out, in) on `grid`, with the gradient of `weight` itself."""
    rounded = grid.dequantize(grid.quantize(weight), weight.shape, weight.dtype)
    return weight + (rounded - weight).detach()


def _linear(layer: nn.Linear, grid: Grid, x: Tensor) -> Tensor:
    return F.linear(x, on_grid(layer.weight, grid), layer.bias)


def _conv1d(layer: nn.Module, grid: Grid, x: Tensor) -> Tensor:
    weight = layer.get_parameter("weight").t()  # (out, in)
    return F.linear(x, on_grid(weight, grid), layer.get_parameter("bias"))
