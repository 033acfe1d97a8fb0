"""What a precision covers of a model is found by looking, and reported with bounds and errors."""

from __future__ import annotations

import itertools
import math
import re
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from benchsuite.errors import QuantizationError
from benchsuite.models import gpt2
from benchsuite.quant import apply as apply_module
from benchsuite.quant.apply import convert_conv1d, linears, quantize_linears, size_bytes
from benchsuite.quant.grids import Absmax
from benchsuite.quant.layers import QuantizedLinear
from benchsuite.quant.precision import precisions

CONFIG = gpt2.GPT2Config(vocab_size=97, n_positions=24, n_embd=128, n_layer=2, n_head=4)
LINEAR_WEIGHTS = 2 * 12 * 128 * 128


def native() -> gpt2.GPT2:
    return gpt2.from_state(gpt2.random_state(CONFIG), CONFIG)


def of_transformers(**options: object) -> nn.Module:
    import transformers

    config = transformers.GPT2Config(**vars(CONFIG), bos_token_id=0, eos_token_id=0, **options)
    return transformers.GPT2LMHeadModel(config).requires_grad_(False).eval()


def calibration(dataset: str | None) -> torch.Tensor:
    return torch.arange(48).view(2, 24)


OWN = [name for name in precisions.names() if re.fullmatch(r"(absmax|z|nf4|fp4|w8a8|llm|gptq).*(?<!head8)", name)]


def bits_of(name: str) -> float:
    """What the codes, scales and zero points of a weight should take: a row holds four thirds of CONFIG's width."""
    scheme, group = name.partition("-")[::2]
    per_row = 9 / 12 / CONFIG.n_embd
    if scheme in ("w8a8", "llm"):
        return 8 + 32 * per_row
    bits = int(re.findall(r"[843]", scheme)[0])
    size = re.match(r"g(\d+)", group)
    scales = 1 / int(size[1]) if size else per_row if group == "row" or scheme == "gptq8" else 0
    if group.endswith("dq"):
        return bits + (8 + 32 / 256) * scales
    return bits + (40 if scheme.startswith(("zeropoint", "gptq")) else 32) * scales


@pytest.mark.parametrize("make", [native, of_transformers])
@pytest.mark.parametrize("name", OWN)
def test_a_precision_covers_all_of_gpt2_and_holds_it_at_the_size_that_its_bits_say(
    make: Callable[[], nn.Module], name: str
) -> None:
    module = make()
    before = size_bytes(module)
    covered = precisions[name].apply(module, device="cpu", calibration=calibration)
    assert (covered.linear_weights, covered.quantized_weights, covered.share) == (LINEAR_WEIGHTS, LINEAR_WEIGHTS, 1)
    assert covered.bits_per_weight == pytest.approx(bits_of(name), rel=0.02)
    assert covered.bytes_before == before
    assert covered.bytes_after == size_bytes(module)
    assert before - covered.bytes_after == pytest.approx(LINEAR_WEIGHTS * (32 - bits_of(name)) / 8, rel=0.02)


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_a_cast_changes_every_parameter_and_quantizes_none(name: str, dtype: torch.dtype) -> None:
    module = native()
    covered = precisions[name].apply(module, device="cpu")
    assert {parameter.dtype for parameter in module.parameters()} == {dtype}
    assert covered.share == 0
    assert covered.bits_per_weight == dtype.itemsize * 8
    assert covered.bytes_after == covered.bytes_before * dtype.itemsize / 4


def test_the_report_of_a_layer_names_it_and_measures_its_error() -> None:
    module = native()
    weight = module.h[1].mlp.c_fc.weight.clone()
    covered = precisions["absmax8-row"].apply(module, device="cpu")
    report = next(layer for layer in covered.layers if layer.name == "h.1.mlp.c_fc")
    error = (module.h[1].mlp.c_fc.dequantize() - weight).double()
    assert (report.kind, report.shape) == ("mlp.c_fc", (512, 128))
    assert report.max_error == pytest.approx(error.abs().max().item())
    assert report.snr_db == pytest.approx(10 * math.log10(weight.double().square().sum() / error.square().sum()))
    assert report.bound == pytest.approx(weight.abs().max().item() / 254, rel=1e-4)
    assert 0.98 < report.bound_used <= 1  # type: ignore[operator]
    assert report.bits_per_weight == 8.25


def test_a_weight_that_is_held_exactly_has_no_noise_to_speak_of() -> None:
    module = nn.Sequential(nn.Linear(4, 4))
    nn.init.constant_(module[0].weight, 1)
    (report,) = precisions["absmax8"].apply(module, device="cpu").layers
    assert report.snr_db is None or report.snr_db > 80
    nn.init.zeros_((module := nn.Sequential(nn.Linear(4, 4)))[0].weight)
    (report,) = precisions["absmax8"].apply(module, device="cpu").layers
    assert (report.snr_db, report.max_error) == (None, 0)


