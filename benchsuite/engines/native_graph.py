"""Our own GPT-2, each token after the first by one pass whose shapes never change: on CUDA it is captured in a graph.

A pass of GPT-2 on a GPU is some hundred kernels of microseconds, and starting them takes longer than running them. A
graph starts them all at once, and wants that what changes from token to token is in memory that stays where it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from benchsuite.engines.native import NativeEngine
from benchsuite.engines.source import Source
from benchsuite.errors import NumericalError, UnavailableError, first_line
from benchsuite.models.gpt2 import GPT2, KVCache
from benchsuite.models.in_precision import load as load_model
from benchsuite.models.language_model import LanguageModel, not_finite

# tokens (B,), positions (B,) and a cache to the most likely next tokens (B,), and whether their logits are numbers
Pass = Callable[[Tensor, Tensor, KVCache], tuple[Tensor, Tensor]]
_WARM_UPS = 3  # passes before one is captured: in the first ones libraries choose kernels and ask for memory


def one_pass(model: GPT2, tokens: Tensor, positions: Tensor, cache: KVCache) -> tuple[Tensor, Tensor]:
    """The most likely next tokens (B,) after `tokens` (B,) at `positions` (B,), and whether their logits are finite."""
    best, found = model.head(model.step(tokens, positions, cache)).max(dim=-1)
    return found, best.isfinite().all()


class GraphEngine(NativeEngine):
    """Prefill as ever; memory and graph of decoding stay for the next generation of the same size."""

    def __init__(self, model: LanguageModel, module: GPT2) -> None:
        super().__init__(model)
        self._run: Pass = functools.partial(one_pass, module)
        self._size = (0, 0)

    @property
    def layers(self) -> dict[str, int]:
        """Linear layers by the kernel that multiplies a token."""
        return dict(cast("GPT2", self.model.module).kernels)

    def decoder(self, batch_size: int, length: int, new_tokens: int) -> tuple[KVCache, Callable[[Tensor], Tensor]]:
        """As in every native engine, but one cache and one step for all generations of one size."""
        size = (batch_size, length + new_tokens - 1)  # the last token is never fed
        if size != self._size:
            self.prepare(*size)
        self._cache.lengths = [0] * batch_size
        self._positions.fill_(length)
        return self._cache, self._step

    def lay_out(self, *, one_token: bool) -> None:
        """Leave them where the pass reads them."""

    def prepare(self, batch_size: int, capacity: int) -> None:
        """Allocate what a generation of this size needs, in place of the last one's."""
        device, self._size = self.model.device, (0, 0)
        self._cache = self.model.new_cache(batch_size, capacity)
        self._tokens = torch.zeros(batch_size, dtype=torch.int64, device=device)
        self._positions = torch.zeros_like(self._tokens)
        self._again = self._captured() if device.type == "cuda" else self._once
        self._size = (batch_size, capacity)

    def _once(self) -> tuple[Tensor, Tensor]:
        return self._run(self._tokens, self._positions, self._cache)

    def _captured(self) -> Callable[[], tuple[Tensor, Tensor]]:
        """The pass as a CUDA graph, which reads and writes where it did when it was captured."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self._once()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                found, finite = self._once()
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:  # llm-int8, for one, decides on the CPU which features are outliers
            raise UnavailableError(f"a CUDA graph cannot hold this pass: {first_line(error)}") from error

        def again() -> tuple[Tensor, Tensor]:
            graph.replay()
            return found.clone(), finite

        return again

    def _step(self, tokens: Tensor) -> Tensor:
        self._tokens.copy_(tokens)
        found, finite = self._again()
        self._positions.add_(1)
        if not finite:
            self._size = (0, 0)  # a NaN that the cache keeps would reach the next generation, masked or not
            raise NumericalError(not_finite(self.model))
        return found


def native(source: Source, form: str, threads: int, device: str) -> tuple[LanguageModel, GPT2]:
    """The model in the precision `form`, and its module."""
    torch.set_num_threads(threads)
    model, _ = load_model(source.name, form, device, "sdpa")
    assert isinstance(model.module, GPT2), "a source is a native GPT-2"
    return model, model.module


def load(source: Source, form: str, threads: int, device: str) -> GraphEngine:
    """The model in the precision `form`."""
    return GraphEngine(*native(source, form, threads, device))
