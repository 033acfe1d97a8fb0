"""A user's own file on the command line: measured like any dataset, or refused with the file and the row."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchsuite.data import datasets
from benchsuite.data.files import named_by_task
from benchsuite.errors import UnknownNameError, UsageError
from benchsuite.matrix import make_matrix
from benchsuite.records import read_records

ROOT = Path(__file__).parents[2]
ASKED = "perplexity or exact_match or classification or instructions"


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", str(ROOT / "bench"), "-p", "no:cacheprovider", "-c", "/dev/null"]
    command += ["--rootdir", str(folder), "--precision", "fp32", "--benchmark-json=out.json", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_file_is_named_by_its_task_in_the_registry(tmp_path: Path) -> None:
    text, rows = tmp_path / "a.txt", lines(tmp_path / "b.jsonl", {"text": "x", "label": "y"})
    text.write_text("Hello.")
    assert named_by_task([str(text), "prose"], None) == [f"lm:{text}", "prose"]
    assert named_by_task([str(rows)], "classification") == [f"classification:{rows}"]
    assert named_by_task([f"lm:{text}"], None) == [f"lm:{text}"]
    assert datasets[f"classification:{rows}"].task == "classification"
    matrix = make_matrix({"dataset": [str(rows)], "task": "classification"}, {})
    assert matrix.datasets == (f"classification:{rows}",)


def test_what_a_file_holds_must_be_said_and_be_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"rows\.jsonl: say with --task .* classification \('text', 'label'\)"):
        named_by_task(["rows.jsonl"], None)
    with pytest.raises(UsageError, match="no file is named"):
        named_by_task(["prose"], "lm")
    with pytest.raises(UnknownNameError, match="did you mean 'classification'"):
        named_by_task(["rows.jsonl"], "classificaton")
    (tmp_path / "rows.csv").write_text("text")
    with pytest.raises(UsageError, match=r"rows\.csv: wanted a file that ends in \.txt, \.jsonl"):
        make_matrix({"dataset": [str(tmp_path / "rows.csv")], "task": "lm"}, {})
    with pytest.raises(UsageError, match=r"absent\.jsonl: no such file"):
        make_matrix({"dataset": ["absent.jsonl"], "task": "lm"}, {})


def test_files_of_every_task_are_measured_and_their_samples_written(tmp_path: Path) -> None:
    lines(tmp_path / "pages.jsonl", {"text": "Mia lost her red kite. " * 200}, {"text": "Tom found it."})
    problems = [{"question": f"What is {n} + 1?", "answer": f"{n} + 1 = {n + 1}\n#### {n + 1}"} for n in range(8)]
    lines(tmp_path / "sums.jsonl", *problems, {"question": "Say it. " * 200, "answer": "#### 2"})
    lines(
        tmp_path / "topics.jsonl", {"text": "Rovers win", "label": "Sport"}, {"text": "Shares fall", "label": "Money"}
    )
    lines(tmp_path / "tasks.jsonl", {"instruction": "Name a fruit.", "output": "Pear"})
    names = "lm:pages.jsonl,exact-match:sums.jsonl,classification:topics.jsonl,instructions:tasks.jsonl"
    finished = bench(tmp_path, "--dataset", names, "--samples", "samples", "-k", ASKED)
    assert finished.returncode == 0, finished.stdout[-3000:]
    records = {record.cell.dataset: record for record in read_records(tmp_path / "out.json")}
    assert records["pages.jsonl"].metrics["peak_memory_bytes"].value > 0  # the fresh process read the file too
    assert records["sums.jsonl"].excluded == {"rows used as shots": 5, "prompts truncated from the left": 1}
    written = {path.name: path.read_text(encoding="utf-8").splitlines() for path in (tmp_path / "samples").iterdir()}
    assert len(written["exact_match-tiny-fp32-sums.jsonl-sdpa-batch8.jsonl"]) == 4
    [answer] = map(json.loads, written["instructions-tiny-fp32-tasks.jsonl-sdpa-batch8.jsonl"])
    assert answer["expected"] == "Pear"
    assert answer["log_likelihood"] < 0
    items = [json.loads(line) for each in written.values() for line in each]
    assert all(item["answer"] is not None and "prompt" in item for item in items)


def test_each_bad_file_fails_its_cell_with_the_file_and_the_row(tmp_path: Path) -> None:
    lines(tmp_path / "column.jsonl", {"text": "a", "label": "b"}, {"text": "a"})
    lines(tmp_path / "empty.jsonl", {"instruction": "Do.", "output": " "})
    (tmp_path / "latin.txt").write_bytes(b"fine\ncaf\xe9\n")
    lines(tmp_path / "answer.jsonl", {"question": "1?", "answer": "one"})
    (tmp_path / "short.txt").write_text("a")
    names = "classification:column.jsonl,instructions:empty.jsonl,lm:latin.txt,exact-match:answer.jsonl,lm:short.txt"
    finished = bench(tmp_path, "--dataset", names, "-k", f"{ASKED} or batch1")  # a file needs one cell that passes
    assert finished.returncode == 1
    reasons = {record.cell.dataset: record.reason for record in read_records(tmp_path / "out.json")}
    assert "column.jsonl, line 2: no column 'label'" in reasons["column.jsonl"]
    assert "empty.jsonl, line 1: 'output' is empty" in reasons["empty.jsonl"]
    assert "latin.txt, line 2: not UTF-8" in reasons["latin.txt"]
    assert "answer.jsonl, line 1: 'answer' does not end in '#### N'" in reasons["answer.jsonl"]
    assert "1 token" in reasons["short.txt"]
    assert "short.txt" in reasons["short.txt"]
    assert "Traceback" not in finished.stdout


def test_a_file_that_is_not_there_is_a_usage_error_before_anything_runs(tmp_path: Path) -> None:
    finished = bench(tmp_path, "--dataset", "absent.jsonl", "--task", "lm")
    assert finished.returncode == 4
    assert "absent.jsonl: no such file" in finished.stderr
