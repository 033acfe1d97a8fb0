"""Our own GPT-2 with each block through `torch.compile`: norms, GELU, scales and sums in one kernel each."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch._dynamo.exc import BackendCompilerFailed

from benchsuite.engines.native import NativeEngine
from benchsuite.engines.source import Source
from benchsuite.errors import UnavailableError
from benchsuite.measure.resident import load as load_model


def load(source: Source, form: str, threads: int, device: str) -> NativeEngine:
    """The model in the precision `form`, compiled for any length; UnavailableError where no compiler works here."""
    torch.set_num_threads(threads)
    model, _ = load_model(source.name, form, device, "sdpa")
    for block in cast("Any", model.module).h:
        block.compile(dynamic=True)
    engine = NativeEngine(model)
    try:
        engine.generate([[0, 1]], 3)  # what compiling needs is missing now, or never
    except BackendCompilerFailed as error:
        reason = str(error.inner_exception).strip().splitlines()[0]
        raise UnavailableError(f"torch.compile finds no compiler that works here: {reason}; install g++") from error
    return engine
