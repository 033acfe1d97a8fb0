"""How far a quantized weight, or a product with it, can be from the true one: proofs, not measurements.

Notation: u = 2**-24 is the unit roundoff of float32 and fl() a result rounded to it; rint() rounds to the nearest
integer, ties to even; A is the largest magnitude of a group. Weights of 16 bits are exact in float32, where all
arithmetic is done. Every bound is a float32 tensor that is itself rounded up, by the slack in its constant.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Scales are float32 with 16 significant bits, cut towards zero, and never below the smallest normal number: a product
# of such a scale with an integer of up to 8 bits is exact in float32.
SCALE_BITS = 16
SMALLEST_SCALE = torch.finfo(torch.float32).tiny
CUT_UNIT = 1 << 24 - SCALE_BITS  # the last kept bit of a scale's significand, as an integer
_CUT = 2.0 ** (1 - SCALE_BITS)  # the largest relative loss of cutting
_UNIT_ROUNDOFF = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
_HALF_SUBNORMAL = {torch.float32: 0.0, torch.bfloat16: 2.0**-134, torch.float16: 2.0**-25}


def cut(scale: Tensor) -> Tensor:
    """Cut positive `scale`, float32, towards zero to its 16 leading significant bits."""
    return scale.view(torch.int32).bitwise_and_(-CUT_UNIT).view(torch.float32)


def absmax_bound(absmax: Tensor, qmax: int) -> Tensor:
    """The bound of `Absmax` for groups whose largest magnitude is `absmax`: half a step.

    Proof. Let t = fl(A / qmax), s = max(cut(t), 2**-126) with cut(t) in [t (1 - 2**-15), t]. Where s = cut(t), s <= A /
    qmax: otherwise fl() rounded A / qmax up to a number s of 16 bits, so that qmax · s, exact in float32, lay above A
    by less than u · A, which is less than the distance of A to the next float32. The code is c = rint(fl(w / s)),
    rounded by adding an even number of the size of 2**23. |w / s| <= (A / qmax) / s · qmax <= qmax (1 + 2**-14), so c
    needs no clamping and |fl(w / s) - w / s| <= (qmax + 1) u.
    Hence |w / s - c| <= 1/2 + (qmax + 1) u. The product c · s is exact (|c| < 2**8, s has 16 bits and is normal), so |w
    - c · s| <= s (1/2 + (qmax + 1) u) with s <= max(A / qmax, 2**-126).
    """
    step = (absmax / qmax).clamp(min=SMALLEST_SCALE)
    return step * (0.5 + (qmax + 4) * 2.0**-23)


def zero_point_bound(low: Tensor, high: Tensor, levels: int) -> Tensor:
    """The bound of `ZeroPoint` for groups from `low` <= 0 to `high` >= 0, codes to `levels`: a little over half a step.

    Proof. Let r = (high - low) / levels, k = fl((1 + 8 u) / levels) and t = fl(fl(high · k) - fl(low · k)), on the way
    to which each number is rounded three times: by u relative, or a subnormal product by 2**-150, no more than u ·
    2**-126. Where r >= 2**-126 therefore r <= t <= r (1 + 14 u). Let s = max(cut(t), 2**-126) or, where rint(fl(high /
    s)) - rint(fl(low / s)) < levels, the next smaller number of 16 bits that is not below 2**-126; so s <= R (1 + 14
    u), R = max(r, 2**-126). With x = fl(w / s), z = -rint(fl(low / s)) the code is c = min(rint(x + z), levels), the
    sum rounded once and not below 0: rounding is monotone, and fl(low / s) + z, at most 1/2 from 0, goes to 0, which is
    even. If c = rint(x + z), then |x - (c - z)| <= 1/2.
    Otherwise 0 < x - (c - z) <= fl(high / s) - levels - rint(fl(low / s)) <= (high - low) / s - levels + 1/2 + 2**-16,
    the last term for two quotients of at most 2**8 rounded to float32. Where s >= cut(t), (high - low) / s <= levels (1
    + 2**-15 + 2**-23); where s was made smaller, the quotients were at most levels + 2**-16 apart before, and 2**-15 of
    that more after. So |w / s - (c - z)| <= 1/2 + levels · 2**-15 + 2**-15 + 2**-16, and the product (c - z) · s is
    exact (|c - z| < 2**8). Times s <= R (1 + 14 u); what 2**-14 leaves covers 14 u and the roundings of the bound.
    Where the product exceeds the largest float32 it is saturated to it, which brings it nearer to w.

    Unless s = 2**-126, the codes 0 and `levels` are both used: low has 0, and where s was made smaller (high - low) / s
    >= levels (1 + 2**-17), so that the rounded quotients a and b are more than `levels` apart and rint(a) - rint(b) >=
    a - b - 1 > levels - 1. Then high - low = levels · s for the values that are held, unless an end was saturated, and
    their t lies in [s, s (1 + 14 u)], which is cut to s: a second quantizing changes nothing. At s = 2**-126 the values
    held span no more codes than before, which leads to s again.
    """
    step = (high.double() - low.double()).div(levels).float().clamp(min=SMALLEST_SCALE)
    return step * (0.5 + levels * _CUT + 2.0**-14)


def code_book_bound(absmax: Tensor, half_widest_gap: float, smallest_divisor: float) -> Tensor:
    """The bound of a code book on [-1, 1] that holds both ends, scaled by `absmax`: half the widest gap times absmax.

    Proof. x = fl(w · fl(1 / A)) is within 2**-22 + 2**-23 of w / A: each rounding is at most u relative, except that 1
    / A is subnormal for A > 2**126 and then off by 2**-150, which is 2**-22 relative. The nearest value v of the book
    to x, by midpoints rounded to float32, has |x - v| <= half the widest gap + u. fl(v · A) is off by u · A, or by
    2**-150 <= u · A where the product is subnormal. Together less than (half the widest gap + 2**-20) A. bitsandbytes
    divides by no less than 1e-38. Below it |x| <= |w / A|, the nearest v is not further from w / A than 1, and rounding
    to the grid of subnormals, on which w and A lie, does not carry the error past A.
    """
    return torch.where(absmax < smallest_divisor, absmax, absmax * (half_widest_gap + 2.0**-20))


def float8_bound(weight: Tensor, step: Tensor) -> Tensor:
    """The bound of `Float8` for `weight` (R, C) float32 with `step` (R, 1) = A / 448: a seventeenth of the weight.

    Proof. The scale is s = max(cut(step), 2**-126) <= max(step, 2**-126), as for `absmax_bound`; A / s <= 448 (1 +
    2**-14) is rounded to 448. Numbers of e4m3 have 4 significant bits: a quotient 2**e + t below 2**(e + 1) is rounded
    by at most min(t, 2**(e - 4)), a seventeenth of it; below 2**-6, where they are evenly spaced, by 2**-10. The
    quotient is off by u relative, and the product of 4 bits and 16 bits is exact.
    """
    return torch.maximum(weight.abs() / 17, step.clamp(min=SMALLEST_SCALE) * 2.0**-10) * (1 + 2.0**-16)


def mean_scale(scale: Tensor) -> Tensor:
    """The mean () of scales (R, G) as float32 sums it, or in float64 where that sum overflows."""
    mean = scale.mean()
    return torch.where(torch.isfinite(mean), mean, scale.double().mean().float())


def dynamic_scale_bound(absmax: Tensor, values: Tensor, block: int, smallest_divisor: float) -> Tensor:
    """What double quantization of the scales `absmax` (R, G) adds to a code book's bound; `values` is the 8-bit map.

    Proof. A weight decodes to v · S' in place of v · S with |v| <= 1: off by at most |S - S'|. S - mean is divided by
    the largest magnitude M of its block of 256, and the map holds values to both sides of [-1, 1] at most its widest
    half gap or, below its first value, 1 + values[0] away. Five roundings of numbers not larger than M + |mean| stay
    under 2**-20 of it. Where M is below `smallest_divisor` the value is only known to lie between 0 and the true one's
    neighbour: off by at most M.
    """
    if absmax.numel() == 0:
        return absmax
    offset = mean_scale(absmax)
    flat = (absmax - offset).abs().reshape(-1)
    largest = torch.stack([part.max() for part in torch.split(flat, block)]).repeat_interleave(block)[: flat.numel()]
    furthest = max(float(values.diff().max()) / 2, 1 + float(values[0]))
    bound = torch.where(largest < smallest_divisor, largest, largest * furthest) + (largest + offset) * 2.0**-20
    return bound.view(absmax.shape)


def rounding_bound(bound: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The bound after dequantizing to `dtype`, which must be able to hold the weight.

    Proof. The float32 value v has |v| <= |w| + bound and is rounded to the nearest of `dtype`: off by at most its unit
    roundoff times |v|, or half its smallest subnormal. Saturation at the largest value of `dtype` only brings v nearer.
    """
    if dtype == torch.float32:
        return bound
    unit = _UNIT_ROUNDOFF[dtype]
    return bound + (bound + weight.abs().float()) * (unit * (1 + 2.0**-20)) + _HALF_SUBNORMAL[dtype]


