"""A quantized model as a directory in Hugging Face layout, and back with the same logits to the bit.

`config.json` carries `quantization_config` = {"quant_method": "benchsuite", "version": 2, "precision", "modules", …};
`model.safetensors` holds each of these modules as its packed tensors, the rest as it was. What bitsandbytes quantizes
is written by transformers in its own form, and read back by it.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn

from benchsuite.errors import (
    FileFormatError,
    OutputError,
    QuantizationError,
    UnavailableError,
    UnknownNameError,
    UsageError,
)
from benchsuite.files import atomic_write, new_directory, read_config, write_json
from benchsuite.quant.apply import (
    Coverage,
    LayerReport,
    convert_conv1d,
    coverage,
    layer_report,
    linears,
    packed_of,
    set_module,
    size_bytes,
)
from benchsuite.quant.external import auto_class, transformers_config
from benchsuite.quant.layers import Form, QuantizedLinear
from benchsuite.quant.methods import Calibration
from benchsuite.quant.precision import precisions

METHOD, VERSION = "benchsuite", 2
_COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
)


@dataclass(frozen=True)
class Written:
    """What `quantize_directory` wrote."""

    directory: Path
    precision: str
    coverage: Coverage
    file_bytes: int

    @property
    def compression(self) -> float:
        """Bytes in memory before for each byte after."""
        return self.coverage.bytes_before / self.coverage.bytes_after

    def worst_layers(self, count: int = 5) -> tuple[LayerReport, ...]:
        """The layers with the lowest ratio of signal to noise, worst first."""
        noisy = [(layer.snr_db, layer) for layer in self.coverage.layers if layer.snr_db is not None]
        return tuple(layer for _, layer in sorted(noisy, key=lambda pair: pair[0])[:count])


def quantize_directory(
    module: nn.Module,
    source: Path,
    out: Path,
    precision: str,
    *,
    device: str = "cpu",
    calibration: Calibration | None = None,
) -> Written:
    """Quantize `module`, which was loaded from the directory `source`, in place, and write it to `out`.

    The directory appears whole or not at all.

    Raises UsageError for a precision that packs nothing and for a source that is quantized already, UnavailableError
    where this machine cannot run the precision, OutputError where `out` is in use or the disk is full.
    """
    chosen = precisions[precision]
    config = read_config(source)
    if "quantization_config" in config:
        raise UsageError(f"{source} is quantized already; start from the floating-point model")
    if reason := chosen.unavailable(device):
        raise UnavailableError(f"{precision}: {reason}")
    with new_directory(out) as new:
        if precision.startswith("bnb-"):
            covered = _write_bnb(module, source, new, precision, device)
        else:
            form = form_of(precision)
            _description(form)  # what cannot be written is said before the work
            covered = chosen.apply(module, device=device, calibration=calibration)
            _write(module, new, config, precision, form)
        write_json(new / "quantization.json", {"precision": precision, "share": covered.share, **asdict(covered)})
        for name in _COPIED:
            if (source / name).is_file() and not (new / name).exists():
                shutil.copyfile(source / name, new / name)
        file_bytes = sum(file.stat().st_size for file in new.glob("*.safetensors"))
    return Written(out, precision, covered, file_bytes)


def is_quantized(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` describes a model that this project wrote."""
    described = config.get("quantization_config")
    return isinstance(described, Mapping) and described.get("quant_method") == METHOD


