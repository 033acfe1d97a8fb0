"""A model of two layers with its own tokenizer, and 200 examples that it can learn from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from benchsuite.data.examples import Examples, Instruction, LabelledText
from benchsuite.data.prompts import instruction_prompt
from benchsuite.training.splits import Splits

WORDS = ("ox", "tree", "boat", "star", "lamp", "road", "bird", "coin", "door", "leaf")
LABELS = ("Day", "Night")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def instructions(count: int) -> tuple[Instruction, ...]:
    return tuple(
        Instruction(f"Write {WORDS[i % 10]} and {WORDS[i // 10 % 10]}.", "", f"{WORDS[i % 10]} {WORDS[i // 10 % 10]}")
        for i in range(count)
    )


def texts(count: int) -> tuple[LabelledText, ...]:
    return tuple(
        LabelledText(f"{WORDS[i % 10]} {('sun', 'moon')[i % 2]} {WORDS[i // 10 % 10]}" + " road" * (i % 3), i % 2)
        for i in range(count)
    )


@pytest.fixture(scope="session")
def two_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 of two layers, width 64 (a block of NF4) and context 64, in Hugging Face layout."""
    directory = tmp_path_factory.mktemp("two") / "two-layers"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([instruction_prompt(item) + item.output for item in instructions(100)], trainer)
    transformers.set_seed(0)
    config = transformers.GPT2Config(
        vocab_size=400, n_positions=64, n_embd=64, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(directory)
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"})
    )
    return directory


@pytest.fixture(scope="session")
def instruction_splits() -> Splits:
    items = instructions(260)
    return Splits(
        Examples("toys", "instructions", "train", items[:200]),
        Examples("toys", "instructions", "validation", items[200:230]),
        Examples("toys", "instructions", "test", items[230:]),
    )


@pytest.fixture(scope="session")
def text_splits() -> Splits:
    items = texts(260)
    return Splits(
        Examples("lights", "classification", "train", items[:200], labels=LABELS),
        Examples("lights", "classification", "validation", items[200:230], labels=LABELS),
        Examples("lights", "classification", "test", items[230:], labels=LABELS),
    )
