from __future__ import annotations

import pytest
import torch
import transformers
from torch import nn

from benchsuite.errors import UsageError
from benchsuite.quant.precision import precisions
from benchsuite.training.qat import fake_quantize, grid_of, on_grid

CONFIG = transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=2, bos_token_id=0)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(CONFIG).eval()


IDS = torch.arange(12)[None]


@pytest.mark.parametrize("precision", ["absmax4-g32", "zeropoint4-g32", "nf4-g64", "absmax8-row"])
def test_the_forward_pass_is_that_of_the_quantized_model(model, precision):
    quantized = transformers.GPT2LMHeadModel(CONFIG).eval()
    quantized.load_state_dict(model.state_dict())
    precisions[precision].apply(quantized, device="cpu")
    fake_quantize(model, grid_of(precision))
    torch.testing.assert_close(model(IDS).logits, quantized(IDS).logits, rtol=1e-4, atol=1e-5)


def test_the_gradient_passes_the_rounding_unchanged():
    grid = grid_of("absmax4-g32")
    weight = torch.randn(4, 32, requires_grad=True)
    factor = torch.randn(4, 32)
    (on_grid(weight, grid) * factor).sum().backward()
    torch.testing.assert_close(weight.grad, factor)


def test_parameters_keep_their_names_and_values(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fake_quantize(model, grid_of("absmax4-g32"))
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_head_of_a_language_model_is_left_as_it_is(model):
    fake_quantize(model, grid_of("absmax3-g128"))
    hidden = torch.randn(1, 32)
    assert torch.equal(model.lm_head(hidden), nn.functional.linear(hidden, model.lm_head.weight))


@pytest.mark.parametrize("precision", ["fp32", "w8a8", "bnb-int8"])
def test_a_precision_that_is_no_grid_is_a_usage_error(precision):
    with pytest.raises(UsageError, match=f"{precision} is not a grid for weights alone"):
        grid_of(precision)
