"""The table of matrix products: for how weights are held and what the processor has, the kernel and why. No torch.

Rows are tried from the top; the first that fits is chosen, and the choice is in every record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from benchsuite.errors import UsageError

Weights = Literal[
    "fp32", "bf16", "fp16", "int8-row", "int8-weight", "int4-group", "code-book", "odd-code-book", "other"
]
Capability = Literal["amx", "bf16", "c", "exact_int8", "int4", "mkl", "onednn"]


@dataclass(frozen=True)
class Kernel:
    """One row: what it is for (`device`, `weights`, and the capabilities that it needs), what runs, and why.

    `by_rows`: one token of a compiled pass goes through the weight's rows in its place.
    """

    name: str
    device: Literal["cpu", "cuda"]
    weights: Weights
    needs: tuple[Capability, ...]
    reason: str
    by_rows: bool = False


TABLE: tuple[Kernel, ...] = (
    Kernel(
        "mkl-and-onednn",
        "cpu",
        "fp32",
        ("mkl", "onednn"),
        "on Intel MKL multiplies one token faster than oneDNN packed; without AMX 512 too, and loops of our own a few",
        by_rows=True,
    ),
    Kernel(
        "onednn-prepacked",
        "cpu",
        "fp32",
        ("onednn",),
        "no reordering per call and GELU inside the product; on AMD twice MKL's speed",
        by_rows=True,
    ),
    Kernel(
        "onednn-prepacked",
        "cpu",
        "bf16",
        ("onednn", "bf16"),
        "F.linear reorders a bf16 weight in every call, which doubles the time of one token's product",
        by_rows=True,
    ),
    Kernel(
        "c-rows",
        "cpu",
        "bf16",
        ("c",),
        "without bfloat16 products: a few tokens by loops of our own in float32; for more as as-floats",
        by_rows=True,
    ),
    Kernel(
        "as-floats",
        "cpu",
        "bf16",
        ("onednn",),
        "a processor without bfloat16 multiplies float32 three times as fast as oneDNN bfloat16: made in the cache",
        by_rows=True,
    ),
    Kernel(
        "onednn-int8",
        "cpu",
        "int8-row",
        ("onednn", "exact_int8"),
        "exact int32 sums; with AMX, or without our loops, from a prepacked weight, for one token bias and GELU inside",
        by_rows=True,
    ),
    Kernel(
        "float32-codes",
        "cpu",
        "int8-row",
        (),
        "without VNNI the int8 products of oneDNN saturate at 16 bits; float32 sums of 1,040 codes are exact",
    ),
    Kernel(
        "c-rows",
        "cpu",
        "int8-weight",
        ("c",),
        "a few tokens by loops of our own, in which the codes become floats in registers; for more as int8-codes",
        by_rows=True,
    ),
    Kernel(
        "int8-codes",
        "cpu",
        "int8-weight",
        (),
        "the weight is read as int8 and becomes float in the cache; the scales follow the sums",
        by_rows=True,
    ),
    Kernel(
        "c-rows",
        "cpu",
        "int4-group",
        ("c",),
        "a few tokens by loops of our own, as fast as PyTorch's 4-bit product and in float32; for more as byte-pairs",
    ),
    Kernel(
        "int4pack",
        "cpu",
        "int4-group",
        ("int4",),
        "reads 4 bits a weight for a few tokens; for more the weight is dequantized once and multiplied in bf16",
    ),
    Kernel(
        "int4pack",
        "cuda",
        "int4-group",
        ("int4",),
        "reads 4 bits a weight in tensor cores for up to 128 tokens; for more the weight is dequantized once",
    ),
    Kernel(
        "c-rows",
        "cpu",
        "code-book",
        ("c",),
        "a few tokens by loops of our own, which look sixteen values up at once; for more as byte-pairs",
    ),
    Kernel(
        "byte-pairs",
        "cpu",
        "code-book",
        (),
        "a byte is looked up as two values at once, in runs of rows that stay in the cache",
    ),
    Kernel(
        "byte-pairs",
        "cpu",
        "odd-code-book",
        (),
        "a byte is looked up as two values at once, in runs of rows that stay in the cache",
    ),
    *(
        Kernel(
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
        if kernel.device == kind and kernel.weights == weights and capabilities.issuperset(kernel.needs):
            return kernel
    raise UsageError(f"no kernel for {weights} on device {device!r}; cpu and cuda are supported")


def in_rows(chosen: Mapping[str, int]) -> dict[str, int]:
    """`chosen`, the layers by label, with those renamed that one token of a compiled pass takes by rows."""
    by_rows = {label(row.name, row.weights) for row in TABLE if row.by_rows}
    found = Counter[str]()
    for name, layers in chosen.items():
        found[f"compiled-rows ({name.partition(' (')[2]}" if name in by_rows else name] += layers
    return dict(found)


def label(kernel: str, weights: Weights) -> str:
    """How a record calls the layers with `weights` that run `kernel`."""
    return f"{kernel} ({weights})"
