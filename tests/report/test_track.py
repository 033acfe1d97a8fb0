"""What a tracker holds after a run, read back from its own files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchsuite.errors import OutputError, UnavailableError, UnknownNameError
from benchsuite.record import Cell, Metric, Record
from benchsuite.report import track

ROOT = Path(__file__).parents[2]
ACCURACY = Metric(0.75, "share", "higher", interval=(0.6, 0.9))
RECORDS = [
    Record(
        Cell("classification", "tiny", precision, "headlines", batch_size=4, options=(("head", "new"),)),
        metrics={"accuracy": ACCURACY, "weight_bytes": Metric(size, "B", "lower")},
        protocol={"labels": ["a", "b"]},
    )
    for precision, size in (("fp32", 4e6), ("absmax8-row", 1e6))
]
SKIPPED = Record(Cell("classification", "tiny", "fp8", "headlines"), status="skipped", reason="needs | CUDA")


def test_an_unknown_tracker_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'wandb'"):
        track.require_trackers(["wandbb"])


@pytest.mark.parametrize(("package", "line"), [("trackio", "trackio"), ("matplotlib", r"benchsuite\[plots\]")])
def test_what_is_not_installed_is_named_with_the_line_that_installs_it(monkeypatch, package, line):
    monkeypatch.setattr(track.importlib.util, "find_spec", lambda name: None if name == package else name)
    with pytest.raises(UnavailableError, match=f"`pip install '{line}'`"):
        track.require_trackers(["trackio"])


def test_tensorboard_holds_metrics_configuration_table_and_pictures(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    track.track_matrix("tensorboard", [*RECORDS, SKIPPED], "bench", tmp_path)

    def read(name):
        events = accumulator.EventAccumulator(str(tmp_path / "bench" / name))
        events.Reload()
        return events

    for precision, size in (("fp32", 4e6), ("absmax8-row", 1e6)):
        events = read(f"classification tiny-{precision}-headlines head=new batch4")
        found = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
        assert found == pytest.approx(
            {"accuracy": 0.75, "accuracy_low": 0.6, "accuracy_high": 0.9, "weight_bytes": size}
        )
        [text] = events.Tensors("config/text_summary")[0].tensor_proto.string_val
        config = json.loads(text.decode().strip("`\n"))
        assert (config["precision"], config["head"], config["protocol"]) == (precision, "new", {"labels": ["a", "b"]})
    events = read("table")
    [text] = events.Tensors("table/text_summary")[0].tensor_proto.string_val
    heading, _, first, _, skipped = text.decode().splitlines()
    assert heading.startswith("| question | model | precision | dataset |")
    assert "| fp32 |" in first
    assert "| 0.75 | 4e+06 |" in first
    assert "needs \\| CUDA" in skipped
    [picture] = events.Images("quality")
    assert picture.encoded_image_string.startswith(b"\x89PNG")


def test_wandb_and_trackio_get_a_run_for_each_cell_and_one_for_the_table(monkeypatch, tmp_path):
    runs = []

    def init(**options):
        runs.append(options)

    module = SimpleNamespace(
        init=init,
        config=SimpleNamespace(update=lambda config, **_: runs[-1].update(config=config)),
        log=lambda metrics: runs[-1].update(shown=metrics),
        finish=lambda: runs[-1].update(finished=True),
        Table=lambda columns, data: [dict(zip(columns, row, strict=True)) for row in data],
        Image=lambda path: Path(path).read_bytes()[:4],
    )
    monkeypatch.setitem(sys.modules, "trackio", module)
    track.track_matrix("trackio", [*RECORDS, SKIPPED], "bench", tmp_path)
    first, second, table = runs
    assert all(run["finished"] and run["group"] == "bench" for run in runs)
    assert first["shown"]["accuracy_low"] == 0.6
    assert second["config"]["precision"] == "absmax8-row"
    assert [row["status"] for row in table["shown"]["table"]] == ["passed", "passed", "skipped"]
    assert table["shown"]["table"][2]["accuracy"] is None
    assert table["shown"]["quality"] == b"\x89PNG"


@pytest.mark.parametrize(
    ("tracker", "left"), [("wandb", "wandb/offline-run-*/run-*.wandb"), ("trackio", "**/benchsuite*.db")]
)
def test_a_tracker_without_an_account_keeps_its_runs_on_the_disk(tmp_path, tracker, left):
    pytest.importorskip(tracker)
    code = (
        "import sys; sys.path.insert(0, 'tests/report')\n"
        "from benchsuite.report.track import require_trackers, track_matrix\n"
        "from test_track import RECORDS, SKIPPED\n"
        f"require_trackers(['{tracker}']); track_matrix('{tracker}', [*RECORDS, SKIPPED], 'bench')"
    )
    places = {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "TRACKIO_DIR": str(tmp_path)}
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **places, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert list(tmp_path.glob(left))


def test_a_tracker_that_cannot_write_says_so_and_where_the_result_is(tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"tensorboard could not take bench/.*the benchmark file has all of it"):
        track.track_matrix("tensorboard", RECORDS, "bench", tmp_path / "file")


def bench(*arguments, **environment):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "bench/test_classification.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_an_unknown_tracker_ends_a_bench_before_anything_runs():
    finished = bench("--track", "tensorbord")
    assert finished.returncode == 4
    assert "unknown tracker 'tensorbord'; did you mean 'tensorboard'?" in finished.stderr
    assert "passed" not in finished.stdout


def test_a_bench_sends_its_cells_when_all_are_measured(tmp_path):
    pytest.importorskip("tensorboard")
    finished = bench(
        *("--track", "tensorboard", "--precision", "fp32", "--dataset", "headlines", "--limit", "2"),
        TENSORBOARD_LOGGING_DIR=str(tmp_path),
    )
    assert finished.returncode == 0, finished.stdout[-2000:]
    [name] = tmp_path.iterdir()
    assert {run.name.rpartition(" ")[0] for run in name.iterdir()} == {"classification tiny-fp32-headlines", ""}
    assert f"tensorboard: {name.name} has the cells" in finished.stdout
