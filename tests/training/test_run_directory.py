from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import save_file

from benchsuite.errors import OutputError, UsageError
from benchsuite.training.run_directory import claim, last_checkpoint, why_damaged


@pytest.fixture
def checkpoint(tmp_path):
    """Two whole checkpoints as Trainer writes them; the newer one."""
    for step in (9, 10):
        path = tmp_path / f"checkpoint-{step}"
        path.mkdir()
        save_file({"w": torch.ones(50)}, path / "model.safetensors")
        for name in ("optimizer.pt", "scheduler.pt"):
            torch.save({"state": torch.ones(50)}, path / name)
        (path / "trainer_state.json").write_text("{}")
    return tmp_path / "checkpoint-10"


def test_the_newest_checkpoint_is_the_one_with_most_steps(checkpoint):
    assert last_checkpoint(checkpoint.parent) == checkpoint


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"])
@pytest.mark.parametrize("share", [0, 0.1, 0.9])
def test_a_checkpoint_that_is_cut_short_is_named_and_the_one_before_it_taken(checkpoint, name, share):
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(content[: int(len(content) * share)])
    assert name in (why_damaged(checkpoint) or "")
    assert last_checkpoint(checkpoint.parent) == checkpoint.with_name("checkpoint-9")


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"])
def test_a_checkpoint_that_lacks_a_file_is_not_whole(checkpoint, name):
    (checkpoint / name).unlink()
    assert why_damaged(checkpoint) == f"{checkpoint}: {name} is missing"


def test_without_any_whole_checkpoint_there_is_none(tmp_path):
    (tmp_path / "checkpoint-3").mkdir()
    assert last_checkpoint(tmp_path) is None


def start(directory, resume=False, **arguments):
    claim(directory, {"epochs": 2, **arguments}, finished="metrics.json", resume=resume)


def test_a_directory_in_use_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(OutputError, match="in use by something else"):
        start(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_unfinished_run_is_only_gone_on_with_when_asked(tmp_path):
    start(tmp_path / "run")
    with pytest.raises(OutputError, match="--resume"):
        start(tmp_path / "run")
    start(tmp_path / "run", resume=True)


def test_a_run_is_not_resumed_with_other_settings(tmp_path):
    start(tmp_path / "run")
    with pytest.raises(UsageError, match="began with epochs 2, not 3"):
        start(tmp_path / "run", resume=True, epochs=3)


def test_a_finished_run_is_never_written_over(tmp_path):
    start(tmp_path / "run")
    (tmp_path / "run" / "metrics.json").touch()
    with pytest.raises(OutputError, match="finished run"):
        start(tmp_path / "run", resume=True)
    shutil.rmtree(tmp_path / "run")
    start(tmp_path / "run")
