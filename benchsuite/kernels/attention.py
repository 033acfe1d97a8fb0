"""Attention of a prompt on the CPU by our own loops in C; PyTorch's kernel takes half again as long."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchsuite.c_code import call, is_compiled
from benchsuite.kernels.cpu import capabilities

ATTENTION = Path(__file__).with_name("attention.c")
MANY_QUERIES = 64  # from so many of a row on: a few take no longer than the call
_BLOCK, _TOGETHER = 64, 6  # as in C


def attends_in_c(q: Tensor) -> bool:
    """Whether the loops take queries (B, H, T, D) and are faster than PyTorch, which multiplies bfloat16 with AMX."""
    if torch.compiler.is_compiling() or torch.is_grad_enabled() or not q.is_cpu or q.shape[2] < MANY_QUERIES:
        return False
    takes = q.dtype == torch.float32 or (q.dtype == torch.bfloat16 and "amx" not in capabilities())
    return takes and is_compiled(ATTENTION)


def attend_in_c(q: Tensor, k: Tensor, v: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Queries (B, H, T, D) to the keys (B, H, S, D) at or before them, and float32 (B, H, T): the logarithm of the sum
    of a query's exponentials. Query t of row b stands at starts[b] + t among the keys, which is int64 (B,).
    """
    batch, heads, tokens, size = q.shape
    keys = k.shape[2]
    k, v = k.to(q.dtype), v.to(q.dtype)
    rows = [x if x.stride(3) == 1 else x.contiguous() for x in (q, k, v)]
    y, logarithms = q.new_empty(batch, tokens, heads, size), torch.empty(batch, heads, tokens)
    scratch = torch.empty(torch.get_num_threads(), (keys + 2 * size + 2 * _TOGETHER) * _BLOCK + 2 * keys * size)
    steps = torch.tensor([step for x in rows for step in x.stride()[:3]])
    sizes = (batch, heads, tokens, keys, size, int(q.dtype == torch.bfloat16))
    room = scratch.shape[1]
    called = call(ATTENTION, "attention", *sizes, starts.contiguous(), steps, *rows, scratch, room, y, logarithms)
    assert called, "attends_in_c is asked first"
    return y.transpose(1, 2), logarithms
