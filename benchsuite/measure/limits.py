"""What a machine can do at most: bytes read from memory and products, in a second; measured once and kept.

The roofline model (Williams, Waterman & Patterson 2009) needs no more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from benchsuite.device import synchronize
from benchsuite.files import read_machine_file, write_machine_file
from benchsuite.kernels import cpu
from benchsuite.measure.machine import describe_machine

READ_BYTES = 2**29  # far more than any cache holds
SHAPE = (1024, 2048, 2048)  # m, k, n of the products
REPEATS = 7  # the fastest counts: a limit is what can be reached


@dataclass(frozen=True)
class Limits:
    """Of one machine: memory reads in B/s, and matrix products in FLOP/s by the dtype of their operands."""

    machine: str  # the machine's fingerprint
    bytes_per_s: float
    flop_per_s: Mapping[str, float]  # fp32, bf16, fp16, int8: those that run here

    def seconds(self, flop: Mapping[str, float], bytes_read: float) -> float:
        """The least time of some work; a dtype that the machine does not multiply itself becomes fp32 for it."""
        fp32 = self.flop_per_s["fp32"]
        products = sum(count / self.flop_per_s.get(dtype, fp32) for dtype, count in flop.items())
        return max(products, bytes_read / self.bytes_per_s)


def measure_limits(device: str) -> Limits:
    """Measure a machine for some seconds, with the threads that PyTorch has here; it should be idle meanwhile."""
    where = torch.device(device)
    block = torch.ones(READ_BYTES // 4, device=where)
    read = min(_fastest(block.sum, where), _fastest(lambda: torch.dot(block, block), where))
    m, k, n = SHAPE
    flop = 2.0 * m * k * n
    rates = {name: flop / min(_fastest(way, where) for way in ways) for name, ways in _products(where).items() if ways}
    return Limits(describe_machine(device)["fingerprint"], READ_BYTES / read, rates)


def _products(device: torch.device) -> dict[str, list[Callable[[], Tensor]]]:
    """The ways to a product of each dtype that this device multiplies itself; the fastest counts."""
    m, k, n = SHAPE
    x, weight = torch.randn(m, k, device=device), torch.randn(n, k, device=device)
    codes, columns = (torch.ones(shape, dtype=torch.int8, device=device) for shape in ((m, k), (n, k)))
    int8: list[Callable[[], Tensor]] = [lambda: torch._int_mm(codes, columns.t())]
    if device.type == "cuda":
        halves = {"bf16": torch.bfloat16, "fp16": torch.float16}
        return {
            "fp32": [_plain(x, weight)],
            **{name: [_plain(x.to(dtype), weight.to(dtype))] for name, dtype in halves.items()},
            "int8": int8,
        }
    can = cpu.capabilities()
    return {
        "fp32": [_plain(x, weight), *([_prepacked(x, weight)] if "onednn" in can else [])],
        "bf16": [_prepacked(x.bfloat16(), weight.bfloat16())] if "bf16" in can else [],
        "int8": int8 if "exact_int8" in can else [],
    }


def _plain(x: Tensor, weight: Tensor) -> Callable[[], Tensor]:
    return lambda: x @ weight.t()


def _prepacked(x: Tensor, weight: Tensor) -> Callable[[], Tensor]:
    layer = cpu.PackedLinear(weight, None)
    return lambda: cast("Tensor", layer(x))


@torch.inference_mode()
def _fastest(run: Callable[[], Any], device: torch.device) -> float:
    """Seconds of the fastest of some runs, after one that is not counted."""
    seconds = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        run()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def write_limits(limits: Limits) -> Path:
    """Keep the limits of a machine; returns where."""
    return write_machine_file("limits", limits.machine, asdict(limits))


def read_limits(machine: str) -> Limits | None:
    """The limits of a machine, None where they were never measured; FileFormatError where the file is damaged."""
    return read_machine_file("limits", machine, _from_json, "benchsuite calibrate --limits")


def _from_json(data: Mapping[str, Any]) -> Limits:
    limits = Limits(data["machine"], data["bytes_per_s"], data["flop_per_s"])
    rates = (limits.bytes_per_s, limits.flop_per_s["fp32"], *limits.flop_per_s.values())
    if not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise ValueError("a rate that is no positive number")
    return limits
