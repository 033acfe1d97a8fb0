"""The training loop: transformers' Trainer, told when to stop, where to go on, and what not to lose.

`torchrun` and `accelerate launch` spread it over GPUs and machines; see their documentation.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.integrations import get_reporting_integration_callbacks
from transformers.trainer_callback import ExportableState, ProgressCallback

from benchsuite.compiler import require_compiler
from benchsuite.device import resolve_device
from benchsuite.errors import DataError, NumericalError, UnavailableError, UsageError
from benchsuite.quant.apply import size_bytes
from benchsuite.report.track import PROJECT, require_trackers
from benchsuite.training.features import IGNORED, Feature, collate
from benchsuite.training.qat import grid_of
from benchsuite.training.run_directory import last_checkpoint, require_space, saving
from benchsuite.training.settings import Settings
from benchsuite.training.start import Start, quiet_transformers

# (hard loss, inputs, outputs, items in the batch) to the loss that is minimised; see `benchsuite.training.distill`
SoftLoss = Callable[[Tensor, Mapping[str, Tensor], Any, "Tensor | float | None"], Tensor]
LOGS = 100  # points of the loss curve


@dataclass(frozen=True)
class Trained:
    """What a run leaves: its log, the trainer that can evaluate, and the seconds it took, before it was resumed too."""

    trainer: Any
    history: list[dict[str, float]]
    seconds: float

    def loss(self, rows: list[Feature]) -> float:
        """Mean loss of rows: per token in language modelling, per text in classification. All processes call it."""
        return float(self.trainer.evaluate(rows, metric_key_prefix="final")["final_loss"])


def train(
    start: Start,
    rows: list[Feature],
    validation: list[Feature],
    settings: Settings,
    directory: Path,
    *,
    resume: bool = False,
    soft_loss: SoftLoss | None = None,
) -> Trained:
    """Train the module of `start` in place, with a checkpoint in `directory` and a validation after every epoch.

    `resume` goes on from the last whole checkpoint, to the same weights bit for bit on one CPU. `soft_loss` changes the
    loss that is minimised, never the one that is validated. Raises NumericalError where a loss is NaN or infinite,
    OutputError where the next checkpoint does not fit the disk: the checkpoints before it stay.
    """
    if not rows or not validation:
        raise DataError("there is nothing to train on or to validate with: no example is left")
    checkpoint = last_checkpoint(directory, _say) if resume else None
    of_tokens = isinstance(rows[0]["labels"], list)
    arguments = _arguments(settings, directory, steps_in_epoch=math.ceil(len(rows) / settings.batch_size))
    if checkpoint and (stopped := _stopped_early(checkpoint, settings)):
        arguments.num_train_epochs = stopped  # Trainer would go on for an epoch before it stops again
    if of_tokens:
        start.module.loss_type = "ForCausalLM"  # GPT-2's own; unsaid, Trainer counts the first token as predicted too
    # a classifier's loss is a mean already: with this, Trainer would multiply it by the number of processes
    arguments.average_tokens_across_devices = of_tokens
    trainer = _Trainer(
        soft_loss=soft_loss,
        model=start.module,
        args=arguments,
        train_dataset=rows,
        eval_dataset=validation,
        data_collator=functools.partial(collate, pad=start.tokenizer.pad_token_id),
        processing_class=start.tokenizer,
        callbacks=[transformers.EarlyStoppingCallback(settings.early_stopping)] if settings.early_stopping else None,
        compute_metrics=_token_loss if of_tokens else None,
        preprocess_logits_for_metrics=_loss_and_count if of_tokens else None,
    )
    # a classifier's loss is the mean of its batch, whatever Trainer thinks: it divides by the batches accumulated then
    trainer.model_accepts_loss_kwargs = of_tokens and trainer.model_accepts_loss_kwargs
    trainer.remove_callback(ProgressCallback)
    shown = _Bar()
    trainer.add_callback(shown)
    trainer.add_callback(_Clock())
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        shown.close()
    for tracker in get_reporting_integration_callbacks(list(settings.track)):
        trainer.remove_callback(tracker)  # the final losses are metrics of the record
    return Trained(trainer, list(trainer.state.log_history), trainer.pop_callback(_Clock).seconds())


def is_main_process() -> bool:
    """Whether this process writes the files: the first of those that `torchrun` or `accelerate launch` started."""
    return os.environ.get("RANK", "0") == "0"


def require_runnable(settings: Settings) -> None:
    """Refuse, before a directory is claimed, what cannot be run here.

    UnavailableError with the line that installs it, where the loop, a tracker or compiling needs what is not here;
    UsageError for a device, an autocast or a precision to train under that cannot be.
    """
    if importlib.util.find_spec("accelerate") is None:
        raise UnavailableError("accelerate is not installed; `pip install 'benchsuite[train]'` installs it")
    if is_main_process():
        require_trackers(settings.track)
    device = resolve_device(settings.device)
    if settings.autocast == "fp16" and device == "cpu":
        raise UsageError("autocast in fp16 scales the loss, which needs CUDA; on the CPU use bf16")
    if settings.qat:
        grid_of(settings.qat)
    if settings.compile:
        require_compiler(device)


def _arguments(settings: Settings, directory: Path, *, steps_in_epoch: int) -> Any:
    device = resolve_device(settings.device)
    if settings.track:
        os.environ.setdefault("WANDB_PROJECT", PROJECT)
    every = max(1, int(steps_in_epoch * settings.epochs / settings.accumulation / LOGS))
    return transformers.TrainingArguments(
        output_dir=str(directory),
        run_name=directory.name,
        project=PROJECT,
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        num_train_epochs=settings.epochs,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        seed=settings.seed,
        bf16=settings.autocast == "bf16",
        fp16=settings.autocast == "fp16",
        gradient_checkpointing=settings.gradient_checkpointing or None,
        torch_compile=settings.compile,
        use_cpu=device == "cpu",
        dataloader_pin_memory=device != "cpu",
        train_sampling_strategy="group_by_length",
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=settings.early_stopping is not None,
        metric_for_best_model="loss" if settings.early_stopping else None,
        restore_callback_states_from_checkpoint=True,  # how long early stopping has waited
        logging_steps=every,
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="non_padding",
        remove_unused_columns=False,
        report_to=list(settings.track) or "none",
    )


def _stopped_early(checkpoint: Path, settings: Settings) -> float | None:
    """After how many epochs early stopping had ended the run that left `checkpoint`; None where it had not."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    waited = state["stateful_callbacks"].get("EarlyStoppingCallback", {"attributes": {}})["attributes"]
    done = waited.get("early_stopping_patience_counter", 0) >= (settings.early_stopping or math.inf)
    return float(state["epoch"]) if done else None


