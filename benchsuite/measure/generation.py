"""Generation under the clock: prompt to first token (prefill), then token by token (decode)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchsuite.errors import UsageError
from benchsuite.measure.machine import synchronize
from benchsuite.models.language_model import LanguageModel, next_tokens

PROMPT_TOKENS = 64
NEW_TOKENS = 32


@dataclass(frozen=True)
class Timing:
    """One generation of a whole batch: seconds to the first token, then seconds of each further step."""

    prefill_s: float
    steps_s: NDArray[np.float64]  # (new_tokens - 1,)

    @property
    def decode_s(self) -> float:
        """Seconds of all tokens after the first."""
        return float(self.steps_s.sum())


@torch.inference_mode()
def time_generation(model: LanguageModel, prompts: Sequence[Sequence[int]], *, new_tokens: int) -> Timing:
    """Generate exactly `new_tokens` greedily after prompts of equal length; tokenisation is not timed.

    Only the last position's logits are computed in the prefill; an end-of-text token does not end a row, so that each
    run does the same work.
    """
    length = len(prompts[0])
    if new_tokens < 2 or any(len(prompt) != length for prompt in prompts):
        raise UsageError("timing a generation wants prompts of one length and at least 2 new tokens")
    device = model.device
    input_ids = torch.tensor([list(prompt) for prompt in prompts], device=device)  # (B, T)
    clock = time.perf_counter
    synchronize(device)
    start = clock()
    cache = model.new_cache(len(prompts), length + new_tokens)
    tokens = next_tokens(model, model.hidden(input_ids, cache)[:, -1])  # (B,)
    synchronize(device)
    marks = [clock()]
    for _ in range(new_tokens - 1):
        tokens = next_tokens(model, model.hidden(tokens[:, None], cache)[:, -1])
        synchronize(device)
        marks.append(clock())
    return Timing(prefill_s=marks[0] - start, steps_s=np.diff(marks))


def prompts_of(model: LanguageModel, *, count: int, length: int) -> list[list[int]]:
    """`count` prompts of `length` tokens, each different and the same in every run, from the vocabulary's start."""
    generator = torch.Generator().manual_seed(length)
    ids: list[list[int]] = torch.randint(
        0, model.tokenizer.vocab_size - 1, (count, length), generator=generator
    ).tolist()
    return ids
