"""Real training on the CPU: it learns, it stops when it must, and goes on where it was."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from benchsuite.errors import NumericalError, OutputError, UnavailableError, UsageError
from benchsuite.training import loop, next_token, run_directory
from benchsuite.training.features import causal_features, class_features
from benchsuite.training.loop import train
from benchsuite.training.run_directory import last_checkpoint
from benchsuite.training.settings import Settings
from benchsuite.training.start import causal, classifier

SETTINGS = Settings(learning_rate=3e-3, batch_size=8, epochs=2, context=64, warmup_steps=5, device="cpu")


class InterruptionError(Exception):
    pass


@pytest.fixture
def run(two_layers, instruction_splits, tmp_path):
    def go(settings=SETTINGS, *, directory="run", resume=False, stop_after=None):
        start = causal(str(two_layers))
        rows, validation = (
            causal_features(part, start.encode, end=0, context=64, answer_only=False).rows
            for part in (instruction_splits.train, instruction_splits.validation)
        )
        steps = []

        def interrupting(hard, *_):
            steps.append(hard)
            if len(steps) > stop_after:
                raise InterruptionError
            return hard

        soft_loss = None if stop_after is None else interrupting
        trained = train(start, rows, validation, settings, tmp_path / directory, resume=resume, soft_loss=soft_loss)
        return start, trained

    return go


def without_dropout(start):
    for module in start.module.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def weights(start):
    return {name: tensor.clone() for name, tensor in start.module.state_dict().items()}


def test_training_lowers_the_validation_loss_and_resumes_to_the_same_weights_bit_for_bit(run, tmp_path):
    start, trained = run()
    losses = [entry["eval_loss"] for entry in trained.history if "eval_loss" in entry]
    assert losses[1] < losses[0] < 6.0  # ln 400 = 5.99 before anything is learned
    with pytest.raises(InterruptionError):
        run(directory="again", stop_after=30)  # 25 steps an epoch: in the middle of the second
    assert last_checkpoint(tmp_path / "again") == tmp_path / "again" / "checkpoint-25"
    resumed, _ = run(directory="again", resume=True)
    whole = weights(start)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in weights(resumed).items())


def test_trainer_has_every_setting_of_the_run(run):
    wanted = {
        "learning_rate": 2e-3,
        "lr_scheduler_type": "linear",
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 0.1,
        "warmup_steps": 7,
        "weight_decay": 0.25,
        "seed": 5,
        "bf16": True,
        "fp16": False,
        "use_cpu": True,
    }
    settings = Settings(2e-3, 4, 0.1, 7, 0.25, context=64, seed=5, accumulation=2, autocast="bf16", device="cpu")
    found = run(settings)[1].trainer.args.to_dict()
    assert {name: found[name] for name in wanted} == wanted


def test_the_seconds_before_a_run_was_resumed_count(run, tmp_path):
    with pytest.raises(InterruptionError):
        run(stop_after=30)
    file = tmp_path / "run" / "checkpoint-25" / "trainer_state.json"
    state = json.loads(file.read_text())
    assert 0 < state["stateful_callbacks"]["_Clock"]["args"]["before"] < 1_000
    state["stateful_callbacks"]["_Clock"]["args"]["before"] += 1_000
    file.write_text(json.dumps(state))
    _, resumed = run(resume=True)
    assert resumed.seconds > 1_000


def test_a_checkpoint_that_knows_no_seconds_is_resumed(run, tmp_path):
    with pytest.raises(InterruptionError):
        run(stop_after=30)
    file = tmp_path / "run" / "checkpoint-25" / "trainer_state.json"
    state = json.loads(file.read_text())
    del state["stateful_callbacks"]["_Clock"]
    file.write_text(json.dumps(state))
    _, resumed = run(resume=True)
    assert resumed.seconds > 0


def test_a_checkpoint_cut_short_costs_one_epoch_and_no_more(run, tmp_path):
    start, _ = run()
    shutil.copytree(tmp_path / "run", tmp_path / "cut")
    file = tmp_path / "cut" / "checkpoint-50" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    resumed, _ = run(directory="cut", resume=True)
    whole = weights(start)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in weights(resumed).items())
    assert load_file(file).keys()  # written anew


def test_a_loss_that_is_no_number_stops_with_its_step_and_keeps_the_checkpoint_before(run, monkeypatch, tmp_path):
    steps = []

    def poisoned(self, model, inputs, *rest, **more):
        steps.append(1)
        loss = original(self, model, inputs, *rest, **more)
        return loss * float("nan") if len(steps) == 31 else loss

    original = loop.transformers.Trainer.training_step
    monkeypatch.setattr(loop.transformers.Trainer, "training_step", poisoned)
    with pytest.raises(NumericalError, match=r"the loss of step 31 is nan; .*checkpoint-25 is whole and stays"):
        run()
    assert last_checkpoint(tmp_path / "run") == tmp_path / "run" / "checkpoint-25"


def test_a_learning_rate_that_is_far_too_large_is_named(run):
    with pytest.raises(NumericalError, match="try a learning rate below 1e"):
        run(replace(SETTINGS, learning_rate=1e30, warmup_steps=0))


def test_a_full_disk_is_found_out_before_a_checkpoint_is_begun(run, monkeypatch, tmp_path):
    monkeypatch.setattr(run_directory.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(OutputError, match="no space left on the disk for the checkpoint of step 25"):
        run()
    assert not list(tmp_path.glob("run/checkpoint-*"))


def test_early_stopping_ends_a_run_that_no_longer_gets_better_with_its_best_weights(run):
    _, trained = run(replace(SETTINGS, epochs=9, learning_rate=0.3, warmup_steps=0, early_stopping=1))
    losses = [entry["eval_loss"] for entry in trained.history if "eval_loss" in entry]
    assert len(losses) < 9
    assert trained.loss(trained.trainer.eval_dataset) == pytest.approx(min(losses), rel=1e-5)


def test_the_validation_loss_is_a_mean_over_tokens_whatever_the_batch_size(run):
    _, trained = run(replace(SETTINGS, epochs=0.04))
    losses = []
    for trained.trainer.args.per_device_eval_batch_size in (3, 30):
        losses.append(trained.loss(trained.trainer.eval_dataset))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": 0},
        {"batch_size": 0},
        {"epochs": -1},
        {"warmup_steps": -1},
        {"early_stopping": 0},
        {"learning_rate": math.inf},
        {"seed": 1 << 32},
        {"context": 1},
    ],
)
def test_a_setting_that_cannot_be_is_a_usage_error(wrong):
    with pytest.raises(UsageError, match="was wanted"):
        replace(SETTINGS, **wrong)


def test_the_loss_that_is_shown_is_the_mean_over_the_tokens_that_are_predicted(two_layers, tmp_path):
    start = causal(str(two_layers))
    rows = [{"input_ids": ids, "labels": ids} for ids in ([5, 6, 7], [8, 9, 10, 11, 12, 13])]
    with torch.inference_mode():
        logits = [start.module.eval()(torch.tensor([row["labels"]])).logits[0, :-1] for row in rows]
    wanted = torch.nn.functional.cross_entropy(torch.cat(logits), torch.tensor([6, 7, 9, 10, 11, 12, 13]))
    without_dropout(start)
    trained = train(start, rows, rows, replace(SETTINGS, epochs=1), tmp_path / "run")
    assert [entry["loss"] for entry in trained.history if "loss" in entry] == pytest.approx([float(wanted)], rel=1e-5)


@pytest.mark.parametrize(("package", "line"), [("trackio", "trackio"), ("accelerate", r"benchsuite\[train\]")])
def test_a_library_that_is_not_installed_is_named_before_the_directory_is_touched(
    two_layers, instruction_splits, monkeypatch, tmp_path, package, line
):
    monkeypatch.setattr(loop.importlib.util, "find_spec", lambda name: None if name == package else name)
    with pytest.raises(UnavailableError, match=f"`pip install '{line}'`"):
        next_token.run(
            causal(str(two_layers)), instruction_splits, replace(SETTINGS, track=("trackio",)), tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


def test_a_context_that_the_model_does_not_have_is_a_usage_error():
    with pytest.raises(UsageError, match="a context of 64 tokens was asked for; toy sees 32"):
        SETTINGS.require_context("toy", 32)


@pytest.mark.parametrize("splits", ["instruction_splits", "text_splits"])
def test_accumulated_batches_train_as_one_batch_does(request, two_layers, tmp_path, splits):
    found = []
    examples = request.getfixturevalue(splits)
    for batch_size, accumulation in ((8, 1), (2, 4)):
        settings = replace(SETTINGS, batch_size=batch_size, accumulation=accumulation, epochs=1, learning_rate=1e-4)
        if splits == "text_splits":
            start = classifier(str(two_layers), examples.train.labels)
            rows = class_features(examples.train, start.encode, context=64).rows
        else:
            start = causal(str(two_layers))
            rows = causal_features(examples.train, start.encode, end=0, context=64, answer_only=False).rows
        same_length = [{**row, "input_ids": row["input_ids"][:6]} for row in rows[:8]]  # one step
        for row in same_length:
            row["labels"] = row["labels"][:6] if isinstance(row["labels"], list) else row["labels"]
        without_dropout(start)
        trained = train(start, same_length, same_length, settings, tmp_path / f"{batch_size}")
        found.append([entry["loss"] for entry in trained.history if "loss" in entry])
    assert len(found[0]) == 1
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_a_warm_up_that_is_longer_than_the_run_is_said(run, capsys):
    run(replace(SETTINGS, epochs=0.4, warmup_steps=10))
    assert (
        "10 steps of warm-up, and the run has 10: the learning rate never comes up to 0.003" in capsys.readouterr().err
    )
    run(replace(SETTINGS, epochs=0.4, warmup_steps=9), directory="shorter")
    assert "warm-up" not in capsys.readouterr().err


def test_what_early_stopping_had_ended_is_not_trained_on_when_its_measuring_was_interrupted(run, tmp_path, monkeypatch):
    settings = replace(SETTINGS, epochs=8, early_stopping=1, learning_rate=1e-2)
    monkeypatch.setattr(loop._Trainer, "evaluation_loop", _rising(loop._Trainer.evaluation_loop))
    stopped, _ = run(settings)
    again, resumed = run(settings, resume=True)
    assert resumed.trainer.state.epoch == 2
    best = load_file(tmp_path / "run" / "checkpoint-25" / "model.safetensors")
    for start in (stopped, again):
        assert all(torch.equal(tensor, weights(start)[name]) for name, tensor in best.items())


def test_early_stopping_waits_no_longer_for_being_interrupted(run, tmp_path, monkeypatch):
    settings = replace(SETTINGS, epochs=8, early_stopping=2, learning_rate=1e-2)
    monkeypatch.setattr(loop._Trainer, "evaluation_loop", _rising(loop._Trainer.evaluation_loop))
    _, whole = run(settings)
    with pytest.raises(InterruptionError):
        run(settings, directory="again", stop_after=55)  # in the third epoch
    _, resumed = run(settings, directory="again", resume=True)
    assert resumed.trainer.state.epoch == whole.trainer.state.epoch == 3


def _rising(before):
    def loss_of_the_epoch(self, *arguments, **options):
        output = before(self, *arguments, **options)
        if options.get("metric_key_prefix", "eval") == "eval":
            output.metrics["eval_loss"] = 1.0 + self.state.global_step
        return output

    return loss_of_the_epoch
