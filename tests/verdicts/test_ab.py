"""`benchsuite ab` on a repository of its own, whose bench test plants what it measures: real git, real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from benchsuite.cli import main
from benchsuite.errors import UsageError
from benchsuite.verdicts.runs import Side
from benchsuite.verdicts.worktrees import commit_of, commits_of, worktree

Ab = Callable[..., tuple[int, str, str]]
KERNEL = "kernel/__init__.py"
BENCH = """
import os, time
import numpy as np
import kernel
from benchsuite.record import Cell, Metric, Record, Rounds, to_json

def test_speed(benchmark):
    random = np.random.default_rng(int.from_bytes(os.urandom(4), "little"))
    time.sleep(kernel.PAUSE)
    seconds = kernel.SECONDS * np.exp(0.002 * random.standard_normal(10))
    benchmark.pedantic(lambda: None)
    metric = Metric(1 / float(np.median(seconds)), "tok/s", "higher", evidence=Rounds(seconds, 1.0))
    record = Record(Cell("generation", "tiny", "fp32"), {"tokens_per_s": metric}, machine={"fingerprint": "m"})
    benchmark.extra_info["benchsuite"] = to_json(record)
"""


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(message: str, files: Mapping[str, str] | None = None) -> str:
    for name, text in (files or {}).items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git("add", "--all")
    git("commit", "--quiet", "--message", message)
    return git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three commits: a kernel, the same kernel 30 % slower, the same again; the bench test came with the first."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "somebody@example.org")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    git("init", "--quiet", "--initial-branch", "main")
    (folder / ".gitignore").write_text(".benchmarks\n__pycache__\n.pytest_cache\n")
    commit("nothing yet")
    git("tag", "empty")
    commit("a kernel", {KERNEL: "SECONDS, PAUSE = 0.010, 0\n", "bench/test_speed.py": BENCH})
    git("tag", "fast")
    commit("slower", {KERNEL: "SECONDS, PAUSE = 0.013, 0\n"})
    git("tag", "slow")
    return folder


@pytest.fixture
def ab(repository: Path, capsys: pytest.CaptureFixture[str]) -> Ab:
    """Run `benchsuite ab`; exit status, standard output and error. Whatever happens, no worktree may be left."""

    def run(*arguments: str) -> tuple[int, str, str]:
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as stop:
                main(["ab", *arguments])
        finally:
            signal.signal(signal.SIGTERM, handler)
        output = capsys.readouterr()
        assert_nothing_is_left(repository)
        return int(stop.value.code or 0), output.out, output.err

    return run


def assert_nothing_is_left(repository: Path) -> None:
    listed = subprocess.run(["git", "worktree", "list"], cwd=repository, capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == 1
    assert list((repository.parent / "tmp").glob("benchsuite-*")) == []


def test_a_slower_revision_is_found_and_every_file_is_kept(ab: Ab, repository: Path) -> None:
    status, out, err = ab("fast", "slow", "--runs", "2", "--json", "out.json", "--", "bench")
    assert status == 1, err
    assert "worse    generation tiny-fp32  tokens_per_s" in out
    assert "1 worse; 1 gated tests" in out
    found = json.loads((repository / "out.json").read_text())
    assert found["base"].startswith("fast (")
    assert 0.25 < -found["verdicts"][0]["change"] * 1.3 < 0.35
    [folder] = (repository / ".benchmarks" / "ab").iterdir()
    assert sorted(path.name for path in folder.glob("*.json")) == ["A-1.json", "A-2.json", "B-1.json", "B-2.json"]
    assert [line.split(": ")[1][0] for line in err.splitlines() if line.startswith("run ")] == ["A", "B", "B", "A"]


def test_the_files_as_they_are_stand_against_head_and_stay_untouched(ab: Ab, repository: Path) -> None:
    (repository / "kernel" / "__init__.py").write_text("from kernel.fresh import SECONDS\nPAUSE = 0\n")
    (repository / "kernel" / "fresh.py").write_text("SECONDS = 0.010\n")
    before = git("status", "--porcelain")
    status, out, _ = ab("HEAD", ".", "--runs", "1")
    assert status == 0
    assert "1 better" in out
    assert git("status", "--porcelain") == before != ""


def test_equal_revisions_end_without_a_regression(ab: Ab) -> None:
    status, out, _ = ab("HEAD", "HEAD", "--runs", "2", "--", "bench")
    assert status == 0
    assert "worse" not in out


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("main", "no-such-branch"), 2, "'no-such-branch' is no revision"),
        (("main",), 2, "ab wants two revisions"),
        (("main", "HEAD", "--env-a", sys.executable), 2, "ab wants two revisions"),
        (("--env-a", "/no/python", "--env-b", sys.executable), 2, "/no/python cannot be run"),
        (("main", "HEAD", "--budget", "tokens_per_second=3%"), 2, "did you mean 'tokens_per_s'"),
        (("main", "HEAD", "--", "bench", "--no-such-option"), 3, "unrecognized arguments: --no-such-option"),
        (("empty", "HEAD"), 3, "file or directory not found: bench"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_measured_is_named(
    ab: Ab, repository: Path, arguments: tuple[str, ...], status: int, says: str
) -> None:
    found, out, err = ab(*arguments)
    assert (found, out) == (status, "")
    assert says in err
    assert "Traceback" not in err
    assert "revision" not in says or not (repository / ".benchmarks").exists()


def test_a_report_of_an_earlier_trial_is_not_taken_for_one_of_this(ab: Ab, repository: Path) -> None:
    report = repository / "out.json"
    report.write_text('{"exit_status": 0}')
    status, _, err = ab("empty", "HEAD", "--runs", "1", "--json", "out.json")
    assert (status, report.exists()) == (3, False), err


@pytest.mark.parametrize("setting", ["", "device = 'cpu'", "precision = 'bf16'", "limit = 5", "profile = 'full'"])
def test_without_arguments_no_profile_goes_before_what_the_settings_name(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchsuite.commands.ab import command
    from benchsuite.commands.pytest_arguments import PYTEST

    (tmp_path / "pyproject.toml").write_text(f"[tool.benchsuite]\n{setting}\nbudgets = {{speed = '10%'}}\n")
    monkeypatch.chdir(tmp_path)
    quick = [] if setting and "device" not in setting else ["--profile", "quick"]
    assert command.make_context("ab", ["main", "HEAD"]).meta[PYTEST] == ["bench", *quick]
    assert command.make_context("ab", ["main", "HEAD", "--", "bench", "-x"]).meta[PYTEST] == ["bench", "-x"]


def test_what_a_shallow_clone_lacks_is_said(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("clone", "--quiet", "--depth", "1", repository.as_uri(), str(tmp_path / "shallow"))
    monkeypatch.chdir(tmp_path / "shallow")
    for ask in (commit_of, commits_of):
        with pytest.raises(UsageError, match="fetch-depth: 0"):
            ask("HEAD~1")
    monkeypatch.chdir(repository)
    with pytest.raises(UsageError, match="unknown revision") as whole:
        commits_of("no-such..HEAD")
    assert "shallow" not in str(whole.value)


def test_a_cell_that_does_not_exist_yet_is_missing(ab: Ab) -> None:
    more = BENCH.replace("test_speed", "test_more").replace('"fp32"', '"nf4-g64"')
    commit("one more cell", {"bench/test_more.py": more})
    status, out, _ = ab("slow", "HEAD", "--runs", "1", "--", "bench")
    assert status == 3
    assert "generation tiny-nf4-g64" in out
    assert "not in BASE" in out


def test_two_environments_stand_against_each_other(ab: Ab) -> None:
    status, _, err = ab("--env-a", sys.executable, "--env-b", sys.executable, "--runs", "1", "--", "bench")
    assert status == 0
    assert err.count("1 cell in") == 2


def test_a_worktree_that_cannot_be_made_is_named(ab: Ab, repository: Path) -> None:
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho the disk is on strike >&2\nexit 1\n")
    hook.chmod(0o755)
    status, _, err = ab("fast", "slow")
    assert status == 3
    assert "no worktree of" in err
    assert "the disk is on strike" in err


def test_outside_of_a_repository_there_are_no_revisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for command, says in ((["ab", "HEAD", "."], "no git repository"), (["history", "a..b"], "not a git repository")):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 2
        assert says in capsys.readouterr().err


def test_a_package_that_comes_from_elsewhere_is_refused(repository: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "installed" / "kernel"
    elsewhere.mkdir(parents=True)
    (elsewhere / "__init__.py").write_text("")
    (repository / "sitecustomize.py").write_text(  # what an editable install with an import hook does
        "import importlib.machinery, sys\n"
        "class Hook:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'kernel':\n"
        f"            return importlib.machinery.PathFinder.find_spec(name, [{str(elsewhere.parent)!r}])\n"
        "sys.meta_path.insert(0, Hook)\n"
    )
    with pytest.raises(UsageError, match=r"kernel is imported from .*installed/kernel"):
        Side("HEAD", repository, sys.executable).check_imports()
    (repository / "sitecustomize.py").unlink()
    Side("HEAD", repository, sys.executable).check_imports()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interruption_leaves_no_worktree_and_keeps_what_finished(repository: Path, sent: signal.Signals) -> None:
    commit("slow to run", {KERNEL: "SECONDS, PAUSE = 0.010, 60\n"})
    quick = commit("quick to run", {KERNEL: "SECONDS, PAUSE = 0.010, 0\n"})
    command = [sys.executable, "-m", "benchsuite", "ab", quick, "HEAD~1", "--keep", "kept", "--", "bench"]
    environment = {**os.environ, "TMPDIR": str(repository.parent / "tmp")}
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  ignored where tests run in the background
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    try:
        deadline = time.monotonic() + 120
        while not Path("kept/B-1.log").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(sent)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "files and logs: kept" in err
    assert json.loads(Path("kept/A-1.json").read_text())["benchmarks"]
    assert_nothing_is_left(repository)


def test_in_a_hook_the_index_of_the_user_is_left_alone(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "staged.txt").write_text("staged")
    git("add", "staged.txt")
    monkeypatch.setenv("GIT_INDEX_FILE", str(repository / ".git" / "index"))  # as git tells a hook
    monkeypatch.setenv("GIT_DIR", ".git")
    with worktree(commit_of("HEAD~1")) as folder:
        assert not Side("head", folder, sys.executable).environment().keys() & {"GIT_INDEX_FILE", "GIT_DIR"}
    assert git("diff", "--cached", "--name-only") == "staged.txt"


def test_the_snapshot_of_the_files_holds_what_git_would_add(repository: Path) -> None:
    (repository / "fresh.txt").write_text("fresh")
    (repository / "fresh.log").write_text("")
    (repository / ".git" / "info" / "exclude").write_text("*.log\n")
    (repository / "kernel" / "__init__.py").unlink()
    with worktree(commit_of(".")) as folder:
        assert (folder / "fresh.txt").read_text() == "fresh"
        assert not (folder / "fresh.log").exists()
        assert not (folder / "kernel").exists()
        assert len(git("worktree", "list").splitlines()) == 2
    assert_nothing_is_left(repository)


def test_the_workflow_calls_ab_with_options_that_it_has() -> None:
    from benchsuite.commands.ab import command

    text = (Path(__file__).parents[2] / ".github" / "workflows" / "regressions.yml").read_text()
    [call] = re.findall(r"benchsuite ab (.*?) -- ", text.replace("\\\n", ""), flags=re.DOTALL)
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"--[\w-]+", call)) <= known


def test_a_run_that_dies_late_costs_no_result_of_those_before_it(
    ab: Ab, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = BENCH.replace(
        "    random =", "    if len(list(Path(os.environ['KEPT']).glob('*.log'))) > 2: os._exit(9)\n    random ="
    )
    commit("it dies", {"bench/test_speed.py": "from pathlib import Path\n" + dying})
    kept = repository / ".benchmarks" / "kept"
    monkeypatch.setenv("KEPT", str(kept))
    reports = ("--json", "out.json", "--markdown", "out.md")
    status, out, err = ab("HEAD", "HEAD", "--runs", "4", "--keep", str(kept), *reports, "--", "bench")
    assert status == json.loads(Path("out.json").read_text())["exit_status"] == 3
    assert Path("out.md").read_text().startswith("### ⚠️")
    assert "broken off after 1 run of BASE and 1 of HEAD: " in Path("out.md").read_text()
    assert "tokens_per_s" in out + err
    assert "runs: 1 of BASE, 1 of HEAD" in out
    assert "pytest ended with status 9 before all was measured" in err
    assert sorted(path.name for path in kept.glob("*.json")) == ["A-1.json", "B-1.json"]
