"""One model or engine at a time, kept until another is wanted."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from benchsuite.models.classifier import Classifier
from benchsuite.models.language_model import generate

if TYPE_CHECKING:
    from benchsuite.models.language_model import LanguageModel
    from benchsuite.quant.apply import Coverage

SAMPLE_PROMPT = "Once upon a time"
SAMPLE_TOKENS = 24
Held = TypeVar("Held")


@dataclass(frozen=True)
class Loaded:
    """What is resident: a model in a precision, and how much of it the precision covers."""

    model: LanguageModel
    coverage: Coverage

    @functools.cached_property
    def sample_text(self) -> str | None:
        """What the model says: a few greedy tokens after a fixed prompt; None of a classifier, which does not speak."""
        if isinstance(self.model, Classifier):
            return None
        prompt = self.model.tokenizer.encode(SAMPLE_PROMPT)
        [(_, tokens)] = generate(self.model, [prompt], max_new_tokens=SAMPLE_TOKENS, batch_size=1)
        return self.model.tokenizer.decode(tokens)


class Resident:
    """Holds at most one model or engine, so that a matrix needs the memory of its largest cell and no more."""

    def __init__(self) -> None:
        self._key: tuple[str, ...] = ()
        self._held: Any = None

    def get(self, key: tuple[str, ...], load: Callable[[], Held]) -> Held:
        """What `load` gives, from the last call where the key is the same; not an engine whose process has ended."""
        if self._key != key or getattr(self._held, "ended", False):
            self.drop()
            self._held, self._key = load(), key
        return cast("Held", self._held)

    def drop(self) -> None:
        """Give the memory back."""
        self._held, self._key = None, ()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
