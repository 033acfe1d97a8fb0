"""The table of kernels has a row for everything, and a reason for each row."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from benchsuite.errors import UsageError
from benchsuite.kernels.table import TABLE, Capability, Weights, choose


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
@pytest.mark.parametrize("weights", get_args(Weights))
def test_every_combination_of_capabilities_has_a_kernel_that_needs_no_more(device: str, weights: Weights) -> None:
    every = get_args(Capability)
    for count in range(len(every) + 1):
        for capabilities in itertools.combinations(every, count):
            kernel = choose(device, weights, frozenset(capabilities))
            assert set(kernel.needs) <= set(capabilities)
            assert kernel.weights == weights


def test_saturating_int8_products_are_never_chosen() -> None:
    assert choose("cpu", "int8-row", frozenset({"onednn", "bf16"})).name == "float32-codes"


def test_each_row_has_a_reason() -> None:
    assert all(kernel.reason for kernel in TABLE)


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(UsageError, match="'mps'"):
        choose("mps", "fp32", frozenset())
