from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from benchsuite.cli import main
from benchsuite.record import Record
from benchsuite.verdicts.history import StoredRun, in_order

MakeRun = Callable[..., list[Record]]
WriteRun = Callable[..., Path]
History = Callable[..., tuple[int, str, str]]
STEPS = {"slowdown": 6, "loss": 4, "weight_bytes": 8}  # the run at which each is planted


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> History:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = 0
        try:
            main(["history", *map(str, arguments)])
        except SystemExit as stop:
            status = int(stop.code or 0)
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


@pytest.fixture
def storage(make_run: MakeRun, write_run: WriteRun, tmp_path: Path) -> Path:
    """Twelve runs, one a commit, a slowdown, a loss and a larger file planted at one each."""
    for count in range(12):
        run = make_run(
            count,
            cells=1,
            slowdown=1.2 if count >= STEPS["slowdown"] else 1.0,
            loss=0.004 if count >= STEPS["loss"] else 0.0,
            weight_bytes=1_000_000 + (count >= STEPS["weight_bytes"]),
        )
        commit = {"id": f"{count:040x}", "time": f"2025-01-{count + 1:02}T00:00:00", "dirty": False}
        write_run(tmp_path / ".benchmarks" / "Linux" / f"{count + 1:04}_run.json", run, commit_info=commit)
    return tmp_path / ".benchmarks"


def test_each_step_is_found_at_its_commit_and_nothing_else_is(storage: Path, history: History) -> None:
    status, out, _ = history("--json", "out.json")
    assert status == 0
    found = json.loads(Path("out.json").read_text())
    steps = {
        one["metric"]: [(int(step["commit"], 16), step["worse"]) for step in one["steps"]] for one in found["series"]
    }
    assert steps["tokens_per_s"] == [(STEPS["slowdown"], True)]
    assert steps["perplexity"] == steps["kl"] == [(STEPS["loss"], True)]
    assert steps["batch_latency_s"] == [(STEPS["slowdown"], True)]  # a figure without evidence is taken for noisy
    assert steps["weight_bytes"] == [(STEPS["weight_bytes"], True)]
    assert steps["accuracy"] == steps["peak_memory_bytes"] == []
    [speed] = [one for one in found["series"] if one["metric"] == "tokens_per_s"]
    assert [run["commit"] for run in speed["runs"]] == [f"{count:040x}" for count in range(12)]
    [step] = speed["steps"]
    assert step["before"] / step["after"] == pytest.approx(1.2, rel=0.02)
    assert 0 < step["p_value"] <= 0.05
    assert "5 steps in" in out
    assert "exact" in out


def test_a_metric_can_be_chosen_and_shown_run_by_run(storage: Path, history: History) -> None:
    _, out, _ = history("--metric", "weight*", "--all")
    assert "1 step in 1 series of 12 runs" in out
    assert out.count("1e+06") + out.count("1000001") + out.count("1e+06  <- step") >= 12


def test_runs_on_other_data_or_machines_are_series_of_their_own(
    make_run: MakeRun, write_run: WriteRun, tmp_path: Path, history: History
) -> None:
    for count in range(4):
        prints = {"weights": "w", "tokenizer": "t", "data": "d" if count < 2 else "e", "protocol": "p"}
        run = make_run(count, cells=1, loss=0.1 * (count >= 2), fingerprints=prints, machine={"fingerprint": count % 2})
        write_run(
            tmp_path / ".benchmarks" / "Linux" / f"{count + 1:04}_run.json", run, datetime=f"2025-01-0{count + 1}"
        )
    _, out, _ = history("--metric", "perplexity")
    assert "0 steps in 2 series of 4 runs" in out
    assert "fewer than" not in out  # items and windows need no other runs
    _, out, _ = history("--metric", "tokens_per_s")
    assert "0 steps in 4 series of 4 runs" in out
    assert "4 series of a speed or a peak: fewer than 8 runs" in out


def test_other_benchmarks_in_the_storage_are_left_out_by_name(storage: Path, history: History) -> None:
    (storage / "Linux" / "0099_other.json").write_text('{"benchmarks": []}')
    status, out, err = history()
    assert status == 0
    assert "0099_other.json: no record of benchsuite" in err
    assert "5 steps" in out


