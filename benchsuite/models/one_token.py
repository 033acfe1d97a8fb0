"""Our own GPT-2 for one token in each row of a batch, by one call of our own loops in C, on the CPU.

A token of a small model takes some milliseconds, in which PyTorch starts two hundred operations, each with threads that
wait for one another. Here a token is one region of threads, which read the weights row after row.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchsuite.c_code import call
from benchsuite.kernels.code_book import CodeBookLinear
from benchsuite.kernels.cpu import Int8Linear, Int8WeightLinear, PlainLinear
from benchsuite.kernels.in_c import PADDING, ROWS, Rows, has_rows
from benchsuite.quant.embedding import QuantizedEmbedding

if TYPE_CHECKING:
    from benchsuite.models.gpt2 import GPT2, KVCache

MOST_ROWS = 32  # of a batch: with 64 PyTorch's operators are as fast
_NORMS = ("ln_1", "ln_2")
_LINEARS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")


class OneToken:
    """The pass for the rows that a cache holds now; it keeps the weights whose addresses C gets."""

    def __init__(self, module: GPT2, cache: KVCache) -> None:
        self._weights: list[Tensor | Rows] = []
        blocks = zip(module.h, cache.blocks, strict=True)
        plan = torch.tensor([self._block(block) + kept.addresses() for block, kept in blocks])
        end = torch.tensor(self._norm(module.ln_f) + self._linear(module.wte))
        config, rows, keys = module.config, len(cache.lengths), cache.capacity - cache.shared
        is_bf16 = module.wpe.weight.dtype == torch.bfloat16
        sizes = (rows, config.n_layer, config.n_embd, config.n_head, keys, cache.shared, int(is_bf16))
        self._model = (*sizes, config.layer_norm_epsilon, plan, end)
        room = (4 * config.n_embd + PADDING, 2, 4 * config.n_embd, config.n_head * cache.capacity, config.vocab_size)
        self._work = [torch.empty(rows, size) for size in room]

    @property
    def logits(self) -> Tensor:
        """Of the last pass, (B, V) in float32."""
        return self._work[-1]

    def __call__(self, x: Tensor, positions: Tensor) -> Tensor:
        """The most likely tokens (B,) behind embeddings x (B, C) at `positions` (B,), -1 for a row whose logits
        are not finite; their keys and values go to the cache."""
        found = torch.empty_like(positions)
        called = call(ROWS, "one_token", *self._model, positions, x.float(), *self._work, found)
        assert called, "`takes` is asked first"
        return found

    def _block(self, block: nn.Module) -> list[int]:
        norms = [self._norm(block.get_submodule(name)) for name in _NORMS]
        return [*chain(*norms, *(self._linear(block.get_submodule(name)) for name in _LINEARS))]

    def _norm(self, norm: nn.Module) -> list[int]:
        held = [norm.get_parameter(name).float() for name in ("weight", "bias")]
        self._weights += held
        return [tensor.data_ptr() for tensor in held]

    def _linear(self, layer: nn.Module) -> list[int]:
        rows = rows_of(layer)
        assert rows is not None, "`takes` is asked first"
        self._weights.append(rows)
        return rows.struct()


def takes(module: GPT2) -> bool:
    """Whether the loops take a prepared model once its weights are held in rows: float32, bfloat16, 8 bits with a scale
    a row and 4 bits in groups of 8, 16, 32 … columns, on a CPU with a C compiler; GPT-2 as it is, not changed by hand.
    """
    return (
        module.wpe.weight.is_cpu
        and module.wpe.weight.dtype in (torch.float32, torch.bfloat16)
        and module.attention == "sdpa"
        and has_rows()
        and all(_is_untouched(layer) for layer in module.modules())
        and all(_is_gpt2s(block) for block in module.h)
        and all(_is_gpt2s_norm(norm, module) for norm in (module.ln_f, *_all_norms(module)))
        and rows_of(module.wte) is not None
    )


def _is_untouched(layer: nn.Module) -> bool:
    """Whether a layer of PyTorch's or of ours computes what its class says: without hooks, or a forward of its own."""
    known = type(layer).__module__.startswith(("torch.nn.modules.", "benchsuite."))
    return known and not (layer._forward_hooks or layer._forward_pre_hooks or "forward" in vars(layer))


def _is_gpt2s(block: nn.Module) -> bool:
    """Whether a block has the GELU of GPT-2, and linear layers in which the loops read rows."""
    linears = [block.get_submodule(name) for name in _LINEARS]
    gelu, fused = block.get_submodule("mlp.gelu"), getattr(block.get_submodule("mlp.c_fc"), "gelu", False)
    is_gelu = type(gelu) is nn.Identity if fused else getattr(gelu, "approximate", None) == "tanh"
    return is_gelu and all(
        isinstance(layer, PlainLinear | Int8Linear) or rows_of(layer) is not None for layer in linears
    )


def _is_gpt2s_norm(norm: nn.Module, module: GPT2) -> bool:
    """Whether it is a layer norm with weight and bias, and the model's own epsilon."""
    if not isinstance(norm, nn.LayerNorm) or norm.weight is None or norm.bias is None:
        return False
    return norm.eps == module.config.layer_norm_epsilon


def _all_norms(module: GPT2) -> list[nn.Module]:
    return [block.get_submodule(name) for block in module.h for name in _NORMS]


def rows_of(layer: nn.Module) -> Rows | None:
    """How the loops read a layer, or a head, whose weight is held in rows; None where they do not."""
    given = getattr(layer, "bias", None)
    bias = given.float() if isinstance(given, Tensor) else None
    if isinstance(layer, PlainLinear | nn.Embedding) or type(layer) is nn.Linear:
        weight = layer.weight
        # torchao's are of a kind of their own, and say float32
        plain = type(weight) in (Tensor, nn.Parameter) and weight.is_contiguous()
        return Rows(weight, bias) if plain and weight.dtype in (torch.float32, torch.bfloat16) else None
    if isinstance(layer, Int8Linear):
        return Rows(layer.codes, bias, layer.scale, rounds=True)
    if isinstance(layer, QuantizedEmbedding):
        return Rows(layer.get_buffer("codes"), None, layer.get_buffer("scale"), rounds=True)
    if isinstance(layer, Int8WeightLinear):
        return Rows(layer.codes, bias, layer.scale, layer.offset)
    if isinstance(layer, CodeBookLinear) and layer.in_c:
        return Rows(layer.codes, bias, layer.scale, layer.offset, layer.values)
    return None
