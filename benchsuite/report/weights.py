"""Pictures of weights before and after a precision, and of the error that each layer is left with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchsuite.errors import UnavailableError
from benchsuite.quant import external
from benchsuite.quant.apply import Coverage, LayerReport, convert_conv1d, kind_of, linears_to_quantize, packed_of
from benchsuite.quant.code_books import CodeBook
from benchsuite.quant.grids import ZeroPoint
from benchsuite.quant.layers import QuantizedLinear
from benchsuite.quant.methods import Calibration
from benchsuite.quant.packing import unpack
from benchsuite.quant.precision import precisions
from benchsuite.report.figures import new_figure, save_figure

_BINS = 512  # each wider than a pixel, so that the levels of a grid stand out
_MARKERS = ("o", "s", "^", "v", "D", "x")
_BEFORE, _AFTER, _LEVELS = "#1f2937", "#fdba74", "#c2410c"


def draw_weights(
    load: Callable[[], nn.Module],
    names: Sequence[str],
    directory: Path,
    *,
    model: str,
    device: str = "cpu",
    calibration: Calibration | None = None,
) -> list[Path]:
    """Write `weights-PRECISION` for each of `names`, and `error-by-layer`, as SVG and PNG into `directory`.

    `load()` gives the unquantized module anew each time. Raises UnavailableError for a precision that this machine
    cannot run, and where matplotlib is not installed.
    """
    written, errors = [], {}
    for name in names:
        chosen = precisions[name]
        if reason := chosen.unavailable(device):
            raise UnavailableError(f"{name}: {reason}")
        plain, module = load(), load()
        convert_conv1d(plain)
        before = {layer: linear.weight.float().cpu() for layer, linear in linears_to_quantize(plain).items()}
        covered = chosen.apply(module, device=device, calibration=calibration)
        layers = {layer: module.get_submodule(layer) for layer in before}
        written += _draw_precision(before, layers, covered, f"{model} in {name}", directory / f"weights-{name}")
        errors[name] = covered.layers
    return written + _draw_errors(errors, model, directory / "error-by-layer")


def _draw_precision(
    before: dict[str, Tensor], layers: dict[str, nn.Module], covered: Coverage, title: str, stem: Path
) -> list[Path]:
    """A row for all layers and one for each kind: weights on the left, how often each level is used on the right."""
    kinds: dict[str, list[str]] = {}
    for name in before:
        kinds.setdefault(kind_of(name), []).append(name)
    rows = {"all layers": list(before), **kinds}
    figure = new_figure(11, 2.2 * len(rows))
    grid: Any = figure.subplots(len(rows), 2, squeeze=False)
    figure.suptitle(f"{title}: {covered.bits_per_weight:.3f} bits per weight")
    for (label, names), (values, levels) in zip(rows.items(), grid, strict=True):
        _draw_values(values, label, [before[name] for name in names], [weight_of(layers[name]) for name in names])
        _draw_levels(levels, [layers[name] for name in names])
    grid[0][0].legend(["after", "before"], loc="upper right")
    grid[-1][0].set_xlabel("weight")
    asymmetric = any(isinstance(getattr(layer, "grid", None), ZeroPoint) for layer in layers.values())
    grid[-1][1].set_xlabel("code" if asymmetric else "level of the grid, in units of its scale")
    return save_figure(figure, stem)


def _draw_values(axes: Any, label: str, before: list[Tensor], after: list[Tensor]) -> None:
    largest = max(float(weight.abs().max()) for weight in (*before, *after)) or 1.0
    edges = torch.linspace(-largest, largest, _BINS + 1)
    for weights, style in ((after, {"color": _AFTER, "fill": True}), (before, {"color": _BEFORE})):
        counts = sum(torch.histc(weight, _BINS, -largest, largest) for weight in weights)
        axes.stairs(counts, edges, **style)
    axes.set(yscale="log", ylabel="weights", title=label)


def _draw_levels(axes: Any, layers: list[nn.Module]) -> None:
    counts: Counter[float] = Counter()
    for layer in layers:
        counts += level_counts(layer)
    if counts:
        axes.set(yscale="log", title="levels used")
        axes.vlines(list(counts), 0.5, list(counts.values()), color=_LEVELS, linewidth=1.2)
    else:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "not a grid of integers or a code book", ha="center", transform=axes.transAxes)


def _draw_errors(errors: dict[str, tuple[LayerReport, ...]], model: str, stem: Path) -> list[Path]:
    """A panel for each kind of layer: signal to noise of its layers, from the first block to the last."""
    quantized = {precision: layers for precision, layers in errors.items() if layers}
    kinds = list(dict.fromkeys(layer.kind for layers in quantized.values() for layer in layers))
    if not kinds:  # casts alone
        return []
    figure = new_figure(3.2 * len(kinds) + 1.5, 3.6)
    panels: Any = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    figure.suptitle(f"{model}: signal to noise of the quantized weights")
    for kind, panel in zip(kinds, panels, strict=True):
        for precision, layers in quantized.items():
            ratios = [layer.snr_db for layer in layers if layer.kind == kind and layer.snr_db is not None]
            # the first drawn is the widest: of equal lines each is still seen
            place = list(quantized).index(precision)
            style = {"marker": _MARKERS[place % len(_MARKERS)], "fillstyle": "none", "ms": max(3, 9 - 2 * place)}
            width = max(0.8, 4 - 1.2 * place)
            panel.plot(range(len(ratios)), ratios, linewidth=width, label=precision, **style)
        panel.set(title=kind, xlabel="block")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("signal to noise (dB)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    return save_figure(figure, stem)


def weight_of(layer: nn.Module) -> Tensor:
    """The weight (out, in), float32, that a layer computes with: dequantized where it is packed."""
    if isinstance(layer, QuantizedLinear):
        return layer.dequantize().cpu()
    return (external.dequantize(layer) if packed_of(layer) else layer.get_parameter("weight")).detach().float().cpu()


def level_counts(layer: nn.Module) -> Counter[float]:
    """How many weights of a layer take each level of its grid, in units of the scale; empty for any other layer.

    The levels of a zero-point grid are its codes: where zero lies among them differs from group to group.
    """
    levels = _our_levels(layer) if isinstance(layer, QuantizedLinear) else _levels_of_bitsandbytes(layer)
    counted: Counter[float] = Counter()
    if levels is not None:
        codes, book = levels
        found, counts = torch.unique(codes.int().cpu(), return_counts=True)
        for level, count in zip((found if book is None else book[found]).tolist(), counts.tolist(), strict=True):
            counted[level] += count  # FP4 has two zeros
    return counted


def _our_levels(layer: QuantizedLinear) -> tuple[Tensor, Tensor | None] | None:
    """The codes (out, in) of a layer, and the code book that they are places in; None where they cannot be read."""
    codes, book = layer.packed.get("codes"), layer.grid.values if isinstance(layer.grid, CodeBook) else None
    bits = 4 if book is not None else getattr(layer.grid, "bits", None)
    if codes is not None and bits:
        codes = unpack(codes, bits, layer.in_features)
    if codes is None or codes.shape != (layer.out_features, layer.in_features):  # packed in a way of its own
        return None
    return codes.int() - getattr(layer.grid, "offset", 0), book


def _levels_of_bitsandbytes(layer: nn.Module) -> tuple[Tensor, Tensor | None] | None:
    """The same of a layer of bitsandbytes: int8 codes, or two of 4 bits to the byte, in whatever order."""
    packed = packed_of(layer)
    codes, book = packed.get("codes"), packed.get("book")
    if codes is None:
        return None
    return (codes, None) if book is None else (unpack(codes.reshape(1, -1), 4, 2 * codes.numel()), book.cpu())
