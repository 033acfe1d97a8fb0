"""One token by rows, as a compiled pass multiplies it, is the product that packed layers compute."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from benchsuite.kernels import cpu
from benchsuite.kernels.table import in_rows
from benchsuite.models.gpt2 import _one_query
from benchsuite.quant.apply import size_bytes
from benchsuite.rows import by_rows

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++, which torch.compile wants")
OUT, IN = 50, 64  # no multiple of the rows at once


def seeded(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def codes(*shape: int) -> Tensor:
    return torch.randint(-127, 128, shape, dtype=torch.int8, generator=torch.Generator().manual_seed(sum(shape)))


def packed_linear(dtype: torch.dtype) -> cpu.PackedLinear:
    return cpu.PackedLinear(seeded(OUT, IN, dtype=dtype), seeded(OUT, dtype=dtype))


def int8_linear() -> cpu.Int8Linear:
    return cpu.Int8Linear(codes(OUT, IN), seeded(OUT, 1).abs() / 100, seeded(OUT))


def int8_weights() -> cpu.Int8WeightLinear:
    return cpu.Int8WeightLinear(codes(OUT, IN), seeded(OUT, 1).abs() / 100, seeded(OUT, 1), seeded(OUT))


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "fp32": lambda: cpu.PlainLinear(seeded(OUT, IN), seeded(OUT)),
    "fp32, packed": lambda: packed_linear(torch.float32),
    "bf16": lambda: packed_linear(torch.bfloat16),
    "int8": int8_linear,
    "int8 weights": int8_weights,
}


@pytest.fixture
def layer(request: pytest.FixtureRequest) -> nn.Module:
    needs = {"bf16": "bf16", "int8": "exact_int8"}.get(request.param, "onednn")
    if needs not in cpu.capabilities():
        pytest.skip(f"this processor lacks {needs}")
    return LAYERS[request.param]()


def dtype_of(layer: nn.Module) -> torch.dtype:
    return layer.weight.dtype if isinstance(layer, cpu.PlainLinear) else torch.float32


@given(st.integers(1, 60), st.integers(1, 70), st.sampled_from([torch.float32, torch.bfloat16, torch.int8]))
def test_rows_give_the_product(out: int, inner: int, dtype: torch.dtype) -> None:
    x, weight = (codes(*s) if dtype == torch.int8 else seeded(*s, dtype=dtype) for s in ((1, inner), (out, inner)))
    expected = x.double() @ weight.double().t()
    found = by_rows(x, weight)
    assert found.shape == (1, out)
    assert found.dtype == torch.float32
    tolerance = 0.0 if dtype == torch.int8 else 1e-4
    torch.testing.assert_close(found.double(), expected, atol=tolerance, rtol=0)


@needs_compiler
@pytest.mark.parametrize(
    ("layer", "gelu"),
    [*((name, False) for name in LAYERS), ("fp32", True), ("bf16", True), ("int8", True)],
    indirect=["layer"],
)
@torch.inference_mode()
def test_a_compiled_token_by_rows_is_what_the_packed_layer_says(layer: nn.Module, gelu: bool) -> None:
    if gelu:
        layer.fuse_gelu()  # type: ignore[operator]
    x = seeded(1, 1, IN, dtype=dtype_of(layer))
    expected = layer(x)
    if isinstance(layer, cpu.PackedLinear | cpu.Int8Linear):
        layer.unpack()
    ran, code = torch._inductor.utils.run_and_get_code(torch.compile(layer, dynamic=False), x)
    assert ran.shape == expected.shape
    assert ran.dtype == expected.dtype
    step = 2**-7 if x.dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(ran, expected, atol=step, rtol=step)
    assert not any(library in code[0] for library in ("extern_kernels.", "torch.ops.benchsuite.", "torch.ops.mkldnn."))


@needs_compiler
@torch.inference_mode()
def test_a_compiler_does_not_follow_what_asks_the_processor() -> None:
    wide = cpu.NARROW + 1
    layer = cpu.Int8WeightLinear(codes(OUT, wide), seeded(OUT, 1).abs() / 100, None, None)
    x = seeded(3, wide)
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, dynamic=False)(x), layer(x))


@pytest.mark.parametrize("layer", ["fp32, packed", "bf16", "int8"], indirect=True)
@pytest.mark.parametrize("tokens", [1, 3, 300])
@torch.inference_mode()
def test_unpacked_layers_compute_the_same_hold_no_more_and_can_be_packed_again(layer: nn.Module, tokens: int) -> None:
    assert isinstance(layer, cpu.PackedLinear | cpu.Int8Linear)
    x = seeded(tokens, IN, dtype=dtype_of(layer))
    expected, held = layer(x), size_bytes(layer)
    for change in (layer.unpack, layer.unpack, layer.pack, layer.pack):
        change()
        torch.testing.assert_close(layer(x), expected, atol=1e-6, rtol=1e-6)
        assert size_bytes(layer) == held


@pytest.mark.parametrize("tokens", [1, 3, cpu.INT8_TOKENS_IN_C, cpu.INT8_TOKENS_IN_C + 1, 300])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2**-7)])
@torch.inference_mode()
def test_int8_codes_that_are_never_packed_have_the_same_products(
    tokens: int, dtype: torch.dtype, tolerance: float
) -> None:
    packed = int8_linear()
    layer = cpu.Int8Linear(codes(OUT, IN), packed.scale[:, None], packed.bias, packs=False)
    layer.pack()
    assert not layer.is_packed
    assert layer.codes.layout == torch.strided
    x = seeded(tokens, IN, dtype=dtype)
    torch.testing.assert_close(layer(x), packed(x), atol=1e-6, rtol=tolerance)
    layer.fuse_gelu()
    packed.fuse_gelu()
    torch.testing.assert_close(layer(x[None]), packed(x[None]), atol=1e-6, rtol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2**-7)])
def test_attention_of_one_query_is_that_of_pytorch(dtype: torch.dtype, tolerance: float) -> None:
    q = seeded(2, 3, 1, 16, dtype=dtype) * 3
    k, v = seeded(2, 3, 9, 16, dtype=dtype), seeded(2, 3, 9, 16, dtype=dtype) + 1
    mask = (torch.arange(9) <= torch.tensor([[4], [8]]))[:, None, None]  # (B, 1, 1, S)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(_one_query(q, k, v, mask), expected, atol=tolerance, rtol=tolerance)


def test_records_name_the_rows_and_keep_the_other_kernels() -> None:
    chosen = {"onednn-int8 (int8-row)": 4, "int4pack (int4-group)": 3, "onednn-prepacked (fp32)": 2}
    assert in_rows(chosen) == {
        "compiled-rows (int8-row)": 4,
        "int4pack (int4-group)": 3,
        "compiled-rows (fp32)": 2,
    }
