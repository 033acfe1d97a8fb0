"""Weights as our own loops in C read them, row after row, and their products with a few tokens."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchsuite.c_code import call, is_compiled
from benchsuite.opaque import opaque

ROWS = Path(__file__).with_name("rows.c")
FEW_TOKENS = 64  # up to here they beat making floats of a narrower weight and multiplying those
PADDING = 128  # columns of the widest tile
SMALLEST_GROUP = 8  # columns of a group of 4-bit codes: a power of two
_FORMS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2, torch.uint8: 3}  # enum form, by the weight's dtype


class Rows(NamedTuple):
    """A weight (out, in) and what its product needs besides: contiguous tensors on the CPU.

    Of 8 bits `scale` and `offset` are float32 (out,). Codes of 4 bits are two in a byte, the even column high; they
    stand for `values` (16,), and their `scale` and `offset` are (out, in / group) in float32 or bfloat16.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: Tensor | None = None
    offset: Tensor | None = None
    values: Tensor | None = None
    rounds: bool = False  # tokens to int8, with a scale each

    @property
    def columns(self) -> int:
        """Of the weight."""
        return self.weight.shape[1] * (1 if self.values is None else 2)

    def struct(self) -> list[int]:
        """`struct linear` of rows.c, all of 64 bits: the addresses hold as long as the tensors."""
        group, half = 1, False
        if self.values is not None and self.scale is not None:
            group, half = self.columns // self.scale.shape[1], self.scale.dtype == torch.bfloat16
        sizes = (_FORMS[self.weight.dtype], len(self.weight), self.columns, self.rounds, group.bit_length() - 1, half)
        tensors = (self.weight, self.scale, self.offset, self.values, self.bias)
        return [*map(int, sizes), *(0 if tensor is None else tensor.data_ptr() for tensor in tensors)]


def has_rows() -> bool:
    """Whether the loops were compiled here."""
    return is_compiled(ROWS)


def fits(group: int) -> bool:
    """Whether they take 4-bit codes with a scale for `group` columns."""
    return group >= SMALLEST_GROUP and group.bit_count() == 1


@opaque(lambda x, weight, *_: x.new_empty(x.shape[0], weight.shape[0], dtype=torch.float32))
def multiply_rows(
    x: Tensor,
    weight: Tensor,
    scale: Tensor | None = None,
    offset: Tensor | None = None,
    values: Tensor | None = None,
    rounds: bool = False,
) -> Tensor:
    """x (N, in) times the weight of `Rows` transposed, where it `fits` and the loops are there: float32 (N, out)."""
    rows = Rows(weight.contiguous(), scale=scale, offset=offset, values=values, rounds=rounds)
    tiles, scales = torch.empty(len(x), rows.columns + PADDING), torch.empty(2 * len(x))
    y = torch.empty(len(x), len(weight))
    called = call(ROWS, "multiply_rows", len(x), torch.tensor(rows.struct()), x.float().contiguous(), tiles, scales, y)
    assert called, "its layer asks has_rows first"
    return y
