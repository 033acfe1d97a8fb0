"""The plugin as a user meets it: real pytest runs in processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchsuite.record import KEY
from benchsuite.records import read_records

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "datasets", "pandas", "bitsandbytes", "scipy", "sklearn", "matplotlib")


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def bench(tmp_path: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], Any]:
    path = tmp_path / "out.json"
    finished = run("bench", f"--benchmark-json={path}", *arguments)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return finished, json.loads(path.read_text(), parse_constant=refuse) if path.exists() else None


def test_collecting_imports_nothing_heavy() -> None:
    code = (
        "import sys, pytest; status = pytest.main(['bench', '--collect-only', '-q', '-p', 'no:cacheprovider']);"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules]); sys.exit(status)"
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout
    assert "HEAVY []" in finished.stdout
    assert "test_perplexity[tiny-fp32-prose]" in finished.stdout


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Any, Path]:
    folder = tmp_path_factory.mktemp("quick")
    finished, data = bench(
        folder, "--precision", "fp32,absmax8-row,fp8", "--dataset", "prose,headlines", "--limit", "4"
    )
    return finished, data, folder / "out.json"


def test_every_cell_carries_quality_speed_memory_and_text(quick: Any) -> None:
    finished, _, path = quick
    assert finished.returncode == 0, finished.stdout[-3000:]
    records = {record.cell.label(): record for record in read_records(path)}
    record = records["perplexity tiny-absmax8-row-prose ×8"]
    for name in (
        *("perplexity", "tokens_per_s", "samples_per_s", "batch_latency_s", "batch_latency_std_s"),
        *("weight_bytes", "peak_memory_bytes", "working_memory_bytes"),
    ):
        assert record.metrics[name].value > 0, name
    assert all(len(record.fingerprints[name]) == 64 for name in ("weights", "tokenizer", "data", "protocol"))
    assert record.coverage["share"] == 1
    assert record.protocol["limit"] == record.cell.limit == 4
    assert record.kernels["operators"]
    assert any(sample.get("generated") for sample in record.samples)
    assert record.metrics["tokens_per_s"].evidence is not None
    assert record.machine["processor"]


def test_a_quantized_cell_is_smaller_than_the_reference(quick: Any) -> None:
    records = {record.cell.label(): record for record in read_records(quick[2])}
    whole = records["perplexity tiny-fp32-prose ×8"].metrics["weight_bytes"].value
    assert records["perplexity tiny-absmax8-row-prose ×8"].metrics["weight_bytes"].value < 0.5 * whole
    assert records["quantizing tiny-absmax8-row"].metrics["bytes_before"].value == whole


def test_what_the_machine_cannot_run_is_skipped_with_the_reason_in_table_and_json(quick: Any) -> None:
    finished, data, path = quick
    skipped = [record for record in read_records(path) if record.status == "skipped"]
    assert {record.cell.precision for record in skipped} == {"fp8"}
    assert all(record.reason for record in skipped)
    assert len(data[KEY]["unmeasured"]) == len(skipped)
    assert "skipped: " in finished.stdout


def test_the_table_has_a_row_per_cell_beside_the_reference(quick: Any) -> None:
    finished, _, path = quick
    table = finished.stdout[finished.stdout.index("benchsuite: ") :]
    for record in read_records(path):
        if record.status == "passed":
            assert record.cell.precision in table
    assert "tiny prose: perplexity" in table
    assert "×" in table


def test_pytest_benchmark_keeps_working_with_the_file(quick: Any, tmp_path: Path) -> None:
    _, data, path = quick
    assert all(benchmark["stats"]["data"] for benchmark in data["benchmarks"])
    compared = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", str(path), "--group-by=param:precision"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert compared.returncode == 0, compared.stderr
    assert "precision=absmax8-row" in compared.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "tny"], "unknown model 'tny'; did you mean 'tiny'"),
        (["--precision", "absmx8"], "did you mean 'absmax8"),
        (["--dataset", "pros"], "did you mean 'prose'"),
        (["--profile", "qick"], "did you mean 'quick'"),
        (["--limit", "none"], "limit is 'none'"),
        (["--attention", "flsh"], "did you mean 'flash'"),
        (["--sequence-length", "1"], "'1'; a whole number of at least 2 was wanted"),
    ],
)
def test_an_unknown_name_is_a_usage_error_before_anything_runs(arguments: list[str], message: str) -> None:
    finished = run("bench", *arguments)
    assert finished.returncode == 4
    assert message in finished.stderr
    assert "Traceback" not in finished.stdout + finished.stderr


def test_a_matrix_that_selects_nothing_is_no_green_run() -> None:
    finished = run("bench/test_perplexity.py", "--dataset", "headlines")
    assert finished.returncode == 4
    assert "selects nothing" in finished.stderr


def test_the_matrix_is_listed_without_running() -> None:
    finished = run("bench", "--list-matrix", "--precision", "bf16,fp32", "--dataset", "prose", "-k", "perplexity")
    assert finished.returncode == 0
    lines = finished.stdout.splitlines()
    assert [line for line in lines if line.startswith("perplexity[")] == [
        "perplexity[tiny-fp32-prose]",
        "perplexity[tiny-bf16-prose]",
    ]


@pytest.mark.parametrize(
    ("process", "option", "status"),
    [
        ("config.workerinput = {}", "--verbose", 1),
        ("config.pluginmanager.register(object(), 'dsession')", "--list-matrix", 4),
    ],
    ids=["worker", "controller"],
)
def test_cells_beside_each_other_are_refused(process: str, option: str, status: int, tmp_path: Path) -> None:
    """As in the processes of pytest-xdist, where every cell passed and no figure was kept."""
    (tmp_path / "conftest.py").write_text(f"def pytest_configure(config):\n    {process}\n")
    (tmp_path / "test_mine.py").write_text((ROOT / "bench" / "test_quantizing.py").read_text())
    finished = run("--precision", "bf16", option, cwd=tmp_path)
    assert finished.returncode == status, finished.stdout
    assert "pytest-xdist (-n) would measure cells beside each other" in finished.stdout + finished.stderr
    assert "1 passed" not in finished.stdout
    assert "INTERNALERROR" not in finished.stdout + finished.stderr


def test_a_cell_that_fails_says_why_and_the_others_go_on(tmp_path: Path) -> None:
    """A precision that damages the weights, registered by a user's conftest."""
    (tmp_path / "conftest.py").write_text(
        "from dataclasses import dataclass\n"
        "from benchsuite.quant.precision import precisions\n"
        "@dataclass(frozen=True)\n"
        "class Broken:\n"
        "    name: str\n"
        "    def unavailable(self, device): return None\n"
        "    def apply(self, module, *, device, calibration=None):\n"
        "        coverage = precisions['fp32'].apply(module, device=device)\n"
        "        if self.name == 'memory': raise MemoryError('too much')\n"
        "        if self.name == 'lookup': raise LookupError('no such group\\nat all')\n"
        "        module.wte.weight.data[:] = float('nan')\n"
        "        return coverage\n"
        "for name in ('nan', 'memory', 'lookup'):\n"
        "    precisions.register(name, Broken(name))\n"
    )
    (tmp_path / "test_mine.py").write_text((ROOT / "bench" / "test_perplexity.py").read_text())
    path = tmp_path / "out.json"
    finished = run(
        "--precision", "nan,memory,lookup,bf16", "--dataset", "prose", "--limit", "2", f"--benchmark-json={path}",
        "-p", "no:randomly", "--import-mode=importlib", cwd=tmp_path,
    )  # fmt: skip
    assert finished.returncode == 1, finished.stdout
    found = {record.cell.precision: record for record in read_records(path)}
    assert found["bf16"].status == "passed"
    assert found["nan"].status == found["memory"].status == "failed"
    assert "NaN or infinite" in found["nan"].reason
    assert "memory ran out" in found["memory"].reason
    assert found["lookup"].reason.endswith("\nLookupError: no such group")
    assert "Traceback" not in finished.stdout


