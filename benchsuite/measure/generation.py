"""Generation under the clock: prompt to first token (prefill), then token by token (decode)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from benchsuite.errors import UsageError

if TYPE_CHECKING:
    from benchsuite.engines import Engine

PROMPT_TOKENS = 64
NEW_TOKENS = 32


@dataclass(frozen=True)
class Timing:
    """One generation of a whole batch: seconds to the first token, then seconds of each further step."""

    prefill_s: float
    steps_s: NDArray[np.float64]  # (new_tokens - 1,)
    tokens: list[list[int]]  # (B, new_tokens)

    @property
    def decode_s(self) -> float:
        """Seconds of all tokens after the first."""
        return float(self.steps_s.sum())


def time_generation(engine: Engine, prompts: Sequence[Sequence[int]], *, new_tokens: int) -> Timing:
    """Generate exactly `new_tokens` greedily after prompts of equal length; tokenisation is not timed.

    Only the last position's logits are computed in the prefill; an end-of-text token does not end a row, so that each
    run does the same work.
    """
    if new_tokens < 2 or any(len(prompt) != len(prompts[0]) for prompt in prompts):
        raise UsageError("timing a generation wants prompts of one length and at least 2 new tokens")
    marks: list[float] = []
    start = time.perf_counter()
    tokens = engine.generate(prompts, new_tokens, lambda: marks.append(time.perf_counter()))
    return Timing(prefill_s=marks[0] - start, steps_s=np.diff(marks), tokens=tokens)


def require_context(name: str, n_positions: int, prompt_tokens: int, new_tokens: int) -> None:
    """Raise UsageError where a generation is longer than what the model sees; its last token is never fed."""
    if (wanted := prompt_tokens + new_tokens - 1) > n_positions:
        raise UsageError(
            f"{name} sees {n_positions} tokens; {new_tokens} behind a prompt of {prompt_tokens} want {wanted}: name a "
            "model with a longer context"
        )


def prompts_of(vocab_size: int, *, count: int, length: int) -> list[list[int]]:
    """`count` prompts of `length` tokens, each different and the same in every run, of ids below `vocab_size - 1`."""
    generator = torch.Generator().manual_seed(length)
    ids: list[list[int]] = torch.randint(0, vocab_size - 1, (count, length), generator=generator).tolist()
    return ids
