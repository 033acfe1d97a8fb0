"""The work of a cell, counted from the model's shapes, against what the machine can do (Williams et al. 2009).

A product of (m, k) and (k, n) is 2·m·k·n FLOP. A pass reads the weights of all blocks once, as they are held, and the
keys and values of all that is seen; attention costs 4·C FLOP per layer, query and key that it sees. The head's product
and weight come with the positions whose logits are made. Activations are taken to stay in the caches.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchsuite.kernels import cpu
from benchsuite.kernels.code_book import CodeBookLinear
from benchsuite.kernels.int4 import Int4Linear
from benchsuite.measure.limits import Limits
from benchsuite.models.gpt2 import GPT2
from benchsuite.models.language_model import LanguageModel
from benchsuite.quant.apply import size_bytes
from benchsuite.quant.embedding import QuantizedEmbedding
from benchsuite.quant.layers import QuantizedLinear
from benchsuite.quant.products import int8_is_exact, llm_int8, w8a8

_FLOATS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass(frozen=True)
class Pass:
    """One pass through the blocks, or through the head."""

    flop_of: Mapping[str, float]  # by the dtype of the products' operands
    bytes_read: float
    is_head: bool

    @property
    def flop(self) -> float:
        """Of all dtypes."""
        return sum(self.flop_of.values())


@dataclass(frozen=True)
class Part:
    """A part of a cell (prefill, decode, batch): its work, its time, and the least time that the machine allows."""

    name: str
    flop: float
    bytes_read: float
    seconds: float
    least_s: float | None  # None where the machine's limits were not measured

    @property
    def share(self) -> float | None:
        """The share of the machine's limit that was reached."""
        return None if self.least_s is None else self.least_s / self.seconds


@contextlib.contextmanager
def counted(model: LanguageModel) -> Iterator[list[Pass]]:
    """Count what passes through our GPT-2 meanwhile; the list stays empty for any other family."""
    module, passes = model.module, list[Pass]()
    if not isinstance(module, GPT2):
        yield passes
        return
    config, hidden, head, next_tokens = module.config, model.hidden, model.head, module.next_tokens
    activations = _FLOATS[module.wpe.weight.dtype]
    weights = _weights_by_operands(module.h, activations)  # 12 · L · C² of them in all
    block_bytes, head_bytes = size_bytes(module.h), size_bytes(module.wte)
    head_dtype = "int8" if isinstance(module.wte, QuantizedEmbedding) else activations
    per_key = 2 * config.n_layer * config.n_embd * module.wpe.weight.element_size()

    def count(rows: int, tokens: int, cache: Any | None) -> None:
        starts = [0] * rows if cache is None else list(cache.lengths)
        pairs = sum(start * tokens + tokens * (tokens + 1) // 2 for start in starts)  # of a query and a key it sees
        flop = {dtype: 2.0 * rows * tokens * number for dtype, number in weights.items()}
        flop[activations] = flop.get(activations, 0) + 4.0 * config.n_layer * config.n_embd * pairs
        shared = 0 if cache is None else cache.shared  # read once for all rows
        keys = 0 if cache is None else shared + sum(start + tokens - shared for start in starts)
        passes.append(Pass(flop, block_bytes + keys * per_key, is_head=False))

    def count_head(positions: int) -> None:
        flop = 2.0 * positions * config.n_embd * config.vocab_size
        passes.append(Pass({head_dtype: flop}, head_bytes, is_head=True))

    def counting_hidden(input_ids: Tensor, cache: Any | None = None) -> Tensor:
        count(input_ids.shape[0], input_ids.shape[1], cache)
        return hidden(input_ids, cache)

    def counting_head(states: Tensor) -> Tensor:
        count_head(states.numel() // config.n_embd)
        return head(states)

    def counting_tokens(tokens: Tensor, cache: Any) -> Tensor:
        count(len(tokens), 1, cache)
        count_head(len(tokens))
        return next_tokens(tokens, cache)

    wrapped: Any = model
    wrapped.hidden, wrapped.head, wrapped.module.next_tokens = counting_hidden, counting_head, counting_tokens
    try:
        yield passes
    finally:
        del wrapped.hidden, wrapped.head, wrapped.module.next_tokens


def parts_of_generation(passes: Sequence[Pass], prefill_s: float, decode_s: float, limits: Limits | None) -> list[Part]:
    """Prefill is the first pass and its head; decode is all that follows."""
    first = next((at + 1 for at, each in enumerate(passes) if each.is_head), 0)
    return [
        part_of("prefill", passes[:first], prefill_s, limits),
        part_of("decode", passes[first:], decode_s, limits),
    ]


def part_of(name: str, passes: Sequence[Pass], seconds: float, limits: Limits | None) -> Part:
    """The sum of some passes; its least time is the sum of theirs."""
    least = [limits.seconds(each.flop_of, each.bytes_read) for each in passes] if limits else []
    return Part(
        name,
        sum(each.flop for each in passes),
        sum(each.bytes_read for each in passes),
        seconds,
        sum(least) if least else None,
    )


def _weights_by_operands(blocks: nn.Module, activations: str) -> Counter[str]:
    """How many weights are multiplied as which dtype, by the layers that hold them."""
    weights: Counter[str] = Counter()
    layers: Any = blocks.modules()
    for layer in layers:
        if hasattr(layer, "in_features"):
            weights[_operands(layer, activations)] += layer.in_features * layer.out_features
    return weights


def _operands(layer: Any, activations: str) -> str:
    if isinstance(layer, cpu.Int8Linear):
        return "int8"
    if isinstance(layer, Int4Linear | CodeBookLinear) and layer.wide is not None:
        return _FLOATS[layer.wide]
    if isinstance(layer, QuantizedLinear) and layer.product in (w8a8, llm_int8):
        return "int8" if layer.packed["codes"].is_cuda or int8_is_exact() else "fp32"
    return activations
