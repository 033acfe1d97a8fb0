"""Codes of 8, 4 and 3 bits in bytes: one, two or eight thirds of a code to the byte, rows padded to whole bytes."""

from __future__ import annotations

import torch
from torch import Tensor

SUPPORTED_BITS = (8, 4, 3)
# codes that fill whole bytes together, and the bytes that they fill
_CODES_PER_UNIT = {8: 1, 4: 2, 3: 8}
_BYTES_PER_UNIT = {8: 1, 4: 1, 3: 3}


def packed_width(columns: int, bits: int) -> int:
    """Bytes of one packed row of `columns` codes."""
    return -(-columns // _CODES_PER_UNIT[bits]) * _BYTES_PER_UNIT[bits]


def pack(codes: Tensor, bits: int) -> Tensor:
    """Pack codes (R, C) of uint8, each below 2**bits, into uint8 (R, packed_width(C, bits)).

    4 bits: the even column in the high nibble, as bitsandbytes keeps them. 3 bits: eight codes in three bytes, code i
    of the eight at bits 3i to 3i+2 of the 24, little-endian. Padding codes are 0.
    """
    if bits == 8:
        return codes
    rows, columns = codes.shape
    if short := -columns % _CODES_PER_UNIT[bits]:
        codes = torch.nn.functional.pad(codes, (0, short))
    width = packed_width(columns, bits)
    if bits == 4:
        return _upper_byte(codes, 1 << 12 | 1).view(rows, width)
    word = _upper_byte(codes, 1 << 8 | 1 << 3).view(torch.int32)  # (R·C/8): four times two codes, 6 bits to the byte
    word.sub_(word >> 8 & 0x003F_003F, alpha=(1 << 8) - (1 << 6))  # the second of two moves down beside the first
    word.sub_(word >> 16, alpha=(1 << 16) - (1 << 12))
    low, middle, high, _ = word.view(torch.uint8).view(-1, 4).unbind(1)
    return torch.stack((low, middle, high), 1).view(rows, width)


def _upper_byte(codes: Tensor, factor: int) -> Tensor:
    """The upper byte uint8 (R·C/2) of each two codes, even + 256 · odd, times `factor`: powers of two shift the two."""
    return codes.reshape(-1).view(torch.int16).mul(factor).bitwise_right_shift_(8).to(torch.int8).view(torch.uint8)


def unpack(packed: Tensor, bits: int, columns: int) -> Tensor:
    """The inverse of `pack`: uint8 codes (R, columns)."""
    if bits == 8:
        return packed
    rows, width = packed.shape
    packed = packed.reshape(-1)
    if bits == 4:
        wide = packed.to(torch.int16)
        codes = (wide >> 4 | (wide & 0xF) << 8).view(torch.uint8)
    else:
        word = torch.zeros(packed.numel() // 3, 8, dtype=torch.uint8, device=packed.device)
        word[:, :3] = packed.view(-1, 3)
        wide = word.view(-1).view(torch.int64)  # (R·C/8)
        wide = (wide | wide << 20) & 0x0000_0FFF_0000_0FFF
        wide = (wide | wide << 10) & 0x003F_003F_003F_003F
        wide = (wide | wide << 5) & 0x0707_0707_0707_0707
        codes = wide.view(torch.uint8)
    return codes.view(rows, width * _CODES_PER_UNIT[bits] // _BYTES_PER_UNIT[bits])[:, :columns]
