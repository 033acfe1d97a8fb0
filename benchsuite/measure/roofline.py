"""The work of a cell, counted from the model's shapes, against what the machine can do (Williams et al. 2009).

A product of (m, k) and (k, n) is 2·m·k·n FLOP. A pass reads the weights of all blocks once, as they are held, and the
keys and values of all that is seen; attention costs 4·C FLOP per layer, query and key that it sees. The head's product
and weight come with the positions whose logits are made. Activations are taken to stay in the caches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from benchsuite.measure.limits import Limits
from benchsuite.models.gpt2 import GPT2
from benchsuite.models.language_model import LanguageModel
from benchsuite.quant.apply import size_bytes

ARITHMETIC = {
    "int8-row": "int8",
    "bf16": "bf16",
    "int4-group": "bf16",
    "fp16": "fp16",
}  # else fp32


@dataclass(frozen=True)
class Pass:
    """One pass through the blocks, or through the head."""

    flop: float
    bytes_read: float
    dtype: str  # of the products' operands
    is_head: bool


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
    config, hidden, head = module.config, model.hidden, model.head
    block_weights = 12 * config.n_layer * config.n_embd**2  # 3 C² and C² of attention, 4 C² twice of the feed-forward
    block_bytes, head_bytes = size_bytes(module.h), size_bytes(module.wte)
    dtype, per_key = _arithmetic(module), 2 * config.n_layer * config.n_embd * module.wpe.weight.element_size()

    def counting_hidden(input_ids: Tensor, cache: Any | None = None) -> Tensor:
        rows, tokens = input_ids.shape
        starts = [0] * rows if cache is None else list(cache.lengths)
        pairs = sum(start * tokens + tokens * (tokens + 1) // 2 for start in starts)  # of a query and a key it sees
        flop = 2.0 * rows * tokens * block_weights + 4.0 * config.n_layer * config.n_embd * pairs
        keys = sum(start + tokens for start in starts) if cache is not None else 0
        passes.append(Pass(flop, block_bytes + keys * per_key, dtype, is_head=False))
        return hidden(input_ids, cache)

    def counting_head(states: Tensor) -> Tensor:
        positions = states.numel() // config.n_embd
        flop = 2.0 * positions * config.n_embd * config.vocab_size
        passes.append(Pass(flop, head_bytes, _head_arithmetic(module), is_head=True))
        return head(states)

    wrapped: Any = model
    wrapped.hidden, wrapped.head = counting_hidden, counting_head
    try:
        yield passes
    finally:
        del wrapped.hidden, wrapped.head


def parts_of_generation(passes: Sequence[Pass], prefill_s: float, decode_s: float, limits: Limits | None) -> list[Part]:
    """Prefill is the first pass and its head; decode is all that follows."""
    first = next((at + 1 for at, each in enumerate(passes) if each.is_head), 0)
    return [
        part_of("prefill", passes[:first], prefill_s, limits),
        part_of("decode", passes[first:], decode_s, limits),
    ]


def part_of(name: str, passes: Sequence[Pass], seconds: float, limits: Limits | None) -> Part:
    """The sum of some passes; its least time is the sum of theirs."""
    least = [limits.seconds(each.flop, each.bytes_read, each.dtype) if limits else None for each in passes]
    known = [second for second in least if second is not None]
    return Part(
        name,
        sum(each.flop for each in passes),
        sum(each.bytes_read for each in passes),
        seconds,
        sum(known) if passes and len(known) == len(least) else None,
    )


def _arithmetic(module: GPT2) -> str:
    """The operands' dtype of the linear layers' products, by the weights that the table of kernels names."""
    held = {name.rpartition("(")[2].rstrip(")") for name in module.kernels}
    return next((dtype for weights, dtype in ARITHMETIC.items() if weights in held), "fp32")


def _head_arithmetic(module: GPT2) -> str:
    weight = getattr(module.wte, "weight", None)
    if weight is None:
        return "int8"  # `-head8`: int8 rows
    return {"torch.bfloat16": "bf16", "torch.float16": "fp16"}.get(str(weight.dtype), "fp32")
