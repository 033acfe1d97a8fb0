"""GPTQ (Frantar et al. 2022): round the columns of a weight one by one, and let the later ones make up for the error.

What counts is the layer's output on calibration data: the error of a weight is weighed with H = XᵀX over the layer's
inputs X. Blocks are treated one after another, each with inputs that come from the blocks already quantized, as in the
paper.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchsuite.errors import QuantizationError
from benchsuite.quant import progress
from benchsuite.quant.apply import (
    Coverage,
    LayerReport,
    convert_conv1d,
    coverage,
    layer_report,
    linears_to_quantize,
    set_module,
    size_bytes,
)
from benchsuite.quant.grids import Packed, ZeroPoint
from benchsuite.quant.groups import groups_per_row, require_finite
from benchsuite.quant.layers import QuantizedLinear
from benchsuite.quant.packing import pack

_COLUMNS_AT_ONCE = 128  # columns whose errors are carried to the rest of the weight in one product
_HESSIAN_STRIP = 256  # rows of XᵀX computed at once; what lies below the diagonal is not computed


@dataclass(frozen=True)
class Settings:
    """`damping` is added to the diagonal of H, as a share of its mean; `act_order` takes columns of large inputs first.

    With `act_order` the scales of groups come from the unquantized weight, so that a group stays a run of columns.
    """

    bits: int = 4
    group: Literal["row"] | int = 128
    act_order: bool = False
    damping: float = 0.01

    @property
    def grid(self) -> ZeroPoint:
        """The grid of the result."""
        return ZeroPoint(self.bits, self.group)


@torch.no_grad()
def quantize_model(module: nn.Module, calibration: Tensor, settings: Settings, *, device: str) -> Coverage:
    """Quantize every linear layer in the blocks of `module`, in place, on `device`.

    `calibration` is int64 token windows (N, T). QuantizationError where it is empty, where the model has no list of
    blocks, and where H cannot be factored.
    """
    if calibration.dim() != 2 or calibration.numel() == 0:
        raise QuantizationError(
            f"GPTQ needs calibration windows of shape (windows, tokens), found {tuple(calibration.shape)}; "
            "give it a train split that holds at least one window"
        )
    bytes_before = size_bytes(module)
    module.to(device)
    convert_conv1d(module)
    linears_to_quantize(module)
    start, reporting = time.perf_counter(), 0.0
    was_training = module.training
    module.eval()
    name, blocks = find_blocks(module)
    inputs = [_input_of_first_block(module, blocks, window.unsqueeze(0).to(device)) for window in calibration]
    reports: list[LayerReport] = []
    for index, block in enumerate(blocks):
        layers = linears_to_quantize(block)
        for layer_name, hessian in _hessians(block, layers, inputs).items():
            linear = layers[layer_name]
            full_name = f"{name}.{index}.{layer_name}"
            try:
                packed = quantize_weight(linear.weight, hessian, settings)
            except QuantizationError as error:
                raise QuantizationError(f"{full_name}: {error}") from error
            quantized = QuantizedLinear(packed, linear, settings.grid)
            set_module(block, layer_name, quantized)
            now = time.perf_counter()
            reports.append(layer_report(full_name, linear.weight, quantized, bounded=False))
            reporting += time.perf_counter() - now
        for call in inputs if index + 1 < len(blocks) else []:  # nobody asks what the last one gives
            call.run(block)
        progress.report(index + 1, len(blocks))
    module.train(was_training)
    seconds = time.perf_counter() - start - reporting
    return coverage(module, bytes_before=bytes_before, seconds=seconds, layers=tuple(reports))


def find_blocks(module: nn.Module) -> tuple[str, nn.ModuleList]:
    """The list of a model's blocks and its name: the nn.ModuleList with the most parameters."""
    lists = [(name, child) for name, child in module.named_modules() if isinstance(child, nn.ModuleList)]
    if not lists:
        raise QuantizationError(
            f"{type(module).__name__} has no nn.ModuleList of blocks, which GPTQ goes through one by one; "
            "choose a precision that needs no calibration"
        )
    return max(lists, key=lambda item: sum(parameter.numel() for parameter in item[1].parameters()))