@pytest.mark.parametrize("into", ["a file", "a pipe"])
def test_a_run_that_is_ended_has_written_every_cell_once(tmp_path: Path, into: str) -> None:
    path = tmp_path / "out.json"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", "bench/test_quantizing.py"]
    names = ["--precision", "bf16,absmax8,absmax4,zeropoint8,nf4-g64,gptq8", f"--benchmark-json={path}"]
    if into == "a pipe":
        os.mkfifo(path)
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen([*command, *names], cwd=ROOT, stdout=subprocess.PIPE, text=True, bufsize=1)
        )
        reader = (
            stack.enter_context(subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE))
            if into == "a pipe"
            else None
        )
        passed = 0
        for line in process.stdout or ():
            passed += "PASSED" in line
            if passed == 3:
                process.terminate()
                break
        written = reader.communicate()[0] if reader else None
        rest = process.communicate()[0]
    passed += rest.count("PASSED")
    (tmp_path / "read.json").write_bytes(path.read_bytes() if written is None else written)
    assert [record.status for record in read_records(tmp_path / "read.json")].count("passed") == passed >= 3


def test_a_run_that_is_killed_keeps_the_cells_that_had_finished(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "bench/test_quantizing.py"]
    names = ["--precision", "bf16,absmax8,absmax4,zeropoint8,nf4-g64,gptq8", f"--benchmark-json={path}"]
    with subprocess.Popen([*command, *names], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not path.exists():
            assert process.poll() is None, "nothing was written while it ran"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
    records = read_records(path)
    assert {record.cell.precision for record in records} == set(names[1].split(","))
    reasons = {record.status: record.reason for record in records}
    assert reasons == {"passed": "", "failed": "the run had not finished this cell"}


def test_a_run_in_which_nothing_is_measured_leaves_the_reasons_of_every_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "out.json").write_text("the results of an earlier run")
    finished, data = bench(tmp_path, "--model", "gpt2", "--precision", "fp32,bf16", "-k", "perplexity", "-x")
    assert finished.returncode == 1
    assert str(tmp_path / "out.json") in finished.stdout
    first, second = data[KEY]["unmeasured"]
    assert (first["status"], second["status"]) == ("failed", "failed")
    assert "tried the cache only" in first["reason"]
    assert second["reason"] == "the run had not finished this cell"
    assert second["reason"] in finished.stdout


