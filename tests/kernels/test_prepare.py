"""Prepared layers compute what the plain ones compute, in no more memory, on processors old and new."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchsuite import c_code
from benchsuite.kernels import cpu
from benchsuite.kernels import prepare as prepare_module
from benchsuite.kernels.in_c import FEW_TOKENS, has_rows
from benchsuite.kernels.prepare import prepare
from benchsuite.models import gpt2
from benchsuite.quant import embedding
from benchsuite.quant.apply import size_bytes
from benchsuite.quant.code_books import Book, CodeBook
from benchsuite.quant.grids import Absmax, ZeroPoint
from benchsuite.quant.layers import QuantizedLinear
from benchsuite.quant.precision import precisions
from benchsuite.quant.products import int8_matmul, w8a8

ONEDNN_INT8 = cpu._onednn_int8_linear
SMALL = gpt2.GPT2Config(vocab_size=500, n_positions=128, n_embd=64, n_layer=2, n_head=4)


def small_model(precision: str) -> gpt2.GPT2:
    model = gpt2.from_state(gpt2.random_state(SMALL), SMALL)
    precisions[precision].apply(model, device="cpu")
    return model


def set_amx(monkeypatch: pytest.MonkeyPatch, amx: bool) -> None:
    """The ways of a processor with AMX, or of one without: slower on the other, and the same numbers."""
    capabilities = cpu.capabilities() - {"amx"} | ({"amx"} if amx else set())
    monkeypatch.setattr(cpu, "capabilities", lambda: capabilities)
    monkeypatch.setattr(cpu, "has_amx", lambda: amx)


def set_c(monkeypatch: pytest.MonkeyPatch, in_c: bool) -> None:
    """The ways of a machine with a C compiler, or of one without."""
    if in_c and not has_rows():
        pytest.skip("no C compiler with OpenMP")
    capabilities = cpu.capabilities() - {"c"} | ({"c"} if in_c else set())
    monkeypatch.setattr(cpu, "capabilities", lambda: capabilities)
    if not in_c:
        monkeypatch.setattr(c_code, "_library", lambda _: None)


@pytest.mark.parametrize("in_c", [False, True])
@pytest.mark.parametrize("tokens", [1, FEW_TOKENS, FEW_TOKENS + 1])
@torch.inference_mode()
def test_bf16_is_multiplied_as_floats_where_the_processor_does_not(
    tokens: int, in_c: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounded as where it does; `test_a_bf16_head_rounds_once_however_many_tokens` is of this processor's own way."""
    set_c(monkeypatch, in_c)
    capabilities = cpu.capabilities() - {"bf16"}
    monkeypatch.setattr(cpu, "capabilities", lambda: capabilities)
    monkeypatch.setattr(cpu, "_onednn_takes", lambda dtype: dtype == torch.float32)
    monkeypatch.setattr(cpu, "WIDE_WEIGHTS", 1_000)  # runs of some rows
    model = small_model("bf16")
    plain = small_model("bf16").float()
    ids = torch.randint(0, SMALL.vocab_size, (1, tokens), generator=torch.Generator().manual_seed(0))
    model.prepare("cpu")
    assert set(model.kernels) == {"c-rows (bf16)" if in_c else "as-floats (bf16)"}
    logits = model(ids)
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), plain(ids), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [
        ("fp32", 1e-5),
        ("bf16", 0.05),
        ("w8a8", 0.05),
        ("absmax8-row", 1e-5),
        ("nf4-g64", 1e-5),
        ("absmax4-g32", 0.05),
        ("zeropoint4-g32", 0.05),
    ],
)
@pytest.mark.parametrize("tokens", [1, 3, 100])
def test_a_prepared_model_gives_the_logits_of_the_plain_one(precision: str, tolerance: float, tokens: int) -> None:
    model = small_model(precision)
    ids = torch.randint(0, SMALL.vocab_size, (1, tokens), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        plain = model(ids).float()
        model.prepare("cpu")
        torch.testing.assert_close(model(ids).float(), plain, atol=tolerance, rtol=0)
    assert sum(model.kernels.values()) == 4 * SMALL.n_layer


@pytest.mark.parametrize("precision", ["fp32", "w8a8"])
def test_a_layer_goes_as_soon_as_its_successor_is_there(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(precision)
    plain = [weakref.ref(layer) for layer in model.modules() if prepare_module.held_as(layer)]
    there, build = [], prepare_module._build

    def counted(kernel: str, layer: torch.nn.Module) -> torch.nn.Module | None:
        there.append(sum(layer() is not None for layer in plain))
        return build(kernel, layer)

    monkeypatch.setattr(prepare_module, "_build", counted)
    model.prepare("cpu")
    assert there == list(range(4 * SMALL.n_layer, 0, -1))


@pytest.mark.parametrize(
    ("precision", "bits", "embedding_bits"),
    [
        ("fp32", 32, 32),
        ("bf16", 16, 16),
        ("w8a8", 8 + 32 / 256, 32),
        ("w8a8-head8", 8 + 32 / 256, 8 + 32 / 256),
        ("absmax4-g32", 4 + 32 / 32, 32),
        ("absmax4-g32-head8", 4 + 32 / 32, 8 + 32 / 256),
        ("absmax4-g64", 4 + 32 / 64, 32),
    ],
)
def test_a_prepared_model_holds_what_its_bits_say_and_a_tenth_at_most(
    precision: str, bits: float, embedding_bits: float
) -> None:
    """Bits of a weight with its share of a float32 scale; what is no linear weight and no token is held as it was."""
    config = gpt2.GPT2Config(vocab_size=2_000, n_positions=64, n_embd=256, n_layer=3, n_head=4)
    model = gpt2.from_state(gpt2.random_state(config), config)
    linear = 12 * config.n_embd**2 * config.n_layer
    tokens = config.vocab_size * config.n_embd
    others = sum(parameter.numel() for parameter in model.parameters()) - linear - tokens
    precisions[precision].apply(model, device="cpu")
    model.prepare("cpu")
    others_bits = 16 if precision == "bf16" else 32
    assert size_bytes(model) <= 1.1 * (linear * bits + tokens * embedding_bits + others * others_bits) / 8


@pytest.mark.parametrize(
    "precision", ["fp32", "bf16", "w8a8", "w8a8-head8", "absmax4-g32", "nf4-g64", "absmax8-row", "zeropoint8-row"]
)
def test_widths_and_heads_that_no_kernel_takes_and_no_rows_at_all_are_computed(precision: str) -> None:
    config = gpt2.GPT2Config(vocab_size=131, n_positions=16, n_embd=39, n_layer=1, n_head=3)
    model = gpt2.from_state(gpt2.random_state(config), config)
    precisions[precision].apply(model, device="cpu")
    ids = torch.arange(10).view(2, 5)
    with torch.inference_mode():
        plain = model(ids).float()
        model.prepare("cpu")
        torch.testing.assert_close(model(ids).float(), plain, atol=0.02, rtol=0)
        assert model(ids[:0]).shape == (0, 5, 131)


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("tokens", [1, 2, cpu.INT8_ROWS + 3])
def test_prepared_int8_products_are_those_of_the_definition(tokens: int, gelu: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    linear = torch.nn.Linear(48, 33).requires_grad_(False)
    layer = QuantizedLinear.of(linear, Absmax(8, "row"), w8a8)
    module = torch.nn.Sequential(layer)
    x = torch.randn(tokens, 48, generator=generator)
    plain = module(x)
    prepare(module, "cpu")
    if gelu:
        if not isinstance(module[0], cpu.Int8Linear):
            pytest.skip("this processor has no exact int8 product")
        module[0].fuse_gelu()
        plain = torch.nn.functional.gelu(plain, approximate="tanh")
    torch.testing.assert_close(module(x), plain, atol=1e-6, rtol=1e-5)


@settings(max_examples=20)
@given(
    grid=st.sampled_from([Absmax(8, "row"), Absmax(8, "tensor"), ZeroPoint(8, "row"), ZeroPoint(8, "tensor")]),
    tokens=st.sampled_from([1, 2, cpu.CACHED_TOKENS + 1]),
    magnitude=st.sampled_from([0.0, 1e-30, 1.0, 1e30]),
)
def test_eight_bit_weights_are_multiplied_as_near_as_float32_does(
    grid: Absmax | ZeroPoint, tokens: int, magnitude: float
) -> None:
    torch.manual_seed(3)
    layer = QuantizedLinear.of(torch.nn.Linear(320, 48).requires_grad_(False), grid)
    module = torch.nn.Sequential(layer)
    x = torch.randn(tokens, 320) * magnitude
    weight, bias = layer.dequantize().double(), layer.get_buffer("bias").double()
    wanted = x.double() @ weight.t() + bias
    prepare(module, "cpu")
    bound = x.double().abs().amax(1, keepdim=True) * weight.abs().sum(1) + bias.abs()
    assert ((module(x) - wanted).abs() <= bound * 2**-20).all()
    assert isinstance(module[0], cpu.Int8WeightLinear)


@pytest.mark.parametrize("in_c", [False, True])
@pytest.mark.parametrize("book", ["nf4", "fp4"])
@pytest.mark.parametrize("tokens", [1, 5, FEW_TOKENS + 1])
@pytest.mark.parametrize("block", [24, 64])
def test_values_of_a_code_book_are_multiplied(
    book: Book, tokens: int, block: int, in_c: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_c(monkeypatch, in_c)
    layer = QuantizedLinear.of(torch.nn.Linear(960, 515).requires_grad_(False), CodeBook(book, block))
    module = torch.nn.Sequential(layer)
    x = torch.randn(tokens, 960, generator=torch.Generator().manual_seed(5))
    plain = module(x)
    name = "c-rows (code-book)" if in_c and block == 64 else "byte-pairs (code-book)"
    assert prepare(module, "cpu") == {name if block == 64 else "byte-pairs (odd-code-book)": 1}
    torch.testing.assert_close(module(x), plain, atol=1e-5, rtol=0)


@given(columns=st.integers(1, 2_500), seed=st.integers(0, 9))
@settings(max_examples=20)
def test_int8_sums_are_exact_whatever_the_width(columns: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, weight = (torch.randint(-127, 128, (rows, columns), dtype=torch.int8, generator=generator) for rows in (3, 5))
    assert torch.equal(int8_matmul(x, weight).long(), x.long() @ weight.long().t())


@pytest.mark.parametrize("amx", [False, True])
@pytest.mark.parametrize("tokens", [1, 7])
def test_signed_and_unsigned_activations_have_the_same_int8_sums(
    tokens: int, amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "exact_int8" not in cpu.capabilities():
        pytest.skip("this processor has no exact int8 product")
    generator = torch.Generator().manual_seed(2)
    x, weight = (torch.randint(-128, 128, (n, 1_500), dtype=torch.int8, generator=generator) for n in (tokens, 20))
    x[0], weight[0] = -128, -128  # the extremes
    set_amx(monkeypatch, amx)
    layer = cpu.Int8Linear(weight, torch.ones(20, 1), None)
    sums = cpu._onednn_int8_linear(x, None, layer.scale, layer.zero_point, layer.codes, None, "none", "")
    assert torch.equal(sums.long(), x.long() @ weight.long().t())


def test_no_product_of_the_table_takes_onednns_reference() -> None:
    """oneDNN computes whatever it has no kernel for by loops that are a thousand times slower, and does not say so."""
    code = (
        "from tests.kernels import test_prepare as t\n"
        "for precision in ('fp32', 'bf16', 'w8a8-head8', 'absmax4-g32'):\n"
        "    for tokens in (1, 3, 100):\n"
        "        t.test_a_prepared_model_gives_the_logits_of_the_plain_one(precision, 0.05, tokens)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ONEDNN_VERBOSE": "profile_exec"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    products = [line for line in finished.stdout.splitlines() if ",exec,cpu,matmul," in line]
    assert products
    assert not [line for line in products if "matmul,ref" in line]


def test_a_processor_with_avx2_alone_computes_the_same() -> None:
    """oneDNN and ATen are told to forget newer instructions; their int8 product saturates there and is not taken."""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    code = (
        "from tests.kernels import test_int4, test_prepare as t\n"
        "for precision, tolerance in (('fp32', 1e-5), ('w8a8', 0.05), ('absmax4-g32', 0.05)):\n"
        "    for tokens in (1, 100):\n"
        "        t.test_a_prepared_model_gives_the_logits_of_the_plain_one(precision, tolerance, tokens)\n"
        "t.test_int8_sums_are_exact_whatever_the_width()\n"
        "test_int4.test_four_bit_products_round_no_more_than_bfloat16()\n"
        "print(t.cpu.torch.backends.cpu.get_cpu_capability())\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == "AVX2"


@pytest.mark.parametrize("amx", [False, True])
def test_a_head_of_8_bits_is_the_embedding_too(amx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "has_amx", lambda: amx)
    model = small_model("w8a8-head8")
    plain = gpt2.from_state(gpt2.random_state(SMALL), SMALL)
    ids = torch.arange(20)[None]
    with torch.inference_mode():
        step = plain.wte.weight.abs().amax(1) / 127
        assert ((model.wte(ids) - plain.wte(ids)).abs().amax(-1) <= step[ids] / 2 * 1.01).all()
        hidden = torch.randn(4, SMALL.n_embd, generator=torch.Generator().manual_seed(4))
        wanted = hidden @ model.wte(torch.arange(SMALL.vocab_size)).t()
        torch.testing.assert_close(model.head(hidden), wanted, atol=0.02, rtol=0)


@pytest.mark.skipif("bf16" not in cpu.capabilities(), reason="oneDNN packs no bf16 weight on this processor")
@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("rows", [1, 700])
def test_a_packed_layer_in_bf16_rounds_once(rows: int, gelu: bool) -> None:
    generator = torch.Generator().manual_seed(6)
    weight, bias = (torch.randn(shape, generator=generator).bfloat16() for shape in ((48, 64), (48,)))
    layer = cpu.PackedLinear(weight, bias)
    if gelu:
        layer.fuse_gelu()
    x = torch.randn(2, rows, 64, generator=generator).bfloat16()
    y = torch.nn.functional.linear(x.float(), weight.float(), bias.float())
    wanted = torch.nn.functional.gelu(y, approximate="tanh") if gelu else y
    torch.testing.assert_close(layer(x).float(), wanted, rtol=2**-8, atol=1e-2)


@pytest.mark.parametrize(
    "capabilities", [{"onednn"}, {"onednn", "mkl"}, {"onednn", "mkl", "c"}, {"onednn", "mkl", "amx"}]
)
@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("tokens", [0, 1, cpu.FLOAT_TOKENS_IN_C, cpu.FLOAT_TOKENS_IN_C + 1, cpu.LONG_NARROW, cpu.LONG])
@pytest.mark.parametrize("columns", [cpu.NARROW, cpu.NARROW + 1])
def test_a_float32_weight_is_multiplied_alike_by_however_many_tokens(
    tokens: int, columns: int, gelu: bool, capabilities: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not capabilities <= cpu.capabilities() | {"mkl", "amx"}:
        pytest.skip("this machine has no C compiler, or PyTorch no oneDNN")
    monkeypatch.setattr(cpu, "capabilities", lambda: capabilities)
    generator = torch.Generator().manual_seed(8)
    weight, bias, x = (
        torch.randn(shape, generator=generator) for shape in ((40, columns), (40,), (2, tokens, columns))
    )
    plain = cpu.PlainLinear(weight, bias)
    if gelu:
        plain.fuse_gelu()
    wanted = x.double() @ weight.double().t()
    with torch.inference_mode():
        for rows, exact in ((x, wanted), (x[0], wanted[0])):
            torch.testing.assert_close(cpu.linear(rows, weight).double(), exact, rtol=0, atol=1e-4)
            behind = exact + bias.double()
            behind = torch.nn.functional.gelu(behind, approximate="tanh") if gelu else behind
            torch.testing.assert_close(plain(rows).double(), behind, rtol=0, atol=1e-4)


@pytest.mark.parametrize("capabilities", [set(), {"onednn"}, {"onednn", "mkl"}])
@pytest.mark.parametrize("columns", [cpu.NARROW, cpu.NARROW + 1])
@pytest.mark.parametrize("tokens", [0, 1, 40])
def test_a_weight_made_for_one_product_is_multiplied_alike_everywhere(
    tokens: int, columns: int, capabilities: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not capabilities <= cpu.capabilities() | {"mkl"}:
        pytest.skip("PyTorch was built without oneDNN")
    monkeypatch.setattr(cpu, "capabilities", lambda: capabilities)
    generator = torch.Generator().manual_seed(7)
    x, weight = (torch.randn(rows, columns, generator=generator) for rows in (tokens, 31))
    with torch.inference_mode():
        torch.testing.assert_close(cpu.times(x, weight), x @ weight.t(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("amx", [False, True])
@pytest.mark.parametrize("tokens", [0, 1, cpu.FEW_TOKENS // 2, cpu.FEW_TOKENS, cpu.MANY_TOKENS])
def test_a_bf16_head_rounds_once_however_many_tokens(tokens: int, amx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    set_amx(monkeypatch, amx)
    monkeypatch.setattr(cpu, "REORDERED_ROWS", 96)  # 5 runs and a shorter one
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(2, tokens, 64, generator=generator).bfloat16()
    weight = torch.randn(500, 64, generator=generator).bfloat16()
    with torch.inference_mode():
        y = cpu.linear(x, weight)
        assert y.is_contiguous()
        torch.testing.assert_close(y.float(), x.float() @ weight.float().t(), rtol=2**-8, atol=1e-5)
        torch.testing.assert_close(cpu.linear(x[:1, :1], weight), y[:1, :1])


def _not_there(*_: object) -> torch.Tensor:
    raise AttributeError("'_OpNamespace' 'onednn' object has no attribute 'qlinear_pointwise'")


@pytest.mark.parametrize(
    ("where", "name", "wrong"),
    [
        (cpu, "_onednn_int8_linear", lambda codes, *given: ONEDNN_INT8(codes, *given).clamp(max=32_767)),
        (cpu, "_onednn_int8_linear", _not_there),
        (cpu.Int8Linear, "unpack", lambda layer: setattr(layer, "codes", layer.codes.to_dense())),
    ],
    ids=["saturated", "not there", "transposed"],
)
def test_an_int8_product_that_is_wrong_in_onednn_alone_is_not_taken(
    where: object, name: str, wrong: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "exact_int8" not in cpu.capabilities():
        pytest.skip("this processor has no exact int8 product")
    monkeypatch.setattr(where, name, wrong)
    assert "exact_int8" not in cpu.capabilities.__wrapped__()
