"""The tied head in 8 bits is one set of codes, looked up as tokens and multiplied as the head."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from benchsuite.errors import QuantizationError
from benchsuite.models import models
from benchsuite.quant import embedding
from benchsuite.quant.apply import size_bytes
from benchsuite.quant.bounds import product_bound
from benchsuite.quant.embedding import GRID, QuantizedEmbedding
from benchsuite.quant.precision import precisions
from tests.quant.strategies import factors, true_product


@given(both=factors(), times=st.sampled_from([1, 20]))
def test_logits_are_within_the_bound_of_an_int8_product(both: tuple[Tensor, Tensor], times: int) -> None:
    hidden, weight = both[0].repeat(times, 1), both[1]  # for few tokens and for many the operands change places
    logits = QuantizedEmbedding(weight).logits(hidden)
    assert logits.dtype == hidden.dtype
    assert ((logits.double() - true_product(hidden, weight)).abs() <= product_bound(hidden, weight).double()).all()


def test_logits_of_many_tokens_are_made_in_runs_of_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    head, hidden = (
        QuantizedEmbedding(torch.randn(50, 24, generator=generator)),
        torch.randn(20, 24, generator=generator),
    )
    whole = head.logits(hidden)
    monkeypatch.setattr(embedding, "CACHED_SUMS", 7 * 20)  # 7 runs and a shorter one
    assert torch.equal(head.logits(hidden), whole)


def test_tokens_are_looked_up_as_the_codes_dequantize() -> None:
    weight = torch.randn(50, 24, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[3, 49], [0, 3]])
    held = GRID.dequantize(GRID.quantize(weight), weight.shape)
    assert torch.equal(QuantizedEmbedding(weight)(ids), held[ids])


def test_the_embedding_is_counted_once_in_the_form_that_it_is_kept_in() -> None:
    module = models["random:tiny"].load("cpu", "sdpa").module
    vocabulary, width = module.wte.weight.shape  # type: ignore[union-attr]
    with_head = models["random:tiny"].load("cpu", "sdpa").module
    precisions["w8a8"].apply(module, device="cpu")
    covered = precisions["w8a8-head8"].apply(with_head, device="cpu")
    assert covered.bytes_after == size_bytes(with_head)
    assert size_bytes(module) - size_bytes(with_head) == vocabulary * (4 * width - width - 4)


def test_a_model_whose_head_is_not_its_embedding_is_refused() -> None:
    with pytest.raises(QuantizationError, match=r"native GPT-2.*use w8a8"):
        precisions["w8a8-head8"].apply(torch.nn.Sequential(torch.nn.Linear(4, 4)), device="cpu")