def test_a_place_that_takes_no_results_is_said_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finished = run("bench/test_quantizing.py", f"--benchmark-json={tmp_path}/file/out.json")
    assert finished.returncode == 4
    assert "--benchmark-json" in finished.stderr
    assert "name a directory that you may write" in finished.stderr
    finished = run("bench/test_quantizing.py", f"--benchmark-json={tmp_path}")
    assert (finished.returncode, "a directory; name a file in it" in finished.stderr) == (4, True)
    finished = run("bench/test_quantizing.py", "--benchmark-disable", f"--benchmark-json={tmp_path}/out.json")
    assert (finished.returncode, "a run without a clock" in finished.stderr) == (4, True)


def test_a_model_that_cannot_be_had_says_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    finished = run("bench", "--model", "gpt2", "--precision", "fp32", "--dataset", "prose", "-k", "perplexity")
    assert finished.returncode == 1
    assert "tried the cache only (HF_HUB_OFFLINE is set)" in finished.stdout
    assert "hf download openai-community/gpt2" in finished.stdout


def test_a_cell_that_regressed_against_the_baseline_fails_with_the_verdict(tmp_path: Path) -> None:
    """The same cell, measured with a quantizer that got worse in between."""
    conftest = (
        "from dataclasses import dataclass\n"
        "from benchsuite.quant.precision import precisions\n"
        "@dataclass(frozen=True)\n"
        "class Mine:\n"
        "    name: str = 'mine'\n"
        "    def unavailable(self, device): return None\n"
        "    def apply(self, module, *, device, calibration=None):\n"
        "        return precisions['{stand_in}'].apply(module, device=device)\n"
        "precisions.register('mine', Mine())\n"
    )
    (tmp_path / "test_mine.py").write_text((ROOT / "bench" / "test_perplexity.py").read_text())
    options = ["--precision", "mine", "--dataset", "prose", "--limit", "8", "--import-mode=importlib"]
    (tmp_path / "conftest.py").write_text(conftest.format(stand_in="fp32"))
    assert run(*options, "--benchmark-json=base.json", cwd=tmp_path).returncode == 0
    [base] = read_records(tmp_path / "base.json")
    assert "peak_memory_bytes" in base.metrics  # the fresh process knows the user's precision too
    (tmp_path / "conftest.py").write_text(conftest.format(stand_in="absmax3"))
    worse = run(*options, "--baseline=base.json", "--junitxml=junit.xml", cwd=tmp_path)
    assert worse.returncode == 1, worse.stdout
    assert "perplexity" in worse.stdout
    assert "worse" in worse.stdout
    assert "worse" in (tmp_path / "junit.xml").read_text()
    missing = run(*options, "--baseline=nowhere.json", cwd=tmp_path)
    assert missing.returncode == 4
    assert "nowhere.json" in missing.stderr


