"""Walk a model, replace its linear layers, and report what was covered and how far each layer is from what it was."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchsuite.errors import QuantizationError
from benchsuite.quant.layers import QuantizedLinear


@dataclass(frozen=True)
class LayerReport:
    """What quantizing did to one linear layer.

    `bound` is the largest proven elementwise error, `max_error` the largest found, `bound_used` the largest found as a
    share of the bound of its own element (at most 1), `snr_db` the power of the weight over that of the error (None:
    exact).
    """

    name: str
    kind: str
    shape: tuple[int, int]
    bound: float | None
    max_error: float
    bound_used: float | None
    snr_db: float | None
    bits_per_weight: float


@dataclass(frozen=True)
class Coverage:
    """How much of a model is quantized. Bytes are of parameters and buffers, a tied tensor once.

    `linear_weights` are the elements of all linear weights but a head tied to the embedding, which is the embedding's;
    `share` is `quantized_weights` of it. `bits_per_weight` is of those linear weights, scales and zero points counted.
    `seconds` is the time of quantizing, without that of this report.
    """

    linear_weights: int
    quantized_weights: int
    bytes_before: int
    bytes_after: int
    bits_per_weight: float
    seconds: float
    layers: tuple[LayerReport, ...] = ()

    @property
    def share(self) -> float:
        """Quantized linear weights of all linear weights, 0 to 1."""
        return self.quantized_weights / self.linear_weights if self.linear_weights else 0.0


def size_bytes(module: nn.Module) -> int:
    """Bytes of parameters and buffers, a tied tensor once."""
    tensors = {tensor.data_ptr() or id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return sum(tensor.nbytes for tensor in tensors.values())


def is_conv1d(module: nn.Module) -> bool:
    """Whether this is transformers' Conv1D: a linear layer whose weight is (in, out)."""
    library = sys.modules.get("transformers.pytorch_utils")
    return library is not None and isinstance(module, library.Conv1D)


def convert_conv1d(module: nn.Module) -> None:
    """Replace every Conv1D by the nn.Linear that computes the same, in place."""
    for name, child in list(module.named_modules()):
        if is_conv1d(child):
            weight, bias = child.get_parameter("weight"), child.get_parameter("bias")
            linear = nn.Linear(weight.shape[0], weight.shape[1], device="meta")
            linear.weight = nn.Parameter(weight.detach().t().contiguous(), requires_grad=weight.requires_grad)
            linear.bias = bias
            set_module(module, name, linear.train(child.training))


def linears(module: nn.Module, *, with_head: bool = False) -> dict[str, nn.Linear]:
    """Every nn.Linear of `module` by name, the head's only on request."""
    head = head_of(module)
    return {
        name: child
        for name, child in module.named_modules()
        if isinstance(child, nn.Linear) and (with_head or child is not head)
    }


def head_of(module: nn.Module) -> nn.Linear | None:
    """The linear layer from hidden states to logits, where there is one: transformers' output embeddings."""
    get = getattr(module, "get_output_embeddings", None)
    head = get() if callable(get) else None
    return head if isinstance(head, nn.Linear) else None


def set_module(root: nn.Module, name: str, new: nn.Module) -> None:
    """Put `new` where `name` (dotted) is in `root`."""
    parent, _, last = name.rpartition(".")
    setattr(root.get_submodule(parent), last, new)


def quantize_linears(
    module: nn.Module,
    quantize: Callable[[nn.Linear], QuantizedLinear],
    *,
    device: str,
    quantize_head: bool = False,
) -> Coverage:
    """Replace every linear layer of `module` by what `quantize` makes of it, in place, on `device`.

    Conv1D is converted first. QuantizationError where there is no linear layer, or where a layer cannot be quantized:
    it is named.
    """
    bytes_before = size_bytes(module)
    module.to(device)
    convert_conv1d(module)
    reports, seconds = [], 0.0
    for name, linear in linears_to_quantize(module, quantize_head=quantize_head).items():
        start = time.perf_counter()
        try:
            layer = quantize(linear)
        except QuantizationError as error:
            raise QuantizationError(f"{name}: {error}") from error
        seconds += time.perf_counter() - start
        reports.append(layer_report(name, linear.weight, layer))
        set_module(module, name, layer)
    return coverage(module, bytes_before=bytes_before, seconds=seconds, layers=tuple(reports))


def linears_to_quantize(module: nn.Module, *, quantize_head: bool = False) -> dict[str, nn.Linear]:
    """The linear layers of `linears`, of which there must be some."""
    found = linears(module, with_head=quantize_head)
    if not found:
        raise QuantizationError(f"{type(module).__name__} has no linear layer to quantize; choose fp32, bf16 or fp16")
    return found


@torch.no_grad()
def layer_report(name: str, weight: Tensor, layer: QuantizedLinear) -> LayerReport:
    """Compare the weight (out, in) of a layer with what the quantized layer holds."""
    true = weight.detach().float()
    error = layer.dequantize().sub_(true).abs_()
    bound = layer.grid.bound(weight)
    noise = float(error.square().sum(dtype=torch.float64))
    signal = float(true.square().sum(dtype=torch.float64))
    return LayerReport(
        name=name,
        kind=name.rpartition(".")[2],
        shape=(layer.out_features, layer.in_features),
        bound=float(bound.max()),
        max_error=float(error.max()),
        bound_used=float((error / bound.clamp_(min=torch.finfo(torch.float32).tiny)).max()),
        snr_db=10 * math.log10(signal / noise) if noise and signal else None,
        bits_per_weight=layer.weight_bits() / weight.numel(),
    )


def coverage(module: nn.Module, *, bytes_before: int, seconds: float, layers: tuple[LayerReport, ...] = ()) -> Coverage:
    """The coverage of a module whose linear layers have been replaced (or cast)."""
    head = head_of(module)
    tied = head is not None and any(
        isinstance(other, nn.Embedding) and other.weight is head.weight for other in module.modules()
    )
    plain = [linear.weight for linear in linears(module, with_head=not tied).values()]
    quantized = [layer for layer in module.modules() if isinstance(layer, QuantizedLinear)]
    quantized_weights = sum(layer.shape.numel() for layer in quantized)
    linear_weights = sum(weight.numel() for weight in plain) + quantized_weights
    bits = 8 * sum(weight.nbytes for weight in plain) + sum(layer.weight_bits() for layer in quantized)
    return Coverage(
        linear_weights=linear_weights,
        quantized_weights=quantized_weights,
        bytes_before=bytes_before,
        bytes_after=size_bytes(module),
        bits_per_weight=bits / linear_weights if linear_weights else 0.0,
        seconds=seconds,
        layers=layers,
    )
