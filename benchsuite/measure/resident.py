"""One model at a time: load it, apply a precision, keep it until another is wanted."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from benchsuite.errors import MissingError, UnavailableError
from benchsuite.measure.calibration import calibration_windows
from benchsuite.models import models
from benchsuite.models.classifier import Classifier
from benchsuite.models.gpt2 import GPT2
from benchsuite.models.language_model import generate
from benchsuite.quant.precision import precisions

if TYPE_CHECKING:
    from benchsuite.models.gpt2 import Attention
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
        """What `load` gives, from the last call where the key is the same."""
        if self._key != key:
            self.drop()
            self._held, self._key = load(), key
        return cast("Held", self._held)

    def drop(self) -> None:
        """Give the memory back."""
        self._held, self._key = None, ()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def load(model: str, precision: str, device: str, attention: str) -> tuple[LanguageModel, Coverage]:
    """A model with a precision applied; UnavailableError where this machine cannot run the two together."""
    if reason := precisions[precision].unavailable(device):
        raise UnavailableError(f"{precision}: {reason}")
    try:
        loaded = models[model].load(device, cast("Attention", attention))
    except UnavailableError as error:
        raise MissingError(str(error)) from error
    coverage = apply_precision(loaded, precision, device)
    if isinstance(loaded.module, GPT2):
        loaded.module.prepare(device)
    _try_attention(loaded, attention)
    return loaded, coverage


def apply_precision(model: LanguageModel, precision: str, device: str) -> Coverage:
    """Apply a precision to a loaded model, in place."""
    coverage = precisions[precision].apply(
        model.module, device=device, calibration=functools.partial(calibration_windows, model)
    )
    model.module.to(device)
    return coverage


@torch.inference_mode()
def _try_attention(model: LanguageModel, attention: str) -> None:
    """A kernel that was forced and cannot run is found out before anything is measured."""
    if attention == "flash":
        try:
            model.hidden(torch.zeros((1, 2), dtype=torch.int64, device=model.device))
        except RuntimeError as error:
            raise UnavailableError(f"flash attention cannot run here: {str(error).splitlines()[0]}") from error
