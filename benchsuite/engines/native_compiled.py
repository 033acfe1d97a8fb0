"""Our own GPT-2, each token after the first by one compiled pass, which on CUDA is a graph too.

`torch.compile` makes one kernel of what stands between two products: layer norm, rounding of activations, scales, GELU.
For one token on the CPU the products themselves are part of it, by rows of their weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import torch
from torch._dynamo.exc import TorchDynamoException

from benchsuite.compiler import require_compiler
from benchsuite.engines import ignore
from benchsuite.engines.native_graph import GraphEngine, Pass, native, one_pass
from benchsuite.engines.source import Source
from benchsuite.errors import UnavailableError, first_line
from benchsuite.kernels.table import in_rows
from benchsuite.models.gpt2 import GPT2, Block
from benchsuite.models.language_model import LanguageModel

_STATIC = ("torch.nn.", "benchsuite.kernels.", "benchsuite.models.", "benchsuite.quant.embedding")


class _Region(Block):
    """A block that is compiled once for all.

    A method bound to the block would not do: Dynamo (up to 2.15 at least) then takes the first block's weights for all.
    """

    forward = torch.compiler.nested_compile_region(Block.forward)


class CompiledEngine(GraphEngine):
    """Compiled anew for every size of a generation; UnavailableError where no compiler works here.

    The engine owns `module`: what it compiled does not ask whether anybody else changed a layer or its layout.
    """

    def __init__(self, model: LanguageModel, module: GPT2) -> None:
        self._module, self._static = module, _is_static(module)
        super().__init__(model, module)
        if module.wpe.weight.is_cpu and self._static:  # one block is compiled for all
            for block in module.h:
                block.__class__ = _Region

    @property
    def layers(self) -> dict[str, int]:
        """Linear layers by the kernel that multiplies a token."""
        return in_rows(super().layers) if self._module.in_rows else super().layers

    def prepare(self, batch_size: int, capacity: int) -> None:
        """As every graph, with weights held as this size reads them; what was compiled for the last one is dropped."""
        self._run = _compiled(self._module, static=self._static)
        self._module.hold(in_rows=batch_size == 1)
        super().prepare(batch_size, capacity)

    def generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, mark: Callable[[], None] = ignore
    ) -> list[list[int]]:
        """As in every native engine."""
        try:
            return super().generate(prompts, new_tokens, mark)
        except TorchDynamoException as error:
            raise UnavailableError(
                f"torch.compile does not work here: {first_line(error)}; it wants g++ on the CPU, Triton on CUDA, and "
                "layers that it can follow"
            ) from error


def _is_static(module: GPT2) -> bool:
    """Whether a pass is one graph, whatever the values: all layers are PyTorch's, the model's or the table's own. What
    computes as a method says may leave the graph (llm-int8 asks which features are outliers)."""
    layers = list(module.modules())
    weights = [weight for layer in layers for weight in layer.parameters(recurse=False)]
    return all(type(layer).__module__.startswith(_STATIC) for layer in layers) and all(
        type(weight) is torch.nn.Parameter for weight in weights
    )


def _compiled(module: GPT2, *, static: bool) -> Pass:
    """`one_pass` of `module` for tensors of one size.

    What Dynamo compiles belongs to a code object, so each pass gets one of its own, and no engine meets what was
    compiled for another. From token to token of a static pass nothing changes, neither layers nor shapes nor threads,
    and whether it did is not asked: that takes a twentieth of a token.
    """
    # results are rounded to their dtype where the model rounds them, also where a kernel could keep more digits;
    # what is read more than once is computed once: a token's codes would be made anew for every few rows of a weight
    options: dict[str, Any] = {"emulate_precision_casts": True, "size_asserts": False, "realize_reads_threshold": 0}
    if static:
        options["guard_filter_fn"] = lambda guards: [False] * len(guards)
    code = one_pass.__code__.replace(co_name="compiled_pass")
    run = torch.compile(FunctionType(code, one_pass.__globals__), fullgraph=static, dynamic=False, options=options)
    return lambda *given: run(module, *given)


def load(source: Source, form: str, threads: int, device: str) -> CompiledEngine:
    """The model in the precision `form`."""
    require_compiler(device)
    return CompiledEngine(*native(source, form, threads, device))
