from __future__ import annotations

import dataclasses
import functools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchsuite.cli import main
from benchsuite.record import Record

Run = list[Record]
MakeRun = Callable[..., Run]
WriteRun = Callable[..., Path]
Compare = Callable[..., tuple[int, str, str]]


@pytest.fixture
def compare(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Run `benchsuite compare` in an empty project; exit status, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["compare", *map(str, arguments)])
        output = capsys.readouterr()
        return int(stop.value.code or 0), output.out, output.err

    return run


@pytest.fixture
def base(make_run: MakeRun, write_run: WriteRun, tmp_path: Path) -> Path:
    return write_run(tmp_path / "base.json", make_run(0))


def test_several_runs_a_side_count_how_far_they_lie_apart(
    make_run: MakeRun, write_run: WriteRun, tmp_path: Path, compare: Compare
) -> None:
    """All rounds together say *worse*, but two runs of BASE differ by more than the sides do."""
    for number, (before, after) in enumerate(((1.0, 1.15), (1.25, 1.4), (1.0, 1.15), (1.25, 1.4))):
        write_run(tmp_path / f"A-{number}.json", make_run(2 * number, slowdown=before))
        write_run(tmp_path / f"B-{number}.json", make_run(2 * number + 1, slowdown=after))
    assert compare("A-0.json", "B-0.json")[0] == 1
    status, out, _ = compare("A-*.json", "B-*.json", "--all")
    assert status == 0
    assert "runs: 4 of BASE, 4 of HEAD" in out
    assert not [line for line in out.splitlines() if line.startswith("worse")]
    for number in range(4):
        write_run(tmp_path / f"B-{number}.json", make_run(2 * number + 1, slowdown=2.0 + number / 20))
    assert compare("A-*.json", "B-*.json")[0] == 1


def test_runs_of_different_programs_are_not_pooled(
    make_run: MakeRun, write_run: WriteRun, tmp_path: Path, base: Path, compare: Compare
) -> None:
    other = [
        dataclasses.replace(record, fingerprints={**record.fingerprints, "weights": "other"}) for record in make_run(1)
    ]
    write_run(tmp_path / "other.json", other)
    status, _, err = compare("base.json,other.json", base)
    assert status == 2
    assert "base.json and other.json are not runs of one program" in err
    assert "differs in weights" in err


@pytest.mark.parametrize("order", ["failed,skipped", "skipped,failed", "whole,failed", "failed,whole", "whole,skipped"])
def test_a_cell_that_failed_in_one_of_several_runs_is_missing(
    order: str, make_run: MakeRun, write_run: WriteRun, tmp_path: Path, base: Path, compare: Compare
) -> None:
    first, *others = make_run(1)
    unwell = dataclasses.replace(first, metrics={}, fingerprints={}, machine={}, reason="why")
    for status in ("failed", "skipped"):
        write_run(tmp_path / f"{status}.json", [dataclasses.replace(unwell, status=status), *others])
    write_run(tmp_path / "whole.json", [first, *others])
    status, out, err = compare(base, ",".join(f"{name}.json" for name in order.split(",")))
    assert status == 3, err
    assert "missing" in out
    assert "failed in HEAD: why" in out or "skipped in HEAD: why" in out
    assert compare("skipped.json", ",".join(f"{name}.json" for name in order.split(",")))[0] == (
        3 if order != "whole,skipped" else 0
    )


def test_the_exit_status_says_what_the_verdicts_are(
    make_run: MakeRun, write_run: WriteRun, tmp_path: Path, base: Path, compare: Compare
) -> None:
    worse = write_run(tmp_path / "worse.json", make_run(1, slowdown=1.2))
    fewer = write_run(tmp_path / "fewer.json", make_run(1, cells=1))
    both = write_run(tmp_path / "both.json", make_run(1, cells=1, slowdown=1.2))
    status, out, _ = compare(base, base)
    assert status == 0
    assert "12 same" in out
    status, out, _ = compare(base, worse)
    assert status == 1
    assert "2 worse" in out
    assert "perplexity tiny-fp32-set1: where it moved" in out
    status, out, _ = compare(base, fewer)
    assert status == 3
    assert "not in HEAD" in out
    assert compare(base, both)[0] == 1
    assert compare(base, worse, "--budget", "speed=30%")[0] == 0
    assert compare(worse, base)[0] == 0


