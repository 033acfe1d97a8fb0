"""`benchsuite show` prints what the run printed, and writes its metrics for other programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from benchsuite.cli import main
from benchsuite.record import KEY, Cell, Metric, Record, to_json


def write_run(path: Path, precision: str, value: float) -> Path:
    record = Record(
        Cell("perplexity", "tiny", precision, "prose", limit=100), {"perplexity": Metric(value, "", "lower", n=7)}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"benchmarks": [{"extra_info": {KEY: to_json(record)}}]}), encoding="utf-8")
    return path


@pytest.mark.parametrize("run", ["shards", "1", "first"])
def test_a_run_is_named_as_everywhere_and_its_metrics_become_csv(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, name in (("shards", "a"), (".benchmarks/Linux", "0001_first")):
        write_run(tmp_path / folder / f"{name}.json", "fp32", 2.5)
    write_run(tmp_path / "shards" / "b.json", "absmax8", 2.75)
    main(["show", run, "--csv", "out/metrics.csv"])
    assert "2.500" in capsys.readouterr().out
    lines = (tmp_path / "out" / "metrics.csv").read_text().splitlines()
    assert len(lines) == (3 if run == "shards" else 2)
    assert ",100," in lines[1]  # a count, no 100.0
    assert pandas.read_csv(tmp_path / "out" / "metrics.csv").loc[0, "value"] == 2.5


def test_signs_that_the_output_has_no_code_for_are_replaced(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run.json", "fp32", 2.5)
    command, environment = (
        [sys.executable, "-m", "benchsuite", "show", run],
        {**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"?? perplexity tiny prose: perplexity ???" in done.stdout
    assert b"2.500" in done.stdout


@pytest.mark.parametrize("command", ["show", "history"])  # Rich leaves one of them, Click the other
def test_a_reader_that_has_left_is_no_regression(command: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "Linux" / "0001_first.json", "fp32", 2.5)
    stored = {"show": [run], "history": ["--storage", tmp_path, "--all"]}[command]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchsuite", command, *stored], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate()
    assert (process.returncode, said) == (141, b"")


def test_what_is_no_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["show", "nothing"])
    assert stop.value.code == 2
