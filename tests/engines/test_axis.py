"""`--engine` puts rows of other systems beside ours, and names those that cannot run; `--profile-cells` tells why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchsuite.record import Record
from benchsuite.records import read_records

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Record], Path]:
    folder = tmp_path_factory.mktemp("axis")
    (folder / "ctranslate2.py").write_text("raise ImportError('not here')")
    path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
    arguments = [
        "--model=random:tiny", "--precision=fp32,nf4-g64", "--engine=native,transformers,ctranslate2", "--batch-size=2",
        f"--profile-cells={folder / 'profiles'}", f"--benchmark-json={folder / 'out.json'}",
    ]  # fmt: skip
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "bench/test_generation.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(folder)},
    )
    assert finished.returncode == 0, finished.stdout[-4000:]
    records = read_records(folder / "out.json")
    return finished.stdout, {f"{record.cell.engine} {record.cell.precision}": record for record in records}, folder


def test_another_engine_gets_a_row_beside_ours_with_what_it_did(run: Any) -> None:
    out, records, _ = run
    ours, theirs = records["native fp32"], records["transformers fp32"]
    assert ours.fingerprints["weights"] == theirs.fingerprints["weights"]
    assert theirs.protocol["format"] == "fp32"
    assert theirs.protocol["prefill_logits"] == "last"
    assert theirs.kernels["library"].startswith("transformers ")
    for name in ("prefill_tokens_per_s", "decode_tokens_per_s", "token_latency_p99_s", "peak_memory_bytes"):
        assert theirs.metrics[name].value > 0, name
    [row] = [line for line in out.splitlines() if "fp32 transformers fp32" in line]
    assert "×" in row, "no ratio to our fp32"


def test_our_cells_are_what_they_were_without_the_axis(run: Any) -> None:
    ours = run[1]["native fp32"]
    assert set(ours.protocol) == {"prompt_tokens", "new_tokens", "prefill_logits"}
    assert ours.cell.label() == "generation random:tiny-fp32 ×2"


def test_an_engine_that_is_not_installed_is_a_skipped_cell_with_what_installs_it(run: Any) -> None:
    out, records, _ = run
    skipped = records["ctranslate2 fp32"]
    assert skipped.status == "skipped"
    assert "pip install ctranslate2" in skipped.reason
    assert "no counterpart of nf4-g64" in records["ctranslate2 nf4-g64"].reason
    assert "skipped: generation random:tiny-fp32 ctranslate2" in out


def test_each_cell_has_a_trace_and_a_table_of_operators(run: Any) -> None:
    _, records, folder = run
    for record in records.values():
        if record.status == "passed":
            [profile] = (
                (folder / "profiles").glob(f"*{record.cell.precision}*{record.cell.engine}")
                if (record.cell.engine != "native")
                else (folder / "profiles").glob(f"*tiny-{record.cell.precision}")
            )
            assert json.loads((profile / "trace.json").read_text())["traceEvents"]
            assert "Self CPU" in (profile / "operators.txt").read_text()


def test_without_the_machines_limits_the_work_is_counted_and_the_share_is_unknown(run: Any) -> None:
    assert "profiles; none has a picture of its roofline" in run[0]
    _, records, folder = run
    parts = records["native fp32"].kernels["roofline"]
    assert set(parts) == {"prefill", "decode"}
    assert parts["decode"]["flop"] > 0
    assert parts["decode"]["share_of_limit"] is None
    [profile] = (folder / "profiles").glob("*tiny-fp32")
    assert "benchsuite calibrate --limits" in (profile / "operators.txt").read_text()