def test_budgets_come_from_the_project_and_the_command_line_goes_first(
    make_run: MakeRun, write_run: WriteRun, tmp_path: Path, base: Path, compare: Compare
) -> None:
    worse = write_run(tmp_path / "worse.json", make_run(1, slowdown=1.2))
    (tmp_path / "pyproject.toml").write_text("[tool.benchsuite.budgets]\nspeed = '30%'\n")
    assert compare(base, worse)[0] == 0
    assert compare(base, worse, "--budget", "speed=10%")[0] == 1
    (tmp_path / "pyproject.toml").write_text("[tool.benchsuite.budgets]\nspeed = 'much'\n")
    status, _, err = compare(base, worse)
    assert status == 2
    assert "[tool.benchsuite.budgets], speed" in err


def test_names_and_numbers_of_pytest_benchmarks_storage_are_files(
    make_run: MakeRun, write_run: WriteRun, tmp_path: Path, compare: Compare
) -> None:
    write_run(tmp_path / ".benchmarks/Linux-CPython-3.11-64bit/0001_main.json", make_run(0))
    write_run(tmp_path / ".benchmarks/Linux-CPython-3.11-64bit/0002_slow.json", make_run(1, slowdown=1.2))
    assert compare("1", "slow")[0] == 1
    status, _, err = compare("1", "nothing")
    assert status == 2
    assert "0002_slow" in err


