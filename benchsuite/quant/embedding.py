"""The tied head in 8 bits: the token embedding, which is the head too, with int8 codes and a scale per token."""

from __future__ import annotations

from torch import Tensor, nn

from benchsuite.device import has_amx
from benchsuite.quant.around import finish
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
        logits = hidden.new_empty(x.shape[0], codes.shape[0])  # (N, V)
        if self.few_on_the_left and x.shape[0] <= FEW_TOKENS:
            finish(int8_matmul(codes, x).t(), x_scale, scale.view(-1), None, logits, gelu=False)
        else:
            step = codes.shape[0] if x.is_cuda else max(1, CACHED_SUMS // max(1, x.shape[0]))
            for start in range(0, codes.shape[0], step):
                run = slice(start, start + step)
                finish(int8_matmul(x, codes[run]), x_scale, scale[run].view(-1), None, logits[:, run], gelu=False)
        return logits.view(*hidden.shape[:-1], codes.shape[0])
