"""Engines side by side: the same prompts, the same clock, one after the other within each round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch

from benchsuite.engines import Engine
from benchsuite.errors import UnavailableError
from benchsuite.measure.generation import time_generation

PREFILL_TOKENS = 1_024
PROMPT_TOKENS = 32
NEW_TOKENS = 64


@dataclass
class Lane:
    """One engine's seconds, round by round, and what it said."""

    prefill_tokens: int
    prefill_s: list[float] = field(default_factory=list)
    decode_s: list[float] = field(default_factory=list)  # of the tokens after the first
    tokens: list[int] = field(default_factory=list)

    @property
    def prefill_tokens_per_s(self) -> float:
        """Prompt tokens per second in the median round."""
        return self.prefill_tokens / statistics.median(self.prefill_s)

    @property
    def decode_tokens_per_s(self) -> float:
        """Tokens after the first per second in the median round."""
        return (NEW_TOKENS - 1) / statistics.median(self.decode_s)


def race(
    engines: Mapping[str, Engine],
    *,
    vocab_size: int,
    rounds: int,
    prefill_tokens: int = PREFILL_TOKENS,
    missing: dict[str, str] | None = None,
) -> Iterator[dict[str, Lane]]:
    """Run every engine once without the clock, then `rounds` rounds; yields what is known after each round.

    An engine that turns out to be unavailable in that first round goes to `missing`, with the reason. Prefill is
    `prefill_tokens` with the logits of every position; decode is the time from the first new token to the last of
    `NEW_TOKENS`, so the prompt's part falls out for every engine alike.
    """
    generator = torch.Generator().manual_seed(0)
    long, short = (
        torch.randint(0, vocab_size, (length,), generator=generator).tolist()
        for length in (prefill_tokens, PROMPT_TOKENS)
    )

    def turn(engine: Engine, lane: Lane) -> None:
        start = time.perf_counter()
        engine.prefill(long)
        lane.prefill_s.append(time.perf_counter() - start)
        timing = time_generation(engine, [short], new_tokens=NEW_TOKENS)
        lane.decode_s.append(timing.decode_s)
        [lane.tokens] = timing.tokens

    lanes = {}
    for name, engine in engines.items():
        try:
            turn(engine, Lane(prefill_tokens))
        except UnavailableError as error:  # noqa: PERF203  each engine is unavailable or not on its own
            if missing is None:
                raise
            missing[name] = str(error)
        else:
            lanes[name] = Lane(prefill_tokens)
    for _ in range(rounds if lanes else 0):
        for name, lane in lanes.items():
            turn(engines[name], lane)
        yield lanes
