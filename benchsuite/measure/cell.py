"""Measuring one cell: quality once, then the clock, then memory; what was found becomes its record."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchsuite.data.examples import Examples
from benchsuite.device import synchronize
from benchsuite.engines import library_of
from benchsuite.errors import UnavailableError
from benchsuite.evals import evaluation_for
from benchsuite.measure.generation import NEW_TOKENS, PROMPT_TOKENS, Timing, prompts_of, time_generation
from benchsuite.measure.kernels import kernels_that_run
from benchsuite.measure.machine import describe_machine
from benchsuite.measure.memory import Peak, peak_of_allocator
from benchsuite.measure.resident import SAMPLE_PROMPT, Loaded
from benchsuite.models.language_model import LanguageModel
from benchsuite.quant.apply import size_bytes
from benchsuite.record import Cell, Metric, Record, Rounds, protocol_fingerprint

if TYPE_CHECKING:
    from benchsuite.engines import Engine
    from benchsuite.engines.source import Source
    from benchsuite.evals.evaluation import Evaluation, Progress


class Clock(Protocol):
    """Runs a function in rounds and tells the seconds of each; `warm_up` is what runs before them in its place."""

    def __call__(self, run: Callable[[], Any], *, warm_up: Callable[[], Any] | None = None) -> list[float]:
        """Seconds of each round."""


@dataclass
class Measurement:
    """The record of one cell in the making."""

    cell: Cell
    metrics: dict[str, Metric] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    coverage: dict[str, Any] = field(default_factory=dict)
    kernels: dict[str, Any] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    excluded: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    reason: str = ""  # why something is not measured in a cell that otherwise is

    def record(self) -> Record:
        """What was found, complete with the machine and the fingerprint of the protocol."""
        fingerprints = self.fingerprints | {"protocol": protocol_fingerprint(self.protocol)}
        return Record(**{**vars(self), "fingerprints": fingerprints}, machine=describe_machine(self.cell.device))

    def identify(self, loaded: Loaded, examples: Examples | None = None) -> None:
        """Fingerprints, coverage, exact size and a sample of text of what is measured."""
        self.fingerprints |= {
            "weights": loaded.model.fingerprint,
            "tokenizer": loaded.model.tokenizer.fingerprint(),
            "data": examples.fingerprint() if examples else "",
        }
        self.coverage = {"share": loaded.coverage.share, **dataclasses.asdict(loaded.coverage)}
        if loaded.sample_text is not None:
            self.samples.append({"prompt": SAMPLE_PROMPT, "generated": loaded.sample_text})
        self.metrics["weight_bytes"] = Metric(size_bytes(loaded.model.module), "B", "lower")

    def identify_engine(self, source: Source, form: str) -> None:
        """What another engine was given, how it holds it, and which version it is."""
        self.fingerprints |= {"weights": source.weights, "tokenizer": source.tokenizer, "data": ""}
        self.protocol |= {"engine": self.cell.engine, "format": form}
        self.kernels = {"library": library_of(self.cell.engine), "threads": torch.get_num_threads()}

    def evaluate(self, model: LanguageModel, examples: Examples, progress: Progress) -> Evaluation:
        """Quality, once: metrics with their evidence, the protocol, a few samples and counted exclusions."""
        evaluate = evaluation_for(examples.task).evaluate
        found = evaluate(model, examples, batch_size=self.cell.batch_size, progress=progress)
        self.keep(found, examples)
        return found

    def keep(self, found: Evaluation, examples: Examples) -> None:
        """Take over what an evaluation found."""
        self.metrics |= found.metrics
        self.protocol |= {**found.protocol, "limit": examples.limited}
        self.samples += found.samples
        self.excluded |= found.excluded
        self.details |= found.details

    def time_work(self, model: LanguageModel, examples: Examples, clock: Clock) -> Callable[[], Any]:
        """Speed: rounds of one representative batch of the evaluation; returns that batch for other gauges."""
        work = evaluation_for(examples.task).work(model, examples, batch_size=self.cell.batch_size)

        def run() -> None:
            work.run()
            synchronize(model.device)

        seconds = clock(run, warm_up=lambda: self._count_kernels(run, model.module))
        self.metrics |= speeds(seconds, tokens=work.tokens, samples=work.samples)
        return run

    def time_generation(
        self, engine: Engine, vocab_size: int, clock: Clock, module: nn.Module | None = None
    ) -> Callable[[], Any]:
        """Prefill, time to first token, decode and latency per token, by rounds of one fixed generation.

        The kernels of `module` are counted in the round before the clock's; other engines do not tell theirs.
        """
        prompts = prompts_of(vocab_size, count=self.cell.batch_size, length=PROMPT_TOKENS)
        self.protocol |= {"prompt_tokens": PROMPT_TOKENS, "new_tokens": NEW_TOKENS, "prefill_logits": "last"}
        timings: list[Timing] = []

        def run() -> None:
            timings.append(time_generation(engine, prompts, new_tokens=NEW_TOKENS))

        seconds = clock(run, warm_up=(lambda: self._count_kernels(run, module)) if module is not None else run)
        if layers := getattr(engine, "layers", None):
            self.kernels["layers"] = dict(sorted(layers.items()))
        timings = timings[-len(seconds) :]  # the warm-up round comes first
        batch = len(prompts)
        prefill, decode = np.array([t.prefill_s for t in timings]), np.array([t.decode_s for t in timings])
        steps = np.concatenate([t.steps_s for t in timings])
        self.metrics |= speeds(seconds, tokens=batch * NEW_TOKENS, samples=batch, evidence=False)
        self.metrics |= {
            "prefill_tokens_per_s": rate(prefill, batch * PROMPT_TOKENS, "tok/s"),
            "decode_tokens_per_s": rate(decode, batch * (NEW_TOKENS - 1), "tok/s"),
            "time_to_first_token_s": Metric(float(np.median(prefill)), "s", "lower", n=len(prefill)),
        }
        for percentile in (50, 90, 99):
            name = f"token_latency_p{percentile}_s"
            self.metrics[name] = Metric(float(np.percentile(steps, percentile)), "s", "lower", n=len(steps))
        return run

    def _count_kernels(self, run: Callable[[], Any], module: nn.Module) -> None:
        self.kernels = kernels_that_run(run, module)

    def gauge_memory(self, run: Callable[[], Any], fresh: Callable[[], Peak]) -> None:
        """Peak memory: of the allocator on CUDA, where `run` is done once more, else what `fresh` tells."""
        try:
            device = torch.device(self.cell.device)
            peak = peak_of_allocator(device, run) if device.type == "cuda" else fresh()
        except UnavailableError as error:
            self.reason = f"peak memory was not measured: {error}"  # what was measured before is kept
            return
        if peak.works:
            self.details["one_process"] = [f"{dataset or 'generation'} ×{batch}" for dataset, batch in peak.works]
        self.metrics |= {
            "peak_memory_bytes": Metric(peak.process_bytes, "B", "lower"),
            "working_memory_bytes": Metric(peak.working_bytes, "B", "lower"),
        }


def speeds(seconds: list[float], *, tokens: int, samples: int, evidence: bool = True) -> dict[str, Metric]:
    """tokens/s, samples/s and the latency of a batch, all from the same rounds.

    The rounds are kept once, as the evidence of tokens/s: the other figures are the same measurement in other units.
    """
    array = np.array(seconds)
    per_token = rate(array, tokens, "tok/s")
    deviation = statistics.stdev(seconds) if len(seconds) > 1 else 0.0
    return {
        "tokens_per_s": per_token if evidence else dataclasses.replace(per_token, evidence=None),
        "samples_per_s": dataclasses.replace(rate(array, samples, "samples/s"), evidence=None),
        "batch_latency_s": Metric(float(array.mean()), "s", "lower", n=len(seconds)),
        "batch_latency_std_s": Metric(deviation, "s", None, n=len(seconds)),
    }


def rate(seconds: NDArray[np.float64], work: int, unit: str) -> Metric:
    """`work` per second by the median round, with the rounds as evidence."""
    return Metric(work / float(np.median(seconds)), unit, "higher", n=len(seconds), evidence=Rounds(seconds, work))


def quantizing(seconds: list[float], before: int, after: int, coverage: Mapping[str, Any]) -> dict[str, Metric]:
    """What applying a precision costs and saves."""
    array = np.array(seconds)
    return {
        "quantizing_s": Metric(float(np.median(array)), "s", "lower", n=len(array), evidence=Rounds(array, 1)),
        "bytes_before": Metric(before, "B", None),
        "weight_bytes": Metric(after, "B", "lower"),
        "compression": Metric(before / after, "x", "higher"),
        "coverage": Metric(coverage["share"], "share", None),
    }
