"""Which weights share a scale: the whole tensor, each row, or each group of neighbours in a row; and their extremes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor

from benchsuite.c_code import call
from benchsuite.errors import QuantizationError
from benchsuite.quant.bounds import rounding_bound
from benchsuite.quant.packing import LOOPS

Group = Literal["tensor", "row"] | int

# Work goes through the weight in runs of rows of about this many elements: small enough for the caches of two cores,
# large enough that starting an operation on both costs little.
_CHUNK_ELEMENTS = 1 << 21


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
    """Runs of rows that fit the cache, of about equal length."""
    count = max(1, -(-rows * columns // _CHUNK_ELEMENTS))
    step = max(1, -(-rows // count))
    return () if columns == 0 else (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def floats(rows: Tensor) -> Tensor:
    """Rows as the loops in C take them: float32 without gaps."""
    return rows.float().contiguous()


def sizes(x: Tensor, group: Group) -> tuple[int, int, int]:
    """Rows, columns and columns of a group, as the loops in C take them."""
    return x.shape[0], x.shape[1], min(group, x.shape[1]) if isinstance(group, int) else x.shape[1]


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


def ranges(weight: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    """Smallest and largest weight of every group, float32, each (1, 1), (R, 1) or (R, G).

    QuantizationError where a weight is NaN or infinite; 0 for groups of an empty tensor.
    """
    rows = as_rows(weight)
    height, columns = rows.shape
    if rows.numel() == 0:
        zeros = torch.zeros(scale_shape(height, columns, group), device=rows.device)
        return zeros, zeros
    found = (extremes(floats(rows[run]), group) for run in chunks(height, columns))
    low, high = (torch.cat(values) for values in zip(*found, strict=True))
    if group == "tensor":
        low, high = low.amin(0, keepdim=True), high.amax(0, keepdim=True)
    require_finite(weight, low, high)
    return low, high


def magnitudes(weight: Tensor, group: Group) -> Tensor:
    """Largest magnitude of every group, float32, (1, 1), (R, 1) or (R, G); refuses what `ranges` refuses."""
    return magnitude(*ranges(weight, group))


def magnitude(low: Tensor, high: Tensor) -> Tensor:
    """The largest magnitude between `low` and `high`."""
    return torch.maximum(low.abs(), high.abs())


def extremes(x: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    """The smallest and the largest weight of every group of `floats` (r, C), each (r, G); a tensor's are those of rows.

    Not both are finite where a weight is not.
    """
    shape = x.shape[0], groups_per_row(x.shape[1], group)
    low, high = x.new_empty(shape), x.new_empty(shape)
    if not call(LOOPS, "extremes", *sizes(x, group), x, low, high):
        for part, groups in grouped(x, group):
            low[:, groups], high[:, groups] = part.amin(-1), part.amax(-1)
    return low, high


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


def elementwise_bound(per_group: Tensor, weight: Tensor, group: Group, dtype: torch.dtype) -> Tensor:
    """A bound per group as one per weight, with the rounding to `dtype` added."""
    rows, columns = weight.shape[:-1].numel(), weight.shape[-1]
    if isinstance(group, int):
        per_group = per_group.repeat_interleave(min(group, max(columns, 1)), dim=1)[:, :columns]
    return rounding_bound(per_group.expand(rows, columns).contiguous().view(weight.shape), weight, dtype)
