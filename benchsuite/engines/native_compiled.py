"""Our own GPT-2, each token after the first by one compiled pass, which on CUDA is a graph too.

`torch.compile` makes one kernel of what stands between two products: layer norm, rounding of activations, scales, GELU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from benchsuite.engines import ignore
from benchsuite.engines.native_graph import GraphEngine, native, one_pass
from benchsuite.engines.source import Source
from benchsuite.errors import UnavailableError


class CompiledEngine(GraphEngine):
    """Compiled anew for every size of a generation; UnavailableError where no compiler works here."""

    def prepare(self, batch_size: int, capacity: int) -> None:
        """As every graph, and drop what was compiled for the last size."""
        torch.compiler.reset()
        super().prepare(batch_size, capacity)

    def generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, mark: Callable[[], None] = ignore
    ) -> list[list[int]]:
        """As in every native engine."""
        from torch._dynamo.exc import TorchDynamoException

        try:
            return super().generate(prompts, new_tokens, mark)
        except TorchDynamoException as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise UnavailableError(
                f"torch.compile does not work here: {reason}; it wants g++ on the CPU and Triton on CUDA"
            ) from error


def load(source: Source, form: str, threads: int, device: str) -> CompiledEngine:
    """The model in the precision `form`."""
    model, module = native(source, form, threads, device)
    # a result is rounded to its dtype wherever the model rounds it, also where one kernel could keep more digits
    compiled = torch.compile(one_pass, dynamic=False, options={"emulate_precision_casts": True})
    return CompiledEngine(model, lambda *given: compiled(module, *given))
