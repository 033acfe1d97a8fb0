"""Which kernels really ran: what PyTorch dispatched to, not what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

WANTED = ("mm", "linear", "attention", "bitsandbytes", "gemm", "gemv")


def kernels_that_run(run: Callable[[], object]) -> dict[str, Any]:
    """Matrix products and attention of one `run`: operator -> calls, the innermost operator of each chain."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])
    with profile(activities=activities) as profiler:
        run()
    counts: dict[str, int] = {}
    for event in profiler.events() or []:
        inner = any(_is_wanted(child.name) for child in event.cpu_children)
        if _is_wanted(event.name) and not inner:
            counts[event.name] = counts.get(event.name, 0) + 1
    return {
        "operators": dict(sorted(counts.items())),
        "mkldnn": torch.backends.mkldnn.is_available(),
        "threads": torch.get_num_threads(),
    }


def _is_wanted(name: str) -> bool:
    return any(part in name for part in WANTED)
