"""The weights that every engine gets: one directory in Hugging Face layout, converted once per engine and cached."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from benchsuite.errors import UsageError
from benchsuite.files import new_directory
from benchsuite.models import gpt2, models
from benchsuite.models.gpt2 import GPT2


@dataclass(frozen=True)
class Source:
    """A native GPT-2 by name, and the folder under which its conversions are kept."""

    name: str
    folder: Path

    @property
    def directory(self) -> Path:
        """The model as transformers reads it."""
        return self.folder / "hub"

    def converted(self, form: str, convert: Callable[[Path], None]) -> Path:
        """The directory that `convert` filled, now or in an earlier run."""
        path = self.folder / form
        if not path.is_dir():
            with new_directory(path) as temporary:
                convert(temporary)
        return path


def open_source(name: str) -> Source:
    """Write the weights of a model where every engine can read them, unless they lie there already.

    The folder is `$XDG_CACHE_HOME/benchsuite/engines/FINGERPRINT`. UsageError for a model that is no native GPT-2.
    """
    model = models[name].load("cpu", "sdpa")
    module = model.module
    if not isinstance(module, GPT2):
        raise UsageError(f"engines are compared on native GPT-2s; {name} is loaded through transformers")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    source = Source(name, cache / "benchsuite" / "engines" / model.fingerprint[:32])
    source.converted("hub", lambda path: _write_hub(model.tokenizer.end_of_text_id, module, path))
    return source


def _write_hub(end_of_text_id: int, module: GPT2, path: Path) -> None:
    config = vars(module.config) | {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "activation_function": "gelu_new",
        "tie_word_embeddings": True,
        "bos_token_id": end_of_text_id,
        "eos_token_id": end_of_text_id,
    }
    (path / "config.json").write_text(json.dumps(config, indent=2))
    save_file(gpt2.state_to_hub(module.state_dict()), path / "model.safetensors", metadata={"format": "pt"})
