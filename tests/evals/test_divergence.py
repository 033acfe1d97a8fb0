"""Divergence is nothing between equals, and what the textbook says between others."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from benchsuite.data.examples import Document, Examples
from benchsuite.errors import NumericalError, UsageError
from benchsuite.evals import divergence
from benchsuite.models import language_model

TEXTS = Examples("texts", "lm", "test", (Document("It rained all day. " * 9), Document("Then the sun came out. " * 5)))
LOGITS = arrays.arrays(np.float32, (3, 11), elements=st.floats(-30, 30, width=32))


@pytest.fixture
def damaged(model: Any) -> Any:
    """The small model with noise on its weights."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    for parameter in other.module.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return other


@given(LOGITS, LOGITS)
def test_figures_of_a_token_are_those_of_the_definition_in_float64(wanted: np.ndarray, candidate: np.ndarray) -> None:
    targets = torch.tensor([0, 5, 10])
    found = divergence.compare(torch.from_numpy(wanted), torch.from_numpy(candidate), targets).numpy()
    p, q = (torch.from_numpy(logits).double().log_softmax(-1) for logits in (wanted, candidate))
    np.testing.assert_allclose(found[0], (p.exp() * (p - q)).sum(-1), rtol=1e-3, atol=1e-5)
    rows = torch.arange(3)
    np.testing.assert_allclose(found[2], (q.exp() - p.exp())[rows, targets], atol=1e-6)


@given(LOGITS, st.floats(-500, 500, width=32))
def test_a_shift_of_all_logits_is_no_divergence(wanted: np.ndarray, shift: float) -> None:
    found = divergence.compare(torch.from_numpy(wanted), torch.from_numpy(wanted + shift), torch.zeros(3, dtype=int))
    assert found[0].max() < 1e-5


def test_a_small_divergence_keeps_its_digits() -> None:
    torch.manual_seed(0)
    wanted = torch.randn(4, 50_257) * 3
    candidate = wanted + 1e-3 * torch.randn(4, 50_257)
    found = divergence.compare(wanted, candidate, torch.zeros(4, dtype=torch.int64))[0]
    p, q = (logits.double().log_softmax(-1) for logits in (wanted, candidate))
    np.testing.assert_allclose(found, (p.exp() * (p - q)).sum(-1), rtol=1e-2)


def test_logits_that_hardly_agree_are_still_finite() -> None:
    wanted, candidate = torch.tensor([[0.0, 0.0, -300.0]]), torch.tensor([[0.0, -300.0, 300.0]])
    found = divergence.compare(wanted, candidate, torch.tensor([0]))
    assert found[0].item() == pytest.approx(450.0 - np.log(2), rel=1e-5)


def test_a_model_does_not_diverge_from_itself(model: Any) -> None:
    metrics = divergence.evaluate(model, TEXTS, reference=model, batch_size=2).metrics
    assert metrics["kl_mean"].value == metrics["kl_p99.9"].value == 0
    assert metrics["agreement"].value == 1
    assert metrics["correct_probability_change_rms"].value == 0


def test_figures_of_a_text_are_those_of_its_tokens(model: Any, damaged: Any) -> None:
    found = divergence.evaluate(damaged, TEXTS, reference=model, batch_size=2)
    ids = torch.tensor(model.tokenizer.encode("\n\n".join(item.text for item in TEXTS.items)))  # type: ignore[union-attr]
    with torch.inference_mode():
        each = [
            torch.cat([m.module(ids[None, at : at + 96])[0, :-1] for at in range(0, len(ids), 96)])
            for m in (model, damaged)
        ]
    p, q = (logits.double().log_softmax(-1) for logits in each)
    kl = (p.exp() * (p - q)).sum(-1)
    assert found.metrics["kl_mean"].value == pytest.approx(kl.mean().item(), rel=1e-4)
    assert found.metrics["kl_p95"].value == pytest.approx(np.quantile(kl, 0.95), rel=1e-4)
    assert found.metrics["agreement"].value == pytest.approx((p.argmax(-1) == q.argmax(-1)).double().mean().item())
    assert found.metrics["kl_mean"].n == len(kl)
    targets = torch.cat([ids[at + 1 : at + 96] for at in range(0, len(ids), 96)])
    change = (q.exp() - p.exp())[torch.arange(len(targets)), targets]
    assert found.metrics["correct_probability_change"].value == pytest.approx(change.mean().item(), rel=1e-4)
    rms = change.square().mean().sqrt().item()
    assert found.metrics["correct_probability_change_rms"].value == pytest.approx(rms, rel=1e-4)
    json.dumps([found.protocol, found.items, found.details], allow_nan=False)


def test_windows_of_one_document_are_one_cluster(model: Any, damaged: Any) -> None:
    evidence: Any = divergence.evaluate(damaged, TEXTS, reference=model, batch_size=2).metrics["kl_mean"].evidence
    assert evidence.cluster.tolist() == [0, 0, 1]  # two windows of the first text, one of the second


def test_less_divergence_and_more_agreement_are_better(model: Any) -> None:
    metrics = divergence.evaluate(model, TEXTS, reference=model, batch_size=2).metrics
    assert {name for name, metric in metrics.items() if metric.better == "higher"} == {
        "agreement",
        "correct_probability_change",
    }


def test_neither_the_batch_size_nor_the_block_of_the_head_changes_a_figure(
    model: Any, damaged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = divergence.evaluate(damaged, TEXTS, reference=model, batch_size=1).metrics
    monkeypatch.setattr(language_model, "HEAD_ROWS", 7)
    model.heads.clear()
    many = divergence.evaluate(damaged, TEXTS, reference=model, batch_size=16).metrics
    assert max(model.heads) <= 7
    for name, metric in one.items():
        assert many[name].value == pytest.approx(metric.value, rel=1e-4, abs=1e-7), name


def test_models_that_read_other_tokens_are_not_compared(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    other = copy.copy(model)
    other.tokenizer = copy.copy(model.tokenizer)
    monkeypatch.setattr(other.tokenizer, "fingerprint", lambda: "another")
    with pytest.raises(UsageError, match="tokenizers"):
        divergence.evaluate(other, TEXTS, reference=model, batch_size=1)


def test_logits_that_are_not_finite_are_named(model: Any, damaged: Any) -> None:
    damaged.module.ln_f.bias.fill_(float("nan"))
    with pytest.raises(NumericalError, match="NaN or infinite"):
        divergence.evaluate(damaged, TEXTS, reference=model, batch_size=1)