def _say(line: str) -> None:
    if is_main_process():
        sys.stderr.write(f"{line}\n")


class _Trainer(transformers.Trainer):  # type: ignore[misc]
    """Trainer that stops at a loss that is no number, and before a checkpoint that would not fit the disk."""

    def __init__(self, *, soft_loss: SoftLoss | None, **options: Any) -> None:
        super().__init__(**options)
        self._soft_loss = soft_loss

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *rest: Any, **more: Any) -> Tensor:
        loss: Tensor = super().training_step(model, inputs, *rest, **more)
        self._require_finite(float(loss), f"the loss of step {self.state.global_step + 1}")
        return loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if self._soft_loss is not None and model.training:
            # the items are those of all processes, whose gradients are averaged: each adds as many times its share
            shared = num_items_in_batch is not None and self.args.average_tokens_across_devices
            items = num_items_in_batch / self.accelerator.num_processes if shared else num_items_in_batch
            loss = self._soft_loss(loss, inputs, outputs, items)
        return (loss, outputs) if return_outputs else loss

    def evaluation_loop(self, *arguments: Any, **options: Any) -> Any:
        output = super().evaluation_loop(*arguments, **options)
        prefix = options.get("metric_key_prefix", "eval")
        # Trainer takes the mean over batches, which depends on the batch size; this one is over tokens
        if (loss := output.metrics.pop(f"{prefix}_loss_per_token", None)) is not None:
            output.metrics[f"{prefix}_loss"] = loss
        self._require_finite(
            output.metrics[f"{prefix}_loss"], f"the validation loss after step {self.state.global_step}"
        )
        return output

    def _save_checkpoint(self, *arguments: Any) -> None:
        what = f"the checkpoint of step {self.state.global_step}"
        # weights and AdamW's two moments in fp32
        require_space(Path(self.args.output_dir), 3 * size_bytes(self.model), what)
        with quiet_transformers(), saving(Path(self.args.output_dir), what):
            super()._save_checkpoint(*arguments)

    def _require_finite(self, loss: float, what: str) -> None:
        if not math.isfinite(loss):
            rate = self.args.learning_rate
            raise NumericalError(
                f"{what} is {loss}; try a learning rate below {rate:g}, or a longer warm-up; {self._kept()}"
            )

    def _kept(self) -> str:
        checkpoint = last_checkpoint(Path(self.args.output_dir))
        return f"{checkpoint} is whole and stays" if checkpoint else "no checkpoint was finished before it"


