"""Endless deterministic streams of examples, and splits that share none of them.

The hash of an item's words decides which split may hold it, so that no split has to be generated to know another.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import TypeVar

from benchsuite.data.examples import Split

T = TypeVar("T")
SEED = 2026


def stream(*name: str) -> random.Random:
    """The random numbers of a named stream: the same on every machine, Python 3.10 to 3.13, whatever PYTHONHASHSEED.

    Only `random()`, `choice`, `randrange` and `shuffle` are used of it: their results for a seed do not change
    between these versions.
    """
    return random.Random(" ".join(("benchsuite", str(SEED), *name)))  # noqa: S311  (no secret)


def content(text: str) -> str:
    """What makes two texts the same item: the words and numbers, not case, punctuation or spacing."""
    return " ".join("".join(char if char.isalnum() else " " for char in text.lower()).split())


def owner(text: str) -> Split:
    """The one split that may hold an item with this content: 6 in 8 are train's, 1 validation's, 1 test's."""
    bucket = hashlib.blake2b(content(text).encode(), digest_size=1).digest()[0] % 8
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def draw_split(
    name: str, split: Split, size: int, draw: Callable[[random.Random], T], key: Callable[[T], str]
) -> tuple[T, ...]:
    """The first `size` distinct items of the stream `name` and `split` that this split owns by their `key`.

    A smaller `size` gives a prefix of a larger one.
    """
    rng = stream(name, split)
    items: dict[str, T] = {}
    while len(items) < size:
        item = draw(rng)
        if owner(key(item)) == split:
            items.setdefault(content(key(item)), item)
    return tuple(items.values())