def product_bound(x: Tensor, weight: Tensor, threshold: float = math.inf) -> Tensor:
    """The bound (N, out) of |x Wᵀ - y|, y from `w8a8`, or from `llm_int8` with its `threshold`, in the dtype of x.

    Proof. With x = x' + e and w = w' + f, x' and w' what the codes stand for: x·w - x'·w' = Σ x f + Σ e w', so that
    |x·w - x'·w'| <= max|f| Σ|x| + max|e| Σ|w'| with Σ|w'| <= Σ|w| + in · max|f|; max|f| and max|e| are those of
    `absmax_bound` for the row of the weight and for the token. Features of `llm_int8` at or above the threshold have no
    e. Their part is summed in float32 from weights rounded to the dtype of x and is rounded to it itself: off by (2 v +
    in · u) Σ|x w'|, v the unit roundoff of that dtype. The int32 sum is exact; converting and scaling it is off by 4 u,
    rounding to the dtype of x by v, both relative to |y|, and adding the two parts by v once more. `underflow` is lost
    to subnormal numbers: half the smallest one for each result and for each weight of an outlier feature.
    """
    wide, w = x.float(), weight.float()
    outlier = (wide.abs() >= threshold).any(0)  # (in,)
    regular = wide.masked_fill(outlier, 0)
    f = absmax_bound(w.abs().amax(1), 127)  # (out,)
    e = absmax_bound(regular.abs().amax(1), 127)  # (N,)
    held = w.masked_fill(outlier, 0).abs().sum(1) + (~outlier).sum() * f  # (out,): Σ|w'| of the regular features
    bound = wide.abs().sum(1)[:, None] * f + e[:, None] * held  # (N, out)
    u, v = _UNIT_ROUNDOFF[torch.float32], _UNIT_ROUNDOFF[x.dtype]
    # Σ|x w'|, which |y| does not exceed by more than the bound
    size = wide.abs() @ (w.abs() + f[:, None]).t()  # (N, out)
    in_16_bits = wide[:, outlier].abs() @ (w.abs() + f[:, None])[:, outlier].t()
    lost = 2 + wide[:, outlier].abs().sum(1)[:, None]  # (N, 1) results and weights that are subnormal
    underflow = lost * _HALF_SUBNORMAL[x.dtype] + 2.0**-146
    return bound + in_16_bits * (2 * v + x.shape[1] * u) + (size + bound) * (2 * v + 8 * u) + underflow
