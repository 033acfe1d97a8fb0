"""Small random models for tests of models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from benchsuite.models import TINY, gpt2


@pytest.fixture(scope="session")
def small_config() -> gpt2.GPT2Config:
    return gpt2.GPT2Config(vocab_size=4_096, n_positions=64, n_embd=48, n_layer=3, n_head=4)


@pytest.fixture(scope="session")
def small_directory(tmp_path_factory: pytest.TempPathFactory, small_config: gpt2.GPT2Config) -> Path:
    """A model that transformers made and saved, with the embedded model's tokenizer."""
    torch.manual_seed(1)
    config = transformers.GPT2Config(**vars(small_config), bos_token_id=0, eos_token_id=0, initializer_range=0.2)
    path = tmp_path_factory.mktemp("small")
    transformers.GPT2LMHeadModel(config).save_pretrained(path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (path / name).write_bytes((TINY / name).read_bytes())
    return path
