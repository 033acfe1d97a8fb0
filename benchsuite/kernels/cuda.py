"""What a GPU and this PyTorch multiply."""

from __future__ import annotations

import functools

import torch

from benchsuite.kernels.int4 import Int4Linear
from benchsuite.kernels.table import Capability


@functools.cache
def capabilities(device: str) -> frozenset[Capability]:
    """`int4` where the 4-bit product runs (NVIDIA, 8.0 and up) and reads the layout as it is written: tried once."""
    if torch.version.hip or torch.cuda.get_device_capability(device) < (8, 0):
        return frozenset()
    try:
        return frozenset({"int4"} if _int4_is_right(device) else ())
    except RuntimeError:  # a PyTorch that was built without it
        return frozenset()


@torch.inference_mode()
def _int4_is_right(device: str) -> bool:
    """Every code in every place of a tile, scales and offsets that bfloat16 holds: few tokens and many agree."""
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(128), indexing="ij")
    codes = ((rows * 7 + columns * 3) % 16).to(torch.uint8)
    scale, offset = torch.tensor([0.5, 2.0]).expand(64, 2), torch.tensor([1.0, -0.25]).expand(64, 2)
    layer = Int4Linear(codes.to(device), scale.to(device), offset.to(device), None)
    wanted = (codes.float() - 8) * scale.repeat_interleave(64, 1) + offset.repeat_interleave(64, 1)
    one_by_one = torch.eye(128, device=device)
    found = torch.cat([layer(one_by_one[:64]), layer(one_by_one[64:])]).t()
    held = layer.dequantize(torch.float32).t()
    return bool(torch.equal(found.cpu(), wanted) and torch.equal(held.cpu(), wanted))
