"""A machine's limits are measured once and kept; a damaged file is named."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchsuite.errors import FileFormatError
from benchsuite.measure import limits as limits_module
from benchsuite.measure.limits import Limits, measure_limits, read_limits, write_limits

LIMITS = Limits("m", 50e9, {"fp32": 500e9, "int8": 2000e9})


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_limits_are_found_again() -> None:
    assert read_limits("m") is None
    write_limits(LIMITS)
    assert read_limits("m") == LIMITS


@pytest.mark.parametrize("rate", ["-1", "0", "NaN", "1e999", f"1{'0' * 400}", '"fast"', "null"])
@pytest.mark.parametrize("place", ["50000000000.0", "2000000000000.0"])
def test_a_rate_that_no_machine_has_is_refused_with_what_measures_it_anew(place: str, rate: str) -> None:
    path = write_limits(LIMITS)
    path.write_text(path.read_text().replace(place, rate))
    with pytest.raises(FileFormatError, match=r"limits.*`benchsuite calibrate --limits` again"):
        read_limits("m")


def test_the_least_time_is_that_of_the_tighter_limit() -> None:
    assert LIMITS.seconds({"fp32": 500e9}, 0) == 1
    assert LIMITS.seconds({"fp32": 500e9}, 100e9) == 2
    assert LIMITS.seconds({"int8": 500e9, "fp32": 500e9}, 0) == 1.25
    assert LIMITS.seconds({"fp16": 500e9}, 0) == 1  # not multiplied here: as fp32


def test_this_machine_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "READ_BYTES", 2**20)
    monkeypatch.setattr(limits_module, "SHAPE", (32, 64, 64))
    found = measure_limits("cpu")
    assert len(found.machine) == 64
    assert found.bytes_per_s > 0
    assert found.flop_per_s["fp32"] > 0


def test_the_fastest_run_counts_and_the_first_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now, taken = [0.0], itertools.chain([0.5, 4.0, 2.0], itertools.repeat(3.0))
    monkeypatch.setattr(limits_module, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def run() -> None:
        now[0] += next(taken)

    assert limits_module._fastest(run, torch.device("cpu")) == 2


def test_a_product_is_two_flop_for_each_row_column_and_term(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "READ_BYTES", 2**10)
    monkeypatch.setattr(limits_module, "SHAPE", (3, 8, 16))
    monkeypatch.setattr(limits_module, "_products", lambda _: {"fp32": [lambda: None], "bf16": []})
    monkeypatch.setattr(limits_module, "_fastest", lambda *_: 0.5)
    found = measure_limits("cpu")
    assert (found.bytes_per_s, found.flop_per_s) == (2**11, {"fp32": 2 * 2 * 3 * 8 * 16})
