"""Walk a model, replace its linear layers, and report what was covered and how far each layer is from what it was."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchsuite.errors import QuantizationError
from benchsuite.quant import external, progress
from benchsuite.quant.grids import Packed
from benchsuite.quant.layers import QuantizedLinear


@dataclass(frozen=True)
class LayerReport:
    """What quantizing did to one linear layer.

    `bound` is the largest proven elementwise error (None where none is proven), `max_error` the largest found,
    `bound_used` the largest found as a share of the bound of its own element (at most 1), `snr_db` the power of the
    weight over that of the error (None: exact).
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
    `seconds` is the time of quantizing, without that of this report; `calibration` says what data it was fitted to.
    """

    linear_weights: int
    quantized_weights: int
    bytes_before: int
    bytes_after: int
    bits_per_weight: float
    seconds: float
    layers: tuple[LayerReport, ...] = ()
    calibration: str = ""

    @property
    def share(self) -> float:
        """Quantized linear weights of all linear weights, 0 to 1."""
        return self.quantized_weights / self.linear_weights if self.linear_weights else 0.0


def packed_of(layer: nn.Module) -> Packed:
    """The tensors that stand for the weight of a quantized layer, ours or a library's; empty for any other module."""
    return layer.packed if isinstance(layer, QuantizedLinear) else external.packed_of(layer)


def size_bytes(module: nn.Module) -> int:
    """Bytes of parameters and buffers, a tied tensor once; scales that a library keeps beside them are counted too."""
    own = (tensor for held in (module.parameters(), module.buffers()) for tensor in held)
    beside = (tensor for layer in module.modules() for tensor in packed_of(layer).values())
    plain = (part for tensor in (*own, *beside) for _, part in external.plain_tensors(tensor))
    return sum({_storage(tensor): tensor.nbytes for tensor in plain}.values())


def _storage(tensor: Tensor) -> int:
    """What tells tensors apart: where they lie, or themselves where that is not told (oneDNN's layouts)."""
    return id(tensor) if tensor.is_mkldnn else tensor.data_ptr() or id(tensor)


def is_conv1d(module: nn.Module) -> bool:
    """Whether this is transformers' Conv1D: a linear layer whose weight is (in, out)."""
    library = sys.modules.get("transformers.pytorch_utils")
    return library is not None and isinstance(module, library.Conv1D)


def convert_conv1d(module: nn.Module) -> None:
    """Replace every Conv1D by the nn.Linear that computes the same, in place."""
    for name in [name for name, child in module.named_modules() if is_conv1d(child)]:  # a list of layers would keep all
        child = module.get_submodule(name)
        weight, bias = child.get_parameter("weight"), child.get_parameter("bias")
        linear = nn.Linear(weight.shape[0], weight.shape[1], device="meta")
        linear.weight = nn.Parameter(weight.detach().t().contiguous(), requires_grad=weight.requires_grad)
        linear.bias = bias
        set_module(module, name, linear.train(child.training))


def linears(module: nn.Module) -> dict[str, nn.Linear]:
    """Every nn.Linear of `module` by name, but the head's."""
    head = head_of(module)
    return {name: child for name, child in module.named_modules() if isinstance(child, nn.Linear) and child is not head}


def head_of(module: nn.Module) -> nn.Linear | None:
    """The linear layer from hidden states to logits, where there is one: transformers' output embeddings, or the
    `score` of a classifier."""
    get = getattr(module, "get_output_embeddings", None)
    head = (get() if callable(get) else None) or getattr(module, "score", None)
    return head if isinstance(head, nn.Linear) else None


def set_module(root: nn.Module, name: str, new: nn.Module) -> None:
    """Put `new` where `name` (dotted) is in `root`."""
    parent, _, last = name.rpartition(".")
    setattr(root.get_submodule(parent), last, new)


def quantize_linears(module: nn.Module, quantize: Callable[[nn.Linear], nn.Module], *, device: str) -> Coverage:
    """Replace every linear layer of `module` by what `quantize` makes of it, in place, on `device`.

    Conv1D is converted first. QuantizationError where there is no linear layer, or where a layer cannot be quantized:
    it is named.
    """
    bytes_before = size_bytes(module)
    module.to(device)
    convert_conv1d(module)
    reports, seconds = [], 0.0
    found = linears_to_quantize(module)
    count = len(found)
    for name in list(found):
        linear = found.pop(name)  # and so dropped as soon as the next one's turn comes
        weight, start = linear.weight, time.perf_counter()
        try:
            layer = quantize(linear)
        except QuantizationError as error:
            raise QuantizationError(f"{name}: {error}") from error
        seconds += time.perf_counter() - start
        reports.append(layer_report(name, weight, layer))
        set_module(module, name, layer)
        progress.report(len(reports), count)
    return coverage(module, bytes_before=bytes_before, seconds=seconds, layers=tuple(reports))


