"""Hypothesis strategies for the built-in grids and their products."""

from __future__ import annotations

import hypothesis.strategies as st
import torch
from torch import Tensor

from benchsuite.quant.code_books import CodeBook
from benchsuite.quant.float8 import Float8
from benchsuite.quant.grids import Absmax, Grid, ZeroPoint
from benchsuite.quant.groups import Group
from benchsuite.quant.testing import DTYPES

bits = st.sampled_from([8, 4, 3])
sizes = st.integers(1, 80)
wide_sizes = st.sampled_from([32, 64, 100, 128, 300])


def groups(sizes: st.SearchStrategy[int]) -> st.SearchStrategy[Group]:
    return st.one_of(st.sampled_from(["tensor", "row"]), sizes)


def code_books(sizes: st.SearchStrategy[int], *, double: bool = False) -> st.SearchStrategy[Grid]:
    return st.builds(CodeBook, st.sampled_from(["nf4", "fp4"]), sizes, st.just(double))


def kinds(sizes: st.SearchStrategy[int]) -> dict[str, st.SearchStrategy[Grid]]:
    """Every kind of grid, with groups of `sizes` columns where it has groups of a size."""
    return {
        "absmax": st.builds(Absmax, bits, groups(sizes)),
        "zero-point": st.builds(ZeroPoint, bits, groups(sizes)),
        "code book": code_books(sizes),
        "double-quantized code book": code_books(sizes, double=True),
        "float8": st.just(Float8()),
    }


GRIDS = kinds(sizes)
WIDE_GRIDS = kinds(wide_sizes)  # groups large enough that some weight comes near the bound


@st.composite
def factors(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Activations (N, in) of some dtype with outlier features in some of them, and a weight (out, in)."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    rows, inner, out = draw(st.integers(1, 9)), draw(st.integers(1, 130)), draw(st.integers(1, 9))
    x = torch.randn(rows, inner, generator=generator) * draw(st.sampled_from([0.0, 1e-4, 1.0, 3.0]))
    if draw(st.booleans()):
        x[:, draw(st.integers(0, inner - 1))] *= draw(st.sampled_from([10.0, 100.0]))
    weight = torch.randn(out, inner, generator=generator) * draw(st.sampled_from([1e-7, 1e-3, 0.02, 1.0]))
    return x.to(draw(st.sampled_from(DTYPES))), weight


def true_product(x: Tensor, weight: Tensor) -> Tensor:
    return x.double() @ weight.double().t()
