"""The precisions of this project, each a frozen dataclass: what is asked for, without torch until it is applied."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from benchsuite.errors import QuantizationError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchsuite.quant.apply import Coverage
    from benchsuite.quant.layers import Form

# the name of a dataset, or None for the embedded ones, to token windows int64 (N, T) of its train split
Calibration = Callable[["str | None"], "Tensor"]


@dataclass(frozen=True)
class Cast:
    """All parameters in one floating-point dtype; nothing is quantized."""

    name: Literal["fp32", "bf16", "fp16"]

    def unavailable(self, device: str) -> str | None:  # noqa: ARG002
        """Never: every device has these dtypes."""
        return None

    def apply(self, module: nn.Module, *, device: str, calibration: Calibration | None = None) -> Coverage:  # noqa: ARG002
        """Cast `module` in place."""
        import torch

        from benchsuite.quant.apply import coverage, size_bytes

        dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        bytes_before, start = size_bytes(module), time.perf_counter()
        # not module.to: transformers refuses it where bitsandbytes packed the weights, which stay as they are
        torch.nn.Module.to(module, device=device, dtype=dtypes[self.name])
        return coverage(module, bytes_before=bytes_before, seconds=time.perf_counter() - start)


@dataclass(frozen=True)
class OnGrid:
    """Linear weights rounded to a grid; `form` makes the grid and its product when they are needed.

    `capability` is the smallest compute capability (major, minor) of a CUDA device that has the product; None: any
    device.
    """

    name: str
    form: Callable[[], Form]
    capability: tuple[int, int] | None = None

    def unavailable(self, device: str) -> str | None:
        """What the device lacks."""
        if self.capability is None:
            return None
        import torch

        wanted = ".".join(map(str, self.capability))
        if not device.startswith("cuda") or not torch.cuda.is_available():
            return f"it needs a CUDA device of compute capability {wanted} or more; this is {device}"
        found = torch.cuda.get_device_capability(device)
        if found < self.capability:
            return f"it needs compute capability {wanted} or more; {device} has {found[0]}.{found[1]}"
        return None

    def apply(self, module: nn.Module, *, device: str, calibration: Calibration | None = None) -> Coverage:  # noqa: ARG002
        """Replace the linear layers of `module` in place."""
        from benchsuite.quant.apply import quantize_linears
        from benchsuite.quant.layers import QuantizedLinear

        form = self.form()
        return quantize_linears(module, lambda linear: QuantizedLinear.of(linear, *form), device=device)


@dataclass(frozen=True)
class Gptq:
    """GPTQ (Frantar et al. 2022) on a zero-point grid; the codes are chosen on the train split of `dataset`."""

    name: str
    bits: int
    group: Literal["row"] | int
    act_order: bool = False
    dataset: str | None = None  # None: the embedded ones

    def unavailable(self, device: str) -> str | None:  # noqa: ARG002
        """Never: PyTorch alone is needed."""
        return None

    def apply(self, module: nn.Module, *, device: str, calibration: Calibration | None = None) -> Coverage:
        """Replace the linear layers in the blocks of `module` in place."""
        from benchsuite.quant.gptq import Settings, quantize_model

        if calibration is None:
            raise QuantizationError(f"{self.name} needs calibration data; name a dataset that has a train split")
        settings = Settings(self.bits, self.group, self.act_order)
        windows = calibration(self.dataset)
        covered = quantize_model(module, windows, settings, device=device)
        count, length = windows.shape
        source = f"the train split of {self.dataset}" if self.dataset else "the embedded datasets' train splits"
        return replace(covered, calibration=f"{count} windows of {length} tokens from {source}")

    def form(self) -> Form:
        """The grid and product of its layers."""
        from benchsuite.quant.grids import ZeroPoint
        from benchsuite.quant.layers import Form

        return Form(ZeroPoint(self.bits, self.group))


@dataclass(frozen=True)
class External:
    """A quantizer of bitsandbytes (`bnb-…`) or torchao (`torchao-…`)."""

    name: str

    def unavailable(self, device: str) -> str | None:
        """The library's own reason, found by quantizing one small layer on `device`."""
        from benchsuite.quant.external import why_unavailable

        return why_unavailable(self.name, device)

    def apply(self, module: nn.Module, *, device: str, calibration: Calibration | None = None) -> Coverage:  # noqa: ARG002
        """Replace the linear layers of `module` in place, after casting it where the library has one dtype only."""
        from benchsuite.quant import external
        from benchsuite.quant.apply import quantize_linears

        if (dtype := external.needed_dtype(self.name)) is not None:
            module.to(dtype)
        quantize = external.quantizer(self.name)
        return quantize_linears(module, lambda linear: quantize(linear, device), device=device)