def test_a_tied_head_counts_once_and_is_left_alone() -> None:
    module = of_transformers()
    names = linears(module)  # Conv1D is none yet
    assert names == {}
    convert_conv1d(module)
    assert "lm_head" not in linears(module)
    untouched = size_bytes(module)
    covered = quantize_linears(module, lambda layer: QuantizedLinear.of(layer, Absmax(8, "row")), device="cpu")
    assert type(module.lm_head) is nn.Linear
    assert covered.quantized_weights == LINEAR_WEIGHTS
    assert untouched - covered.bytes_after == 4 * LINEAR_WEIGHTS - (LINEAR_WEIGHTS + 4 * 2 * 9 * 128)


def test_an_untied_head_counts_as_weights_that_are_not_quantized() -> None:
    covered = precisions["absmax8"].apply(of_transformers(tie_word_embeddings=False), device="cpu")
    head = CONFIG.vocab_size * CONFIG.n_embd
    assert covered.share == LINEAR_WEIGHTS / (LINEAR_WEIGHTS + head)


def test_size_counts_a_tied_tensor_once() -> None:
    module = nn.ModuleList([nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)])
    module[1].weight = module[0].weight
    assert size_bytes(module) == 8 * 8 * 4


def test_a_model_without_a_linear_layer_is_refused() -> None:
    with pytest.raises(QuantizationError, match="Embedding has no linear layer"):
        precisions["absmax8"].apply(nn.Embedding(3, 4), device="cpu")


def test_a_model_that_is_quantized_already_is_refused_as_that() -> None:
    for name in ("nf4-g64", "bnb-nf4"):
        module = native()
        precisions[name].apply(module, device="cpu")
        with pytest.raises(QuantizationError, match="GPT2 is quantized already"):
            precisions["absmax8"].apply(module, device="cpu")


def test_a_damaged_layer_is_named_with_the_index() -> None:
    module = native()
    module.h[0].attn.c_proj.weight[1, 2] = float("inf")
    with pytest.raises(QuantizationError, match=r"h\.0\.attn\.c_proj: 1 of 16384 .* index \(1, 2\)"):
        precisions["nf4-g64"].apply(module, device="cpu")


def test_logits_of_a_quantized_model_are_near_those_of_the_model() -> None:
    ids = torch.arange(20)[None]
    true = native()(ids)
    for name, share in (("absmax8-row", 0.02), ("w8a8", 0.05), ("llm-int8", 0.05), ("nf4-g64", 0.2)):
        module = native()
        precisions[name].apply(module, device="cpu")
        assert (module(ids) - true).norm() / true.norm() < share, name


@dataclass(frozen=True)
class Broken(Absmax):
    """A grid with a fault."""

    fault: str = ""

    def dequantize(
        self, packed: dict[str, torch.Tensor], shape: torch.Size, dtype: torch.dtype = torch.float32
    ) -> torch.Tensor:
        held = super().dequantize(packed, shape, dtype)
        return {"shape": held[1:], "dtype": held.double(), "nan": held * math.nan, "scale": held * 1.002}[self.fault]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("shape", r"h.0.attn.c_attn: its grid dequantizes to torch.float32 \(383, 128\); torch.float32 \(384, 128\)"),
        ("dtype", "h.0.attn.c_attn: its grid dequantizes to torch.float64"),
        ("nan", "h.0.attn.c_attn: .* NaN or infinite"),
        ("scale", "h.0.attn.c_attn: an error is .* times what the grid's own bound allows"),
    ],
)
def test_a_grid_that_gives_back_something_else_is_named_with_its_first_layer(fault: str, message: str) -> None:
    grid = Broken(8, "row", fault)
    with pytest.raises(QuantizationError, match=message):
        quantize_linears(native(), lambda layer: QuantizedLinear.of(layer, grid), device="cpu")


def test_a_layer_goes_as_soon_as_the_next_one_is_quantized() -> None:
    transformers = pytest.importorskip("transformers")
    model = nn.Sequential(*(transformers.pytorch_utils.Conv1D(8, 8) for _ in range(4)))
    convert, plain = apply_module.set_module, [weakref.ref(layer) for layer in model]
    there: list[int] = []

    def counted(root: nn.Module, name: str, new: nn.Module) -> None:
        there.append(sum(layer() is not None for layer in plain))
        convert(root, name, new)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apply_module, "set_module", counted)
        convert_conv1d(model)
    assert there == [4, 3, 2, 1]
    plain, there = [weakref.ref(layer) for layer in model], []

    def quantize(linear: nn.Linear) -> nn.Module:
        there.append(sum(layer() is not None for layer in plain))
        return QuantizedLinear.of(linear, Absmax(8))

    quantize_linears(model, quantize, device="cpu")
    assert there == [4, 3, 2, 1]


def test_the_seconds_of_quantizing_are_those_of_all_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count()
    monkeypatch.setattr(apply_module, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    assert precisions["absmax8"].apply(module, device="cpu").seconds == 3
