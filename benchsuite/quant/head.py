"""A precision with the tied head in 8 bits besides. Importing this imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchsuite.errors import QuantizationError

if TYPE_CHECKING:
    from torch import nn

    from benchsuite.quant.apply import Coverage
    from benchsuite.quant.methods import Calibration
    from benchsuite.quant.precision import Precision


@dataclass(frozen=True)
class WithHead8:
    """A precision, and the tied head in 8 bits besides, as llama.cpp and CTranslate2 hold it."""

    name: str
    base: Precision

    def unavailable(self, device: str) -> str | None:
        """As for the precision alone."""
        return self.base.unavailable(device)

    def apply(self, module: nn.Module, *, device: str, calibration: Calibration | None = None) -> Coverage:
        """Apply the precision, then quantize `module.wte`; QuantizationError where that is not the head too."""
        from benchsuite.quant.apply import size_bytes
        from benchsuite.quant.embedding import QuantizedEmbedding

        embedding: Any = getattr(module, "wte", None)
        if not hasattr(embedding, "logits"):
            raise QuantizationError(
                f"{self.name} wants a native GPT-2, whose head is its embedding; use {self.base.name}"
            )
        coverage = self.base.apply(module, device=device, calibration=calibration)
        module.wte = QuantizedEmbedding(embedding.weight)
        return replace(coverage, bytes_after=size_bytes(module))
