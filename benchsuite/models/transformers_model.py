"""Any causal language model of transformers behind the `LanguageModel` protocol."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor, nn

from benchsuite.errors import FileFormatError, UnavailableError, UsageError, first_line
from benchsuite.files import is_classifier, read_config
from benchsuite.models import Attention
from benchsuite.models.classifier import ClassHead, classes_of
from benchsuite.models.resolve import check_vocabulary, fingerprint, read_tensors, weight_files
from benchsuite.models.tokenizer import TextTokenizer, load_tokenizer
from benchsuite.quant.external import auto_class
from benchsuite.quant.files import is_quantized, restore

ATTENTION_NAMES: dict[Attention, str] = {"eager": "eager", "sdpa": "sdpa", "flash": "flash_attention_2"}

# what transformers raises for a directory that it cannot read
UNREADABLE = (ValueError, LookupError, OSError, RuntimeError, TypeError, AttributeError, StrictDataclassError)


class TransformersCache:
    """transformers' dynamic cache, the rows' true lengths, and which of its columns hold a token of the row."""

    def __init__(self, batch_size: int, capacity: int, prefix: TransformersCache | None = None) -> None:
        self.past = transformers.DynamicCache()
        self.capacity = capacity
        self.lengths = [0] * batch_size
        self.widths: list[tuple[int, list[int]]] = []  # per call: columns, and how many of them each row really has
        if prefix is not None:
            self._start_from(prefix)

    def keep(self, rows: list[int]) -> None:
        """Keep only `rows`, in that order."""
        self._settle()
        self.past.batch_select_indices(torch.tensor(rows))
        self.lengths = [self.lengths[row] for row in rows]
        self.widths = [(width, [real[row] for row in rows]) for width, real in self.widths]

    def columns(self, tokens: int, device: torch.device) -> Tensor:
        """The attention mask (B, S) of a call that adds `tokens` to what is held: padding is 0."""
        self._settle()
        held = [
            [flag for width, real in self.widths for flag in [1] * real[row] + [0] * (width - real[row])]
            for row in range(len(self.lengths))
        ]
        return torch.tensor([row + [1] * tokens for row in held], device=device)

    def add(self, tokens: int) -> None:
        """Count a call's `tokens`; the caller may then lower `lengths` to the rows' true ones."""
        self.widths.append((tokens, [tokens] * len(self.lengths)))
        self.lengths = [length + tokens for length in self.lengths]

    def _settle(self) -> None:
        """Where `lengths` was lowered after the last call, that call's columns at the right are padding."""
        if self.widths:
            width, real = self.widths[-1]
            excess = [sum(flags[row] for _, flags in self.widths) - length for row, length in enumerate(self.lengths)]
            self.widths[-1] = (width, [count - over for count, over in zip(real, excess, strict=True)])

    def _start_from(self, prefix: TransformersCache) -> None:
        """Begin every row with a copy of the one row of `prefix`."""
        prefix._settle()
        rows = len(self.lengths)
        for index, layer in enumerate(prefix.past.layers):
            self.past.update(layer.keys.repeat(rows, 1, 1, 1), layer.values.repeat(rows, 1, 1, 1), index)
        self.lengths = prefix.lengths * rows
        self.widths = [(width, real * rows) for width, real in prefix.widths]


