"""A quantized layer holds packed weights only, and computes from them in the dtype that it is given."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from torch import nn

from benchsuite.quant.grids import Absmax, Grid
from benchsuite.quant.layers import QuantizedLinear
from benchsuite.quant.products import w8a8
from tests.quant.strategies import GRIDS


def linear(rows: int = 40, columns: int = 70, *, bias: bool = True) -> nn.Linear:
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(columns, rows, bias=bias)
    layer.weight = nn.Parameter(torch.randn(rows, columns, generator=generator))
    return layer.requires_grad_(False)


@pytest.mark.parametrize("kind", GRIDS)
def test_it_computes_what_a_linear_layer_with_the_dequantized_weight_computes(kind: str) -> None:
    @given(grid=GRIDS[kind])
    def holds(grid: Grid) -> None:
        plain = linear()
        layer = QuantizedLinear.of(plain, grid)
        x = torch.randn(2, 3, 70, generator=torch.Generator().manual_seed(1))
        expected = nn.functional.linear(x, layer.dequantize(), plain.bias)
        assert layer(x).shape == (2, 3, 40)
        assert torch.allclose(layer(x), expected, atol=1e-4)

    holds()


@pytest.mark.parametrize(
    ("grid", "bits"), [(Absmax(8, "row"), 8 + 32 / 64), (Absmax(4, 32), 5), (Absmax(3, 64), 3 + 32 / 64)]
)
def test_its_buffers_are_as_large_as_the_bits_say(grid: Grid, bits: float) -> None:
    layer = QuantizedLinear.of(linear(8, 64, bias=False), grid)
    assert list(layer.parameters()) == []
    assert 8 * sum(buffer.nbytes for buffer in layer.buffers()) == bits * 8 * 64


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_result_has_the_dtype_of_the_activations(dtype: torch.dtype) -> None:
    for product in (None, w8a8):
        layer = QuantizedLinear.of(linear(), Absmax(8, "row"), *(() if product is None else (product,)))
        assert layer(torch.ones(2, 70, dtype=dtype)).dtype == dtype


def test_scales_stay_float32_when_the_module_is_cast() -> None:
    module = nn.Sequential(QuantizedLinear.of(linear(), Absmax(4, 32)))
    before = module[0].dequantize()
    module.to(torch.bfloat16)
    assert module[0].bias.dtype == torch.bfloat16
    assert module[0].packed["scale"].dtype == torch.float32
    assert torch.equal(module[0].dequantize(), before)


def test_it_says_what_it_is() -> None:
    assert "70, 40, Absmax(bits=8, group='row'), product=w8a8" in repr(
        QuantizedLinear.of(linear(), Absmax(8, "row"), w8a8)
    )
