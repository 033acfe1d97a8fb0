"""Where an interrupted training run goes on: weights and optimizer state in one safetensors file, nothing pickled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import nn
from torch.optim import Optimizer

from benchsuite.errors import UsageError
from benchsuite.files import atomic_write

NAME = "checkpoint.safetensors"


def keep(directory: Path, recipe: Any, model: nn.Module, optimizers: Sequence[Optimizer], step: int) -> None:
    """Replace the directory's checkpoint by the state after `step` steps."""
    tensors = {}
    for name, parameter in model.named_parameters():
        tensors[f"weight {name}"] = parameter.detach().cpu().contiguous()
        for optimizer in optimizers:
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{key} {name}"] = value.cpu().contiguous()
    atomic_write(directory / NAME, save(tensors, metadata={"recipe": repr(recipe), "step": str(step)}))


def restore(directory: Path, recipe: Any, model: nn.Module, optimizers: Sequence[Optimizer]) -> int:
    """Put the directory's checkpoint back, if there is one; returns the number of steps done.

    Raises UsageError where the checkpoint is another recipe's.
    """
    path = directory / NAME
    if not path.exists():
        return 0
    parameters = dict(model.named_parameters())
    owners = {p: o for o in optimizers for group in o.param_groups for p in group["params"]}
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        if metadata["recipe"] != repr(recipe):
            raise UsageError(
                f"{path} belongs to another run, {metadata['recipe']}; remove it or name another directory"
            )
        for entry in file.keys():  # noqa: SIM118  not a mapping
            key, name = entry.split(" ")
            parameter, value = parameters[name], file.get_tensor(entry)
            if key == "weight":
                parameter.data.copy_(value)
            else:
                owners[parameter].state[parameter][key] = value.to(parameter.device)
    return int(metadata["step"])


def remove(directory: Path) -> None:
    """Delete the checkpoint of a run that is finished."""
    (directory / NAME).unlink(missing_ok=True)
