"""What the training benchmark counts of a step, and what it knows of chips."""

from __future__ import annotations

import pytest
import torch

from benchsuite.training.step import Step, Work, peak_flop_per_s


@pytest.mark.parametrize(
    ("name", "tera"),
    [
        ("NVIDIA H200", 989),
        ("NVIDIA H200 NVL", 835),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA L40", None),
        ("Tesla T4", None),  # it has no bf16
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_a_chip_is_known_by_all_words_of_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, tera: float | None
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    found = peak_flop_per_s(torch.device("cuda"), "bf16")
    assert found == (None if tera is None else tera * 1e12)
    assert peak_flop_per_s(torch.device("cpu"), "bf16") is None


@pytest.fixture(scope="module")
def work() -> Work:
    return Work(Step("random:tiny", "fp32", "sdpa", 2, 16, compiled=False, gradient_checkpointing=False, device="cpu"))


def test_a_step_costs_what_palm_counts_for_each_token_of_the_batch(work: Work) -> None:
    config = work._module.config
    attention = 12 * config.n_layer * config.n_embd * 16
    positions = config.n_positions * config.n_embd  # are looked up; the table of tokens is the head too
    weights = sum(weight.numel() for weight in work._module.parameters()) - positions
    assert work.flop == 2 * 16 * (6 * weights + attention)


def test_a_step_leaves_no_gradient_to_the_next(work: Work) -> None:
    work.run()
    assert all(parameter.grad is None for parameter in work._module.parameters())
