"""Which weights share a scale: the whole tensor, each row, or each group of neighbours in a row."""

from __future__ import annotations

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


def ranges(weight: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    """Smallest and largest weight of every group, float32, each (1, 1), (R, 1) or (R, G).

    QuantizationError where a weight is NaN or infinite; 0 for groups of an empty tensor.
    """
    rows = as_rows(weight)
    low = torch.zeros(scale_shape(rows.shape[0], rows.shape[1], group), device=rows.device)
    high = low.clone()
    if rows.numel() == 0:
        return low, high
    if group == "tensor":
        low[0, 0], high[0, 0] = rows.aminmax()
    else:
        for part, groups in grouped(rows, group):
            low[:, groups], high[:, groups] = part.amin(-1), part.amax(-1)
    require_finite(weight, low, high)
    return low, high


def require_finite(weight: Tensor, *statistics: Tensor) -> None:
    """Raise QuantizationError that names the first NaN or infinity of `weight` where a statistic is not finite."""
    if all(bool(torch.isfinite(statistic).all()) for statistic in statistics):
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
    parameters: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
    encode: Callable[..., Tensor],
    *,
    signed: bool = False,
) -> tuple[Tensor, ...]:
    """Packed codes, then the parameters (R, G) of every group: one pass over the weight, in runs that fit the cache.

    `parameters` maps smallest and largest weight of groups to their parameters; `encode` maps float32 weights, which it
    leaves as they are, and their parameters to codes.
    """
    rows = as_rows(weight)
    height, columns = rows.shape
    width, dtype = packed_width(columns, bits), torch.int8 if signed else torch.uint8
    packed = torch.empty(height, width, dtype=dtype, device=rows.device)
    if group == "tensor" or rows.numel() == 0:
        found = parameters(*ranges(weight, group))
    else:
        shape = scale_shape(height, columns, group)
        zero = torch.zeros(1, 1, device=rows.device)
        found = tuple(one.new_empty(shape) for one in parameters(zero, zero))
    for run in chunks(height, columns):
        x = rows[run].float()  # (r, C)
        codes = packed[run] if bits == 8 else torch.empty(x.shape, dtype=torch.int8, device=x.device)
        for (part, groups), (place, _) in zip(grouped(x, group), grouped(codes, group), strict=True):
            if group == "tensor":
                mine = found
            else:
                mine = parameters(part.amin(-1), part.amax(-1))
                for kept, new in zip(found, mine, strict=True):
                    kept[run, groups] = new
            values = encode(part, *(p.unsqueeze(-1) for p in mine))
            # PyTorch has a vectorised path from float32 to int8 and to int16, but none to uint8
            place.copy_(values.to(torch.int16) if place.dtype == torch.uint8 else values)
        if bits != 8:
            packed[run] = pack(codes.view(torch.uint8), bits)
    require_finite(weight, found[0])
    return packed, *found


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
    bound = per_group.repeat_interleave(group, dim=1)[:, :columns] if isinstance(group, int) else per_group
    return rounding_bound(bound.expand(rows, columns).contiguous().view(weight.shape), weight, dtype)