def quantize_weight(weight: Tensor, hessian: Tensor, settings: Settings) -> Packed:
    """Codes, scales and zero points for `weight` (R, C), given H (C, C) of the layer's inputs; see `ZeroPoint`.

    Algorithm 1 of the paper, transposed so that a column is contiguous. Groups start with the errors of all columns
    before them made up for.
    """
    grid, (height, columns) = settings.grid, weight.shape
    require_finite(weight, weight.abs().amax())
    order = torch.arange(columns, device=weight.device)
    if settings.act_order:
        order = hessian.diagonal().argsort(descending=True, stable=True)
    factor = _inverse_factor(hessian[order][:, order], settings.damping)  # (C, C) upper
    rest = weight.detach().float().t()[order].contiguous()  # (C, R): columns still to come, corrected
    group = settings.group if isinstance(settings.group, int) else columns
    groups = groups_per_row(columns, group)
    codes = torch.empty(columns, height, dtype=torch.uint8, device=weight.device)
    scale = torch.empty(groups, height, device=weight.device)
    zero_point = torch.empty_like(scale)

    def fit(index: int, part: Tensor) -> None:
        scale[index], zero_point[index] = grid.parameters(part.amin(0), part.amax(0))

    fixed = settings.act_order or not isinstance(settings.group, int)  # all scales come from the weight as it was
    if fixed:
        for index, part in enumerate(torch.split(weight.detach().float().t(), group)):
            fit(index, part)
    step = _COLUMNS_AT_ONCE if fixed else group
    for start in range(0, columns, step):
        stop = min(start + step, columns)
        if not fixed:
            fit(start // group, rest[start:stop])
        errors = torch.empty(stop - start, height, device=weight.device)
        pivots, places = factor.diagonal()[start:stop].tolist(), order[start:stop].tolist()
        for k, (pivot, place) in enumerate(zip(pivots, places, strict=True)):
            column = rest[start + k]  # (R,)
            if k:
                column.addmv_(errors[:k].t(), factor[start : start + k, start + k], alpha=-1)
            s, z = scale[place // group], zero_point[place // group]
            code = column.div(s).round_().add_(z).clamp_(0, grid.levels)
            codes[place] = code
            torch.sub(column, code.sub_(z).mul_(s), out=errors[k]).div_(pivot)
        rest[stop:].addmm_(factor[start:stop, stop:].t(), errors, alpha=-1)
    return {
        "codes": pack(codes.t().contiguous(), settings.bits),
        "scale": scale.t().contiguous(),
        "zero_point": zero_point.t().to(torch.uint8).contiguous(),
    }


def _inverse_factor(hessian: Tensor, damping: float) -> Tensor:
    """The upper Cholesky factor (C, C) of the inverse of H with `damping`; factored in float64."""
    damped = hessian.double()
    diagonal = damped.diagonal()
    diagonal[diagonal == 0] = 1  # an input that is always 0 says nothing of its weights: they are rounded to nearest
    diagonal += damping * diagonal.mean()
    lower, failed = torch.linalg.cholesky_ex(damped)
    upper, failed_again = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
    factor: Tensor = upper.float()
    if failed or failed_again or not torch.isfinite(factor).all():
        raise QuantizationError(
            "the inputs' second moments are not positive definite; name a dataset with more text behind the precision, "
            "such as gptq4-g128@wikitext2"
        )
    return factor


class _Captured(Exception):  # noqa: N818
    """What a layer or a block is called with is known: the rest need not run."""


class _Call:
    """What a block is called with: the hidden states of one window, and everything else as the model gave it."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args, self.kwargs = args, kwargs

    def run(self, block: nn.Module) -> None:
        """Let the hidden states become the block's output."""
        out = self.outcome(block)
        hidden = out[0] if isinstance(out, tuple) else out
        if self.args:
            self.args = (hidden, *self.args[1:])
        else:
            self.kwargs = {**self.kwargs, "hidden_states": hidden}

    def outcome(self, block: nn.Module) -> Any:
        """What the block gives, hidden states kept as they are."""
        return block(*self.args, **self.kwargs)


def _input_of_first_block(module: nn.Module, blocks: nn.ModuleList, window: Tensor) -> _Call:
    """Run `module` on `window` (1, T) as far as its first block."""
    calls: list[_Call] = []

    def capture(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append(_Call(args, kwargs))
        raise _Captured

    options = {"use_cache": False} if "use_cache" in inspect.signature(module.forward).parameters else {}
    with blocks[0].register_forward_pre_hook(capture, with_kwargs=True):
        try:
            module(window, **options)
        except _Captured:
            return calls[0]
    raise QuantizationError(f"{type(module).__name__} does not run its first block on a window of tokens")


def _hessians(block: nn.Module, layers: dict[str, nn.Linear], inputs: list[_Call]) -> dict[str, Tensor]:
    """XᵀX (in, in), float32, of the inputs X of every linear layer of `block` over all windows.

    Where the first window tells that each layer is called once, the others leave the block when all have been.
    """
    found = {
        name: torch.zeros(layer.in_features, layer.in_features, device=layer.weight.device)
        for name, layer in layers.items()
    }

    called: list[str] = []
    once = False

    def collect(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def add(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            called.append(name)
            x = args[0].reshape(-1, args[0].shape[-1]).float()  # (T, in)
            hessian = found[name]
            for start in range(0, x.shape[1], _HESSIAN_STRIP):
                hessian[start : start + _HESSIAN_STRIP, start:].addmm_(
                    x[:, start : start + _HESSIAN_STRIP].t(), x[:, start:]
                )
            if once and layers.keys() == set(called):
                raise _Captured

        return add

    with ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.enter_context(layer.register_forward_pre_hook(collect(name)))
        for call in inputs:
            called.clear()
            with suppress(_Captured):
                call.outcome(block)
            once = sorted(called) == sorted(layers)
    return {name: hessian.triu() + hessian.triu(1).t() for name, hessian in found.items()}
