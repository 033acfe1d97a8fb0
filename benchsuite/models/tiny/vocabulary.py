"""The tokenizer of `tiny`: byte-level BPE (Radford et al. 2019), digits on their own, trained on the train splits."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from benchsuite.files import atomic_write, write_json
from benchsuite.models.tokenizer import END_OF_TEXT

VOCABULARY_SIZE = 4_096


def train(texts: Iterable[str]) -> Tokenizer:
    """A tokenizer of at most VOCABULARY_SIZE tokens; numbers are read digit by digit, so that sums can be learned."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save(tokenizer: Tokenizer, directory: Path, n_positions: int) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` as transformers reads them."""
    atomic_write(directory / "tokenizer.json", tokenizer.to_str(pretty=False))
    write_json(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": n_positions,
            "bos_token": END_OF_TEXT,
            "eos_token": END_OF_TEXT,
            "unk_token": END_OF_TEXT,
            "clean_up_tokenization_spaces": False,
        },
    )
