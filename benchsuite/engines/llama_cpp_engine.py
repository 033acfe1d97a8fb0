"""llama.cpp through llama-cpp-python: written as GGUF in float32, quantized by llama.cpp itself."""

from __future__ import annotations

import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
from llama_cpp._logger import set_verbose
from numpy.typing import NDArray

from benchsuite.engines import ignore
from benchsuite.engines.source import Source
from benchsuite.errors import FileFormatError, UnavailableError

BLOCK = 32  # weights of a row that share a scale in Q8_0, Q4_0 and Q4_1
FILE_TYPES = {"F16": 1, "BF16": 32, "Q8_0": 7, "Q4_0": 2, "Q4_1": 3}  # enum llama_ftype of llama.h
NAMES = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


class LlamaCppEngine:
    """A model and a context for each shape of work; each token says whether its logits are wanted."""

    def __init__(self, path: Path, threads: int, vocab_size: int, *, repacked: bool = True) -> None:
        self.threads, self.vocab_size = threads, vocab_size
        self._contexts: dict[tuple[int, int], Any] = {}
        wanted = llama_cpp.llama_model_default_params()
        wanted.use_extra_bufts = repacked
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), wanted)
        if not self._model:
            raise FileFormatError(f"{path}: llama.cpp cannot load it; remove {path.parent}, and it is converted anew")
        weakref.finalize(self, _free, self._model, self._contexts)

    def prefill(self, ids: Sequence[int]) -> None:
        """The logits of every position."""
        self._decode(self._context(1, len(ids)), [ids], 0, every=True)

    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """The logits (T, V) of every position."""
        context = self._context(1, len(ids))
        self._decode(context, [ids], 0, every=True)
        return np.stack([self._logits(context, at) for at in range(len(ids))])

    def generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, mark: Callable[[], None] = ignore
    ) -> list[list[int]]:
        """Greedy, one evaluation per token of all rows, each row a sequence of its own."""
        context = self._context(len(prompts), len(prompts[0]) + new_tokens)
        found: list[list[int]] = [[] for _ in prompts]
        rows: Sequence[Sequence[int]] = prompts
        start = 0
        for _ in range(new_tokens):
            self._decode(context, rows, start, every=False)
            width = len(rows[0])
            start += width
            for number, row in enumerate(found):
                row.append(int(self._logits(context, (number + 1) * width - 1).argmax()))
            mark()
            rows = [row[-1:] for row in found]
        return found

    def _context(self, rows: int, length: int) -> Any:
        """An empty context for `rows` sequences of `length` tokens."""
        if (rows, length) not in self._contexts:
            wanted = llama_cpp.llama_context_default_params()
            wanted.n_ctx, wanted.n_seq_max, wanted.n_batch = rows * (length + -length % 256), rows, rows * length
            wanted.n_threads = wanted.n_threads_batch = self.threads
            made = llama_cpp.llama_init_from_model(self._model, wanted)
            if not made:
                most = llama_cpp.llama_max_parallel_sequences()
                raise UnavailableError(
                    f"llama.cpp has no context for {rows} sequences of {length} tokens; it takes {most} sequences, and "
                    "memory for all of them: try a smaller batch"
                )
            self._contexts[rows, length] = made
        context = self._contexts[rows, length]
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), False)
        return context

    def _decode(self, context: Any, rows: Sequence[Sequence[int]], start: int, *, every: bool) -> None:
        """Evaluate tokens that stand at `start` and after; logits of `every` token or of each row's last."""
        width = len(rows[0])
        batch = llama_cpp.llama_batch_init(len(rows) * width, 0, 1)
        try:
            batch.n_tokens = len(rows) * width
            for number, row in enumerate(rows):
                for place, token in enumerate(row):
                    at = number * width + place
                    batch.token[at], batch.pos[at], batch.n_seq_id[at] = token, start + place, 1
                    batch.seq_id[at][0] = number
                    batch.logits[at] = every or place == width - 1
            status = llama_cpp.llama_decode(context, batch)
        finally:
            llama_cpp.llama_batch_free(batch)
        if status:
            raise UnavailableError(f"llama.cpp could not evaluate {len(rows)} × {width} tokens (status {status})")

    def _logits(self, context: Any, at: int) -> NDArray[np.float32]:
        found = llama_cpp.llama_get_logits_ith(context, at)
        return np.ctypeslib.as_array(found, shape=(self.vocab_size,))


def load(source: Source, form: str, threads: int, device: str) -> LlamaCppEngine:  # noqa: ARG001  the CPU only
    """The model in a GGUF type; the tied head is what llama.cpp makes of it (Q4_0: it keeps the head in Q6_K)."""
    set_verbose(False)
    if form.startswith("Q") and (width := source.config.n_embd) % BLOCK:
        raise UnavailableError(
            f"llama.cpp's {form} wants rows of whole blocks of {BLOCK} weights, and keeps others in F16: this model's "
            f"have {width}; use llama-cpp:F16"
        )
    plain = source.converted("F32", lambda path: _write(source, path / "model.gguf")) / "model.gguf"
    path = plain
    if form != "F32":
        path = source.converted(form, lambda folder: _quantize(plain, folder / "model.gguf", form)) / "model.gguf"
    return LlamaCppEngine(path, threads, source.vocab_size, repacked=not form.startswith("Q") or _survives(path))


def _free(model: Any, contexts: dict[tuple[int, int], Any]) -> None:
    for context in contexts.values():
        llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)


def _survives(path: Path) -> bool:
    """Whether llama.cpp's weights repacked for this processor work: with AMX some versions end in a segmentation fault.

    A fresh process finds out, since nothing catches that in this one.
    """
    code = (
        "import sys; from pathlib import Path; from benchsuite.engines.llama_cpp_engine import LlamaCppEngine;"
        "LlamaCppEngine(Path(sys.argv[1]), 1, 1).prefill([0, 1])"
    )
    return subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=False).returncode == 0


def _write(source: Source, path: Path) -> None:
    config, state = source.read()
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
    writer.add_bos_token_id(config.vocab_size - 1)
    writer.add_eos_token_id(config.vocab_size - 1)
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
