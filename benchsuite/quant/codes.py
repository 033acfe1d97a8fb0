"""Weights as packed codes and back, a run of rows that stays in the caches after the other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchsuite.c_code import call
from benchsuite.quant.groups import (
    Group,
    as_rows,
    chunks,
    extremes,
    floats,
    grouped,
    ranges,
    require_finite,
    sizes,
)
from benchsuite.quant.packing import LOOPS, pack, packed_width, unpack


def encode_rows(
    weight: Tensor,
    group: Group,
    bits: int,
    fit: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
    encode: Callable[..., None],
) -> tuple[Tensor, list[Tensor]]:
    """Packed codes uint8 of a weight (..., C) and the parameters of its groups, each (1, 1), (R, 1) or (R, G).

    `fit` makes parameters, tensors of one shape, from the smallest and the largest weights of groups; those of a group
    with NaN or infinity must not all be finite, which is refused with QuantizationError. `encode(codes, x, group,
    *parameters)` writes uint8 `codes` for float32 rows `x`, as the functions below do.
    """
    rows = as_rows(weight)
    height, columns = rows.shape
    packed = torch.empty(height, packed_width(columns, bits), dtype=torch.uint8, device=rows.device)
    shared = fit(*ranges(weight, group)) if group == "tensor" or rows.numel() == 0 else None
    found: list[tuple[Tensor, ...]] = []
    unpacked = packed.new_empty(0)  # codes of a run; its memory serves the next
    for run in chunks(height, columns):
        x = floats(rows[run])
        codes = packed[run] if bits == 8 else unpacked.resize_(x.shape)
        if shared is None:
            found.append(fit(*extremes(x, group)))
            parameters = found[-1]
        else:
            parameters = tuple(one.expand(len(x), 1).contiguous() for one in shared)
        encode(codes, x, group, *parameters)
        if bits != 8:
            pack(codes, bits, packed[run])
    if shared is not None:
        return packed, list(shared)
    joined = [torch.cat(values) for values in zip(*found, strict=True)]
    require_finite(weight, *joined)
    return packed, joined


def decode_rows(
    packed: Tensor,
    group: Group,
    bits: int,
    shape: torch.Size,
    dtype: torch.dtype,
    decode: Callable[..., Tensor],
    *parameters: Tensor,
) -> Tensor:
    """The weight (shape) in `dtype`; `decode` maps codes and the parameters of their groups to float32 weights."""
    height, columns = packed.shape[0], shape[-1]
    out = torch.empty(height, columns, dtype=dtype, device=packed.device)
    for run in chunks(height, columns):
        codes = unpack(packed[run], bits, columns)  # (r, C)
        for (part, groups), (place, _) in zip(grouped(codes, group), grouped(out[run], group), strict=True):
            mine = (p if group == "tensor" else p[run, groups] for p in parameters)
            place.copy_(decode(part, *(p.unsqueeze(-1) for p in mine)))
    return out.view(shape)


def even_codes(codes: Tensor, x: Tensor, group: Group, scale: Tensor, shift: Tensor, largest: float) -> None:
    """Write the low byte of min(x / scale + shift, largest), where `shift` is such that the sum has no fraction."""
    if call(LOOPS, "even_codes", *sizes(x, group), x, codes, scale, shift, largest):
        return
    signed = codes.view(torch.int8)  # no fast path leads to uint8
    for (part, groups), (out, _) in zip(grouped(x, group), grouped(signed, group), strict=True):
        sums = part.div(scale[:, groups, None]).add_(shift[:, groups, None]).clamp_(max=largest)
        out.copy_(sums.view(torch.int32))


def book_codes(codes: Tensor, x: Tensor, group: Group, factor: Tensor, thresholds: Tensor, order: Tensor) -> None:
    """Write order[n] where n of the 15 rising `thresholds` are below x · factor."""
    if call(LOOPS, "book_codes", *sizes(x, group), x, codes, factor, thresholds, order):
        return
    for (part, groups), (out, _) in zip(grouped(x, group), grouped(codes, group), strict=True):
        out.copy_(order[torch.bucketize(part.mul(factor[:, groups, None]), thresholds, out_int32=True)])
