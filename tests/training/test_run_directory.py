from __future__ import annotations

import json
import shutil
import struct

import pytest
import torch
from safetensors.torch import save_file

from benchsuite.errors import FileFormatError, OutputError, UsageError
from benchsuite.training.run_directory import claim, last_checkpoint

FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")
STATE = {"epoch": 1.0, "global_step": 10, "stateful_callbacks": {}}


@pytest.fixture
def checkpoint(tmp_path):
    """Two whole checkpoints as Trainer writes them; the newer one."""
    for step in (9, 10):
        path = tmp_path / f"checkpoint-{step}"
        path.mkdir()
        save_file({"w": torch.ones(50)}, path / "model.safetensors")
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            torch.save({"state": torch.ones(50)}, path / name)
        (path / "trainer_state.json").write_text(json.dumps(STATE))
    return tmp_path / "checkpoint-10"


def passed_over(checkpoint):
    """What is said of the newest checkpoint, which is passed over for the one before."""
    said = []
    assert last_checkpoint(checkpoint.parent, said.append) == checkpoint.with_name("checkpoint-9")
    assert len(said) == 1
    return said[0]


def test_the_newest_checkpoint_is_the_one_with_most_steps(checkpoint):
    assert last_checkpoint(checkpoint.parent, pytest.fail) == checkpoint


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0, 0.1, 0.9])
def test_a_checkpoint_that_is_cut_short_is_named_and_the_one_before_it_taken(checkpoint, name, share):
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(content[: int(len(content) * share)])
    assert passed_over(checkpoint).startswith(f"{checkpoint / name}: ")


@pytest.mark.parametrize("name", FILES)
def test_a_checkpoint_that_lacks_a_file_is_not_whole(checkpoint, name):
    (checkpoint / name).unlink()
    assert passed_over(checkpoint).startswith(f"{checkpoint / name}: ")


@pytest.mark.parametrize("content", ["{}", "[]", "[" * 100_000, json.dumps(STATE | {"stateful_callbacks": []})])
def test_a_state_of_another_form_is_passed_over(checkpoint, content):
    (checkpoint / "trainer_state.json").write_text(content)
    assert "trainer_state.json" in passed_over(checkpoint)


@pytest.mark.parametrize("header", [b"\xff" * 8, struct.pack("<Q", 8) + b"[]      ", struct.pack("<Q", 9) + b"[" * 9])
def test_weights_with_a_header_of_another_form_are_passed_over(checkpoint, header):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(header + weights.read_bytes()[len(header) :])
    assert "model.safetensors: missing or cut short" in passed_over(checkpoint)


def test_the_random_numbers_of_each_process_are_whole(checkpoint):
    (checkpoint / "rng_state.pth").rename(checkpoint / "rng_state_0.pth")
    shutil.copy(checkpoint / "rng_state_0.pth", checkpoint / "rng_state_1.pth")
    assert last_checkpoint(checkpoint.parent, pytest.fail) == checkpoint
    (checkpoint / "rng_state_1.pth").write_bytes(b"PK")
    assert "rng_state_1.pth" in passed_over(checkpoint)


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


@pytest.mark.parametrize("content", ["[1]", "{", "[" * 100_000])
def test_arguments_of_another_form_are_named(tmp_path, content):
    start(tmp_path / "run")
    (tmp_path / "run" / "training_args.json").write_text(content)
    with pytest.raises(FileFormatError, match=r"training_args\.json: .*start again in another directory"):
        start(tmp_path / "run", resume=True)


def test_a_finished_run_is_never_written_over(tmp_path):
    start(tmp_path / "run")
    (tmp_path / "run" / "metrics.json").touch()
    with pytest.raises(OutputError, match="finished run"):
        start(tmp_path / "run", resume=True)
    shutil.rmtree(tmp_path / "run")
    start(tmp_path / "run")
