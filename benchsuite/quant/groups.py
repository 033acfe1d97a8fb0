"""Which weights share a scale: the whole tensor, each row, or each group of neighbours in a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor

from benchsuite.errors import QuantizationError
from benchsuite.quant.bounds import rounding_bound
from benchsuite.quant.packing import pack, packed_width, unpack

Group = Literal["tensor", "row"] | int

# Work goes through the weight in runs of rows of about this many elements: small enough for the caches of two cores,
# large enough that starting an operation on both costs little.
_CHUNK_ELEMENTS = 3 << 18


def check_group(group: Group) -> None:
    """Raise QuantizationError unless `group` is "tensor", "row" or a positive number of columns."""
    if isinstance(group, bool) or (group not in ("tensor", "row") and not (isinstance(group, int) and group > 0)):
        raise QuantizationError(
            f"the group size is {group!r}; it must be 'tensor', 'row' or a positive number of columns such as 128"
        )


def as_rows(weight: Tensor) -> Tensor:
    """A weight (..., C) as rows (R, C); QuantizationError where it is not of floating point or has no dimension."""
    if weight.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise QuantizationError(
            f"a weight of {weight.dtype} cannot be quantized; it must be float32, bfloat16 or float16"
        )
    if weight.dim() == 0:
        raise QuantizationError("a scalar cannot be quantized; give it a dimension, (1,) for one weight")
    rows = weight.shape[:-1].numel()
    return weight.detach().reshape(rows, weight.shape[-1])


def groups_per_row(columns: int, group: Group) -> int:
    """How many scales a row of `columns` weights has (a tensor's one scale counts as one)."""
    return max(1, -(-columns // group)) if isinstance(group, int) else 1


def scale_shape(rows: int, columns: int, group: Group) -> tuple[int, int]:
    """(1, 1) for a tensor, (R, 1) for rows, (R, G) for groups."""
    return (1 if group == "tensor" else rows, groups_per_row(columns, group))


def chunks(rows: int, columns: int) -> Iterable[slice]:
    """Runs of rows that fit the cache."""
    step = max(1, _CHUNK_ELEMENTS // max(columns, 1))
    return () if columns == 0 else (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def grouped(x: Tensor, group: Group) -> Iterator[tuple[Tensor, slice]]:
    """Views (R, G, group) of rows (R, C) and the slice of the G scales they belong to; a short last group apart."""
    if not isinstance(group, int):
        yield x.unsqueeze(1), slice(0, 1)
        return
    whole = x.shape[1] // group
    if whole:
        yield x[:, : whole * group].view(x.shape[0], whole, group), slice(0, whole)
    if x.shape[1] % group:
        yield x[:, whole * group :].unsqueeze(1), slice(whole, whole + 1)


def magnitudes(weight: Tensor, group: Group) -> Tensor:
    """Largest magnitude of every group, float32, (1, 1), (R, 1) or (R, G); refuses what `ranges` refuses."""
    low, high = ranges(weight, group)  # two goes of reading cost no more than a copy without signs
    return torch.maximum(low.abs(), high.abs())


def ranges(weight: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    """Smallest and largest weight of every group, float32, each (1, 1), (R, 1) or (R, G).

    QuantizationError where a weight is NaN or infinite; 0 for groups of an empty tensor.
    """
    rows = as_rows(weight)
    height, columns = rows.shape
    if rows.numel() == 0:
        low = high = torch.zeros(scale_shape(height, columns, group), device=rows.device)
    elif group == "tensor":
        low, high = (end.view(1, 1) for end in rows.aminmax())  # slow along a dimension
    else:
        joined = []
        for part, _ in grouped(rows, group):  # a run of rows is in the cache when the second end is looked for
            runs = [part[run] for run in chunks(part.shape[0], part.shape[1:].numel())]
            ends = [(run.amin(-1), run.amax(-1)) for run in runs]
            joined.append([torch.cat(end) for end in zip(*ends, strict=True)])
        low, high = (torch.cat(end, 1) for end in zip(*joined, strict=True))
    require_finite(weight, low, high)
    return low.float(), high.float()


def require_finite(weight: Tensor, *statistics: Tensor) -> None:
    """Raise QuantizationError that names the first NaN or infinity of `weight` where a statistic is not finite."""
    if all(math.isfinite(float(statistic.abs().amax())) for statistic in statistics if statistic.numel()):
        return
    bad = ~torch.isfinite(weight)
    where = tuple(bad.nonzero()[0].tolist())
    raise QuantizationError(
        f"{int(bad.sum())} of {weight.numel()} weights are NaN or infinite, the first is {weight[where].item()} at "
        f"index {where}; quantize finite weights"
    )


def encode_rows(weight: Tensor, group: Group, bits: int, encode: Callable[..., None], *parameters: Tensor) -> Tensor:
    """Packed codes uint8 of a weight (..., C), made in runs of rows that fit the cache.

    `encode(out, x, *parameters)` writes codes to int8 `out` for float32 weights `x`, which it leaves as they are, and
    the parameters of their groups.
    """
    rows = as_rows(weight)
    height, columns = rows.shape
    packed = torch.empty(height, packed_width(columns, bits), dtype=torch.uint8, device=rows.device)
    for run in chunks(height, columns):
        held = packed[run] if bits == 8 else torch.empty(rows[run].shape, dtype=torch.uint8, device=rows.device)
        codes = held.view(torch.int8)  # no fast path leads to uint8
        for (part, groups), (out, _) in zip(grouped(rows[run], group), grouped(codes, group), strict=True):
            mine = (p if group == "tensor" else p[run, groups] for p in parameters)
            encode(out, part.float(), *(p.unsqueeze(-1) for p in mine))
        if bits != 8:
            packed[run] = pack(held, bits)
    return packed


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


def elementwise_bound(per_group: Tensor, weight: Tensor, group: Group, dtype: torch.dtype) -> Tensor:
    """A bound per group as one per weight, with the rounding to `dtype` added."""
    rows, columns = weight.shape[:-1].numel(), weight.shape[-1]
    if isinstance(group, int):
        per_group = per_group.repeat_interleave(min(group, max(columns, 1)), dim=1)[:, :columns]
    return rounding_bound(per_group.expand(rows, columns).contiguous().view(weight.shape), weight, dtype)
