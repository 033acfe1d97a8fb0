"""The registry of precisions: how weights and arithmetic are held, by name. Importing it imports no torch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from benchsuite.data import datasets
from benchsuite.errors import UsageError
from benchsuite.quant.head import WithHead8
from benchsuite.quant.methods import Cast, External, Gptq, OnGrid
from benchsuite.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from benchsuite.quant.apply import Coverage
    from benchsuite.quant.layers import Form
    from benchsuite.quant.methods import Calibration


class Precision(Protocol):
    """What the registry holds: a frozen dataclass, one's own too (entry-point group `benchsuite.precisions`)."""

    @property
    def name(self) -> str:
        """As it is written after `--precision`."""
        ...

    def unavailable(self, device: str) -> str | None:
        """Why this machine cannot run it on `device` ("cpu", "cuda"), in the library's own words; None where it can."""
        ...

    def apply(self, module: nn.Module, *, device: str, calibration: Calibration | None = None) -> Coverage:
        """Hold the weights of `module` this way, in place, on `device`, and say how much was covered.

        `calibration(dataset)` gives token windows int64 (N, T) from the train split of a dataset, or of the embedded
        ones for None; methods that need none do not call it.
        """
        ...


precisions: Registry[Precision] = Registry("precision")

for _name in ("fp32", "bf16", "fp16"):
    precisions.register(_name, Cast(_name))


@precisions.family(
    r"(absmax|zeropoint)(8|4|3)(?:-(row)|-g(\d+))?",
    examples=[
        *("absmax8", "absmax8-row", "absmax8-g128", "absmax4", "absmax4-row", "absmax4-g32", "absmax4-g128"),
        *("absmax3", "absmax3-g128", "zeropoint8", "zeropoint8-row", "zeropoint8-g128", "zeropoint4"),
        *("zeropoint4-g32", "zeropoint4-g128", "zeropoint3", "zeropoint3-g128"),
    ],
)
def _evenly_spaced(match: re.Match[str]) -> Precision:
    scheme, bits, row, size = match.groups()
    _check_size(match[0], size)

    def form() -> Form:
        from benchsuite.quant.grids import Absmax, ZeroPoint
        from benchsuite.quant.layers import Form

        kind = Absmax if scheme == "absmax" else ZeroPoint
        return Form(kind(bits=int(bits), group=int(size) if size else "row" if row else "tensor"))

    return OnGrid(match[0], form)


@precisions.family(r"(nf4|fp4)-g(\d+)(-dq)?", examples=["nf4-g64", "nf4-g64-dq", "fp4-g64", "fp4-g64-dq"])
def _code_book(match: re.Match[str]) -> Precision:
    book, block, double = match.groups()
    _check_size(match[0], block)

    def form() -> Form:
        from benchsuite.quant.code_books import CodeBook
        from benchsuite.quant.layers import Form

        return Form(CodeBook("nf4" if book == "nf4" else "fp4", int(block), double_quantized=double is not None))

    return OnGrid(match[0], form)


def _check_size(name: str, size: str | None) -> None:
    if size is not None and int(size) < 1:
        raise UsageError(f"{name}: a group of {size} columns; name a positive number, such as -g128")


def _w8a8() -> Form:
    from benchsuite.quant.grids import Absmax
    from benchsuite.quant.layers import Form
    from benchsuite.quant.products import w8a8

    return Form(Absmax(8, "row"), w8a8)


def _llm_int8() -> Form:
    from benchsuite.quant.grids import Absmax
    from benchsuite.quant.layers import Form
    from benchsuite.quant.products import llm_int8

    return Form(Absmax(8, "row"), llm_int8)


def _fp8() -> Form:
    from benchsuite.quant.float8 import Float8, float8
    from benchsuite.quant.layers import Form

    return Form(Float8(), float8)


precisions.register("w8a8", OnGrid("w8a8", _w8a8))
precisions.register("llm-int8", OnGrid("llm-int8", _llm_int8))
precisions.register("fp8", OnGrid("fp8", _fp8, capability=(8, 9)))

for _external in ("bnb-int8", "bnb-nf4", "bnb-fp4", "torchao-int8wo", "torchao-int8dyn", "torchao-int4wo"):
    precisions.register(_external, External(_external))


@precisions.family(
    r"gptq(8|4|3)(?:-g(\d+))?(-act)?(?:@(.+))?", examples=["gptq8", "gptq4-g128", "gptq3-g128", "gptq4-g128-act"]
)
def _gptq(match: re.Match[str]) -> Precision:
    bits, size, act_order, dataset = match.groups()
    _check_size(match[0], size)
    if dataset:
        _ = datasets[dataset]  # an unknown one is named before anything runs
    return Gptq(match[0], int(bits), int(size) if size else "row", act_order=act_order is not None, dataset=dataset)


@precisions.family(
    r"(w8a8|absmax4-g32|absmax4-g64)-head8", examples=["w8a8-head8", "absmax4-g32-head8", "absmax4-g64-head8"]
)
def _with_head8(match: re.Match[str]) -> Precision:
    return WithHead8(match[0], precisions[match[1]])
