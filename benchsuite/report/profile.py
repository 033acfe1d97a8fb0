"""`--profile-cells`: where a cell's time goes by operator, and how near to the machine's limit it comes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.profiler import ProfilerActivity

from benchsuite.errors import UnavailableError
from benchsuite.files import atomic_write, file_name
from benchsuite.measure.limits import Limits
from benchsuite.measure.roofline import Part, Pass, counted, part_of, parts_of_generation
from benchsuite.models.language_model import LanguageModel
from benchsuite.record import Metric, Rounds
from benchsuite.report.roofline import draw_roofline, roofline_table

OPERATORS = 40  # rows of the table


@dataclass(frozen=True)
class Round:
    """What the clock ran: one round, and what goes before it without being timed."""

    run: Callable[[], Any]
    setup: Callable[[], None] | None = None


def profile_name(test: str) -> str:
    """The folder of a test's profile: `test_generation[tiny-fp32-batch1]` is `generation-tiny-fp32-batch1`."""
    return file_name(test.removeprefix("test_").replace("[", "-").rstrip("]"))


def write_profile(
    folder: Path,
    title: str,
    work: Round,
    *,
    device: str,
    model: LanguageModel | None,
    metrics: Mapping[str, Metric],
    limits: Limits | None,
) -> dict[str, Any]:
    """Do one more round under `torch.profiler`; write `trace.json`, `operators.txt`, and `roofline` as SVG and PNG.

    Returns what the record keeps: each part's FLOP, bytes, seconds and share of the limit. The seconds are the clock's,
    not the profiler's. `model` is None for what is not counted: training, quantizing, other engines.
    """
    if work.setup:
        work.setup()
    if model is None:
        passes: list[Pass] = []
        profiler = _traced(work.run, device)
    else:
        with counted(model) as passes:
            profiler = _traced(work.run, device)
    parts = parts_of(passes, metrics, limits) if passes else []
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
        whole = Path(temporary) / "trace.json"
        profiler.export_chrome_trace(str(whole))
        whole.replace(folder / "trace.json")
    by = "self_cuda_time_total" if device.startswith("cuda") else "self_cpu_time_total"
    operators = profiler.key_averages().table(sort_by=by, row_limit=OPERATORS, max_name_column_width=80)
    lines = [title, "", roofline_table(parts, limits), operators]
    if parts and limits:
        try:
            draw_roofline(parts, limits, title, folder / "roofline")
        except UnavailableError as error:
            lines.insert(3, f"no picture: {error}\n")
    atomic_write(folder / "operators.txt", "\n".join(lines))
    return {
        part.name: {"flop": part.flop, "bytes": part.bytes_read, "seconds": part.seconds, "share_of_limit": part.share}
        for part in parts
    }


def parts_of(passes: list[Pass], metrics: Mapping[str, Metric], limits: Limits | None) -> list[Part]:
    """The passes of a round with the clock's median seconds: prefill and decode of a generation, else one batch."""
    if "decode_tokens_per_s" in metrics:
        prefill, decode = (_median_s(metrics[f"{name}_tokens_per_s"]) for name in ("prefill", "decode"))
        return parts_of_generation(passes, prefill, decode, limits)
    return [part_of("batch", passes, _median_s(metrics["tokens_per_s"]), limits)]


def _median_s(metric: Metric) -> float:
    return float(np.median(cast("Rounds", metric.evidence).seconds))


def _traced(run: Callable[[], Any], device: str) -> Any:
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.startswith("cuda") else [])]
    with torch.profiler.profile(activities=activities) as profiler:
        run()
    return profiler
