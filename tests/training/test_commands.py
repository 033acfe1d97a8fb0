"""The training commands as a user types them: what they leave, and each bad input in one line with nothing lost."""

from __future__ import annotations

import importlib.util
import json
import shutil

import pytest
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from benchsuite.cli import main
from benchsuite.training import run_directory
from benchsuite.training.splits import load_splits

FAST = ("--batch-size", "8", "--warmup-steps", "2", "--learning-rate", "3e-3", "--device", "cpu")


@pytest.fixture
def asked(instruction_splits, tmp_path):
    """A file of 60 instructions."""
    items = instruction_splits.train.items[:60]
    rows = [{"instruction": item.instruction, "input": "", "output": item.output} for item in items]
    return written(tmp_path / "asked.json", rows)


@pytest.fixture
def labelled(text_splits, tmp_path):
    """A file of 60 texts and labels."""
    items = text_splits.train.items[:60]
    return written(tmp_path / "lights.json", [{"text": item.text, "label": "ab"[item.label]} for item in items])


@pytest.fixture
def instruct(two_layers, asked, tmp_path):
    """`benchsuite finetune instruct` into OUT, with more arguments."""
    return lambda *more: main(
        ["finetune", "instruct", "--model", str(two_layers), "--data", str(asked), *FAST, "-o", out(tmp_path), *more]
    )


def out(folder):
    return str(folder / "OUT")


def written(path, rows):
    path.write_text(json.dumps(rows))
    return path


def error_of(capsys, run, *arguments):
    """Exit status and message of a command that ends in one line."""
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    return stopped.value.code, last


def test_a_run_leaves_a_model_metrics_pictures_and_answers(instruct, tmp_path, capsys):
    instruct("--epochs", "1")
    directory = tmp_path / "OUT"
    assert {
        *("config.json", "model.safetensors", "tokenizer.json", "training_args.json", "metrics.json", "answers.md"),
        *("loss.svg", "loss.png", "checkpoint-7"),
    } <= {path.name for path in directory.iterdir()}
    transformers.AutoModelForCausalLM.from_pretrained(directory)
    metrics = json.loads((directory / "metrics.json").read_text())["metrics"]
    assert {"train_loss", "validation_loss", "test_loss", "exact_match", "token_f1", "inference_tokens_per_s"} <= {
        *metrics
    }
    assert "exact_match" in capsys.readouterr().out


def test_an_output_directory_in_use_is_left_as_it_was(instruct, tmp_path, capsys):
    (tmp_path / "OUT").mkdir()
    (tmp_path / "OUT" / "thesis.tex").touch()
    assert error_of(capsys, instruct) == (
        3,
        f"Error: {tmp_path / 'OUT'} is in use by something else; name another directory",
    )
    assert [path.name for path in (tmp_path / "OUT").iterdir()] == ["thesis.tex"]


def test_a_run_whose_last_checkpoint_is_cut_short_goes_on_from_the_one_before(instruct, tmp_path, capsys):
    instruct("--epochs", "2")
    directory = tmp_path / "OUT"
    (directory / "metrics.json").unlink()  # as if it had been interrupted
    cut = directory / "checkpoint-14" / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    assert "--resume" in error_of(capsys, instruct, "--epochs", "2")[1]
    instruct("--epochs", "2", "--resume")
    assert f"{cut}: missing or cut short" in capsys.readouterr().err
    assert (directory / "metrics.json").is_file()
    assert load_file(cut)


def test_an_example_without_output_is_named_with_its_place(instruct, asked, capsys):
    rows = json.loads(asked.read_text())
    del rows[7]["output"]
    written(asked, rows)
    assert error_of(capsys, instruct) == (
        3,
        f"Error: {asked}, item 7: no column 'output'; instructions needs 'instruction', 'output', "
        "found instruction, input",
    )


def test_an_empty_split_is_named(instruct, asked, tmp_path, capsys):
    written(asked, json.loads(asked.read_text())[:4])
    code, message = error_of(capsys, instruct)
    assert code == 3
    assert "the test split of" in message
    assert "is empty; give more examples" in message
    assert not (tmp_path / "OUT").exists()


