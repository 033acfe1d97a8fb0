"""How the hub keeps a GPT-2: its `config.json`, the names of its tensors, and linear weights transposed (Conv1D)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from benchsuite.errors import FileFormatError
from benchsuite.models.gpt2 import GPT2, GPT2Config

Figure = TypeVar("Figure", int, float)
MOST = 1 << 24  # of any figure of a shape
ALIASES = {"hidden_size", "num_attention_heads", "num_hidden_layers", "max_position_embeddings"}


def why_not_native(config: Mapping[str, Any]) -> str | None:
    """The first reason why a `config.json` describes something else than our GPT-2, or None."""
    wanted: dict[str, tuple[Any, ...]] = {
        "model_type": ("gpt2",),
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "n_inner": (None, 4 * width if isinstance(width := config.get("n_embd", 768), int) else None),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
        "tie_word_embeddings": (True,),
    }
    for key, values in wanted.items():
        if key in config and config[key] not in values:
            return f"{key} is {config[key]!r}, not {values[-1]!r}"
    if aliases := ALIASES & config.keys():  # transformers reads them in place of GPT-2's own names
        return f"it has {', '.join(sorted(aliases))}"
    return None if "model_type" in config else "it has no model_type"


def config_from_hub(config: Mapping[str, Any]) -> GPT2Config:
    """The shape that a `config.json` describes; errors as of `figure`."""
    return GPT2Config(**{name: figure(config, name, default) for name, default in vars(GPT2Config()).items()})


def figure(config: Mapping[str, Any], name: str, default: Figure) -> Figure:
    """What a `config.json` says of `name`; FileFormatError where that is no positive number of the default's kind."""
    value = config.get(name, default)
    whole = isinstance(default, int)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not 0 < value < MOST:
        kind = "whole number" if whole else "number"
        raise FileFormatError(f"config.json: {name} is {value!r}, not a positive {kind} below {MOST:,}")
    return type(default)(value)


def config_to_hub(config: GPT2Config, end_of_text_id: int) -> dict[str, Any]:
    """The `config.json` of a GPT-2 of that shape."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        **vars(config),
        "tie_word_embeddings": True,
        "bos_token_id": end_of_text_id,
        "eos_token_id": end_of_text_id,
    }


def state_from_hub(tensors: Mapping[str, Tensor], config: GPT2Config) -> dict[str, Tensor]:
    """A state dict for `GPT2` from the hub's tensors (Conv1D weights, (in, out), transposed).

    Every key and shape is checked: FileFormatError names what is missing, unknown or of another shape.
    """
    found = {key.removeprefix("transformer."): tensor for key, tensor in tensors.items()}
    head = found.pop("lm_head.weight", None)
    if head is not None and "wte.weight" in found and not torch.equal(head, found["wte.weight"]):
        raise FileFormatError("lm_head.weight differs from wte.weight: the head of a GPT-2 is tied")
    # old files carry the causal mask as a buffer
    found = {key: tensor for key, tensor in found.items() if not key.endswith((".attn.bias", ".attn.masked_bias"))}
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in GPT2(config).state_dict().items()}
    missing, unknown = sorted(shapes.keys() - found.keys()), sorted(found.keys() - shapes.keys())
    if missing or unknown:
        raise FileFormatError(f"not the weights of this GPT-2: missing {_some(missing)}; unknown {_some(unknown)}")
    state = {}
    for key, shape in shapes.items():
        tensor = found[key]
        tensor = tensor.t().contiguous() if is_conv1d(key) else tensor
        if tuple(tensor.shape) != shape:
            raise FileFormatError(f"{key} has shape {tuple(found[key].shape)}; the configuration says {shape}")
        state[key] = tensor
    return state


def state_to_hub(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `state_from_hub`: names and layout that transformers' `GPT2LMHeadModel` reads."""
    return {
        f"transformer.{key}": (tensor.t() if is_conv1d(key) else tensor).detach().contiguous().cpu()
        for key, tensor in state.items()
    }


def is_conv1d(key: str) -> bool:
    """Whether the hub keeps this weight as a Conv1D, that is, transposed."""
    return key.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight"))


def _some(names: list[str]) -> str:
    return (", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")) or "nothing"
