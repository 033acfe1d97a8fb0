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

from benchsuite.kernels import cpu

LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "bitsandbytes", "torchao", "benchsuite")


@functools.cache
def describe_machine(device: str) -> dict[str, Any]:
    """Processor, cores, threads, memory and libraries; `fingerprint` tells whether speeds may be compared."""
    hardware: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "products": sorted(cpu.capabilities()),  # oneDNN can be told to do without some
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
