"""The tied head in 8 bits: the token embedding, which is the head too, with int8 codes and a scale per token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchsuite.quant.grids import Absmax
from benchsuite.quant.products import int8_matmul, quantize_activations

GRID = Absmax(bits=8, group="row")
FEW_TOKENS = 16  # up to here reordering the codes costs more than reading their products column by column


class QuantizedEmbedding(nn.Module):
    """Rows (V, C) in int8 with a scale each: looked up as tokens, multiplied in int8 as the head."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        packed = GRID.quantize(weight)
        self.dtype = weight.dtype
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
        # the operand on the right is reordered for the product: the codes are by far the larger one
        sums = int8_matmul(codes, x).t() if x.shape[0] <= FEW_TOKENS else int8_matmul(x, codes)  # (N, V)
        logits = torch.empty(x.shape[0], codes.shape[0], device=x.device)
        torch.mul(sums, scale.t(), out=logits).mul_(x_scale)
        return logits.to(hidden.dtype).view(*hidden.shape[:-1], codes.shape[0])
