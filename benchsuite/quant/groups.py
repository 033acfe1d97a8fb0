"""Which weights share a scale: the whole tensor, each row, or each group of neighbours in a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor

from benchsuite.errors import QuantizationError
from benchsuite.quant.bounds import rounding_bound
from benchsuite.quant.packing import pack, unpack

Group = Literal["tensor", "row"] | int
Fit = Callable[[Tensor], tuple[Tensor, ...]]  # parameters (R, G, 1) of groups from a view (R, G, group) of weights

# Work goes through the weight in runs of rows of about this many elements: small enough for the caches of two cores,
# large enough that starting some thirty operations costs little.
_CHUNK_ELEMENTS = 3 << 17


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
    """Largest magnitude of every group of a weight (..., C), float32, (1, 1), (R, 1) or (R, G); see `fit_groups`."""
    (found,) = fit_groups(weight, group, lambda x: (magnitude(x),))
    return found


def magnitude(x: Tensor) -> Tensor:
    """Largest magnitude of every group of a view (R, G, group), float32 (R, G, 1)."""
    if x.shape[:-1].numel() == 1:
        low, high = extremes(x)
        return torch.maximum(low.abs(), high.abs())
    return x.abs().amax(-1, keepdim=True).float()


def extremes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest weight of every group of a view (R, G, group), float32 (R, G, 1)."""
    if x.shape[:-1].numel() == 1:  # PyTorch finds both in one go through a whole tensor, but slowly along a dimension
        low, high = (end.view(1, 1, 1) for end in x.aminmax())
    else:
        low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    return low.float(), high.float()


def fit_groups(weight: Tensor, group: Group, fit: Fit) -> tuple[Tensor, ...]:
    """What `fit` says of every group of a weight (..., C), each (1, 1), (R, 1) or (R, G).

    QuantizationError where a weight is NaN or infinite. Groups of an empty weight are of one zero.
    """
    rows = as_rows(weight)
    if rows.numel() == 0:
        shape = scale_shape(rows.shape[0], rows.shape[1], group)
        found = fit(torch.zeros(*shape, 1, device=rows.device))
    elif group == "tensor":
        found = fit(rows.reshape(1, 1, -1))
    else:
        found = _run_by_run(fit, group, rows)
    require_finite(weight, *found)
    return tuple(one.squeeze(-1) for one in found)


def _run_by_run(visit: Callable[..., tuple[Tensor, ...]], group: Group, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors (R, G, 1) whose parts `visit` gives for views (r, G, group) of runs of rows of `tensors` (R, C)."""
    columns = []
    for parts in zip(*(grouped(tensor, group) for tensor in tensors), strict=True):
        views = [view for view, _ in parts]
        height, groups, width = views[0].shape
        found = [visit(*(view[run] for view in views)) for run in chunks(height, groups * width)]
        columns.append([torch.cat(one) for one in zip(*found, strict=True)])
    return tuple(torch.cat(one, 1) for one in zip(*columns, strict=True))


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


def encode_rows(weight: Tensor, group: Group, bits: int, fit: Fit, encode: Callable[..., Tensor]) -> list[Tensor]:
    """Packed codes uint8 of a weight (..., C), and the parameters of its groups as `fit` finds them.

    `encode` maps float32 weights, which it leaves as they are, and the parameters of their groups to integers whose low
    8 bits are the codes. A run of rows is read from memory once: its groups are fitted and encoded while it is in the
    cache. QuantizationError where a weight is NaN or infinite, which the parameters then are too.
    """
    rows = as_rows(weight)
    codes = torch.empty(rows.shape, dtype=torch.int8, device=rows.device)  # a fast path leads to int8, none to uint8
    whole = fit_groups(weight, group, fit) if group == "tensor" or rows.numel() == 0 else ()

    def encoded(x: Tensor, place: Tensor) -> tuple[Tensor, ...]:
        x = x.float()
        parameters = whole or fit(x)
        place.copy_(encode(x, *parameters))
        return parameters

    fitted = _run_by_run(encoded, group, rows, codes) if rows.numel() else ()
    parameters = whole or tuple(one.squeeze(-1) for one in fitted)
    require_finite(weight, *parameters)
    return [pack(codes.view(torch.uint8), bits), *parameters]


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
