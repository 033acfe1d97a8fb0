"""This project's own GPT-2, prepared by the table of kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from benchsuite.engines import ignore
from benchsuite.engines.source import Source
from benchsuite.measure.machine import synchronize
from benchsuite.measure.resident import load as load_model
from benchsuite.models.language_model import HEAD_ROWS, LanguageModel, next_tokens


class NativeEngine:
    """Any language model through our own loop; the logits of a prompt exist some hundred positions at a time."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    @torch.inference_mode()
    def prefill(self, ids: Sequence[int]) -> None:
        """Hidden states, then the logits of every position."""
        input_ids = torch.tensor([list(ids)], device=self.model.device)  # (1, T)
        hidden = self.model.hidden(input_ids, self.model.new_cache(1, len(ids)))
        for states in torch.split(hidden[0], HEAD_ROWS):
            self.model.head(states)
        synchronize(self.model.device)

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, mark: Callable[[], None] = ignore
    ) -> list[list[int]]:
        """Greedy, one pass per token; an end-of-text token does not end a row, so that each run does the same work."""
        device = self.model.device
        tokens = torch.tensor([list(prompt) for prompt in prompts], device=device)  # (B, T)
        cache = self.model.new_cache(len(prompts), tokens.shape[1] + new_tokens)
        found = []
        for _ in range(new_tokens):
            found.append(next_tokens(self.model, self.model.hidden(tokens, cache)[:, -1]))  # (B,)
            tokens = found[-1][:, None]  # (B, 1)
            synchronize(device)
            mark()
        rows: list[list[int]] = torch.stack(found, dim=1).tolist()
        return rows


def load(source: Source, form: str, threads: int, device: str) -> NativeEngine:
    """The model in the precision `form`."""
    torch.set_num_threads(threads)
    return NativeEngine(load_model(source.name, form, device, "sdpa")[0])
