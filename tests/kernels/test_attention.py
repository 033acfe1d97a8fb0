"""Attention by our loops in C is that of the definition, wherever the queries stand and however the rows lie."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from benchsuite.c_code import is_compiled
from benchsuite.kernels.attention import ATTENTION, MANY_QUERIES, attend_in_c, attends_in_c
from benchsuite.kernels.cpu import capabilities

pytestmark = pytest.mark.skipif(not is_compiled(ATTENTION), reason="no C compiler with OpenMP")


def defined(q: Tensor, k: Tensor, v: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """The results (B, H, T, D) and the logarithms (B, H, T) in float64."""
    scores = q.double() @ k.double().transpose(2, 3) / math.sqrt(q.shape[3])  # (B, H, T, S)
    positions = starts[:, None] + torch.arange(q.shape[2])  # (B, T)
    seen = torch.arange(k.shape[2]) <= positions[:, None, :, None]  # (B, 1, T, S)
    scores = scores.masked_fill(~seen, float("-inf"))
    return scores.softmax(3) @ v.double(), scores.logsumexp(3)


@given(
    batch=st.integers(1, 3),
    heads=st.integers(1, 3),
    tokens=st.integers(1, 150),
    before=st.integers(0, 40),
    size=st.integers(1, 70),
    room=st.integers(0, 5),
    in_cache=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_results_and_sums(
    batch: int, heads: int, tokens: int, before: int, size: int, room: int, in_cache: bool, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(tokens * size + before)
    qkv = torch.randn(batch, tokens, 3, heads, size, generator=generator).mul(2).to(dtype)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)  # rows far apart, as behind one product for all three
    starts = torch.zeros(batch, dtype=torch.int64)
    if in_cache:
        capacity = before + tokens + room
        k, v = (
            torch.randn(batch, heads, capacity, size, generator=generator).to(dtype).narrow(2, 0, before + tokens)
            for _ in "kv"
        )
        starts = torch.randint(0, before + 1, (batch,), generator=generator)
    y, logarithms = attend_in_c(q, k, v, starts)
    wanted, sums = defined(q, k, v, starts)
    assert y.dtype == dtype
    assert y.shape == q.shape
    one_rounding = v.abs().amax().item() * 2.0**-8 if dtype == torch.bfloat16 else 0
    torch.testing.assert_close(y.double(), wanted, atol=2e-5 + one_rounding, rtol=0)
    torch.testing.assert_close(logarithms.double(), sums, atol=2e-5, rtol=1e-6)


@given(tokens=st.integers(1, 100), keys=st.integers(1, 100))
def test_queries_behind_all_keys_see_them_all(tokens: int, keys: int) -> None:
    generator = torch.Generator().manual_seed(tokens * keys)
    q, k, v = (torch.randn(1, 2, n, 16, generator=generator) for n in (tokens, keys, keys))
    y, logarithms = attend_in_c(q, k, v, torch.tensor([keys]))
    wanted, sums = defined(q, k, v, torch.tensor([keys]))
    torch.testing.assert_close(y.double(), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(logarithms.double(), sums, atol=1e-5, rtol=1e-6)


def test_scores_may_be_as_large_as_they_like() -> None:
    q, k, v = torch.zeros(1, 1, 70, 8), torch.zeros(1, 1, 70, 8), torch.randn(1, 1, 70, 8)
    q[..., 0], k[:, :, 0, 0] = 1e15, 1e15  # all look at the first key
    k[:, :, 1:, 0] = -1e15
    y, _ = attend_in_c(q, k, v, torch.tensor([0]))
    assert torch.equal(y, v[:, :, :1].expand_as(y))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", range(3))
def test_what_is_not_finite_is_not_hidden(which: int, bad: float) -> None:
    tensors = [torch.ones(1, 2, 70, 8) for _ in "qkv"]
    tensors[which][0, 1, 69, 3] = bad
    y, _ = attend_in_c(*tensors, torch.tensor([0]))
    assert torch.isfinite(y[0, 0]).all()
    assert not torch.isfinite(y[0, 1, 69]).all()
    if which == 0:
        assert torch.isfinite(y[0, 1, :69]).all()


def test_a_result_does_not_depend_on_the_threads_nor_on_the_other_rows() -> None:
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(5, 3, 200, 64, generator=generator) for _ in "qkv")
    starts = torch.zeros(5, dtype=torch.int64)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        together, _ = attend_in_c(q, k, v, starts)
        torch.set_num_threads(1)
        alone, _ = attend_in_c(q[2:3], k[2:3], v[2:3], starts[:1])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(together[2:3], alone)


def test_which_queries_go_there() -> None:
    many = torch.ones(1, 1, MANY_QUERIES, 8)
    with torch.inference_mode():
        assert attends_in_c(many)
        assert attends_in_c(many.bfloat16()) == ("amx" not in capabilities())
        assert not attends_in_c(many[:, :, 1:])
        assert not attends_in_c(many.half())
    assert not attends_in_c(many), "gradients are wanted"


def test_keys_and_values_of_another_dtype_become_the_queries() -> None:
    generator = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(1, 2, 70, 16, generator=generator) for _ in "qkv")
    k, v = k.bfloat16(), v.bfloat16()
    y, _ = attend_in_c(q, k, v, torch.tensor([0]))
    wanted, _ = attend_in_c(q, k.float(), v.float(), torch.tensor([0]))
    assert torch.equal(y, wanted)
