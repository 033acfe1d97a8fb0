"""The noise floor of a machine: how far two runs of the same code lie apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchsuite.errors import FileFormatError
from benchsuite.files import read_machine_file, write_machine_file
from benchsuite.record import Cell
from benchsuite.stats import RunNoise


@dataclass(frozen=True)
class Spread:
    """Standard deviations of the logarithm of one kind of measurement."""

    between: float  # of the median of a run, from run to run
    within: float  # of a round, within a run
    df: int  # degrees of freedom of `between`
    rounds: int  # of a run that was measured


@dataclass(frozen=True)
class NoiseFloor:
    """The spread of each kind of measurement on one machine, and how many runs a side were pooled."""

    machine: str  # the machine's fingerprint
    spreads: Mapping[str, Spread]
    runs: tuple[int, int] = (1, 1)

    def between(self, cell: Cell, metric: str) -> RunNoise | None:
        """The noise of the ratio of two sides; None where nobody has measured it."""
        spread = self.spreads.get(kind(cell, metric))
        if spread is None:
            return None
        return RunNoise(spread.between * math.sqrt(1 / self.runs[0] + 1 / self.runs[1]), spread.df)


def kind(cell: Cell, metric: str) -> str:
    """What is spread alike: one metric of one question, whatever the model or the precision."""
    return f"{cell.question}/{metric}"


def write_noise(floor: NoiseFloor) -> Path:
    """Keep a noise floor, and what was known of other kinds of measurement; returns where."""
    try:
        known = read_noise(floor.machine)
    except FileFormatError:  # a damaged file is replaced
        known = None
    kept = {**(known.spreads if known else {}), **floor.spreads}
    return write_machine_file(
        "noise", floor.machine, {"spreads": {name: asdict(spread) for name, spread in kept.items()}}
    )


def read_noise(machine: str) -> NoiseFloor | None:
    """The noise floor of a machine, None where it was never calibrated; FileFormatError where the file is damaged."""
    return read_machine_file("noise", machine, _from_json, "benchsuite calibrate")


def _from_json(data: Mapping[str, Any]) -> NoiseFloor:
    spreads = {name: Spread(**spread) for name, spread in data["spreads"].items()}
    for name, spread in spreads.items():
        if not all(math.isfinite(figure) and figure >= 0 for figure in vars(spread).values()) or spread.df == 0:
            raise ValueError(f"{name}: a figure that no spread has")
    return NoiseFloor(data["machine"], spreads)
