"""Engines side by side: the same prompts, the same clock, one after the other within each round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch

from benchsuite.engines import Engine

PREFILL_TOKENS = 1_024
PROMPT_TOKENS = 32
NEW_TOKENS = 64


@dataclass
class Lane:
    """One engine's seconds, round by round, and what it said."""

    prefill_logits: str
    prefill_s: list[float] = field(default_factory=list)
    decode_s: list[float] = field(default_factory=list)  # of the tokens after the first
    tokens: list[int] = field(default_factory=list)

    @property
    def prefill_tokens_per_s(self) -> float:
        """Prompt tokens per second in the median round."""
        return PREFILL_TOKENS / statistics.median(self.prefill_s)

    @property
    def decode_tokens_per_s(self) -> float:
        """Tokens after the first per second in the median round."""
        return (NEW_TOKENS - 1) / statistics.median(self.decode_s)


def race(engines: Mapping[str, Engine], *, vocab_size: int, rounds: int) -> Iterator[dict[str, Lane]]:
    """Run every engine once without the clock, then `rounds` rounds; yields what is known after each round.

    Decode is the time of `NEW_TOKENS` tokens less that of one: so the prompt's part falls out for every engine alike.
    """
    generator = torch.Generator().manual_seed(0)
    long, short = (
        torch.randint(0, vocab_size, (length,), generator=generator).tolist()
        for length in (PREFILL_TOKENS, PROMPT_TOKENS)
    )
    lanes = {name: Lane(engine.prefill_logits) for name, engine in engines.items()}
    for number in range(rounds + 1):
        for name, engine in engines.items():
            lane = lanes[name]
            prefill = _seconds(lambda engine=engine: engine.prefill(long))  # type: ignore[misc]
            first = _seconds(lambda engine=engine: engine.generate(short, 1))  # type: ignore[misc]
            start = time.perf_counter()
            lane.tokens = engine.generate(short, NEW_TOKENS)
            whole = time.perf_counter() - start
            if number:
                lane.prefill_s.append(prefill)
                lane.decode_s.append(whole - first)
        if number:
            yield lanes


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
