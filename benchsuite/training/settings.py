"""What fixes a training run besides model and data. No torch in here."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from benchsuite.errors import UsageError
from benchsuite.models import Attention


@dataclass(frozen=True)
class Settings:
    """Hyperparameters, kernels and where the run is followed. `context` is in tokens, `early_stopping` in epochs."""

    learning_rate: float = 5e-5
    batch_size: int = 8
    epochs: float = 2.0
    warmup_steps: int = 100
    weight_decay: float = 0.1
    context: int = 1_024
    seed: int = 0
    accumulation: int = 1
    early_stopping: int | None = None
    autocast: Literal["bf16", "fp16"] | None = None
    attention: Attention = "sdpa"
    qat: str | None = None
    gradient_checkpointing: bool = False
    compile: bool = False
    device: str = "auto"
    track: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("learning_rate", "batch_size", "epochs", "context", "accumulation"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"{name.replace('_', ' ')} is {getattr(self, name)}; a number above 0 was wanted")
        for name in ("warmup_steps", "weight_decay", "seed"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name.replace('_', ' ')} is {getattr(self, name)}; a number from 0 on was wanted")
        if self.seed >= 1 << 32:
            raise UsageError(f"seed is {self.seed}; a number below 2**32 was wanted")
        if self.context < 2:
            raise UsageError("context is 1; at least 2 was wanted, since one token has none to predict")
        if self.early_stopping is not None and self.early_stopping < 1:
            raise UsageError(f"early stopping after {self.early_stopping} epochs; at least 1 was wanted")

    def within(self, positions: int) -> Settings:
        """These settings with a context of at most `positions` tokens."""
        return replace(self, context=min(self.context, positions))

    def require_context(self, model: str, positions: int) -> None:
        """Raise UsageError where the context is longer than the `positions` that the model sees."""
        if self.context > positions:
            raise UsageError(f"a context of {self.context} tokens was asked for; {model} sees {positions}")

    def to_json(self) -> dict[str, Any]:
        """What a run that is resumed must agree on: all but where it is followed and computed."""
        return {key: value for key, value in asdict(self).items() if key not in ("track", "device")}
