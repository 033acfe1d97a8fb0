"""The registry knows the names, refuses others, and costs nothing to import."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch
from torch import nn

from benchsuite.errors import QuantizationError, UnknownNameError, UsageError
from benchsuite.quant.precision import precisions

BUILT_IN = (
    *("fp32", "bf16", "fp16", "absmax8", "absmax8-row", "absmax8-g128", "absmax4-g32", "zeropoint8", "zeropoint3-g64"),
    *("nf4-g64", "nf4-g64-dq", "fp4-g64", "fp4-g32-dq", "w8a8", "llm-int8", "gptq4-g128", "gptq3-g128", "gptq8", "fp8"),
    *("gptq4-g128-act", "bnb-int8", "bnb-nf4", "bnb-fp4", "torchao-int8wo", "torchao-int8dyn", "torchao-int4wo"),
)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_precision_is_called_what_it_was_asked_for_by(name: str) -> None:
    assert precisions[name].name == name


@pytest.mark.parametrize("name", ["absmax5", "absmax8-col", "nf4", "nf8-g64", "gptq2", "int8", "absmax4-g"])
def test_other_names_are_unknown(name: str) -> None:
    with pytest.raises(UnknownNameError):
        precisions[name]


def test_the_registry_imports_none_of_the_heavy_libraries() -> None:
    heavy = ("torch", "transformers", "bitsandbytes", "torchao")
    code = (
        "import sys; from benchsuite.quant.precision import precisions; precisions.select(['*']);"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_glob_finds_the_grids_with_one_scale_too() -> None:
    assert {"absmax4", "absmax3", "zeropoint4", "zeropoint3", "absmax4-g128"} <= set(precisions.select(["*[34]*"]))


@pytest.mark.parametrize("name", ["absmax4-g0", "zeropoint8-g00", "nf4-g0", "gptq4-g0"])
def test_a_group_of_no_columns_is_refused_when_it_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=r"a group of 0+ columns; name a positive number"):
        precisions[name]


def test_a_dataset_that_nobody_knows_is_refused_when_it_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown dataset 'wikitxt2'; did you mean 'wikitext2'"):
        precisions["gptq4-g128@wikitxt2"]


def test_gptq_without_calibration_says_what_it_needs() -> None:
    with pytest.raises(QuantizationError, match="train split"):
        precisions["gptq8"].apply(nn.Sequential(nn.Linear(4, 4)), device="cpu")


def test_fp8_says_which_device_it_needs() -> None:
    assert "compute capability 8.9" in str(precisions["fp8"].unavailable("cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
@pytest.mark.parametrize("name", ["bnb-int8", "bnb-nf4"])
def test_what_a_library_cannot_run_here_is_unavailable_in_its_own_words(name: str) -> None:
    assert precisions[name].unavailable("cpu") is None
    assert re.search("CUDA|NVIDIA", str(precisions[name].unavailable("cuda")))  # PyTorch without CUDA, or its driver
