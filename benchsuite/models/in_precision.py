"""A model in a precision: loaded, quantized, with the layers that run fastest here."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, cast

import torch

from benchsuite.errors import MissingError, UnavailableError, first_line
from benchsuite.models import Attention, models
from benchsuite.models.calibration import calibration_windows
from benchsuite.models.gpt2 import GPT2
from benchsuite.quant.precision import precisions

if TYPE_CHECKING:
    from benchsuite.models.language_model import LanguageModel
    from benchsuite.quant.apply import Coverage


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
            raise UnavailableError(f"flash attention cannot run here: {first_line(error)}") from error
