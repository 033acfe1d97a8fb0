"""The documentation's own precision works as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from benchsuite.quant.precision import precisions

EXAMPLES = re.findall(
    r"```python\n(.*?)```",
    (Path(__file__).parents[2] / "docs" / "quantizers.md").read_text(encoding="utf-8"),
    re.DOTALL,
)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the documentation's code defines."""
    ternary = ModuleType("ternary")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "ternary", ternary)
        for example in EXAMPLES:
            exec(example, vars(ternary))
    return vars(ternary)


def test_the_example_has_at_most_30_lines() -> None:
    assert len([line for line in EXAMPLES[0].splitlines() if line.strip()]) <= 30


def test_the_examples_test_of_its_bound_passes(names: dict[str, Any]) -> None:
    names["test_ternary_keeps_its_promises"]()


def test_a_model_is_quantized_by_the_example(names: dict[str, Any]) -> None:
    module = nn.Sequential(nn.Linear(8, 4))
    covered = precisions["ternary"].apply(module, device="cpu")
    assert covered.share == 1
    assert module(torch.ones(2, 8)).shape == (2, 4)
