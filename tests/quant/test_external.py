"""Other libraries' layers are what those libraries make, and all that they hold is counted."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from torch import nn

from benchsuite.models import gpt2
from benchsuite.quant import external
from benchsuite.quant.apply import packed_of, size_bytes
from benchsuite.quant.precision import precisions

CONFIG = gpt2.GPT2Config(vocab_size=97, n_positions=24, n_embd=128, n_layer=1, n_head=4)
WEIGHTS = 12 * 128 * 128
TORCHAO = pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="torchao is not installed")


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("bnb-int8", 8 + 32 / 170),
        ("bnb-nf4", 4.5),
        ("bnb-fp4", 4.5),
        pytest.param("torchao-int8wo", 8 + 40 / 170, marks=TORCHAO),
        pytest.param("torchao-int8dyn", 8 + 40 / 170, marks=TORCHAO),
    ],
)
def test_all_of_gpt2_is_quantized_and_its_scales_are_counted(name: str, bits: float) -> None:
    module = gpt2.from_state(gpt2.random_state(CONFIG), CONFIG)
    ids = torch.arange(20)[None]
    true = module(ids)
    covered = precisions[name].apply(module, device="cpu")
    assert covered.share == 1
    assert covered.quantized_weights == WEIGHTS
    assert covered.bits_per_weight == pytest.approx(bits, rel=0.02)
    assert covered.bytes_after == size_bytes(module)
    assert covered.bytes_before - covered.bytes_after == pytest.approx(WEIGHTS * (32 - bits) / 8, rel=0.02)
    assert all(layer.snr_db and layer.snr_db > 15 for layer in covered.layers)
    assert (module(ids) - true).norm() / true.norm() < 0.25


@pytest.mark.parametrize("name", ["bnb-nf4", "bnb-fp4"])
def test_the_bound_of_our_code_book_holds_for_bitsandbytes_too(name: str) -> None:
    module = gpt2.from_state(gpt2.random_state(CONFIG), CONFIG)
    for layer in precisions[name].apply(module, device="cpu").layers:
        assert layer.bound_used is not None
        assert 0.9 < layer.bound_used <= 1


def test_a_plain_layer_holds_nothing_packed() -> None:
    assert packed_of(nn.Linear(4, 4)) == {}
    assert external.packed_of(nn.LayerNorm(4)) == {}


def test_a_library_that_is_not_installed_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torchao", None)
    external.why_unavailable.cache_clear()
    assert "pip install 'benchsuite[torchao]'" in str(external.why_unavailable("torchao-int8wo", "cpu"))
    external.why_unavailable.cache_clear()


def test_bitsandbytes_keeps_the_outliers_above_the_papers_threshold_out_of_its_int8() -> None:
    layer: Any = external.quantizer("bnb-int8")(nn.Linear(64, 64).requires_grad_(False), "cpu")
    assert layer.state.threshold == 6.0