@pytest.mark.parametrize("label", [3, None, ["a"], 0.5])
def test_a_label_of_another_type_is_named_with_its_place(two_layers, labelled, tmp_path, capsys, label):
    rows = json.loads(labelled.read_text())
    rows[5]["label"] = label
    written(labelled, rows)
    command = ["finetune", str(labelled), "--model", str(two_layers), *FAST, "-o", out(tmp_path)]
    assert error_of(capsys, main, command) == (3, f"Error: {labelled}, item 5: 'label' is {label!r}; wanted text")


def test_a_context_that_the_model_does_not_have_is_a_usage_error(instruct, tmp_path, capsys):
    code, message = error_of(capsys, instruct, "--context", "65")
    assert (code, message) == (2, "Error: a context of 65 tokens was asked for; two-layers sees 64")
    assert not (tmp_path / "OUT").exists()


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--qat", "absmx4", "unknown precision 'absmx4'"),
        ("--device", "gpu", "unknown device 'gpu'"),
        ("--autocast", "fp16", "needs CUDA"),
        ("--attention", "flash", "transformers needs another library for it: FlashAttention2"),
        ("--context", "12", "(train): nothing fits a context of 12 tokens"),
    ],
)
def test_what_cannot_be_run_claims_no_directory(instruct, tmp_path, capsys, option, value, says):
    if value == "flash" and importlib.util.find_spec("flash_attn"):
        pytest.skip("flash-attn is installed")
    _, message = error_of(capsys, instruct, option, value)
    assert says in message
    assert not (tmp_path / "OUT").exists()


def test_a_missing_baseline_is_said_before_the_data_are_looked_for(two_layers, tmp_path, capsys):
    command = ["recipe", "ag-news", "--model", str(two_layers), "--step", "ptq", "--data", "nowhere.json"]
    assert "run the step baseline first" in error_of(capsys, main, [*command, "-o", out(tmp_path)])[1]


def test_a_run_is_not_resumed_with_the_weights_of_another_model_of_the_same_name(
    two_layers, instruct, asked, tmp_path, capsys
):
    instruct("--epochs", "1")
    (tmp_path / "OUT" / "metrics.json").unlink()  # as if it had been interrupted
    other = tmp_path / "other" / two_layers.name
    shutil.copytree(two_layers, other)
    tensors = load_file(other / "model.safetensors")
    save_file({name: tensor / 2 for name, tensor in tensors.items()}, other / "model.safetensors", {"format": "pt"})
    command = ["finetune", "instruct", "--model", str(other), "--data", str(asked), *FAST, "--epochs", "1", "--resume"]
    assert "began with weights" in error_of(capsys, main, [*command, "-o", out(tmp_path)])[1]
    instruct("--epochs", "1", "--resume")


def test_the_files_of_a_model_can_be_read_by_all_who_can_read_its_config(instruct, tmp_path):
    instruct("--epochs", "1")
    modes = {path.stat().st_mode for path in (tmp_path / "OUT").iterdir() if path.is_file()}
    assert len(modes) == 1


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (SafetensorError("Error while serializing: I/O error: File too large (os error 27)"), True),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos"), True),
        (RuntimeError("CUDA error: an illegal memory access"), False),
    ],
)
def test_a_file_that_may_not_be_so_large_is_named(instruct, tmp_path, capsys, monkeypatch, error, named):
    def save(*_, **__):
        raise error

    monkeypatch.setattr(transformers.GPT2LMHeadModel, "save_pretrained", save)
    code, message = error_of(capsys, instruct, "--epochs", "1")
    assert code == 3
    wanted = f"the checkpoint of step 7 cannot be written to {tmp_path / 'OUT'}: {error}; make room"
    assert (wanted in message) == named


def test_a_classifier_that_was_trained_under_a_precision_has_no_size_and_no_speed_of_it(two_layers, labelled, tmp_path):
    command = ["finetune", str(labelled), "--model", str(two_layers), "--qat", "absmax4", "--epochs", "1", *FAST]
    main([*command, "-o", out(tmp_path)])
    metrics = json.loads((tmp_path / "OUT" / "metrics.json").read_text())["metrics"]
    assert "accuracy" in metrics
    assert metrics.keys().isdisjoint({"weight_bytes", "samples_per_s"})


