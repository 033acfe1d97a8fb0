"""Codes come out of their bytes as they went in."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from benchsuite.quant.packing import pack, packed_width, unpack


@given(bits=st.sampled_from([8, 4, 3]), rows=st.integers(0, 4), columns=st.integers(0, 67), seed=st.integers(0, 2**31))
def test_packing_is_undone_by_unpacking(bits: int, rows: int, columns: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 2**bits, (rows, columns), dtype=torch.uint8, generator=generator)
    packed = pack(codes, bits)
    assert packed.shape == (rows, packed_width(columns, bits))
    assert torch.equal(unpack(packed, bits, columns), codes)


@pytest.mark.parametrize(("bits", "columns", "width"), [(8, 7, 7), (4, 7, 4), (4, 8, 4), (3, 8, 3), (3, 9, 6)])
def test_codes_take_no_more_bytes_than_their_bits_say(bits: int, columns: int, width: int) -> None:
    assert packed_width(columns, bits) == width