def test_a_run_with_a_byte_order_mark_and_without_a_commit_is_a_run_too(storage: Path, history: History) -> None:
    path = storage / "Linux" / "0001_run.json"
    data = {**json.loads(path.read_text()), "commit_info": True}
    path.write_text(json.dumps(data), encoding="utf-8-sig")
    status, out, err = history("--all")
    assert (status, err) == (0, "")
    assert "of 12 runs" in out
    assert "0001_run" in out


def test_an_empty_storage_is_a_usage_error(history: History) -> None:
    status, _, err = history()
    assert status == 2
    assert "--benchmark-autosave" in err
    assert history("--run")[0] == 2


def test_a_range_of_commits_is_measured_where_no_run_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, history: History
) -> None:
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "somebody@example.org")

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()

    git("init", "--quiet", "--initial-branch", "main")
    Path(".gitignore").write_text(".benchmarks\n__pycache__\ncache\n")
    for size in (0, 100, 100, 90):
        if size:
            Path("size.py").write_text(f"SIZE = {size}\n")
            Path("test_size.py").write_text(
                "from size import SIZE\n"
                "from benchsuite.record import Cell, Metric, Record, to_json\n"
                "def test_size(benchmark):\n"
                "    benchmark.pedantic(lambda: None)\n"
                "    metrics = {'weight_bytes': Metric(SIZE, 'B', 'lower')}\n"
                "    benchmark.extra_info['benchsuite'] = to_json(Record(Cell('quantizing', 'tiny', 'nf4'), metrics))\n"
            )
        git("add", "--all")
        git("commit", "--quiet", "--allow-empty", "--message", f"{size}")
    commits = git("rev-list", "--reverse", "HEAD").split()
    status, out, err = history("HEAD", "--run", "--json", "out.json", "--", "test_size.py")
    assert status == 0
    assert "not found: test_size.py" in err  # the first commit has no test yet: said, and left out
    [series] = json.loads(Path("out.json").read_text())["series"]
    assert [run["commit"] for run in series["runs"]] == commits[1:]
    assert [step["commit"] for step in series["steps"]] == [commits[3]]
    assert len(git("worktree", "list").splitlines()) == 1
    status, out, err = history(f"{commits[1]}..HEAD", "--run", "--", "test_size.py")
    assert (status, err) == (0, "")  # all are stored now
    assert "of 2 runs" in out
    status, _, err = history("no..such")
    assert status == 2
    assert "'no..such' is no range" in err


def test_commits_are_in_the_order_of_time_whatever_their_offsets(
    make_run: MakeRun, write_run: WriteRun, tmp_path: Path, history: History
) -> None:
    times = {
        "a": "2025-01-02T01:00:00+09:00",
        "b": "2025-01-01T18:00:00Z",
        "c": "2025-01-01T19:00:00",
        "d": "2025-01-01T12:00:00-08:00",
        "e": "yesterday",
    }
    for number, (commit, time) in enumerate(reversed(times.items())):
        path = tmp_path / ".benchmarks" / "Linux" / f"{number:04}_run.json"
        write_run(path, make_run(cells=1, weight_bytes=number), commit_info={"id": commit, "time": time})
    assert history("--metric", "weight_bytes", "--json", "out.json")[0] == 0
    [series] = json.loads(Path("out.json").read_text())["series"]
    assert [run["commit"] for run in series["runs"]] == list(times)
    assert series["runs"][0]["time"] == "2025-01-01T16:00:00+00:00"
    assert [step["worse"] for step in series["steps"]] == [False] * 4


def test_runs_are_in_the_order_of_their_commits_whatever_their_files_are_called() -> None:
    def run(name: str, commit: str, day: int) -> StoredRun:
        return StoredRun(Path(f"{name}.json"), commit, f"2025-01-{day:02}T00:00:00", dirty=False, records={})

    runs = [run("0001_c", "c", 3), run("0002_a", "a", 1), run("0003_b", "b", 2), run("0004_b", "b", 2)]
    assert [one.path.stem for one in in_order(runs)] == ["0002_a", "0003_b", "0004_b", "0001_c"]
    assert [one.path.stem for one in in_order(runs, ["c", "b"])] == ["0001_c", "0003_b", "0004_b"]
