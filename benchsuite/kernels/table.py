"""The table of matrix products: for how weights are held and what the processor has, the kernel and why. No torch.

Rows are tried from the top; the first that fits is chosen, and the choice is in every record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from benchsuite.errors import UsageError

Weights = Literal["fp32", "bf16", "fp16", "int8-row", "int8-weight", "int4-group", "code-book", "other"]
Capability = Literal["bf16", "exact_int8", "int4", "mkl", "onednn"]

_IN_ROWS = {"mkl-and-onednn", "onednn-prepacked", "onednn-int8", "int8-codes"}  # whose weight can be held in rows


@dataclass(frozen=True)
class Kernel:
    """One row: what it is for (`device`, `weights`, and the capabilities that it needs), what runs, and why."""

    name: str
    device: Literal["cpu", "cuda"]
    weights: Weights
    needs: frozenset[Capability]
    reason: str


def _row(
    name: str, device: Literal["cpu", "cuda"], weights: Weights, needs: tuple[Capability, ...], why: str
) -> Kernel:
    return Kernel(name, device, weights, frozenset(needs), why)


TABLE: tuple[Kernel, ...] = (
    _row(
        "mkl-and-onednn",
        "cpu",
        "fp32",
        ("mkl", "onednn"),
        "on Intel MKL multiplies one token faster than oneDNN packed; more tokens, with GELU, through oneDNN",
    ),
    _row(
        "onednn-prepacked",
        "cpu",
        "fp32",
        ("onednn",),
        "no reordering per call and GELU inside the product; on AMD twice MKL's speed",
    ),
    _row(
        "onednn-prepacked",
        "cpu",
        "bf16",
        ("onednn", "bf16"),
        "F.linear reorders a bf16 weight in every call, which doubles the time of one token's product",
    ),
    _row(
        "onednn-int8",
        "cpu",
        "int8-row",
        ("onednn", "exact_int8"),
        "exact int32 sums from a prepacked weight, with the rows' scales, and for one token bias and GELU too, inside",
    ),
    _row(
        "float32-codes",
        "cpu",
        "int8-row",
        (),
        "without VNNI the int8 products of oneDNN saturate at 16 bits; float32 sums of 1,040 codes are exact",
    ),
    _row(
        "int8-codes",
        "cpu",
        "int8-weight",
        (),
        "the weight is read as int8 and becomes float in the cache; the scales follow the sums",
    ),
    _row(
        "int4pack",
        "cpu",
        "int4-group",
        ("int4",),
        "reads 4 bits a weight for a few tokens; for more the weight is dequantized once and multiplied in bf16",
    ),
    _row(
        "byte-pairs",
        "cpu",
        "code-book",
        (),
        "a byte is looked up as two values at once, in runs of rows that stay in the cache",
    ),
    *(
        _row(
            "torch", device, weights, (), "PyTorch's own choice: nothing that was tried is faster, or nothing else runs"
        )
        for device in ("cpu", "cuda")
        for weights in get_args(Weights)
    ),
)


def choose(device: str, weights: Weights, capabilities: frozenset[Capability]) -> Kernel:
    """The first row for weights held so on `device` ("cpu", "cuda:1" …) whose needs the machine has."""
    kind = device.partition(":")[0]
    for kernel in TABLE:
        if kernel.device == kind and kernel.weights == weights and kernel.needs <= capabilities:
            return kernel
    raise UsageError(f"no kernel for {weights} on device {device!r}; cpu and cuda are supported")


def in_rows(chosen: Mapping[str, int]) -> dict[str, int]:
    """The layers by kernel in a compiled pass of one token on the CPU, where `chosen` counts them as prepared.

    Inductor's loop over a dozen rows reads the weight faster than any library's product of one token.
    """
    found = Counter[str]()
    for name, layers in chosen.items():
        kernel, _, weights = name.partition(" ")
        found[f"compiled-rows {weights}" if kernel in _IN_ROWS else name] += layers
    return dict(found)
