"""Swap the linear layers of a loaded model for those that the table of kernels chooses, one after the other."""

from __future__ import annotations

from collections import Counter
from typing import cast

import torch
from torch import Tensor, nn

from benchsuite.kernels import cpu, cuda
from benchsuite.kernels.code_book import CodeBookLinear, evenly_spaced
from benchsuite.kernels.in_c import fits
from benchsuite.kernels.int4 import Int4Linear, int4_group
from benchsuite.kernels.table import Weights, choose, label
from benchsuite.quant.apply import set_module
from benchsuite.quant.code_books import CodeBook
from benchsuite.quant.grids import Absmax, ZeroPoint
from benchsuite.quant.layers import QuantizedLinear
from benchsuite.quant.packing import unpack
from benchsuite.quant.products import one_scale_a_row, w8a8, weight_only

_FLOATS: dict[torch.dtype, Weights] = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
_PLAIN = {
    "mkl-and-onednn": cpu.PlainLinear,
    "onednn-prepacked": cpu.PackedLinear,
    "as-floats": cpu.WidenedLinear,
    "c-rows": cpu.WidenedLinear,
}


def prepare(module: nn.Module, device: str) -> Counter[str]:
    """Replace linear layers in place by faster ones that compute the same; counts the layers by kernel and weights.

    A plain weight is dropped as soon as its packed form exists, so that memory grows by one layer at most. The module
    can only infer afterwards: quantizing, saving and training come before.
    """
    chosen: Counter[str] = Counter()
    capabilities = cuda.capabilities(device) if device.startswith("cuda") else cpu.capabilities()
    for name in [name for name, layer in module.named_modules() if held_as(layer)]:  # a list of layers would keep all
        layer = module.get_submodule(name)
        weights = cast("Weights", held_as(layer))
        kernel = choose(device, weights, capabilities)
        chosen[label(kernel.name, weights)] += 1
        if (faster := _build(kernel.name, layer)) is not None:
            set_module(module, name, faster)
    return chosen


def held_as(layer: nn.Module) -> Weights | None:
    """How a linear layer holds its weight, as the table calls it; None for a module that is no such layer."""
    if type(layer) is nn.Linear:
        return _FLOATS.get(layer.weight.dtype, "other")
    if not isinstance(layer, QuantizedLinear):
        return None
    grid, product = layer.grid, layer.product
    if product is w8a8 and one_scale_a_row(grid):
        return "int8-row"
    if product is weight_only and isinstance(grid, CodeBook) and not grid.double_quantized:
        if grid.block % 2 or layer.in_features % grid.block:
            return "other"
        return "code-book" if fits(grid.block) else "odd-code-book"
    if product is not weight_only or not isinstance(grid, Absmax | ZeroPoint):
        return "other"
    if grid.bits == 8 and grid.group in ("row", "tensor"):
        return "int8-weight"
    if grid.bits == 4 and int4_group(layer.out_features, layer.in_features, grid.group):
        return "int4-group"
    return "other"


def _build(kernel: str, layer: nn.Module) -> nn.Module | None:
    """The layer that runs `kernel` in place of `layer`; None where it is what runs already."""
    if isinstance(layer, nn.Linear):
        return _PLAIN[kernel](layer.weight, layer.bias) if kernel in _PLAIN else None
    assert isinstance(layer, QuantizedLinear)
    bias = layer.get_buffer("bias") if layer.bias is not None else None
    weights = held_as(layer)
    if kernel == "onednn-int8":
        return cpu.Int8Linear(layer.packed["codes"], layer.packed["scale"], bias, packs=cpu.packs_int8())
    if kernel in ("c-rows", "int8-codes") and weights == "int8-weight":
        offset = _offset(layer, 128)
        codes = layer.packed["codes"] if offset is None else (layer.packed["codes"] ^ 128).view(torch.int8)
        return cpu.Int8WeightLinear(codes, layer.packed["scale"], offset, bias)
    if kernel in ("c-rows", "byte-pairs") and weights in ("code-book", "odd-code-book"):
        values = cast("CodeBook", layer.grid).values
        return CodeBookLinear(_four_bit_codes(layer), values, layer.packed["scale"], bias)
    if kernel in ("c-rows", "int4pack"):
        size = int4_group(layer.out_features, layer.in_features, cast("Absmax", layer.grid).group)
        assert size is not None
        offset = _offset(layer, 8)
        shape = (layer.out_features, layer.in_features // size)
        offset = None if offset is None else offset.expand(shape)
        made = evenly_spaced if kernel == "c-rows" else Int4Linear
        return made(_four_bit_codes(layer), layer.packed["scale"].expand(shape), offset, bias)
    return None


def _four_bit_codes(layer: QuantizedLinear) -> Tensor:
    return unpack(layer.packed["codes"], 4, layer.in_features)


def _offset(layer: QuantizedLinear, middle: int) -> Tensor | None:
    """What the code `middle` stands for in each row or group, (R, G): None, for 0, on a symmetric grid."""
    if isinstance(layer.grid, Absmax):
        return None
    return (middle - layer.packed["zero_point"].float()) * layer.packed["scale"]
