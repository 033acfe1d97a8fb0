"""Knowledge distillation (Hinton, Vinyals and Dean 2015): a student learns the teacher's whole distribution.

The loss is `soft` · T² · KL(teacher ‖ student), both softened by the temperature T, plus (1 - `soft`) · the usual loss
on the right answer. With `soft` 0 the same student is trained without its teacher.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchsuite.data.examples import Task
from benchsuite.errors import UsageError
from benchsuite.record import Record
from benchsuite.training import classify, next_token
from benchsuite.training.features import IGNORED, class_features
from benchsuite.training.loop import is_main_process
from benchsuite.training.settings import Settings
from benchsuite.training.splits import Splits
from benchsuite.training.start import Start, causal, classifier, is_saved_classifier, positions_of
from benchsuite.training.summary import write_summary


@dataclass(frozen=True)
class Distillation:
    """What is minimised: see the module's docstring. `temperature` is above 0, `soft` a share from 0 to 1."""

    temperature: float = 2.0
    soft: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise UsageError(f"the temperature is {self.temperature}; a number above 0 was wanted")
        if not 0 <= self.soft <= 1:
            raise UsageError(f"the share of the soft loss is {self.soft}; a number from 0 to 1 was wanted")


def evenly_spaced(teacher: Start, layers: int) -> Start:
    """A student of `layers` blocks, copied from evenly spaced ones of the teacher, with all else of the teacher.

    The first and the last block are among them: 6 of 12 are 0, 2, 4, 7, 9 and 11, as in DistilGPT-2 (Sanh et al. 2019).
    """
    blocks = teacher.module.base_model.h
    if not 1 <= layers <= len(blocks):
        raise UsageError(f"a student of {layers} layers; its teacher {teacher.name} has {len(blocks)}")
    chosen = chosen_layers(len(blocks), layers)
    config = type(teacher.module.config).from_dict({**teacher.module.config.to_dict(), "n_layer": layers})
    config._attn_implementation = teacher.module.config._attn_implementation
    module = type(teacher.module)(config)
    state = teacher.module.state_dict()
    for key, tensor in module.state_dict().items():
        parts = key.split(".")
        if "h" in parts:
            at = parts.index("h") + 1
            parts[at] = str(chosen[int(parts[at])])
        tensor.copy_(state[".".join(parts)])
    return replace(teacher, name=f"{teacher.name}-{layers}-layers", module=module)


def chosen_layers(teacher: int, student: int) -> list[int]:
    """Which of the teacher's blocks a student of fewer begins with.

    >>> chosen_layers(12, 6)
    [0, 2, 4, 7, 9, 11]
    """
    return [0] if student == 1 else [round(index * (teacher - 1) / (student - 1)) for index in range(student)]


class SoftTargets:
    """The loss of a student that listens to its teacher, as `benchsuite.training.loop.train` takes it."""

    def __init__(self, teacher: nn.Module, distillation: Distillation) -> None:
        self._teacher = teacher.eval().requires_grad_(False)
        self._distillation = distillation

    def __call__(
        self, hard: Tensor, inputs: Mapping[str, Tensor], outputs: Any, num_items_in_batch: Tensor | float | None
    ) -> Tensor:
        """The mixed loss; sums are divided by `num_items_in_batch` where it is given, else by what
        the batch has: rows of a classifier, scored tokens."""
        soft = self._distillation.soft
        teacher = self._teacher.to(hard.device)
        with torch.no_grad():
            wanted = teacher(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        student, labels = outputs.logits, inputs["labels"]
        if labels.dim() == 2:  # the token at t is judged by the logits at t - 1
            scored = labels[:, 1:] != IGNORED  # (B, T - 1)
            student, wanted = student[:, :-1][scored], wanted[:, :-1][scored]  # (N, V) each
        divergence = soft_divergence(student, wanted, self._distillation.temperature)
        items = len(student) if num_items_in_batch is None else num_items_in_batch
        return (1 - soft) * hard + soft * divergence / items


def soft_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² · Σ KL(teacher ‖ student) in nats, summed over rows of logits (N, V) softened by the temperature T."""
    log_student = F.log_softmax(student.float() / temperature, dim=-1)  # (N, V)
    log_teacher = F.log_softmax(teacher.float() / temperature, dim=-1)  # (N, V)
    return temperature**2 * F.kl_div(log_student, log_teacher, reduction="sum", log_target=True)


def tasks_of(teacher: str) -> tuple[Task, ...]:
    """What a teacher can teach: a classifier its classes, any other model to go on with a text."""
    return ("classification",) if is_saved_classifier(teacher) else ("lm", "instructions")


def run(
    teacher_name: str,
    student: str | int,
    splits: Splits,
    settings: Settings,
    distillation: Distillation,
    directory: Path,
    *,
    resume: bool = False,
) -> Record:
    """Distil into `student`, a model's name or a number of the teacher's layers; everything goes into `directory`.

    What is written is that of `next_token.run` or `classify.run`; of a classifier also summary.json and summary.md,
    the teacher beside its student. UsageError where the two read texts as different tokens or predict others.
    """
    labels = splits.train.labels
    teacher, made = _pair(teacher_name, student, labels, settings)
    if teacher.tokenizer.get_vocab() != made.tokenizer.get_vocab():
        raise UsageError(f"{teacher.name} and {made.name} have different tokenizers; distil between models of one")
    widths = [start.module.config.vocab_size for start in (teacher, made)]
    if not labels and widths[0] != widths[1]:
        raise UsageError(
            f"{teacher.name} has logits of {widths[0]:,} tokens, {made.name} of {widths[1]:,}; distil between models "
            "of one vocabulary"
        )
    told = {"teacher": teacher.origin(), "distillation": asdict(distillation)}
    more: Any = {
        "resume": resume,
        "arguments": told,
        "soft_loss": SoftTargets(teacher.module, distillation) if distillation.soft else None,
    }
    if not labels:
        return next_token.run(made, splits, settings, directory, **more)
    record = classify.run(made, splits, settings, directory, **more)
    if is_main_process():
        rows = class_features(splits.test, teacher.encode, context=positions_of(teacher_name)).rows
        pad = int(teacher.tokenizer.pad_token_id)
        found = classify.classify(teacher.module, rows, splits.test, pad=pad, batch_size=settings.batch_size)
        both = {
            "teacher": classify.record_of(teacher, found, splits.test, "fp32", settings.batch_size),
            "student": record,
        }
        write_summary(both, "teacher", directory)
    return record


def _pair(teacher: str, student: str | int, labels: tuple[str, ...], settings: Settings) -> tuple[Start, Start]:
    """The teacher and its student, classifiers of `labels` where there are any."""

    def load(name: str) -> Start:
        how: Any = {"attention": settings.attention, "seed": settings.seed}
        return classifier(name, labels, **how) if labels else causal(name, **how)

    if labels and not is_saved_classifier(teacher):
        raise UsageError(f"the teacher {teacher} has no classification head; fine-tune it first: benchsuite finetune")
    learned = load(teacher)
    return learned, evenly_spaced(learned, student) if isinstance(student, int) else load(student)