def restore(module: nn.Module, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Give `module`, the unquantized architecture, the `tensors` of a written directory, in place.

    The module's own values do not matter.

    Raises FileFormatError where a tensor is missing, unknown, or of another shape or dtype than its layer wants.
    """
    precision, modules = _described(config["quantization_config"])
    form = form_of(precision)
    grid, product = form
    for key, value in _description(form).items():
        if (found := config["quantization_config"].get(key)) != value:
            raise FileFormatError(f"quantization_config: {key} is {found!r}; {precision} has {value!r} here")
    convert_conv1d(module)
    plain = linears(module)

    @cache
    def wanted(shape: torch.Size) -> dict[str, Tensor]:
        return grid.quantize(torch.zeros(shape))

    for name in modules:
        if name not in plain:
            raise FileFormatError(f"the quantized module {name} is no linear layer of this {type(module).__name__}")
        linear = plain[name]
        for key, example in wanted(linear.weight.shape).items():
            _check(f"{name}.{key}", tensors, example.shape, example.dtype)
        packed = {key: tensors[f"{name}.{key}"] for key in wanted(linear.weight.shape)}
        if bad := [key for key, tensor in packed.items() if not tensor.float().isfinite().all()]:
            raise FileFormatError(f"{name}.{bad[0]} holds NaN or infinity; write the model again")
        set_module(module, name, QuantizedLinear(packed, linear, grid, product))
    expected = module.state_dict()
    tied = _tied(module)
    if unknown := sorted(tensors.keys() - expected.keys()):
        raise FileFormatError(f"not the tensors of this {type(module).__name__}: unknown {', '.join(unknown[:3])}")
    for name, tensor in expected.items():
        if name not in tied or name in tensors:
            _check(name, tensors, tensor.shape, tensor.dtype)
    module.load_state_dict(dict(tensors), strict=False, assign=True)
    if tied:
        module.tie_weights()  # type: ignore[operator]


def form_of(precision: str) -> Form:
    """The grid and the product of a precision's layers; UsageError for one that packs no weights of ours."""
    form = getattr(precisions[precision], "form", None)
    if form is None:
        raise UsageError(
            f"{precision} cannot be written: casts, -head8 and torchao's forms have no packed file, nor has "
            "a precision of one's own without form(); choose another, such as absmax8-row, nf4-g64 or bnb-nf4"
        )
    return form()  # type: ignore[no-any-return]


def _described(found: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The precision and the modules that a `quantization_config` names; FileFormatError where it cannot be right."""
    version, precision, modules = (found.get(key) for key in ("version", "precision", "modules"))
    if version != VERSION:
        raise FileFormatError(
            f"quantization_config has version {version!r}; this benchsuite reads version {VERSION}; quantize the model "
            "again"
        )
    if not isinstance(precision, str):
        raise FileFormatError(f"quantization_config: precision is {precision!r}, not a name")
    if not isinstance(modules, list) or not all(isinstance(name, str) for name in modules):
        raise FileFormatError("quantization_config: modules is not a list of names")
    try:
        form_of(precision)
    except UnknownNameError as error:
        raise FileFormatError(f"quantization_config: {error}; import the module that registers it") from error
    except (UsageError, QuantizationError) as error:
        raise FileFormatError(f"quantization_config: no written model is in {precision}: {error}") from error
    return precision, modules


def _description(form: Form) -> dict[str, Any]:
    """A form as `config.json` names it; QuantizationError where a field of the grid is no JSON."""
    grid: dict[str, Any] = {"kind": type(form.grid).__name__, **asdict(form.grid)}  # type: ignore[call-overload]
    try:
        described: dict[str, Any] = json.loads(json.dumps({"grid": grid, "product": form.product.__name__}))
    except TypeError as error:
        raise QuantizationError(f"{form.grid} cannot be written: {error}; give it fields of plain JSON") from error
    return described


def _write(module: nn.Module, directory: Path, config: dict[str, Any], precision: str, form: Form) -> None:
    tied = _tied(module)
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items() if name not in tied
    }
    modules = [name for name, layer in module.named_modules() if isinstance(layer, QuantizedLinear)]
    config["quantization_config"] = {
        "quant_method": METHOD,
        "version": VERSION,
        "precision": precision,
        **_description(form),
        "modules": modules,
    }
    atomic_write(directory / "model.safetensors", save(tensors, metadata={"format": "pt"}))
    write_json(directory / "config.json", config)


def _write_bnb(module: nn.Module, source: Path, directory: Path, precision: str, device: str) -> Coverage:
    """Let transformers quantize `source` with bitsandbytes and write it; its layers are compared with `module`'s."""
    start = time.perf_counter()
    quantized = auto_class(read_config(source)).from_pretrained(
        source,
        quantization_config=transformers_config(precision),
        dtype=torch.float32,
        device_map=device,
        local_files_only=True,
        use_safetensors=True,
    )
    seconds = time.perf_counter() - start
    bytes_before = size_bytes(module)
    convert_conv1d(module)
    # our own GPT-2 leaves out the prefix that transformers gives the base model
    plain = {name.removeprefix("transformer."): linear.weight for name, linear in linears(module).items()}
    reports = tuple(
        layer_report(name, plain[name.removeprefix("transformer.")], layer)
        for name, layer in quantized.named_modules()
        if packed_of(layer)
    )
    try:
        quantized.save_pretrained(directory)
    except SafetensorError as error:  # a full disk is no OSError there
        raise OutputError(f"{directory.parent}: the model cannot be written: {error}") from error
    return coverage(quantized, bytes_before=bytes_before, seconds=seconds, layers=reports)


def _tied(module: nn.Module) -> set[str]:
    """Names of parameters that stand under another name before."""
    seen: set[int] = set()
    tied = set()
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if id(parameter) in seen:
            tied.add(name)
        seen.add(id(parameter))
    return tied


def _check(name: str, tensors: Mapping[str, Tensor], shape: torch.Size, dtype: torch.dtype) -> None:
    if name not in tensors:
        raise FileFormatError(f"{name} is missing from the quantized model's tensors")
    found = tensors[name]
    if found.shape != shape or found.dtype != dtype:
        raise FileFormatError(f"{name} is {found.dtype} {tuple(found.shape)}; its layer wants {dtype} {tuple(shape)}")