def test_a_distillation_reads_the_splits_of_its_seed(two_layers, asked, tmp_path):
    command = ["distill", "--teacher", str(two_layers), "--layers", "1", "--data", str(asked), "--train-limit", "8"]
    main([*command, "--epochs", "1", *FAST, "--seed", "3", "-o", out(tmp_path)])
    began = json.loads((tmp_path / "OUT" / "training_args.json").read_text())
    wanted, other = (load_splits(str(asked), ("instructions",), seed=seed).limited(8, None) for seed in (3, 0))
    assert began["data"] == wanted.fingerprint() != other.fingerprint()


def test_texts_that_are_longer_than_the_context_are_cut_and_counted(two_layers, labelled, tmp_path, capsys):
    command = ["finetune", str(labelled), "--model", str(two_layers), "--context", "6", "--epochs", "1", *FAST]
    main([*command, "-o", out(tmp_path)])
    excluded = json.loads((tmp_path / "OUT" / "metrics.json").read_text())["excluded"]
    assert excluded["test: cut to the context"] > 0
    assert f"test: cut to the context: {excluded['test: cut to the context']}" in capsys.readouterr().out


def test_a_learning_rate_that_makes_the_loss_nan_is_named_with_the_step_and_what_stays(instruct, tmp_path, capsys):
    code, message = error_of(capsys, instruct, "--learning-rate", "1e30", "--warmup-steps", "8")
    assert code == 3
    assert "Error: the loss of step " in message
    assert "try a learning rate below 1e+30" in message
    assert not (tmp_path / "OUT" / "metrics.json").exists()


def test_a_full_disk_keeps_the_checkpoints_that_were_finished(instruct, tmp_path, capsys, monkeypatch):
    free = iter([10**9, 1000])  # enough for the first checkpoint
    usage = shutil._ntuple_diskusage
    monkeypatch.setattr(run_directory.shutil, "disk_usage", lambda _: usage(10**9, 0, next(free)))
    code, message = error_of(capsys, instruct, "--epochs", "2")
    assert code == 3
    assert "no space left on the disk for the checkpoint of step 14" in message
    monkeypatch.undo()
    assert run_directory.last_checkpoint(tmp_path / "OUT") == tmp_path / "OUT" / "checkpoint-7"
    instruct("--epochs", "2", "--resume")
    assert (tmp_path / "OUT" / "metrics.json").is_file()


def test_a_tracker_has_the_losses_of_the_run_and_all_that_was_found(two_layers, labelled, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    command = ["finetune", str(labelled), "--model", str(two_layers), "--epochs", "2", *FAST]
    main([*command, "--track", "tensorboard", "-o", out(tmp_path)])
    tags = {"scalars": set(), "images": set()}
    for file in (tmp_path / "OUT" / "runs").rglob("events.out.tfevents.*"):
        events = accumulator.EventAccumulator(str(file))
        events.Reload()
        for kind, found in tags.items():
            found.update(events.Tags()[kind])
    assert {"train/loss", "eval/loss", "accuracy", "accuracy_low", "macro_f1", "samples_per_s"} <= tags["scalars"]
    assert tags["images"] == {"loss", "confusion"}


def test_a_tracker_that_is_not_there_is_named_before_the_directory_is_begun(instruct, tmp_path, capsys):
    assert error_of(capsys, instruct, "--track", "tensorbord")[0] == 2
    assert not (tmp_path / "OUT").exists()


def test_what_goes_with_instructions_alone_is_refused_for_texts_with_labels(labelled, tmp_path, capsys):
    for more in (("--data", "nowhere.jsonl"), ("--answer-only",)):
        status, said = error_of(capsys, main, ["finetune", str(labelled), *more, "-o", out(tmp_path)])
        assert (status, "go with instruct" in said) == (2, True)
    assert not (tmp_path / "OUT").exists()