@pytest.mark.parametrize("options", [[], ["--benchmark-storage=file://kept"]])
def test_a_baseline_is_named_as_it_was_saved_in_every_directory_of_a_project(
    options: list[str], tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n[tool.benchsuite.budgets]\nspeed = 'off'\n")
    below = tmp_path / "below"
    below.mkdir()
    (below / "test_mine.py").write_text((ROOT / "bench" / "test_quantizing.py").read_text())
    arguments = [*options, "--precision", "bf16", "--import-mode=importlib"]
    saved = run(*arguments, "--benchmark-save=first", cwd=below)
    assert saved.returncode == 0, saved.stdout
    again = run(*arguments, "--baseline=first", cwd=below)
    assert again.returncode == 0, again.stdout + again.stderr
    unknown = run(*arguments, "--baseline=second", cwd=below)
    assert unknown.returncode == 4
    assert "0001_first" in unknown.stderr


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("tool.benchsuite = 5", "[tool.benchsuite] is to be a table, not 5"),
        ("tool.benchsuite.precisions = 'bf16'", "did you mean 'precision'"),
        ("tool.benchsuite.model = 'tny'", "did you mean 'tiny'"),
    ],
)
def test_wrong_settings_are_a_usage_error_where_no_option_is_given(setting: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(setting)
    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n")
    finished = run(cwd=tmp_path)
    assert finished.returncode == 4
    assert "INTERNALERROR" not in finished.stdout + finished.stderr
    assert message in finished.stderr


@pytest.mark.parametrize(
    ("question", "fixtures", "found"),
    [
        ("", "cell", "batch_size, engine"),
        ("", "model", "model, precision, attention, engine"),
        ("", "cell, model, dataset", "model, precision, dataset, attention, batch_size, engine"),
        ("task='lm'", "cell, model", "model, precision, attention, batch_size, engine"),
        ("", "", "nothing"),
    ],
)
def test_a_question_says_which_fixtures_it_wants(question: str, fixtures: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        f"import pytest\n\n@pytest.mark.benchsuite({question})\ndef test_mine({fixtures}):\n    pass\n"
    )
    finished = run(cwd=tmp_path)
    assert finished.returncode == 2
    assert "takes the fixtures `cell` and `model`" in finished.stdout
    assert f"varies over {found}\n" in finished.stdout
    assert "Traceback" not in finished.stdout
    assert "plugin.py" not in finished.stdout
