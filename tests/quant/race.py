"""How long quantizing takes, beside reading and copying the same weights and beside bitsandbytes, in turns.

    python tests/quant/race.py                              grids on the linear weights of random:gpt2
    python tests/quant/race.py --precision gptq4-g128       a whole precision, once (GPTQ takes minutes)

One pass is `weight.clone()` and `weight.abs().amax(1)` for every linear weight, timed anew before each grid, because a
shared machine's memory changes its pace within a second. Times and ratios are medians of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchsuite.models import models
from benchsuite.models.calibration import calibration_windows
from benchsuite.quant.apply import linears_to_quantize
from benchsuite.quant.precision import precisions
from benchsuite.quant.progress import reported_to
from benchsuite.report.bar import bar

NAMES = (
    *("absmax8", "absmax8-row", "absmax8-g128", "absmax4-row", "absmax4-g32", "absmax4-g128", "absmax3-g128"),
    *("zeropoint8", "zeropoint8-row", "zeropoint8-g128", "zeropoint4-g128", "zeropoint3-g128"),
    *("nf4-g64", "fp4-g64"),
)


def one_pass(weight: Tensor) -> None:
    weight.clone()
    weight.abs().amax(1)


def bitsandbytes(book: str, weight: Tensor) -> None:
    import bitsandbytes.functional as bnb

    bnb.quantize_4bit(weight, blocksize=64, quant_type=book)


def seconds(run: Callable[[Tensor], object], weights: list[Tensor]) -> float:
    start = time.perf_counter()
    for weight in weights:
        run(weight)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random:gpt2")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--precision", help="apply this one, once")
    asked = parser.parse_args()
    model = models[asked.model].load("cpu", "sdpa")
    if asked.precision:
        with bar(asked.precision) as step, reported_to(step):
            start, windows = time.perf_counter(), partial(calibration_windows, model)
            covered = precisions[asked.precision].apply(model.module, device="cpu", calibration=windows)
        print(f"{asked.precision}: {covered.seconds:.1f} s, {time.perf_counter() - start:.1f} s with the report")
        print(covered.calibration)
        return
    weights = [linear.weight.detach() for linear in linears_to_quantize(model.module).values()]
    runs: dict[str, Callable[[Tensor], object]] = {}
    runs |= {name: precisions[name].form().grid.quantize for name in NAMES}  # type: ignore[attr-defined]
    runs |= {f"bitsandbytes {book}": partial(bitsandbytes, book) for book in ("nf4", "fp4")}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}  # of one pass, and of the grid
    with bar("quantizing") as step:
        for turn in range(asked.rounds + 1):
            for name, run in runs.items():
                pair = seconds(one_pass, weights), seconds(run, weights)
                if turn:  # the first one warms up
                    found[name].append(pair)
            step(turn, asked.rounds)
    print(f"{sum(weight.numel() for weight in weights):,} weights, {torch.get_num_threads()} threads")
    print("| | ms | of one pass |\n| --- | ---: | ---: |")
    base = statistics.median(base for pairs in found.values() for base, _ in pairs)
    print(f"| one pass | {1000 * base:.0f} | 1.00 |")
    for name, pairs in found.items():
        ms = 1000 * statistics.median(taken for _, taken in pairs)
        print(f"| {name} | {ms:.0f} | {statistics.median(taken / base for base, taken in pairs):.2f} |")


if __name__ == "__main__":
    main()
