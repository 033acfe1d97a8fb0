"""Codes come out of their bytes as they went in."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from benchsuite.quant.packing import pack, pack_neighbours, packed_width, unpack


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


def test_four_bits_are_the_two_halves_of_a_row_the_first_one_low() -> None:
    assert pack(torch.tensor([[1, 2, 3, 4, 5]], dtype=torch.uint8), 4).tolist() == [[0x41, 0x52, 0x03]]


def test_three_bits_are_eighths_of_a_row_of_which_two_are_spread_over_the_bytes_of_the_others() -> None:
    codes = torch.tensor([[1, 7, 2, 6, 3, 5, 4, 0, 5, 1, 6, 2, 7, 3, 0, 4]], dtype=torch.uint8)
    runs = codes.view(8, 2).tolist()
    six = [[low + 8 * high for low, high in zip(runs[i], runs[i + 4], strict=True)] for i in range(4)]
    expected = [six[i][j] + 64 * (six[3][j] >> 2 * i & 3) for i in range(3) for j in range(2)]
    assert pack(codes, 3).tolist() == [expected]


def test_neighbours_share_a_byte_where_others_keep_them_so() -> None:
    assert pack_neighbours(torch.tensor([[1, 2, 3, 4]], dtype=torch.uint8)).tolist() == [[0x12, 0x34]]
