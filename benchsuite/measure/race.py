"""Engines side by side: the same prompts, the same clock, one after the other in an order that changes by round."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch

from benchsuite.engines import Engine
from benchsuite.errors import UsageError, reason_of
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
    starts: Mapping[str, Callable[[], Engine]],
    *,
    vocab_size: int,
    rounds: int,
    missing: dict[str, str],
    prefill_tokens: int = PREFILL_TOKENS,
) -> Iterator[tuple[str, int, dict[str, Lane]]]:
    """Start every engine; then all prefill, and then all decode, once without the clock and in `rounds` rounds. Yields
    the work, its round from 1 on, and what is known after it.

    One work at a time, since an engine may lay its weights out for it. Who comes behind whom is drawn for each round,
    always alike: what an engine leaves behind, in caches and in threads that still wait awake, then burdens no other in
    every round. An engine that fails, now or later, goes to `missing` with the reason, and the race goes on without it;
    UsageError for a name that cannot be. Prefill is `prefill_tokens` with the logits of every position; decode is the
    time from the first new token to the last of `NEW_TOKENS`, so the prompt's part falls out for every engine alike.
    """
    generator = torch.Generator().manual_seed(0)
    long, short = (
        torch.randint(0, vocab_size, (length,), generator=generator).tolist()
        for length in (prefill_tokens, PROMPT_TOKENS)
    )
    order = random.Random(0)  # noqa: S311  no secret
    engines: dict[str, Engine] = {}
    lanes = {name: Lane(prefill_tokens) for name in starts}

    def start(name: str) -> None:
        engines[name] = starts[name]()

    def prefill(name: str) -> None:
        began = time.perf_counter()
        engines[name].prefill(long)
        lanes[name].prefill_s.append(time.perf_counter() - began)

    def decode(name: str) -> None:
        timing = time_generation(engines[name], [short], new_tokens=NEW_TOKENS)
        lanes[name].decode_s.append(timing.decode_s)
        [lanes[name].tokens] = timing.tokens

    def in_turn(step: Callable[[str], None]) -> None:
        for name in order.sample(list(lanes), len(lanes)):
            try:
                step(name)
            except UsageError:  # noqa: PERF203  each engine fails on its own
                raise
            except Exception as error:  # whatever ends one engine, a fault of its library too
                missing[name] = reason_of(error)
                del lanes[name]
                engines.pop(name, None)

    in_turn(start)
    for work, seconds in ((prefill, "prefill_s"), (decode, "decode_s")):
        in_turn(work)
        for lane in lanes.values():
            getattr(lane, seconds).clear()
        for number in range(rounds):
            in_turn(work)
            if not lanes:
                return
            yield work.__name__, number + 1, lanes
