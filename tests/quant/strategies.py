"""Hypothesis strategies for the built-in grids."""

from __future__ import annotations

import hypothesis.strategies as st

from benchsuite.quant.code_books import CodeBook
from benchsuite.quant.float8 import Float8
from benchsuite.quant.grids import Absmax, Grid, ZeroPoint
from benchsuite.quant.groups import Group

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
