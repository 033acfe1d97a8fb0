"""llama.cpp through llama-cpp-python: written as GGUF in float32, quantized by llama.cpp itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
from safetensors.torch import load_file

from benchsuite.engines.source import Source
from benchsuite.errors import FileFormatError
from benchsuite.models import gpt2

FILE_TYPES = {"BF16": 32, "Q8_0": 7, "Q4_0": 2}  # enum llama_ftype of llama.h
NAMES = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


class LlamaCppEngine:
    """All logits in the prefill: the context is told to keep them."""

    prefill_logits = "all"

    def __init__(self, model: Any) -> None:
        self.model = model

    def prefill(self, ids: Sequence[int]) -> None:
        """The logits of every position."""
        self.model.reset()
        self.model.eval(list(ids))

    def generate(self, ids: Sequence[int], new_tokens: int) -> list[int]:
        """Greedy, one evaluation per token."""
        self.prefill(ids)
        found = [self._most_likely()]
        while len(found) < new_tokens:
            self.model.eval(found[-1:])
            found.append(self._most_likely())
        return found

    def _most_likely(self) -> int:
        return int(np.argmax(self.model.scores[self.model.n_tokens - 1]))


def load(source: Source, form: str, threads: int) -> LlamaCppEngine:
    """The model in a GGUF type; the tied head is what llama.cpp makes of it (Q4_0: it keeps the head in Q6_K)."""
    plain = source.converted("F32", lambda path: _write(source.directory, path / "model.gguf")) / "model.gguf"
    path = plain
    if form != "F32":
        path = source.converted(form, lambda folder: _quantize(plain, folder / "model.gguf", form)) / "model.gguf"
    context = gpt2.config_from_hub(json.loads((source.directory / "config.json").read_text())).n_positions
    options: dict[str, Any] = {"n_ctx": context, "n_batch": context, "n_ubatch": 512, "logits_all": True}
    model = llama_cpp.Llama(str(path), n_threads=threads, n_threads_batch=threads, verbose=False, **options)
    return LlamaCppEngine(model)


def _write(directory: Path, path: Path) -> None:
    config = gpt2.config_from_hub(json.loads((directory / "config.json").read_text(encoding="utf-8")))
    state = gpt2.state_from_hub(load_file(directory / "model.safetensors"), config)
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_block_count(config.n_layer)
    writer.add_context_length(config.n_positions)
    writer.add_embedding_length(config.n_embd)
    writer.add_feed_forward_length(4 * config.n_embd)
    writer.add_head_count(config.n_head)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)
    writer.add_file_type(0)
    writer.add_tokenizer_model("gpt2")  # ids go in and come out: the names of tokens do not matter
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([f"<{token}>" for token in range(config.vocab_size)])
    writer.add_token_types([gguf.TokenType.NORMAL] * config.vocab_size)
    writer.add_token_merges(["< >"])
    for name in ("bos", "eos"):
        getattr(writer, f"add_{name}_token_id")(config.vocab_size - 1)
    for name, tensor in state.items():
        writer.add_tensor(_gguf_name(name), tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _gguf_name(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    outer = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}
    if stem in outer:
        return f"{outer[stem]}.{kind}"
    _, index, inner = stem.split(".", 2)
    return f"blk.{index}.{NAMES[inner]}.{kind}"


def _quantize(plain: Path, path: Path, form: str) -> None:
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = FILE_TYPES[form]
    if status := llama_cpp.llama_model_quantize(str(plain).encode(), str(path).encode(), parameters):
        raise FileFormatError(f"{plain}: llama.cpp could not quantize it to {form} (status {status})")
