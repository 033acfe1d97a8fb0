"""Other libraries' quantizers, measured beside our own: bitsandbytes and torchao."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from benchsuite.files import is_classifier
from benchsuite.quant.code_books import Book, CodeBook
from benchsuite.quant.grids import Packed


def quantizer(name: str) -> Callable[[nn.Linear, str], nn.Module]:
    """What makes a layer on a device as `name` says, `bnb-…` or `torchao-…`; ImportError without the library."""
    library, _, form = name.partition("-")
    if library == "bnb":
        import bitsandbytes  # noqa: F401

        _silence_bitsandbytes()
        return _bnb_int8 if form == "int8" else lambda linear, device: _bnb_4bit(linear, device, form)  # type: ignore[arg-type]
    import torchao  # noqa: F401

    return lambda linear, device: _torchao(linear, device, form)


def auto_class(config: Mapping[str, Any]) -> Any:
    """The class of transformers that loads a `config.json`: with the head that it was saved with."""
    import transformers

    if is_classifier(config):
        return transformers.AutoModelForSequenceClassification
    return transformers.AutoModelForCausalLM


def transformers_config(name: str) -> Any:
    """The BitsAndBytesConfig with which transformers quantizes as `bnb-…` says; bitsandbytes is silent from then on."""
    import transformers

    _silence_bitsandbytes()
    if name == "bnb-int8":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=name.removeprefix("bnb-"))


def _silence_bitsandbytes() -> None:
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it says at every product that float32 is cast


@cache
def why_unavailable(name: str, device: str) -> str | None:
    """The library's own reason why `name` does not run on `device`, found by running one small layer."""
    probe = nn.Linear(256, 256, dtype=needed_dtype(name) or torch.float32).requires_grad_(False)
    try:
        layer = quantizer(name)(probe, device)
        layer(torch.zeros(1, 256, dtype=probe.weight.dtype, device=device))
    except (ImportError, RuntimeError, NotImplementedError, AssertionError, ValueError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "torchao":
            return "torchao is not installed; `pip install 'benchsuite[torchao]'` installs it"
        return f"{type(error).__name__}: {error}"
    return None if packed_of(layer) else "the library left the layer as it was"


def needed_dtype(name: str) -> torch.dtype | None:
    """The only dtype that `name` computes in, where there is only one."""
    return torch.bfloat16 if name == "torchao-int4wo" else None


def packed_of(layer: nn.Module) -> Packed:
    """The tensors that stand for the weight of a library's layer; empty for any other layer."""
    bnb = sys.modules.get("bitsandbytes")
    if bnb is not None and isinstance(layer, bnb.nn.Linear8bitLt):
        scale = layer.weight.SCB if layer.weight.SCB is not None else layer.state.SCB
        return {"codes": layer.weight.data, "scale": scale}
    if bnb is not None and isinstance(layer, bnb.nn.Linear4bit):
        state = layer.weight.quant_state
        return {"codes": layer.weight.data, "scale": state.absmax, "book": state.code}
    weight = layer._parameters.get("weight")
    if weight is not None and hasattr(weight, "__tensor_flatten__"):
        return dict(plain_tensors(weight.data))
    return {}


def plain_tensors(tensor: Tensor, name: str = "weight") -> Iterator[tuple[str, Tensor]]:
    """The tensors that a tensor subclass (torchao's) is made of; the tensor itself where it is a plain one."""
    if not hasattr(tensor, "__tensor_flatten__"):
        yield name, tensor
        return
    for part in tensor.__tensor_flatten__()[0]:
        yield from plain_tensors(getattr(tensor, part), f"{name}.{part}")


def dequantize(layer: nn.Module) -> Tensor:
    """The weight (out, in), float32, that a library's layer stands for."""
    weight = layer.get_parameter("weight")
    if hasattr(weight, "quant_state"):
        import bitsandbytes.functional as bnb

        return bnb.dequantize_4bit(weight.data, weight.quant_state).float()  # type: ignore[no-any-return]
    if hasattr(weight, "SCB"):
        packed = packed_of(layer)
        return packed["codes"].float() * (packed["scale"].float() / 127).unsqueeze(1)
    return weight.dequantize().float()


def bound(layer: nn.Module, weight: Tensor) -> Tensor | None:
    """The proven elementwise bound of a library's layer, where its grid is one of ours: NF4 and FP4."""
    state = getattr(layer.get_parameter("weight"), "quant_state", None)
    if state is None:
        return None
    return CodeBook(state.quant_type, state.blocksize).bound(weight.reshape(-1)).view(weight.shape)


def _bnb_int8(linear: nn.Linear, device: str) -> nn.Module:
    from bitsandbytes.nn import Int8Params, Linear8bitLt

    layer = Linear8bitLt(
        linear.in_features, linear.out_features, has_fp16_weights=False, threshold=6.0, device=torch.device("meta")
    )
    layer.weight = Int8Params(linear.weight.detach().cpu(), requires_grad=False, has_fp16_weights=False)
    layer.bias = linear.bias
    return layer.to(device).eval()  # type: ignore[no-any-return]


def _bnb_4bit(linear: nn.Linear, device: str, book: Book) -> nn.Module:
    from bitsandbytes.nn import Linear4bit, Params4bit

    layer = Linear4bit(linear.in_features, linear.out_features, quant_type=book, device=torch.device("meta"))
    layer.weight = Params4bit(
        linear.weight.detach().cpu(), requires_grad=False, compress_statistics=False, quant_type=book, module=layer
    )
    layer.bias = linear.bias
    return layer.to(device).eval()  # type: ignore[no-any-return]


def _torchao(linear: nn.Linear, device: str, form: str) -> nn.Module:
    from torchao.quantization import (
        Int4WeightOnlyConfig,
        Int8DynamicActivationInt8WeightConfig,
        Int8WeightOnlyConfig,
        quantize_,
    )

    if form == "int4wo":
        # a width that 128 does not divide would be left unquantized without a word
        group = next((size for size in (128, 64, 32) if linear.in_features % size == 0), 128)
        config = Int4WeightOnlyConfig(group_size=group, int4_packing_format="tile_packed_to_4d")
    else:
        config = Int8WeightOnlyConfig() if form == "int8wo" else Int8DynamicActivationInt8WeightConfig()
    holder = nn.Sequential(linear.to(device))
    quantize_(holder, config)
    return holder[0]
