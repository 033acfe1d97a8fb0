"""The product of one token inside of a compiled pass: rows of the weight as they are, some of them at a time.

A product of one token is as fast as its weight is read. Inductor makes one loop of several sums of one length: they do
not wait for one another, and the processor fetches as many places of the weight at once. What stands between two
products becomes part of the same kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchsuite.device import has_amx

# On AMD (Zen 4) four to six: two, eight and twelve are slower, more places than it foresees. On Intel with AMX eight to
# twelve: four and six are slower there, measured before codes were made outside of the loop.
ROWS_AT_ONCE = 12 if has_amx() else 4


def is_compiled_token(x: Tensor, in_features: int) -> bool:
    """Whether x (..., in) is one token of a pass that is being compiled for the CPU."""
    return torch.compiler.is_compiling() and x.is_cpu and x.numel() == in_features and not torch.is_grad_enabled()


def by_rows(x: Tensor, weight: Tensor) -> Tensor:
    """One token x (..., in) times weight (out, in) transposed, of any two dtypes: summed in float32, (..., out).

    Sums of int8 codes are exact while they stay below 2**24, which 1,040 terms always do; beyond it additions round.
    """
    wide = x.reshape(1, -1).float()
    size = weight.shape[0] // ROWS_AT_ONCE
    runs = torch.split(weight[: size * ROWS_AT_ONCE], size) if size else ()
    rest = weight[size * ROWS_AT_ONCE :]
    sums = [(run.float() * wide).sum(1) for run in (*runs, rest) if run.shape[0]]
    return torch.cat(sums).view(*x.shape[:-1], -1)
