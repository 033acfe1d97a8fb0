"""The weights that every engine gets: one directory in Hugging Face layout, converted once per engine and cached."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safetensors.torch import load_file, save
from torch import Tensor

from benchsuite.errors import FileFormatError, OutputError, UnavailableError
from benchsuite.files import atomic_write, cache_path, new_directory, read_config, read_object, write_json
from benchsuite.models import hub_layout, models
from benchsuite.models.gpt2 import GPT2, GPT2Config
from benchsuite.quant.layers import QuantizedLinear

CONVERTERS = 1  # raised when one of them writes something else: nobody keeps an old file
SIZES = "sizes.json"  # of the files of a conversion


@dataclass(frozen=True)
class Source:
    """A native GPT-2 by name, the folder under which its conversions are kept, and what identifies it in a record."""

    name: str
    folder: Path
    vocab_size: int
    n_positions: int
    tokenizer_vocab_size: int
    weights: str  # SHA-256
    tokenizer: str  # SHA-256

    @property
    def directory(self) -> Path:
        """The model as transformers reads it."""
        return self.converted("hub", lambda path: _write_hub(self.name, path))

    @property
    def config(self) -> GPT2Config:
        """The shape."""
        return hub_layout.config_from_hub(read_config(self.directory))

    def read(self) -> tuple[GPT2Config, dict[str, Tensor]]:
        """Shape and weights, float32 (out, in), under the names that our GPT-2 gives them."""
        config = self.config
        return config, hub_layout.state_from_hub(load_file(self.directory / "model.safetensors"), config)

    def converted(self, form: str, convert: Callable[[Path], None]) -> Path:
        """The directory that `convert` filled, now or in an earlier run; FileFormatError where it is not whole."""
        path = self.folder / form
        if not path.is_dir():
            try:
                with new_directory(path) as temporary:
                    convert(temporary)
                    write_json(temporary / SIZES, _sizes(temporary))
            except OutputError:
                if not path.is_dir():  # else another run has converted it meanwhile
                    raise
        remedy = f"remove {path}, and it is converted anew"
        written, found = read_object(path / SIZES, remedy), _sizes(path)
        if damaged := [name for name, size in written.items() if found.get(name) != size]:
            raise FileFormatError(f"{path}: damaged, {damaged[0]} has not the bytes that were written; {remedy}")
        return path


def open_source(name: str) -> Source:
    """The weights of a model for every engine; conversions are written when they are asked for, and kept.

    The folder is `$XDG_CACHE_HOME/benchsuite/engines/FINGERPRINT`. UnavailableError for what is no plain native GPT-2.
    """
    model = models[name].load("cpu", "sdpa")
    module = model.module
    if not isinstance(module, GPT2) or any(isinstance(layer, QuantizedLinear) for layer in module.modules()):
        raise UnavailableError(
            f"other engines get the plain weights of a native GPT-2; {name} is of another family, or quantized already"
        )
    tokenizer = model.tokenizer
    meant = f"{CONVERTERS} {model.fingerprint} {module.config} {tokenizer.end_of_text_id}"  # by the same weights
    return Source(
        name=name,
        folder=cache_path("engines", hashlib.sha256(meant.encode()).hexdigest()[:32]),
        vocab_size=model.vocab_size,
        n_positions=model.n_positions,
        tokenizer_vocab_size=tokenizer.vocab_size,
        weights=model.fingerprint,
        tokenizer=tokenizer.fingerprint(),
    )


def source_of(given: Mapping[str, Any]) -> Source:
    """The source whose fields were sent to another process."""
    return Source(**{**given, "folder": Path(given["folder"])})


def _sizes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in folder.iterdir()}


def _write_hub(name: str, path: Path) -> None:
    model = models[name].load("cpu", "sdpa")
    module, end_of_text_id = cast("GPT2", model.module), model.tokenizer.end_of_text_id
    write_json(path / "config.json", hub_layout.config_to_hub(module.config, end_of_text_id))
    tensors = hub_layout.state_to_hub(module.state_dict())
    atomic_write(path / "model.safetensors", save(tensors, metadata={"format": "pt"}))
