"""Which kernels really ran: what PyTorch dispatched to, not what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchsuite import c_code
from benchsuite.quant.packing import LOOPS

WANTED = ("mm", "linear", "attention", "bitsandbytes", "gemm", "gemv")


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operators by name, each composite taken apart into what it dispatches to; costs microseconds a call."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        if func._can_decompose():
            with self:
                return func.decompose(*args, **(kwargs or {}))
        self.calls[name] = self.calls.get(name, 0) + 1
        return func(*args, **(kwargs or {}))


def kernels_that_run(run: Callable[[], object], module: nn.Module | None = None) -> dict[str, Any]:
    """Matrix products, attention and our own loops in C of one `run`: operator -> calls.

    `layers` are those of `module` by the kernel that the table chose for them; empty where nothing was prepared.
    """
    before = c_code.calls.copy()
    with _Counter() as counter:
        run()
    wanted = {name: calls for name, calls in counter.calls.items() if any(part in name for part in WANTED)}
    wanted |= c_code.calls - before
    return {
        "layers": dict(sorted(getattr(module, "kernels", {}).items())),
        "operators": dict(sorted(wanted.items())),
        "mkldnn": torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
        "threads": torch.get_num_threads(),
    }


def loops_that_run(device: str) -> dict[str, Any]:
    """What goes over every weight where grids quantize: our loops in C, or PyTorch's operators."""
    in_c = torch.device(device).type == "cpu" and c_code.is_compiled(LOOPS)
    return {"loops": "C" if in_c else "PyTorch", "threads": torch.get_num_threads()}
