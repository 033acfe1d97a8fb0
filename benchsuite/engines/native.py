"""This project's own GPT-2, prepared by the table of kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchsuite.device import synchronize
from benchsuite.engines import ignore
from benchsuite.engines.source import Source
from benchsuite.models.in_precision import load as load_model
from benchsuite.models.language_model import HEAD_ROWS, LanguageModel, lay_out, next_tokens, tokens_behind


class NativeEngine:
    """Any language model through our own loop; the logits of a prompt exist some hundred positions at a time."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    @torch.inference_mode()
    def prefill(self, ids: Sequence[int]) -> None:
        """Hidden states, then the logits of every position."""
        self.lay_out(one_token=False)
        input_ids = torch.tensor([list(ids)], device=self.model.device)  # (1, T)
        hidden = self.model.hidden(input_ids, self.model.new_cache(1, len(ids)))
        rows = HEAD_ROWS * 4 // hidden.element_size()  # whose logits are as many bytes as HEAD_ROWS of float32
        for states in torch.split(hidden[0], rows):
            self.model.head(states)
        synchronize(self.model.device)

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, mark: Callable[[], None] = ignore
    ) -> list[list[int]]:
        """Greedy, one pass per token; an end-of-text token does not end a row, so that each run does the same work."""
        device = self.model.device
        input_ids = torch.tensor([list(prompt) for prompt in prompts], device=device)  # (B, T)
        cache, step = self.decoder(len(prompts), input_ids.shape[1], new_tokens)
        found = [next_tokens(self.model, self.model.hidden(input_ids, cache)[:, -1])]  # (B,) each
        synchronize(device)
        mark()
        for _ in range(new_tokens - 1):
            found.append(step(found[-1]))
            synchronize(device)
            mark()
        rows: list[list[int]] = torch.stack(found, dim=1).tolist()
        return rows

    def decoder(self, batch_size: int, length: int, new_tokens: int) -> tuple[Any, Callable[[Tensor], Tensor]]:
        """An empty cache for prompts of `length`, and what maps the last tokens (B,) of its rows to the next (B,)."""
        self.lay_out(one_token=True)
        cache = self.model.new_cache(batch_size, length + new_tokens - 1)  # the last token is never fed
        return cache, lambda tokens: tokens_behind(self.model, tokens, cache)

    def lay_out(self, *, one_token: bool) -> None:
        """Hold weights as the work that begins reads them fastest."""
        lay_out(self.model, one_token=one_token)


def load(source: Source, form: str, threads: int, device: str) -> NativeEngine:
    """The model in the precision `form`."""
    torch.set_num_threads(threads)
    return NativeEngine(load_model(source.name, form, device, "sdpa")[0])
