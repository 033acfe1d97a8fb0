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
_CHUNK_ELEMENTS = 1 << 20


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


# The extremes of float groups (..., n), each (...). Those of extremes are those of the whole.
Measure = Callable[[Tensor], tuple[Tensor, ...]]


def ends(x: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest value."""
    return x.amin(-1), x.amax(-1)


def magnitude(x: Tensor) -> tuple[Tensor]:
    """The largest magnitude."""
    low, high = ends(x)  # two goes of reading cost less than a copy without signs
    return (torch.maximum(low.abs_(), high.abs_()),)


def magnitudes(weight: Tensor, group: Group) -> Tensor:
    """Largest magnitude of every group, float32, (1, 1), (R, 1) or (R, G); refuses what `ranges` refuses."""
    (absmax,) = _extremes(weight, group, magnitude)
    return absmax


def ranges(weight: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    """Smallest and largest weight of every group, float32, each (1, 1), (R, 1) or (R, G).

    QuantizationError where a weight is NaN or infinite; 0 for groups of an empty tensor.
    """
    low, high = _extremes(weight, group, ends)
    return low, high


def _extremes(weight: Tensor, group: Group, measure: Measure) -> list[Tensor]:
    rows = as_rows(weight)
    height, columns = rows.shape
    if rows.numel() == 0:
        return list(measure(torch.zeros(*scale_shape(height, columns, group), 1, device=rows.device)))
    if group == "tensor":
        found = list(measure(torch.stack(rows.aminmax()).view(1, 1, 2)))  # one go of reading, slow along a dimension
    else:
        found = _joined([measure(part) for part, _ in grouped(rows[run], group)] for run in chunks(height, columns))
    require_finite(weight, *found)
    return [values.float() for values in found]


def _joined(runs: Iterable[list[tuple[Tensor, ...]]]) -> list[Tensor]:
    """Tensors (R, G) from those of runs of rows, (r, g) for each of their parts."""
    rows = [[torch.cat(parts, 1) for parts in zip(*run, strict=True)] for run in runs]
    return [torch.cat(values) for values in zip(*rows, strict=True)]


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


def encode_rows(
    weight: Tensor,
    group: Group,
    bits: int,
    measure: Measure,
    fit: Callable[..., tuple[Tensor, ...]],
    encode: Callable[..., None],
) -> tuple[Tensor, list[Tensor]]:
    """Packed codes uint8 of a weight (..., C) and the parameters of its groups, each (1, 1), (R, 1) or (R, G).

    A run of rows is measured and encoded while it is in the cache. `fit` makes parameters, tensors of one shape, from
    what `measure` found of groups; those of a group with NaN or infinity must not all be finite, which is refused with
    QuantizationError. `encode(out, x, *parameters)` writes codes to int8 `out` for float32 weights `x`, which it
    leaves as they are.
    """
    rows = as_rows(weight)
    height, columns = rows.shape
    packed = torch.empty(height, packed_width(columns, bits), dtype=torch.uint8, device=rows.device)
    shared = fit(*_extremes(weight, group, measure)) if group == "tensor" or rows.numel() == 0 else None
    runs: list[list[tuple[Tensor, ...]]] = []
    for run in chunks(height, columns):
        x = rows[run].float()
        held = packed[run] if bits == 8 else torch.empty(x.shape, dtype=torch.uint8, device=x.device)
        codes = held.view(torch.int8)  # no fast path leads to uint8
        runs.append([])
        for (part, _), (out, _) in zip(grouped(x, group), grouped(codes, group), strict=True):
            parameters = shared or fit(*measure(part))
            encode(out, part, *(p.unsqueeze(-1) for p in parameters))
            runs[-1].append(parameters)
        if bits != 8:
            pack(held, bits, packed[run])
    if shared is not None:
        return packed, list(shared)
    joined = _joined(runs)
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


def elementwise_bound(per_group: Tensor, weight: Tensor, group: Group, dtype: torch.dtype) -> Tensor:
    """A bound per group as one per weight, with the rounding to `dtype` added."""
    rows, columns = weight.shape[:-1].numel(), weight.shape[-1]
    if isinstance(group, int):
        per_group = per_group.repeat_interleave(min(group, max(columns, 1)), dim=1)[:, :columns]
    return rounding_bound(per_group.expand(rows, columns).contiguous().view(weight.shape), weight, dtype)
