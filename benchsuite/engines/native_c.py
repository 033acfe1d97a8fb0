"""Our own GPT-2, each token after the first by one call of our own loops in C, on the CPU.

A token of a small model takes some milliseconds, in which PyTorch starts two hundred operations, each with threads that
wait for one another. Here a token is one region of threads, which read the weights row after row.
"""

from __future__ import annotations

import functools
from itertools import chain

import torch
from torch import Tensor, nn

from benchsuite.c_code import call
from benchsuite.engines.native_graph import GraphEngine, native
from benchsuite.engines.source import Source
from benchsuite.errors import UnavailableError
from benchsuite.kernels.code_book import CodeBookLinear
from benchsuite.kernels.cpu import Int8Linear, Int8WeightLinear, PlainLinear
from benchsuite.kernels.in_c import PADDING, ROWS, Rows, has_rows
from benchsuite.kernels.table import renamed
from benchsuite.models.gpt2 import GPT2, KVCache, TokenEmbedding
from benchsuite.models.language_model import LanguageModel
from benchsuite.quant.embedding import QuantizedEmbedding


class CEngine(GraphEngine):
    """Prefill as ever, with weights held in rows; UnavailableError for layers that the loops do not take.

    The engine owns `module`: it keeps the addresses of what that holds.
    """

    def __init__(self, model: LanguageModel, module: GPT2) -> None:
        super().__init__(model, module)
        module.lay_out(one_token=True)
        self._run, self._config = functools.partial(self._in_c, module), module.config
        self._held: list[Tensor | Rows] = []  # whose addresses C gets
        self._blocks = [self._block(block) for block in module.h]
        self._end = torch.tensor(self._norm(module.ln_f) + self._linear(module.wte))

    @property
    def layers(self) -> dict[str, int]:
        """Linear layers by how they are held."""
        return renamed(super().layers, "c-rows")

    def prepare(self, batch_size: int, capacity: int) -> None:
        """As every graph, with what the loops work in."""
        super().prepare(batch_size, capacity)
        width, heads = self._config.n_embd, self._config.n_head
        kept = [[block.keys.data_ptr(), block.values.data_ptr()] for block in self._cache.blocks]
        self._plan = torch.tensor([block + cache for block, cache in zip(self._blocks, kept, strict=True)])
        sizes = (4 * width + PADDING, 2, 4 * width, heads * capacity, self._config.vocab_size)
        self._work = [torch.empty(batch_size, size) for size in sizes]

    def _in_c(self, module: GPT2, tokens: Tensor, positions: Tensor, cache: KVCache) -> tuple[Tensor, Tensor]:
        """The most likely next tokens (B,), and whether their logits are finite."""
        x = (module.wte(tokens) + module.wpe.weight[positions]).float()  # (B, C)
        found = torch.empty_like(tokens)
        config, is_bf16 = module.config, module.wpe.weight.dtype == torch.bfloat16
        sizes = (len(x), config.n_layer, config.n_embd, config.n_head, cache.capacity, int(is_bf16))
        given = (config.layer_norm_epsilon, self._plan, self._end, positions, x, *self._work, found)
        if not call(ROWS, "one_token", *sizes, *given):
            raise _no_compiler()
        return found, (found >= 0).all()

    def _block(self, block: nn.Module) -> list[int]:
        norms = [self._norm(block.get_submodule(name)) for name in ("ln_1", "ln_2")]
        names = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
        return [*chain(*norms, *(self._linear(block.get_submodule(name)) for name in names))]

    def _norm(self, norm: nn.Module) -> list[int]:
        held = [norm.get_parameter(name).float() for name in ("weight", "bias")]
        self._held += held
        return [tensor.data_ptr() for tensor in held]

    def _linear(self, layer: nn.Module) -> list[int]:
        rows = rows_of(layer)
        if rows is None:
            raise UnavailableError(
                f"native-c has no loop for a {type(layer).__name__} as this model has it; it takes float32, bfloat16, "
                "8 bits with a scale a row and 4 bits in groups of 8, 16, 32 … columns: use native or native-compiled"
            )
        self._held.append(rows)
        return rows.struct()


def rows_of(layer: nn.Module) -> Rows | None:
    """How the loops read a layer, or a head, whose weight is held in rows; None where they do not."""
    given = getattr(layer, "bias", None)
    bias = given.float() if isinstance(given, Tensor) else None
    if isinstance(layer, PlainLinear | TokenEmbedding) or type(layer) is nn.Linear:
        weight = layer.weight
        # torchao's are of a kind of their own, and say float32
        plain = type(weight) in (Tensor, nn.Parameter) and weight.is_contiguous()
        return Rows(weight, bias) if plain and weight.dtype in (torch.float32, torch.bfloat16) else None
    if isinstance(layer, Int8Linear):
        return Rows(layer.codes, bias, layer.scale, rounds=True)
    if isinstance(layer, QuantizedEmbedding):
        return Rows(layer.get_buffer("codes"), None, layer.get_buffer("scale"), rounds=True)
    if isinstance(layer, Int8WeightLinear):
        return Rows(layer.codes, bias, layer.scale, layer.offset)
    if isinstance(layer, CodeBookLinear) and layer.in_c:
        return Rows(layer.codes, bias, layer.scale, layer.offset, layer.values)
    return None


def load(source: Source, form: str, threads: int, device: str) -> CEngine:
    """The model in the precision `form`."""
    if not has_rows():
        raise _no_compiler()
    return CEngine(*native(source, form, threads, device))


def _no_compiler() -> UnavailableError:
    return UnavailableError("native-c finds no C compiler with OpenMP; install gcc, or name one in CC")
