"""A directory, a hub id or a shape becomes a model; what cannot be had is an error that says what was tried."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from benchsuite.errors import FileFormatError, UnavailableError, first_line
from benchsuite.files import is_classifier, read_config, read_object
from benchsuite.models import TINY, Attention, gpt2, hub_layout
from benchsuite.models.classifier import ClassHead, classes_of, take_head
from benchsuite.models.gpt2 import GPT2, GPT2Config, KVCache
from benchsuite.models.language_model import LanguageModel
from benchsuite.models.tokenizer import TextTokenizer, load_tokenizer
from benchsuite.quant.files import is_quantized, restore

FETCHED = ["*.safetensors", "*.safetensors.index.json", "*.json", "merges.txt"]


class NativeModel:
    """This project's own GPT-2 behind the `LanguageModel` protocol."""

    def __init__(self, name: str, module: GPT2, tokenizer: TextTokenizer, fingerprint: str) -> None:
        self.name, self.module, self.tokenizer, self.fingerprint = name, module, tokenizer, fingerprint
        self.n_positions, self.vocab_size = module.config.n_positions, module.config.vocab_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.module.wpe.weight.device

    def hidden(self, input_ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """Final hidden states (B, T, C) of input_ids (B, T)."""
        return self.module.hidden(input_ids, cache)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden states (..., C)."""
        return self.module.head(hidden)

    def new_cache(self, batch_size: int, capacity: int, prefix: KVCache | None = None) -> KVCache:
        """A cache for `capacity` tokens a row, of which those in the one row of `prefix` begin every row."""
        return self.module.new_cache(batch_size, capacity, prefix)


class NativeClassifier(ClassHead, NativeModel):
    """Our own GPT-2 as a classifier."""


def load_directory(path: Path, name: str, *, device: str = "cpu", attention: Attention = "sdpa") -> LanguageModel:
    """The model of a directory in Hugging Face layout: our own GPT-2 or classifier where it is one, else transformers'.

    Raises UnavailableError where a file is missing, FileFormatError where one is damaged or does not fit the others.
    """
    config = read_config(path)
    if hub_layout.why_not_native(config) is not None or not _is_ours(config):
        from benchsuite.models.transformers_model import load_transformers

        return load_transformers(path, name, device=device, attention=attention)
    shape = hub_layout.config_from_hub(config)
    tokenizer = load_tokenizer(path)
    check_vocabulary(tokenizer, shape.vocab_size, path)
    tensors = read_tensors(path)
    classes = classes_of(config, path) if is_classifier(config) else ()
    score = take_head(tensors, classes, shape.n_embd, path) if classes else None
    try:
        module = _build(config, shape, tensors, attention)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
    weights = fingerprint(path)
    if score is None:
        return NativeModel(name, module.to(device), tokenizer, weights)
    module.add_module("score", score)
    padding = config.get("pad_token_id")
    return NativeClassifier(name, module.to(device), tokenizer, weights, classes=classes, pad_token_id=padding)


def load_random(shape: str, *, device: str, attention: Attention) -> LanguageModel:
    """Seeded random weights in a known shape, with the embedded model's tokenizer: for speed and memory only."""
    tokenizer = load_tokenizer(TINY)
    config = hub_layout.config_from_hub(read_config(TINY)) if shape == "tiny" else gpt2.CONFIGS[shape]
    module = gpt2.from_state(gpt2.random_state(config), config, attention=attention)
    return NativeModel(
        f"random:{shape}", module.to(device), tokenizer, hashlib.sha256(repr(config).encode()).hexdigest()
    )


def fetch(hub_id: str) -> Path:
    """The local snapshot of a hub repository: from the cache, or downloaded; safetensors, never a pickle.

    `HF_HOME`, `HF_HUB_OFFLINE` and `HF_TOKEN` mean what they mean everywhere. Raises UnavailableError.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=FETCHED))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        tried = "the cache only (HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else "the cache, then the hub"
        reason = first_line(error).rstrip(".")
        raise UnavailableError(
            f"model {hub_id!r} is not here: tried {tried}, in {constants.HF_HUB_CACHE}: {reason}. "
            f"With a network, `hf download {hub_id}` fetches it; or name a directory with --model PATH/"
        ) from error


def weight_files(path: Path) -> list[Path]:
    """The safetensors files of a model directory: the shards that its index names, or `model.safetensors`."""
    index, single = path / "model.safetensors.index.json", path / "model.safetensors"
    if single.is_file():
        return [single]
    if index.is_file():
        weight_map = read_object(index, "fetch it again").get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
            raise FileFormatError(f"{index}: no weight_map that names a file for each tensor; fetch it again")
        shards = sorted({path / name for name in weight_map.values()})
        if any(shard.parent != path for shard in shards):
            raise FileFormatError(f"{index}: names a file outside its directory")
        held = set(path.iterdir())
        if missing := [shard.name for shard in shards if shard not in held]:
            raise UnavailableError(f"{path}: the shards {', '.join(missing)} are missing; fetch the model again")
        return shards
    pickles = [file.name for file in path.glob("*.bin")]
    found = f"; {pickles[0]} is a pickle, which is never loaded: convert it to safetensors" if pickles else ""
    raise UnavailableError(f"{path}: no model.safetensors{found}")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a model directory's safetensors files, on the CPU; FileFormatError where one is damaged."""
    tensors: dict[str, Tensor] = {}
    for file in weight_files(path):
        tensors |= _read_file(file)
    return tensors


def fingerprint(path: Path) -> str:
    """SHA-256 (hexadecimal) of the bytes of a model directory's weights."""
    digest = hashlib.sha256()
    for file in weight_files(path):
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


def check_vocabulary(tokenizer: TextTokenizer, vocab_size: int, path: Path) -> None:
    """FileFormatError where the tokenizer makes ids that the embedding has no row for."""
    if tokenizer.vocab_size > vocab_size:
        raise FileFormatError(
            f"{path}: the tokenizer has {tokenizer.vocab_size} tokens but the model's embedding has {vocab_size} rows; "
            "they belong to different models"
        )


def _read_file(file: Path) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt") as opened:
            return {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  not a mapping
    except (SafetensorError, OSError) as error:
        raise FileFormatError(f"{file}: truncated or not a safetensors file: {error}; fetch it again") from error


def _is_ours(config: dict[str, Any]) -> bool:
    """Not quantized, or quantized by this project: what others quantized is built by transformers."""
    return config.get("quantization_config") is None or is_quantized(config)


def _build(config: dict[str, Any], shape: GPT2Config, tensors: dict[str, Tensor], attention: Attention) -> GPT2:
    """Our own GPT-2 of a directory's tensors, plain or packed by this project; FileFormatError for those of another."""
    if config.get("quantization_config") is None:
        return gpt2.from_state(_as_float32(hub_layout.state_from_hub(tensors, shape)), shape, attention=attention)
    with torch.device("meta"):
        module = GPT2(shape, attention=attention)
    restore(module, config, tensors)
    return module.requires_grad_(False).eval()


def _as_float32(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights are held in fp32 until a precision says otherwise; FileFormatError for codes without their scales."""
    for key, tensor in state.items():
        if not tensor.is_floating_point():
            raise FileFormatError(f"{key} is {tensor.dtype}; a weight of floating point was wanted")
    return {key: tensor.float() for key, tensor in state.items()}
