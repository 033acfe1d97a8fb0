"""Where a model runs."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

import torch

from benchsuite.errors import UsageError


def resolve_device(name: str) -> str:
    """`auto` becomes cuda where there is one, else cpu; UsageError for a device that this machine has not."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"unknown device {name!r}; try cpu, cuda or cuda:1") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} is not supported; cpu and cuda are")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UsageError(f"device {name!r}: torch {torch.__version__} finds no CUDA device here; use --device cpu")
        if (device.index or 0) >= (count := torch.cuda.device_count()):
            raise UsageError(f"device {name!r}: the last CUDA device here is cuda:{count - 1}")
    return name


@functools.cache
def has_amx() -> bool:
    """Whether this CPU multiplies tiles (Intel's AMX): of two signed operands, and the one on the right reordered."""
    return bool(torch.cpu._is_amx_tile_supported())


@functools.cache
def is_intel() -> bool:
    """Whether Intel made this CPU: MKL takes its fastest ways on no other."""
    cpuinfo = Path("/proc/cpuinfo")
    return "GenuineIntel" in (cpuinfo.read_text(errors="replace") if cpuinfo.is_file() else platform.processor())


def synchronize(device: torch.device) -> None:
    """Wait for the accelerator, so that the clock sees the work and not its launch."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
