"""How often the clock of a cell repeats its work."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from benchsuite import running_cell
from benchsuite.running_cell import CLOCK_BUDGET_S, RunningCell


class Benchmark:
    """As much of pytest-benchmark's fixture as the clock uses."""

    def pedantic(self, run: Callable[[], Any], *, setup: Callable[[], Any], rounds: int) -> None:
        for _ in range(rounds):
            setup()
            run()
        self.stats: Any = SimpleNamespace(stats=SimpleNamespace(data=[0.0] * rounds))


class Disabled:
    """The same under `--benchmark-disable`: the work is done once, nothing is kept."""

    stats = None

    def pedantic(self, run: Callable[[], Any], *, setup: Callable[[], Any], rounds: int) -> None:  # noqa: ARG002
        setup()
        run()


@contextlib.contextmanager
def showing(label: str) -> Iterator[Callable[..., None]]:
    yield lambda *_: None


def prepared_cell(benchmark: Benchmark | Disabled) -> Any:
    cell: Any = object.__new__(RunningCell)
    cell._session = SimpleNamespace(matrix=SimpleNamespace(rounds=8), progress=SimpleNamespace(showing=showing))
    cell._benchmark, cell._measurement = benchmark, SimpleNamespace(cell=SimpleNamespace(label=lambda: "cell"))
    return cell


@pytest.mark.parametrize(
    ("first", "later", "rounds"),
    [
        (1, 1, 8),
        (CLOCK_BUDGET_S / 4, 1, 8),  # it compiled
        (CLOCK_BUDGET_S / 4, CLOCK_BUDGET_S / 4, 4),
        (2 * CLOCK_BUDGET_S, 1, 1),  # no more time is spent on finding out
    ],
)
def test_work_is_repeated_as_often_as_there_is_time_whatever_its_first_run_took(
    first: float, later: float, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, taken = [0.0], itertools.chain([first], itertools.repeat(later))
    monkeypatch.setattr(running_cell, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    cell, prepared = prepared_cell(Benchmark()), []

    def run() -> None:
        assert prepared.pop() == "fresh"
        now[0] += next(taken)

    assert len(cell.clock(run, setup=lambda: prepared.append("fresh"))) == rounds
    assert not prepared


def test_without_a_clock_a_round_after_the_warm_up_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    now, taken = [0.0], iter([7.0, 3.0, 2.0])  # warm-up, pytest-benchmark's one call, the round
    monkeypatch.setattr(running_cell, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def run() -> None:
        now[0] += next(taken)

    assert prepared_cell(Disabled()).clock(run) == [2.0]
