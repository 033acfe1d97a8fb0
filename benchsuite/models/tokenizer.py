"""Text to token ids and back: GPT-2's byte-level BPE from a model's directory, without importing transformers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from benchsuite.errors import FileFormatError, UnavailableError

END_OF_TEXT = "<|endoftext|>"


class TextTokenizer:
    """A tokenizer of the `tokenizers` library, its end-of-text token, and `max_tokens`, the most that its model reads.

    The last is whatever its configuration says; None for no limit.
    """

    def __init__(self, tokenizer: Tokenizer, end_of_text: str = END_OF_TEXT, max_tokens: Any = None) -> None:
        end_of_text_id = tokenizer.token_to_id(end_of_text)
        if end_of_text_id is None:
            raise FileFormatError(f"the tokenizer has no token {end_of_text!r}, which begins and ends every text")
        self.end_of_text_id: int = end_of_text_id
        self.max_tokens = max_tokens
        self._tokenizer = tokenizer

    @property
    def vocab_size(self) -> int:
        """Token ids lie below this."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; nothing is added at either end."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of many texts, in parallel."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def encode_with_starts(self, text: str) -> tuple[list[int], list[int]]:
        """Token ids of `text`, and the index of the character at which each token begins."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return encoding.ids, [start for start, _ in encoding.offsets]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of the vocabulary, the merges and all that is done before and after them."""
        return hashlib.sha256(self._tokenizer.to_str().encode()).hexdigest()


def load_tokenizer(directory: Path) -> TextTokenizer:
    """The tokenizer of a model directory: `tokenizer.json`, or GPT-2's `vocab.json` and `merges.txt`."""
    whole, vocab, merges = (directory / name for name in ("tokenizer.json", "vocab.json", "merges.txt"))
    try:
        if whole.is_file():
            return TextTokenizer(Tokenizer.from_str(whole.read_text(encoding="utf-8")), *_told(directory))
        if vocab.is_file() and merges.is_file():
            return TextTokenizer(_gpt2_bpe(vocab, merges), *_told(directory))
    except FileFormatError as error:
        raise FileFormatError(f"{directory}: {error}") from error
    except Exception as error:  # the library raises bare Exception for a file that it cannot parse
        raise FileFormatError(f"{directory}: the tokenizer's files cannot be read: {error}") from error
    raise UnavailableError(f"{directory}: no tokenizer.json, and not both vocab.json and merges.txt")


def _gpt2_bpe(vocab: Path, merges: Path) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE.from_file(str(vocab), str(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, normalized=False)])
    return tokenizer


def _told(directory: Path) -> tuple[str, Any]:
    """The end-of-text token and `model_max_length` of `tokenizer_config.json`, as transformers takes them."""
    path = directory / "tokenizer_config.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    token = config.get("eos_token", END_OF_TEXT)
    longest = config.get("model_max_length", config.get("max_len"))
    return str(token["content"] if isinstance(token, dict) else token or END_OF_TEXT), longest
