"""Products of 4-bit weights round no more than bfloat16 does, and no layout is taken that was not read back once."""

from __future__ import annotations

import itertools
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchsuite.kernels import cpu, cuda, int4
from benchsuite.kernels.code_book import CodeBookLinear
from benchsuite.kernels.int4 import FEW_TOKENS, Int4Linear, unpack_tiles
from benchsuite.kernels.prepare import prepare
from benchsuite.quant.grids import Absmax, ZeroPoint
from benchsuite.quant.groups import Group
from benchsuite.quant.layers import QuantizedLinear


@settings(max_examples=20)
@given(
    blocks=st.integers(1, 3),
    groups=st.integers(1, 4),
    group=st.sampled_from([32, 64]),
    tokens=st.sampled_from([1, 8, FEW_TOKENS["cpu"] + 1]),
    symmetric=st.booleans(),
    shared=st.sampled_from(["group", "row", "tensor"]),
    in_c=st.booleans(),
)
def test_four_bit_products_round_no_more_than_bfloat16(
    blocks: int, groups: int, group: int, tokens: int, symmetric: bool, shared: str, in_c: bool
) -> None:
    torch.manual_seed(2)
    held: Group = group if shared == "group" else "row" if shared == "row" else "tensor"
    linear = torch.nn.Linear(groups * group, blocks * 64).requires_grad_(False)
    layer = QuantizedLinear.of(linear, Absmax(4, held) if symmetric else ZeroPoint(4, held))
    module = torch.nn.Sequential(layer)
    x = torch.randn(tokens, groups * group)
    terms = (x.abs() @ layer.dequantize().abs().t()).max()  # what the rounding of each factor can add up to
    plain = module(x)
    found = cpu.capabilities()
    with patch.object(cpu, "capabilities", lambda: found if in_c else found - {"c"}):
        prepare(module, "cpu")
    assert isinstance(module[0], CodeBookLinear if in_c and "c" in found else Int4Linear)
    assert (module(x) - plain).abs().max() <= 8 * terms / 256


@pytest.mark.parametrize("shape", [(33, 48), (64, 40)])
def test_shapes_that_the_four_bit_kernel_lacks_keep_their_layer(shape: tuple[int, int]) -> None:
    module = torch.nn.Sequential(QuantizedLinear.of(torch.nn.Linear(shape[1], shape[0]), Absmax(4, 32)))
    assert prepare(module, "cpu") == {"torch (other)": 1}
    assert isinstance(module[0], QuantizedLinear)


@given(blocks=st.integers(1, 3), runs=st.integers(1, 3), tiles=st.sampled_from([2, 4, 8]))
@settings(max_examples=20)
def test_tiles_of_four_bit_codes_are_read_back_place_by_place(blocks: int, runs: int, tiles: int) -> None:
    """The layout of CUDA's 4-bit product, built number by number as its kernel loads it: two tiles a word."""
    rows, columns = blocks * 8, runs * tiles * 16
    codes = torch.randint(0, 16, (rows, columns), generator=torch.Generator().manual_seed(blocks + runs + tiles))
    packed = torch.empty(blocks, runs, 32, tiles // 2, dtype=torch.int32)
    for block, run, lane, pair in itertools.product(range(blocks), range(runs), range(32), range(tiles // 2)):
        row, first = block * 8 + lane // 4, (run * tiles + 2 * pair) * 16 + lane % 4 * 2
        places = [first, first + 8, first + 16, first + 24, first + 1, first + 9, first + 17, first + 25]
        word = sum(int(codes[row, column]) << 4 * place for place, column in enumerate(places))
        packed[block, run, lane, pair] = word - (word >> 31 << 32)
    assert torch.equal(unpack_tiles(packed).t().long(), codes)


@pytest.mark.parametrize("swap", ["rows", "columns"])
def test_the_trial_of_the_four_bit_product_sees_codes_in_other_places(
    swap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert int4.int4_is_right("cpu")
    unpack = int4.unpack_int4
    places = {
        "rows": lambda w: w.unflatten(1, (-1, 2, 16)).flip(2),
        "columns": lambda w: w.unflatten(0, (-1, 2, 16)).flip(1),
    }
    monkeypatch.setattr(int4, "unpack_int4", lambda *given: places[swap](unpack(*given)).reshape(256, 64))
    assert not int4.int4_is_right("cpu")


def test_a_four_bit_product_of_another_layout_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ("int4" in cpu.capabilities()) == (torch.backends.cpu.get_cpu_capability() != "DEFAULT")
    block, low, high = int4._layout()
    monkeypatch.setattr(int4, "_layout", lambda: (block, high, low))
    assert "int4" not in cpu.capabilities.__wrapped__()


@pytest.mark.parametrize("tokens", [0, 1, 5, FEW_TOKENS["cpu"] + 1])
def test_four_bit_products_take_views(tokens: int) -> None:
    layer = QuantizedLinear.of(torch.nn.Linear(64, 64).requires_grad_(False), Absmax(4, 32))
    module = torch.nn.Sequential(layer)
    prepare(module, "cpu")
    x = torch.randn(64, tokens, generator=torch.Generator().manual_seed(3)).bfloat16().t()
    assert torch.equal(module(x), module(x.contiguous()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("tokens", [1, 16, FEW_TOKENS["cuda"] + 1])
@pytest.mark.parametrize("grid", [Absmax(4, 32), ZeroPoint(4, 64), Absmax(4, "row")])
def test_four_bit_products_on_cuda_round_no_more_than_bfloat16(grid: Absmax | ZeroPoint, tokens: int) -> None:
    assert "int4" in cuda.capabilities("cuda") or torch.cuda.get_device_capability() < (8, 0)
    layer = QuantizedLinear.of(torch.nn.Linear(192, 64).requires_grad_(False), grid).to("cuda")
    module = torch.nn.Sequential(layer)
    x = torch.randn(tokens, 192, device="cuda")
    terms = (x.abs() @ layer.dequantize().abs().t()).max()
    plain = module(x)
    prepare(module, "cuda")
    assert (module(x) - plain).abs().max() <= 8 * terms / 256
