"""This project's own GPT-2, prepared by the table of kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchsuite.engines.source import Source
from benchsuite.measure.resident import load as load_model
from benchsuite.models.language_model import HEAD_ROWS, LanguageModel, next_tokens


class NativeEngine:
    """Logits of all positions, some hundred at a time."""

    prefill_logits = "all"

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    @torch.inference_mode()
    def prefill(self, ids: Sequence[int]) -> None:
        """Hidden states, then the logits of every position."""
        hidden = self.model.hidden(torch.tensor([list(ids)]), self.model.new_cache(1, len(ids)))
        for states in torch.split(hidden[0], HEAD_ROWS):
            self.model.head(states)

    @torch.inference_mode()
    def generate(self, ids: Sequence[int], new_tokens: int) -> list[int]:
        """Greedy, one pass per token."""
        cache = self.model.new_cache(1, len(ids) + new_tokens)
        tokens = next_tokens(self.model, self.model.hidden(torch.tensor([list(ids)]), cache)[:, -1])
        found = [int(tokens)]
        while len(found) < new_tokens:
            tokens = next_tokens(self.model, self.model.hidden(tokens[:, None], cache)[:, -1])
            found.append(int(tokens))
        return found


def load(source: Source, form: str, threads: int) -> NativeEngine:
    """The model in the precision `form`."""
    torch.set_num_threads(threads)
    return NativeEngine(load_model(source.name, form, "cpu", "sdpa")[0])