@pytest.mark.parametrize(
    ("text", "status", "says"),
    [
        ('{"benchmarks": [{"name":', 3, "not a whole JSON file"),
        ('{"benchmarks": [{"name": "test_x", "stats": {}, "extra_info": {}}]}', 3, "no record of benchsuite"),
        ('{"benchmarks": [{"extra_info": {"benchsuite": {"schema": 0}}}]}', 3, "schema 0; this benchsuite reads"),
        ('{"benchmarks": [{"stats": {"mean": NaN}}]}', 3, "NaN"),
        ("[1, 2]", 3, "not a file of pytest-benchmark"),
        ("", 3, "not a whole JSON file"),
    ],
)
def test_a_file_that_cannot_be_compared_is_named_with_its_fault(
    base: Path, tmp_path: Path, compare: Compare, text: str, status: int, says: str
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    for files in ((base, bad), (bad, base)):
        found, out, err = compare(*files)
        assert (found, out) == (status, "")
        assert err.startswith(f"Error: {bad}")
        assert says in err


def test_a_file_that_is_not_there_is_a_usage_error(base: Path, compare: Compare) -> None:
    status, _, err = compare(base, "there-is-no.json")
    assert status == 2
    assert "there-is-no.json: no such file, directory, or run" in err


def test_a_misspelt_budget_is_a_usage_error(base: Path, compare: Compare) -> None:
    status, _, err = compare(base, base, "--budget", "perplexty=1%")
    assert status == 2
    assert "did you mean 'perplexity'" in err


def test_markdown_and_json_are_written_beside_the_table(
    make_run: MakeRun, write_run: WriteRun, tmp_path: Path, base: Path, compare: Compare
) -> None:
    worse = write_run(tmp_path / "worse.json", make_run(1, slowdown=1.2, forgotten=30))
    compare(base, worse, "--markdown", tmp_path / "out.md", "--json", tmp_path / "out.json")
    text = (tmp_path / "out.md").read_text()
    assert text.startswith("### ❌ 4 worse")
    assert text.count("<details") == text.count("</details>") > 2
    found = json.loads((tmp_path / "out.json").read_text())
    assert (found["exit_status"], found["counts"]["worse"]) == (1, 4)
    worst = [entry for entry in found["verdicts"] if entry["verdict"] == "worse"]
    assert {entry["metric"] for entry in worst} == {"tokens_per_s", "accuracy"}
    assert all(entry["interval"][0] < entry["change"] < entry["interval"][1] < 0 for entry in worst)
    assert any("items right → wrong" in line for line in found["moved_where"]["perplexity tiny-fp32-set0"])


def test_markdown_for_a_huge_matrix_stays_within_what_github_shows(
    make_run: MakeRun, write_run: WriteRun, tmp_path: Path, compare: Compare
) -> None:
    long = [dataclasses.replace(r, cell=dataclasses.replace(r.cell, model="a" * 60)) for r in make_run(0, cells=150)]
    slow = {r.cell.key(): r for r in make_run(1, cells=150, slowdown=1.3, loss=0.1, forgotten=60)}
    head = [dataclasses.replace(r, cell=one.cell) for r, one in zip(slow.values(), long, strict=True)]
    compare(
        write_run(tmp_path / "a.json", long), write_run(tmp_path / "b.json", head), "--markdown", tmp_path / "out.md"
    )
    text = (tmp_path / "out.md").read_text()
    assert 40_000 < len(text) <= 65_000
    assert "more lines do not fit here" in text
    assert text.count("<details") == text.count("</details>")


def test_the_command_runs_as_a_process_without_torch(base: Path) -> None:
    code = (
        "import sys; from benchsuite.cli import main\n"
        f"try: main(['compare', {str(base)!r}, {str(base)!r}])\n"
        "finally: assert not {'torch', 'transformers', 'pandas', 'scipy.stats'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=base.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert "12 same" in done.stdout


def test_budgets_hold_in_every_directory_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_run: MakeRun, write_run: WriteRun
) -> None:
    write_run(tmp_path / "base.json", make_run())
    write_run(tmp_path / "head.json", make_run(1, slowdown=1.2))
    (tmp_path / "pyproject.toml").write_text("[tool.benchsuite.budgets]\nspeed = '50%'\n")
    (tmp_path / "inner").mkdir()
    for folder in (tmp_path, tmp_path / "inner"):
        monkeypatch.chdir(folder)
        with pytest.raises(SystemExit) as stop:
            main(["compare", str(tmp_path / "base.json"), str(tmp_path / "head.json")])
        assert stop.value.code == 0


def test_a_report_that_could_not_be_written_is_refused_before_the_comparison(
    tmp_path: Path, make_run: MakeRun, write_run: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    base = str(write_run(tmp_path / "base.json", make_run()))
    with pytest.raises(SystemExit) as stop:
        main(["compare", base, base, "--json", str(tmp_path)])
    assert stop.value.code == 2
    assert "a directory; name a file in it" in capsys.readouterr().err


def test_a_reader_that_has_enough_changes_no_status(tmp_path: Path, make_run: MakeRun, write_run: WriteRun) -> None:
    base = str(write_run(tmp_path / "base.json", make_run(cells=40)))
    command = [sys.executable, "-m", "benchsuite", "compare", base, base, "--all", "--json", str(tmp_path / "out.json")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate()
    assert (process.returncode, said) == (0, b"")
    assert (tmp_path / "out.json").is_file()


def test_an_output_that_takes_nothing_is_one_line_and_costs_no_report(
    tmp_path: Path, make_run: MakeRun, write_run: WriteRun
) -> None:
    base = write_run(tmp_path / "base.json", make_run())
    reports = [tmp_path / "out.json", tmp_path / "out.md"]
    command = [
        sys.executable,
        "-m",
        "benchsuite",
        "compare",
        base,
        base,
        "--json",
        reports[0],
        "--markdown",
        reports[1],
    ]
    with base.open() as not_for_writing:
        done = subprocess.run(command, stdout=not_for_writing, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3
    assert re.fullmatch(r"Error: standard output cannot be written: .*\n", done.stderr)
    assert all(report.is_file() for report in reports)


def test_a_fault_of_our_own_is_no_regression(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(error: Exception) -> None:
        raise error

    for error in (ZeroDivisionError(), OSError("of something else than the output")):
        monkeypatch.setattr("benchsuite.matrix.settings_here", functools.partial(fail, error))
        with pytest.raises(SystemExit) as stop:
            main(["compare", "a.json", "b.json"])
        assert stop.value.code == 3
        assert "fault of benchsuite" in capsys.readouterr().err
