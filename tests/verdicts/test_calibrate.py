from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from benchsuite.cli import main
from benchsuite.record import Record
from benchsuite.verdicts.noise import read_noise

MakeRun = Callable[..., list[Record]]
WriteRun = Callable[..., Path]
BENCH = """
import numpy as np, os
from benchsuite.record import Cell, Metric, Record, Rounds, to_json

def test_speed(benchmark):
    random = np.random.default_rng(int.from_bytes(os.urandom(4), "little"))
    seconds = 0.01 * np.exp(0.01 * random.standard_normal(8))
    benchmark.pedantic(lambda: None)
    metric = Metric(1 / float(np.median(seconds)), "tok/s", "higher", evidence=Rounds(seconds, 1.0))
    record = Record(Cell("generation", "tiny", "fp32"), {"tokens_per_s": metric}, machine={"fingerprint": "m"})
    benchmark.extra_info["benchsuite"] = to_json(record)
"""


def test_runs_of_the_same_code_become_the_noise_floor_that_compare_uses(
    make_run: MakeRun,
    write_run: WriteRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for count, level in enumerate((1.0, 1.1, 0.95, 1.05)):
        write_run(tmp_path / "runs" / f"{count}.json", make_run(count, slowdown=level))
    main(["calibrate", "--from", "runs"])
    out = capsys.readouterr().out
    floor = read_noise("m")
    assert floor is not None
    spread = floor.spreads["perplexity/tokens_per_s"]
    assert 0.05 < spread.between < 0.08
    assert 0.005 < spread.within < 0.02
    assert (spread.df, spread.rounds) == (3, 20)
    assert "perplexity/tokens_per_s" in out
    assert f"kept in {tmp_path}" in out
    with pytest.raises(SystemExit) as stop:
        main(["compare", "runs/0.json", "runs/1.json"])
    assert stop.value.code == 0
    assert "no noise floor" not in capsys.readouterr().out


def test_the_printed_slowdown_is_what_the_design_will_find(capsys: pytest.CaptureFixture[str]) -> None:
    from benchsuite.report.noise import noise_table
    from benchsuite.verdicts.noise import NoiseFloor, Spread

    table = noise_table(NoiseFloor("m", {"generation/tokens_per_s": Spread(0.02, 1e-9, 10_000_000, 8)}))
    row = table.splitlines()[1].split("  ")
    assert row.count(" 0 %") == 1  # no 1e-07 %
    found = [float(text.strip(" %")) for text in row if "%" in text]
    smallest = 100 * math.expm1(math.sqrt(2) * 0.02 * (1.95996 + 1.28155))
    assert found == pytest.approx(
        [2.0, 0.0, smallest, smallest, smallest, smallest / 2, smallest / math.sqrt(8)], rel=0.05, abs=1e-3
    )


def test_fresh_processes_are_run_and_their_files_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_speed.py").write_text(BENCH)
    main(["calibrate", "--runs", "2", "--", "test_speed.py"])
    assert "run 2 of 2" in capsys.readouterr().err
    assert len(list((tmp_path / ".benchmarks" / "calibrate").glob("*/*.json"))) == 2
    assert read_noise("m") is not None


@pytest.mark.parametrize(("runs", "machines", "says"), [(1, 1, "1 runs on 1 machines"), (2, 2, "2 runs on 2 machines")])
def test_runs_that_say_nothing_of_one_machine_are_refused(
    make_run: MakeRun,
    write_run: WriteRun,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    runs: int,
    machines: int,
    says: str,
) -> None:
    for count in range(runs):
        machine = {"fingerprint": f"m{count % machines}"}
        write_run(tmp_path / "runs" / f"{count}.json", make_run(count, machine=machine))
    with pytest.raises(SystemExit) as stop:
        main(["calibrate", "--from", str(tmp_path / "runs")])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err
