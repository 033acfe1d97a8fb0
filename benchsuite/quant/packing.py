"""Codes of 8, 4 and 3 bits in bytes: one, two or eight thirds of a code to the byte, rows padded to whole bytes.

A row is taken as 2 or 8 runs of equal length W, and codes at the same place of them share bytes: whole runs are then
shifted and added at once, which is several times faster than to move neighbours together. In C where it was compiled.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchsuite.c_code import call

LOOPS = Path(__file__).with_name("loops.c")
SUPPORTED_BITS = (8, 4, 3)
# runs that share bytes, and the bytes that codes at one place of them fill
_RUNS = {8: 1, 4: 2, 3: 8}
_BYTES = {8: 1, 4: 1, 3: 3}


def packed_width(columns: int, bits: int) -> int:
    """Bytes of one packed row of `columns` codes."""
    return -(-columns // _RUNS[bits]) * _BYTES[bits]


def pack(codes: Tensor, bits: int, out: Tensor | None = None) -> Tensor:
    """Pack codes (R, C) of uint8, each below 2**bits, into uint8 (R, packed_width(C, bits)), contiguous `out` if given.

    4 bits: byte j holds code j in the low nibble and code W + j in the high one. 3 bits: codes of run i + 4 stand above
    those of run i, 6 bits together; byte i·W + j, i of 0 to 2, holds them for run i, and above them two bits of those
    of run 3, the lowest two with run 0. Padding codes are 0.
    """
    rows, columns = codes.shape
    width = packed_width(columns, bits)
    if out is None:
        out = torch.empty(rows, width, dtype=torch.uint8, device=codes.device)
    if bits == 8:
        return out.copy_(codes)
    if short := -columns % _RUNS[bits]:
        codes = torch.nn.functional.pad(codes, (0, short))
    places = width // _BYTES[bits]  # W
    codes = codes.to(torch.uint8).contiguous()  # C asks neither for a dtype nor for gaps
    if call(LOOPS, f"pack_{bits}_bits", rows, places, codes, out):
        return out
    low, high = codes.view(rows, 2, _RUNS[bits] // 2, places).unbind(1)
    joined = out.view(rows, _BYTES[bits], places)
    if bits == 4:
        return torch.add(low, high, alpha=1 << 4, out=joined).view(rows, width)
    pairs = torch.add(low, high, alpha=1 << 3)  # (R, 4, W)
    shifts = torch.tensor([[64], [16], [4]], dtype=torch.uint8, device=codes.device)
    upper = (pairs[:, 3:] * shifts).bitwise_and_(0xC0)  # (R, 3, W); bits above 8 are lost
    return torch.add(pairs[:, :3], upper, out=joined).view(rows, width)


def pack_neighbours(codes: Tensor) -> Tensor:
    """Four-bit codes uint8 (R, C), C even, as bitsandbytes and CUDA keep them: (R, C / 2), the even column high."""
    return codes[:, ::2] << 4 | codes[:, 1::2]


def unpack(packed: Tensor, bits: int, columns: int) -> Tensor:
    """The inverse of `pack`: uint8 codes (R, columns)."""
    if bits == 8:
        return packed
    rows, width = packed.shape
    places = width // _BYTES[bits]
    if bits == 3:
        packed = packed.reshape(rows, 3, places)
        shifts = torch.tensor([[0], [2], [4]], dtype=torch.uint8, device=packed.device)  # of run 3's bits
        last = (packed >> 6 << shifts).sum(1, keepdim=True, dtype=torch.uint8)
        packed = torch.cat((packed & 0x3F, last), 1)  # (R, 4, W)
    codes = torch.stack((packed & (1 << bits) - 1, packed >> bits), 1)
    return codes.view(rows, _RUNS[bits] * places)[:, :columns]
