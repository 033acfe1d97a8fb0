"""The training benchmark's work: one optimizer step on random tokens, and what it costs.

`python -m benchsuite.training.step` is the fresh process whose peak memory is read: a `Step` as JSON on its standard
input, one JSON line as its answer.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchsuite.compiler import require_compiler
from benchsuite.device import synchronize
from benchsuite.errors import NumericalError, UnavailableError, UsageError
from benchsuite.measure.cell import speeds
from benchsuite.measure.memory import Peak, answer_of_fresh_process, peak_bytes, reset_peak
from benchsuite.models import Attention
from benchsuite.record import Metric
from benchsuite.training.start import causal

LEARNING_RATE = 1e-5
# dense peak of the matrix units in FLOP/s, from the makers' data sheets, by words of the chip's name and dtype
_PEAKS: dict[str, dict[str, float]] = {
    "H200": {"bf16": 989e12, "fp16": 989e12, "fp32": 67e12},
    "H200 NVL": {"bf16": 835e12, "fp16": 835e12, "fp32": 60e12},
    "H100 HBM3": {"bf16": 989e12, "fp16": 989e12, "fp32": 67e12},
    "H100 NVL": {"bf16": 835e12, "fp16": 835e12, "fp32": 60e12},
    "H100 PCIe": {"bf16": 756e12, "fp16": 756e12, "fp32": 51e12},
    "A100": {"bf16": 312e12, "fp16": 312e12, "fp32": 19.5e12},
    "L40S": {"bf16": 362e12, "fp16": 362e12, "fp32": 91.6e12},
    "L4": {"bf16": 121e12, "fp16": 121e12, "fp32": 30.3e12},
    "T4": {"fp16": 65e12, "fp32": 8.1e12},
}


@dataclass(frozen=True)
class Step:
    """What is trained and how; `precision` (fp32, bf16, fp16) is that of the products (autocast), weights are fp32."""

    model: str
    precision: str
    attention: str
    batch_size: int
    sequence_length: int  # tokens
    compiled: bool
    gradient_checkpointing: bool
    device: str

    @property
    def tokens(self) -> int:
        """Tokens of one step."""
        return self.batch_size * self.sequence_length


class Work:
    """A model, its optimizer and one batch: `run` is one step. fp16 scales the loss against underflow."""

    def __init__(self, step: Step) -> None:
        self.device = torch.device(step.device)
        if step.precision == "fp16" and self.device.type == "cpu":
            raise UnavailableError("fp16: training in fp16 scales the loss, which needs CUDA; on the CPU use bf16")
        start = causal(step.model, attention=cast("Attention", step.attention))
        if step.sequence_length > start.context:
            raise UsageError(f"a sequence of {step.sequence_length} tokens; {start.name} sees {start.context}")
        module = start.module.to(self.device).train()
        if step.gradient_checkpointing:
            module.gradient_checkpointing_enable()
        config = module.config
        # forward and backward, thrice a multiplication and an addition for each weight but those of tables that are
        # looked up and are no head, and attention's own products (Chowdhery et al. 2022, appendix B)
        tables = {id(each.weight) for each in module.modules() if isinstance(each, nn.Embedding)}
        tables -= {id(module.get_output_embeddings().weight)}
        weights = sum(weight.numel() for weight in module.parameters() if id(weight) not in tables)
        attention = 12 * config.num_hidden_layers * config.hidden_size * step.sequence_length
        self.flop = step.tokens * (6 * weights + attention)
        self.peak_flop_per_s = peak_flop_per_s(self.device, step.precision)
        if step.compiled:
            require_compiler(step.device)
        self._module: Any = torch.compile(module) if step.compiled else module
        self._optimizer = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, fused=True)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=step.precision == "fp16")
        self._dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[step.precision]
        generator = torch.Generator().manual_seed(0)
        shape = (step.batch_size, step.sequence_length)
        self._ids: Tensor = torch.randint(config.vocab_size, shape, generator=generator).to(self.device)  # (B, T)

    def run(self) -> None:
        """Forward, backward and AdamW on the batch; NumericalError where the loss is NaN or infinite."""
        with torch.autocast(self.device.type, self._dtype, enabled=self._dtype is not None):
            loss = self._module(input_ids=self._ids, labels=self._ids).loss
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()
        if not torch.isfinite(loss):
            raise NumericalError(f"the loss of a training step is {float(loss)}")
        synchronize(self.device)


def training_speeds(work: Work, step: Step, seconds: list[float]) -> dict[str, Metric]:
    """What the rounds of a step say: tokens, samples and floating-point operations per second."""
    metrics = speeds(seconds, tokens=step.tokens, samples=step.batch_size)
    achieved = work.flop / statistics.median(seconds)
    metrics["flop_per_s"] = Metric(achieved, "FLOP/s", "higher", n=len(seconds))
    if work.peak_flop_per_s:
        metrics["flop_utilisation"] = Metric(achieved / work.peak_flop_per_s, "share", "higher", n=len(seconds))
    return metrics


def peak_flop_per_s(device: torch.device, precision: str) -> float | None:
    """What the chip can do at most in that precision, where it is known."""
    if device.type != "cuda":
        return None
    words = re.split("[ -]", torch.cuda.get_device_name(device))
    known = [chip for chip in _PEAKS if all(word in words for word in chip.split())]
    return _PEAKS[max(known, key=len)].get(precision) if known else None


def peak_of_step(step: Step) -> Peak:
    """Peak memory of a fresh process that takes two steps: in its whole life, and while it trained."""
    answer = answer_of_fresh_process("benchsuite.training.step", asdict(step))
    return Peak(process_bytes=answer["process"], working_bytes=answer["working"])


def main() -> None:
    """The fresh process."""
    work = Work(Step(**cast("dict[str, Any]", json.load(sys.stdin))))
    process = peak_bytes()
    reset_peak()
    work.run()
    work.run()  # the first step makes AdamW's moments
    working = peak_bytes()
    print(json.dumps({"process": max(process, working), "working": working}))


if __name__ == "__main__":
    main()
