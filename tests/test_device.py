"""A device that this machine has not is refused before anything runs on it."""

from __future__ import annotations

import pytest
import torch

from benchsuite.device import resolve_device
from benchsuite.errors import UsageError


def test_a_gpu_beyond_those_of_this_machine_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [resolve_device(name) for name in ("auto", "cuda", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    with pytest.raises(UsageError, match=r"'cuda:2': the last CUDA device here is cuda:1"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "mps"])
def test_a_device_of_another_kind_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        resolve_device(name)