class _Bar(ProgressCallback):  # type: ignore[misc]
    """Trainer's progress bar with the loss beside it and a line for each validation."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        super().on_train_begin(args, state, control, **more)
        if self.training_bar is not None and args.warmup_steps >= state.max_steps:
            line = (
                f"{args.warmup_steps:,} steps of warm-up, and the run has {state.max_steps:,}: the learning rate never "
                f"comes up to {args.learning_rate:g}; --warmup-steps sets fewer"
            )
            self.training_bar.write(line, file=sys.stderr)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:  # noqa: ARG002
        if self.training_bar is None or logs is None:
            return
        if "loss" in logs:
            self.training_bar.set_postfix(loss=f"{logs['loss']:.4g}")
        if "eval_loss" in logs:
            line = f"epoch {state.epoch:g}, step {state.global_step}: validation loss {logs['eval_loss']:.4g}"
            self.training_bar.write(line, file=sys.stderr)

    def close(self) -> None:
        """End the bars that an error left open, so that its message has a line of its own."""
        for shown in (self.prediction_bar, self.training_bar):
            if shown is not None:
                shown.close()


class _Clock(transformers.TrainerCallback, ExportableState):  # type: ignore[misc]
    """The seconds of a run; a checkpoint keeps them, so that a resumed run goes on from what led there."""

    def __init__(self, before: float = 0.0) -> None:
        self._before, self._start = before, time.perf_counter()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Trainer asks a checkpoint that knew no clock for the state of one."""
        state.stateful_callbacks.setdefault(type(self).__name__, self.state())

    def seconds(self) -> float:
        """Until now."""
        return self._before + time.perf_counter() - self._start

    def state(self) -> dict[str, Any]:
        """What makes this clock anew in a resumed run."""
        return {"args": {"before": self.seconds()}, "attributes": {}}


def _loss_and_count(logits: Tensor | Sequence[Tensor], labels: Tensor) -> Tensor:
    """Summed loss (nats) and count of the scored tokens of each row, (B, 2), from logits (B, T, V)."""
    scores = logits if isinstance(logits, Tensor) else logits[0]
    scored, wanted = scores[:, :-1].float(), labels[:, 1:]  # (B, T - 1, V), (B, T - 1)
    losses = nn.functional.cross_entropy(scored.transpose(1, 2), wanted, ignore_index=IGNORED, reduction="none")
    return torch.stack([losses.sum(1), (wanted != IGNORED).sum(1)], dim=1)  # (B, 2)


def _token_loss(prediction: Any) -> dict[str, float]:
    total, count = prediction.predictions.astype("float64").sum(axis=0)
    return {"loss_per_token": float(total / count)}
