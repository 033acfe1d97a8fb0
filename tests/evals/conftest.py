"""A small random model that reads bytes, and the same weights in transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from benchsuite.models import gpt2, hub_layout
from benchsuite.models.resolve import NativeModel
from benchsuite.models.tokenizer import END_OF_TEXT, TextTokenizer

CONTEXT = 96
CONFIG = gpt2.GPT2Config(vocab_size=257, n_positions=CONTEXT, n_embd=32, n_layer=2, n_head=2)


class CountingModel(NativeModel):
    """Keeps the number of positions of each call."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seen: list[int] = []  # tokens of each call of `hidden`
        self.heads: list[int] = []  # positions of each call of `head`

    def hidden(self, input_ids: Tensor, cache: gpt2.KVCache | None = None) -> Tensor:
        self.seen.append(input_ids.numel())
        return super().hidden(input_ids, cache)

    def head(self, hidden: Tensor) -> Tensor:
        self.heads.append(hidden.numel() // hidden.shape[-1])
        return super().head(hidden)


def byte_tokenizer() -> TextTokenizer:
    """One token for each byte, and the end of text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({symbol: index for index, symbol in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, normalized=False)])
    return TextTokenizer(tokenizer)


@pytest.fixture(scope="session")
def state() -> dict[str, Tensor]:
    """Random weights, large enough that the logits differ."""
    return {key: 8 * value if value.ndim > 1 else value for key, value in gpt2.random_state(CONFIG, seed=3).items()}


@pytest.fixture
def model(state: dict[str, Tensor]) -> CountingModel:
    return CountingModel("small", gpt2.from_state(state, CONFIG), byte_tokenizer(), "none")


@pytest.fixture(scope="session")
def reference(state: dict[str, Tensor]) -> transformers.GPT2LMHeadModel:
    config = transformers.GPT2Config(**vars(CONFIG), bos_token_id=256, eos_token_id=256)
    module = transformers.GPT2LMHeadModel(config).eval()
    missing, unknown = module.transformer.load_state_dict(
        {key: value.T if hub_layout.is_conv1d(key) else value for key, value in state.items()}, strict=False
    )
    assert not missing
    assert not unknown
    return module


@pytest.fixture(scope="session")
def log_likelihood(reference: transformers.GPT2LMHeadModel) -> Any:
    """The sum over the last tokens of a sequence, given all before them, by transformers alone."""

    def total(ids: Sequence[int], scored: int) -> float:
        with torch.inference_mode():
            logs = reference(torch.tensor([list(ids[:-1])])).logits[0].double().log_softmax(-1)
        return float(sum(logs[at - 1, ids[at]] for at in range(len(ids) - scored, len(ids))))

    return total
