"""What a GPU and this PyTorch multiply."""

from __future__ import annotations

import functools

import torch

from benchsuite.kernels.int4 import Int4Linear
from benchsuite.kernels.table import Capability


@functools.cache
def capabilities(device: str) -> frozenset[Capability]:
    """`int4` where the 4-bit product runs (NVIDIA, 8.0 and up) and reads the layout as it is written: tried once."""
    if not torch.cuda.is_available() or torch.version.hip or torch.cuda.get_device_capability(device) < (8, 0):
        return frozenset()
    try:
        return frozenset({"int4"} if int4_is_right(device) else ())
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # a PyTorch that was built without it
        return frozenset()


@torch.inference_mode()
def int4_is_right(device: str) -> bool:
    """Whether random codes, with scales and offsets that bfloat16 holds, come back one by one from the product of a few
    tokens and from that of many."""
    codes = torch.randint(0, 16, (64, 256), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    scale, offset = torch.tensor([0.5, 2.0]).expand(64, 2), torch.tensor([1.0, -0.25]).expand(64, 2)
    layer = Int4Linear(codes.to(device), scale.to(device), offset.to(device), None)
    wanted = (codes.float() - 8) * scale.repeat_interleave(128, 1) + offset.repeat_interleave(128, 1)  # (64, 256)
    one_by_one = torch.eye(256, device=device)
    few = torch.cat([layer(rows) for rows in torch.split(one_by_one, 16)])
    return all(torch.equal(found.t().cpu(), wanted) for found in (few, layer(one_by_one)))
