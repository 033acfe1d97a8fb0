"""What a GPU and this PyTorch multiply."""

from __future__ import annotations

import functools

import torch

from benchsuite.kernels.int4 import int4_is_right
from benchsuite.kernels.table import Capability


@functools.cache
def capabilities(device: str) -> frozenset[Capability]:
    """`int4` where the 4-bit product runs (NVIDIA, 8.0 and up) and reads the layout as it is written: tried once."""
    if not torch.cuda.is_available() or torch.version.hip or torch.cuda.get_device_capability(device) < (8, 0):
        return frozenset()
    return frozenset({"int4"} if int4_is_right(device) else ())