def linears_to_quantize(module: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers of `linears`; QuantizationError where there is none, or one is quantized already."""
    if any(packed_of(layer) for layer in module.modules()):
        raise QuantizationError(
            f"{type(module).__name__} is quantized already; quantize the floating-point model (fp32 takes it as it is)"
        )
    found = linears(module)
    if not found:
        raise QuantizationError(f"{type(module).__name__} has no linear layer to quantize; choose fp32, bf16 or fp16")
    return found


def kind_of(name: str) -> str:
    """What a layer is whatever its block: the last two parts of its name that are no numbers, `attn.c_proj`."""
    return ".".join([part for part in name.split(".") if not part.isdigit()][-2:]) or name


@torch.no_grad()
def layer_report(name: str, weight: Tensor, layer: nn.Module, *, bounded: bool = True) -> LayerReport:
    """Compare the weight (out, in) of a linear layer with what the quantized `layer` holds.

    `bounded` is false for a method whose codes are not those nearest to the weights: no elementwise bound holds for it.

    QuantizationError where a grid gives back no float32 weight of that shape, no numbers, or breaks its own bound.
    """
    true = weight.detach().float()
    bound: Tensor | None
    if isinstance(layer, QuantizedLinear):
        held, bound = layer.dequantize(), layer.grid.bound(weight) if bounded else None
        if (held.shape, held.dtype) != (true.shape, true.dtype):
            wanted = f"{true.dtype} {tuple(true.shape)} was wanted"
            raise QuantizationError(f"{name}: its grid dequantizes to {held.dtype} {tuple(held.shape)}; {wanted}")
    else:
        held, bound = external.dequantize(layer), external.bound(layer, weight)
    error = held.sub_(true).abs_()
    noise = float(error.square().sum(dtype=torch.float64))
    signal = float(true.square().sum(dtype=torch.float64))
    tiny = torch.finfo(torch.float32).tiny  # where the bound is 0 so is the error
    used = None if bound is None else float((error / bound.clamp(min=tiny)).max())
    largest = float(error.max())
    if not math.isfinite(largest) or (used is not None and not math.isfinite(used)):
        raise QuantizationError(f"{name}: what its grid dequantizes to, or its bound, is NaN or infinite")
    if used is not None and used > 1 and isinstance(layer, QuantizedLinear):
        raise QuantizationError(
            f"{name}: an error is {used:.3g} times what the grid's own bound allows: one of the two is wrong; "
            "`benchsuite.quant.testing.check_grid` says for which weights"
        )
    return LayerReport(
        name=name,
        kind=kind_of(name),
        shape=(weight.shape[0], weight.shape[1]),
        bound=None if bound is None else float(bound.max()),
        max_error=largest,
        bound_used=used,
        snr_db=10 * math.log10(signal / noise) if noise and signal else None,
        bits_per_weight=_bits(packed_of(layer).values()) / weight.numel(),
    )


def coverage(module: nn.Module, *, bytes_before: int, seconds: float, layers: tuple[LayerReport, ...] = ()) -> Coverage:
    """The coverage of a module whose linear layers have been replaced (or cast)."""
    head = head_of(module)
    tied = head is not None and any(
        isinstance(other, nn.Embedding) and other.weight is head.weight for other in module.modules()
    )
    linear_weights = quantized_weights = bits = 0
    for layer in module.modules():
        if packed := packed_of(layer):
            weights = int(layer.out_features) * int(layer.in_features)  # type: ignore[arg-type]
            quantized_weights += weights
            bits += _bits(packed.values())
        elif isinstance(layer, nn.Linear) and not (tied and layer is head):
            weights = layer.weight.numel()
            bits += _bits([layer.weight])
        else:
            continue
        linear_weights += weights
    return Coverage(
        linear_weights=linear_weights,
        quantized_weights=quantized_weights,
        bytes_before=bytes_before,
        bytes_after=size_bytes(module),
        bits_per_weight=bits / linear_weights if linear_weights else 0.0,
        seconds=seconds,
        layers=layers,
    )


def _bits(tensors: Iterable[Tensor]) -> int:
    return 8 * sum(tensor.nbytes for tensor in tensors)
