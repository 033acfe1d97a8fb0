"""What the figures were measured on."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

from benchsuite.errors import UsageError

LIBRARIES = ("torch", "transformers", "bitsandbytes", "benchsuite")


def resolve_device(name: str) -> str:
    """`auto` becomes cuda where there is one, else cpu; UsageError for a device that this machine has not."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError as error:
        raise UsageError(f"unknown device {name!r}; try cpu, cuda or cuda:1") from error
    if kind not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} is not supported; cpu and cuda are")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {name!r}: torch {torch.__version__} finds no CUDA device here; use --device cpu")
    return name


@functools.cache
def describe_machine(device: str) -> dict[str, Any]:
    """Processor, cores, threads, memory and libraries; `fingerprint` tells whether speeds may be compared."""
    hardware: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device != "cpu":
        properties = torch.cuda.get_device_properties(device)
        hardware["gpu"] = {
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "capability": f"{properties.major}.{properties.minor}",
        }
    comparable = {key: value for key, value in hardware.items() if key != "memory_bytes"}
    return hardware | {
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "fingerprint": hashlib.sha256(json.dumps(comparable, sort_keys=True).encode()).hexdigest(),
    }


def synchronize(device: torch.device) -> None:
    """Wait for the accelerator, so that the clock sees the work and not its launch."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
