"""How `tiny` was made: `python -m benchsuite.models.tiny.recipe -o DIR` makes it again, tokenizer and weights.

An interrupted run goes on from its last checkpoint when it is started again with the same directory.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from benchsuite.compiler import require_compiler
from benchsuite.errors import BenchsuiteError
from benchsuite.files import atomic_write, write_json
from benchsuite.models.gpt2 import GPT2, GPT2Config, random_state
from benchsuite.models.hub_layout import config_to_hub, state_to_hub
from benchsuite.models.tiny import checkpoints, corpus, vocabulary

SHAPE = GPT2Config(vocab_size=vocabulary.VOCABULARY_SIZE, n_positions=512, n_embd=192, n_layer=6, n_head=3)
STORED_DTYPE = torch.float16  # half the bytes of fp32, and three more bits of precision than bf16 where the weights are


@dataclass(frozen=True)
class Recipe:
    """What fixes the run: warm-up, then cosine decay to zero, one learning rate for both optimizers."""

    steps: int = 2_400
    batch_size: int = 6  # rows of n_positions tokens
    learning_rate: float = 2.5e-3
    warmup_steps: int = 200
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.1
    max_norm: float = 1.0
    seed: int = 0
    checkpoint_every: int = 100  # steps

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def train(recipe: Recipe, rows: NDArray[np.int16], directory: Path, *, device: torch.device, compiled: bool) -> GPT2:
    """Train on `rows` (steps · batch_size, n_positions + 1) and return the model; progress goes to standard output."""
    torch.manual_seed(recipe.seed)
    # the fused kernel of the CPU is slower to train with than plain matrix products, which compiling fuses as well
    model = GPT2(SHAPE, attention="eager" if device.type == "cpu" else "sdpa").to(device)
    model.load_state_dict(_initial_state(recipe.seed))
    optimizers = _optimizers(model, recipe)
    if compiled:
        require_compiler(str(device))
    loss_of: Callable[[GPT2, Tensor], Tensor] = torch.compile(_loss) if compiled else _loss
    first = checkpoints.restore(directory, recipe, model, optimizers)
    began = told = time.monotonic()
    for step in range(first, recipe.steps):
        batch = rows[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = recipe.rate(step)
        loss = loss_of(model, torch.from_numpy(batch.astype(np.int64)).to(device))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        done = step + 1
        if done % recipe.checkpoint_every == 0:
            checkpoints.keep(directory, recipe, model, optimizers, done)
        now = time.monotonic()
        if now - told > 10 or done == recipe.steps:
            left = (now - began) / (done - first) * (recipe.steps - done)
            speed = (done - first) * batch.shape[0] * SHAPE.n_positions / (now - began)
            print(
                f"step {done}/{recipe.steps}  loss {loss.item():.3f}  {speed:,.0f} tokens/s  {left / 60:.0f} min left",
                flush=True,
            )
            told = now
    return model.eval()


def _optimizers(model: GPT2, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices of the blocks, AdamW (Loshchilov and Hutter 2019) for all else.

    Scaled to AdamW's update, Muon takes the same rate. Chosen after a trial in which, together with the wider start of
    `_initial_state`, it lowered the loss sooner than AdamW alone.
    """
    matrices = [parameter for parameter in model.h.parameters() if parameter.ndim == 2]
    others = [parameter for parameter in model.parameters() if all(parameter is not matrix for matrix in matrices)]
    muon = torch.optim.Muon(matrices, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(others, betas=recipe.betas, weight_decay=0.0, fused=True)]


def _initial_state(seed: int) -> dict[str, Tensor]:
    """GPT-2's random weights, those of the blocks scaled to the width; positions begin as sinusoids.

    GPT-2's 0.02 is too narrow for few channels. With sinusoids (Vaswani et al. 2017), attending to the token before,
    from which copying grows, can be learned once and not for each position.
    """
    state = random_state(SHAPE, seed=seed)
    for name in (name for name, tensor in state.items() if name.startswith("h.") and tensor.ndim == 2):
        state[name] *= 3  # 0.06 is near 1 / sqrt(n_embd)
    wavelengths = torch.logspace(0, 4, SHAPE.n_embd // 2)  # in units of 2 pi tokens
    angles = torch.arange(SHAPE.n_positions)[:, None] / wavelengths  # (n_positions, n_embd / 2)
    state["wpe.weight"] = 0.02 * math.sqrt(2) * torch.cat([angles.sin(), angles.cos()], dim=1)
    return state


def _loss(model: GPT2, batch: Tensor) -> Tensor:
    """Mean cross-entropy of the next token over a batch (B, T + 1), the matrix products in bf16 where they are fast."""
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=_has_bf16(batch.device)):
        logits = model(batch[:, :-1])  # (B, T, V)
    return F.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def save_model(model: GPT2, directory: Path) -> None:
    """Write `model.safetensors` and `config.json` as transformers' `GPT2LMHeadModel` reads them."""
    tensors = {key: tensor.to(STORED_DTYPE) for key, tensor in state_to_hub(model.state_dict()).items()}
    atomic_write(directory / "model.safetensors", save(tensors, metadata={"format": "pt"}))
    write_json(
        directory / "config.json",
        {
            **config_to_hub(SHAPE, 0),
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
            "resid_pdrop": 0.0,
            "dtype": "float32",
        },
    )


def run(recipe: Recipe, directory: Path, *, compiled: bool = True) -> None:
    """Everything from the generators to the files of the model directory."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print("generating the train splits and training the tokenizer", flush=True)
    texts = corpus.documents()
    tokenizer = vocabulary.train(text for dataset in texts.values() for text in dataset)
    vocabulary.save(tokenizer, directory, SHAPE.n_positions)
    rows = corpus.rows(texts, tokenizer, recipe.steps * recipe.batch_size, SHAPE.n_positions + 1)
    model = train(recipe, rows, directory, device=device, compiled=compiled)
    save_model(model, directory)
    checkpoints.remove(directory)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchsuite.models.tiny.recipe", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("tiny"), help="the model directory to write")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="optimizer steps (default: %(default)s)")
    parser.add_argument("--no-compile", action="store_true", help="do without torch.compile (and a C++ compiler)")
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error(f"--steps {options.steps}: at least one step is needed")
    try:
        run(Recipe(steps=options.steps), options.output, compiled=not options.no_compile)
    except BenchsuiteError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
