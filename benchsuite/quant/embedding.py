"""The tied head in 8 bits: the token embedding, which is the head too, with int8 codes and a scale per token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchsuite.device import has_amx
from benchsuite.quant.grids import Absmax
from benchsuite.quant.products import int8_matmul, quantize_activations
from benchsuite.rows import by_rows, is_compiled_token

GRID = Absmax(bits=8, group="row")
FEW_TOKENS = 16  # up to here the codes are the operand on the left with AMX, which reorders the one on the right
CACHED_SUMS = 2**18  # for more tokens so many sums at a time, which stay in the cache until they are logits


class QuantizedEmbedding(nn.Module):
    """Rows (V, C) in int8 with a scale each: looked up as tokens, multiplied in int8 as the head."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        packed = GRID.quantize(weight)
        self.dtype = weight.dtype
        self.few_on_the_left = weight.is_cuda or has_amx()  # asked once: a compiler does not follow the question
        self.register_buffer("codes", packed["codes"])  # (V, C)
        self.register_buffer("scale", packed["scale"])  # (V, 1)

    def forward(self, ids: Tensor) -> Tensor:
        """The embeddings (..., C) of ids (...), in the dtype of the weight that was quantized."""
        codes, scale = self.get_buffer("codes"), self.get_buffer("scale")
        return (codes[ids] * scale[ids]).to(self.dtype)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden states (..., C), which are rounded to int8 with a scale per token for it."""
        codes, scale = self.get_buffer("codes"), self.get_buffer("scale")
        x, x_scale = quantize_activations(hidden.reshape(-1, hidden.shape[-1]))  # (N, C), (N, 1)
        if is_compiled_token(x, x.shape[1]):
            return (by_rows(x, codes) * scale.t() * x_scale).to(hidden.dtype).view(*hidden.shape[:-1], codes.shape[0])
        logits = torch.empty(x.shape[0], codes.shape[0], dtype=torch.float32, device=x.device)  # (N, V)
        if self.few_on_the_left and x.shape[0] <= FEW_TOKENS:
            torch.mul(int8_matmul(codes, x).t(), scale.t(), out=logits).mul_(x_scale)
        else:
            step = codes.shape[0] if x.is_cuda else max(1, CACHED_SUMS // max(1, x.shape[0]))
            for start in range(0, codes.shape[0], step):
                run = slice(start, start + step)
                logits[:, run].copy_(int8_matmul(x, codes[run])).mul_(scale[run].t()).mul_(x_scale)
        return logits.to(hidden.dtype).view(*hidden.shape[:-1], codes.shape[0])
