"""Where an interrupted training run goes on: weights and AdamW's moments in one safetensors file, nothing pickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import nn, tensor
from torch.optim import Optimizer

from benchsuite.errors import UsageError
from benchsuite.files import atomic_write

NAME = "checkpoint.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")


def keep(directory: Path, recipe: Any, model: nn.Module, optimizer: Optimizer, step: int) -> None:
    """Replace the directory's checkpoint by the state after `step` steps."""
    tensors = {}
    for name, parameter in model.named_parameters():
        tensors[f"weight {name}"] = parameter.detach().cpu().contiguous()
        for moment in MOMENTS:
            tensors[f"{moment} {name}"] = optimizer.state[parameter][moment].cpu().contiguous()
    atomic_write(directory / NAME, save(tensors, metadata={"recipe": repr(recipe), "step": str(step)}))


def restore(directory: Path, recipe: Any, model: nn.Module, optimizer: Optimizer) -> int:
    """Put the directory's checkpoint back, if there is one; returns the number of steps done.

    Raises UsageError where the checkpoint is another recipe's.
    """
    path = directory / NAME
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        if metadata["recipe"] != repr(recipe):
            raise UsageError(
                f"{path} belongs to another run, {metadata['recipe']}; remove it or name another directory"
            )
        step = int(metadata["step"])
        for name, parameter in model.named_parameters():
            parameter.data.copy_(file.get_tensor(f"weight {name}"))
            optimizer.state[parameter] = {
                "step": tensor(float(step), device=parameter.device if parameter.is_cuda else "cpu"),
                **{moment: file.get_tensor(f"{moment} {name}").to(parameter.device) for moment in MOMENTS},
            }
    return step


def remove(directory: Path) -> None:
    """Delete the checkpoint of a run that is finished."""
    (directory / NAME).unlink(missing_ok=True)
