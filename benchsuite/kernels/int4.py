"""Four-bit weights for PyTorch's 4-bit products, in the layouts that they want on the CPU and on CUDA.

PyTorch has no inverse of its layouts; here they are read back as well.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from benchsuite.kernels.cpu import has_bf16
from benchsuite.opaque import opaque
from benchsuite.quant.groups import Group
from benchsuite.quant.packing import pack_neighbours

GROUP_SIZES = (256, 128, 64, 32)  # that the 4-bit product takes
FEW_TOKENS = {"cpu": 32, "cuda": 128}  # up to here the 4-bit product beats dequantizing the weight for one in bf16


@opaque(lambda x, out, *_: x.new_empty(x.shape[0], out))
def _int4_linear(x: Tensor, out: int, codes: Tensor, group_size: int, scales: Tensor) -> Tensor:  # noqa: ARG001
    product = torch._weight_int4pack_mm if x.is_cuda else torch._weight_int4pack_mm_for_cpu
    return product(x, codes, group_size, scales)


class Int4Linear(nn.Module):
    """Four-bit codes (out, in) with scale and offset per group of columns; both, like the activations, in bfloat16.

    w = (code - 8) · scale + offset. Few tokens go through PyTorch's 4-bit kernel; for many the weight is dequantized
    once for the product, in bfloat16 where the processor multiplies it, as every GPU of the table does, and float32
    where not.
    """

    codes: Tensor
    scales: Tensor
    bias: Tensor | None

    def __init__(self, codes: Tensor, scale: Tensor, offset: Tensor | None, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = codes.shape
        self.group_size = self.in_features // scale.shape[1]
        self.symmetric = offset is None
        # of the product of many tokens; asked once: a compiler does not follow the question
        self.wide = torch.bfloat16 if codes.is_cuda or has_bf16() else torch.float32
        offset = torch.zeros_like(scale) if offset is None else offset
        self.register_buffer("codes", pack_int4(codes))
        self.register_buffer("scales", torch.stack((scale, offset), -1).transpose(0, 1).bfloat16().contiguous())
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out) in the dtype of x."""
        rows = x.reshape(-1, self.in_features)  # (N, in)
        if 0 < rows.shape[0] <= FEW_TOKENS[rows.device.type]:
            x16 = rows.bfloat16().contiguous()
            y = _int4_linear(x16, self.out_features, self.codes, self.group_size, self.scales)
        else:
            y = rows.to(self.wide) @ self.dequantize(self.wide)  # (N, out)
        y = y.to(x.dtype)
        if self.bias is not None:
            y += self.bias
        return y.view(*x.shape[:-1], self.out_features)

    def dequantize(self, dtype: torch.dtype) -> Tensor:
        """The weight, transposed: (in, out)."""
        weight = unpack_int4(self.codes, self.out_features, self.in_features, dtype)  # (in, out)
        groups = weight.view(-1, self.group_size, self.out_features)  # (G, size, out)
        scale, offset = self.scales.to(dtype).permute(2, 0, 1).contiguous().unsqueeze(2)  # (G, 1, out) each
        groups.mul_(scale)
        if not self.symmetric:
            groups.add_(offset)
        return weight


@torch.inference_mode()
def int4_is_right(device: str) -> bool:
    """Whether random codes, with scales and offsets that bfloat16 holds, come back one by one from the product of a few
    tokens and from that of many: whether this PyTorch has the product, and its layout is the one that is read here."""
    codes = torch.randint(0, 16, (64, 256), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    scale, offset = torch.tensor([0.5, 2.0]).expand(64, 2), torch.tensor([1.0, -0.25]).expand(64, 2)
    wanted = (codes.float() - 8) * scale.repeat_interleave(128, 1) + offset.repeat_interleave(128, 1)  # (64, 256)
    one_by_one = torch.eye(256, device=device)
    try:
        layer = Int4Linear(codes.to(device), scale.to(device), offset.to(device), None)
        few = torch.cat([layer(rows) for rows in torch.split(one_by_one, 16)])
        return all(torch.equal(found.t().cpu(), wanted) for found in (few, layer(one_by_one)))
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, RuntimeError):  # a PyTorch that was built without it
        return False


def int4_group(out_features: int, in_features: int, group: Group) -> int | None:
    """The group size with which the 4-bit kernel takes this shape: whole blocks of 64 rows, groups of 32 to 256.

    A row, or the whole tensor, with one scale is groups that repeat it. None: the kernel does not take it.
    """
    wanted = (group,) if isinstance(group, int) else GROUP_SIZES
    fitting = (size for size in GROUP_SIZES if size in wanted and in_features % size == 0)
    return next(fitting, None) if out_features % 64 == 0 else None


def pack_int4(codes: Tensor) -> Tensor:
    """Codes 0 to 15 uint8 (R, C) in the layout of this device's product."""
    if codes.is_cuda:
        tiles = max(t for t in (2, 4, 8) if codes.shape[1] % (16 * t) == 0)
        return torch._convert_weight_to_int4pack(pack_neighbours(codes), tiles)
    return torch._convert_weight_to_int4pack_for_cpu(codes.to(torch.int32), 1)


def unpack_int4(packed: Tensor, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """Codes minus 8, transposed: (columns, rows) in `dtype`, from the packed codes of a weight (rows, columns)."""
    if packed.dtype == torch.int32:
        return unpack_tiles(packed).sub_(8).to(dtype)
    return _unpack_rows(packed, rows, columns, dtype)


@opaque(lambda packed, rows, columns, dtype: packed.new_empty(columns, rows, dtype=dtype))
def _unpack_rows(packed: Tensor, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """The same from the CPU's layout."""
    block, low, high = _layout()
    codes = packed.view(rows // block, columns, block // 2)  # (R / block, C, block / 2), two codes to the byte
    out = torch.empty(columns, rows, dtype=dtype)
    places = out.view(columns, rows // block, block).transpose(0, 1)  # (R / block, C, block)
    places[..., low] = (codes & 15).view(torch.int8).sub_(8)
    places[..., high] = (codes >> 4).view(torch.int8).sub_(8)
    return out


def unpack_tiles(packed: Tensor) -> Tensor:
    """Codes int8 (C, R) from CUDA's layout, int32 (R / 8, C / (16 · T), 32, T / 2), tiles of 8 rows and 16 columns.

    One of 32 lanes holds, in a number, eight codes of one row and two tiles: of the columns 2·l, 2·l + 8, and the same
    of the next tile, first those and then their right neighbours, where l is the lane modulo 4.
    """
    blocks, runs, _, pairs = packed.shape
    shifts = torch.arange(0, 32, 4, dtype=torch.int32, device=packed.device)
    codes = ((packed.unsqueeze(-1) >> shifts) & 15).to(torch.int8)
    codes = codes.view(blocks, runs, 8, 4, pairs, 2, 2, 2)  # block, run, row, lane, pair, neighbour, tile, half of it
    return codes.permute(1, 4, 6, 7, 3, 5, 0, 2).reshape(runs * pairs * 32, blocks * 8)


@functools.cache
def _layout() -> tuple[int, slice, slice]:
    """The CPU's layout: blocks of rows; in a block, column by column, a byte for two rows that vector width sets apart.

    Rows in a block, and those of them in the low and in the high halves of its bytes.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    if capability.startswith("AVX512"):
        return 64, slice(0, 32), slice(32, 64)
    if capability == "AVX2":
        return 32, slice(0, 16), slice(16, 32)
    return 32, slice(0, 32, 2), slice(1, 32, 2)