class TransformersModel:
    """A `transformers` model: base model and output head, with the tokenizer of its directory."""

    def __init__(self, name: str, module: nn.Module, tokenizer: TextTokenizer, fingerprint: str) -> None:
        self.name, self.module, self.tokenizer, self.fingerprint = name, module, tokenizer, fingerprint
        config: Any = module.config
        if not hasattr(config, "max_position_embeddings"):
            raise UnavailableError(f"{name}: {type(config).__name__} has no limit of positions, which windows need")
        self.n_positions = int(config.max_position_embeddings)
        self.vocab_size = int(config.vocab_size)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    def hidden(self, input_ids: Tensor, cache: TransformersCache | None = None) -> Tensor:
        """Final hidden states (B, T, C) of input_ids (B, T)."""
        base: Any = self.module.base_model
        if cache is None:
            return base(input_ids=input_ids, use_cache=False).last_hidden_state  # type: ignore[no-any-return]
        tokens = input_ids.shape[1]
        if max(cache.lengths) + tokens > min(cache.capacity, self.n_positions):
            raise UsageError(f"{max(cache.lengths) + tokens} tokens do not fit {self.n_positions} positions")
        starts = torch.tensor(cache.lengths, device=input_ids.device)
        output = base(
            input_ids=input_ids,
            attention_mask=cache.columns(tokens, input_ids.device),
            position_ids=starts[:, None] + torch.arange(tokens, device=input_ids.device),
            past_key_values=cache.past,
            use_cache=True,
        )
        cache.add(tokens)
        return output.last_hidden_state  # type: ignore[no-any-return]

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden states (..., C)."""
        module: Any = self.module
        return module.get_output_embeddings()(hidden)  # type: ignore[no-any-return]

    def new_cache(self, batch_size: int, capacity: int, prefix: TransformersCache | None = None) -> TransformersCache:
        """A cache that holds nothing but `prefix`; `capacity` is only checked against, it grows as it is filled."""
        return TransformersCache(batch_size, capacity, prefix)


class TransformersClassifier(ClassHead, TransformersModel):
    """A classifier that transformers computes; see `benchsuite.models.classifier.Classifier`."""


def load_transformers(path: Path, name: str, *, device: str, attention: Attention) -> TransformersModel:
    """The causal language model or classifier of a directory, in fp32 unless quantized; no remote code, no pickle."""
    config = read_config(path)
    with loading(path):
        if is_quantized(config):
            module = _restored(path, config, attention)
        else:
            module = read_whole(
                auto_class(config),
                path,
                dtype=None if config.get("quantization_config") else torch.float32,
                attn_implementation=ATTENTION_NAMES[attention],
            )
    tokenizer = load_tokenizer(path)
    check_vocabulary(tokenizer, module.config.vocab_size, path)
    module = module.to(device).requires_grad_(False).eval()
    weights, padding = fingerprint(path), config.get("pad_token_id")
    if is_classifier(config):
        classes = classes_of(config, path)
        return TransformersClassifier(name, module, tokenizer, weights, classes=classes, pad_token_id=padding)
    return TransformersModel(name, module, tokenizer, weights)


@contextlib.contextmanager
def loading(what: Path | str) -> Iterator[None]:
    """Name `what` transformers loads in the block: FileFormatError where it cannot, UnavailableError for a library."""
    try:
        yield
    except ImportError as error:
        raise UnavailableError(f"{what}: transformers needs another library for it: {first_line(error)}") from error
    except (*UNREADABLE, SafetensorError) as error:
        raise FileFormatError(f"{what}: transformers {transformers.__version__} cannot load it: {error}") from error


def read_whole(auto: Any, path: Path, *, new: frozenset[str] = frozenset(), **options: Any) -> Any:
    """`auto.from_pretrained` of a directory, in which every tensor of the model is and no other.

    transformers draws at random what is missing; FileFormatError here, but for the tensors `new`.
    """
    weight_files(path)  # names what is missing, or elsewhere, before it is read
    module, found = auto.from_pretrained(
        path, local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True, **options
    )
    old_masks = (".attn.bias", ".attn.masked_bias")  # buffers of early GPT-2 files
    unknown = sorted(key for key in found["unexpected_keys"] if not key.endswith(old_masks))
    missing = sorted({*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])} - new)
    if missing or (unknown and not new):
        names = f"missing {', '.join(missing[:3]) or 'nothing'}; unknown {', '.join(unknown[:3]) or 'nothing'}"
        raise FileFormatError(f"{path}: not the weights of this {type(module).__name__}: {names}")
    return module


def _restored(path: Path, config: dict[str, Any], attention: Attention) -> Any:
    """The architecture of `config`, with the packed weights that this project wrote."""
    plain = transformers.AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    del plain.quantization_config
    module = auto_class(config).from_config(
        plain, dtype=torch.float32, attn_implementation=ATTENTION_NAMES[attention], trust_remote_code=False
    )
    try:
        restore(module, config, read_tensors(path))
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
    return module
