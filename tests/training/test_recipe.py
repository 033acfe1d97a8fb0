"""The whole recipe at small scale: every file of the tree is there and loads."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from benchsuite.errors import FileFormatError, OutputError, UsageError
from benchsuite.quant.grids import Absmax
from benchsuite.record import from_json
from benchsuite.training.recipe import Recipe, name_of, run
from benchsuite.training.settings import Settings
from benchsuite.training.splits import Splits

SETTINGS = Settings(learning_rate=3e-3, batch_size=8, epochs=2, context=32, warmup_steps=5, device="cpu")
TREE = [
    "baseline-two-layers-full/checkpoint-25/model.safetensors",
    "baseline-two-layers-full/checkpoint-50/model.safetensors",
    "baseline-two-layers-full/classification_report.txt",
    "baseline-two-layers-full/config.json",
    "baseline-two-layers-full/confusion.png",
    "baseline-two-layers-full/confusion.svg",
    "baseline-two-layers-full/loss.png",
    "baseline-two-layers-full/loss.svg",
    "baseline-two-layers-full/metrics_baseline.json",
    "baseline-two-layers-full/model.safetensors",
    "baseline-two-layers-full/tokenizer.json",
    "baseline-two-layers-full/training_args.json",
    "bnb-quantized/classification_report_int8.txt",
    "bnb-quantized/classification_report_nf4.txt",
    "bnb-quantized/metrics_quant_bnb.json",
    "bnb-quantized/two-layers-int8/model.safetensors",
    "bnb-quantized/two-layers-nf4/model.safetensors",
    "ptq-scratch-int8/classification_report_ptq.txt",
    "ptq-scratch-int8/metrics_ptq_scratch.json",
    "ptq-scratch-int8/ptq_scratch_summary.json",
    "ptq-scratch-int8/quantized_model/config.json",
    "ptq-scratch-int8/quantized_model/model.safetensors",
    "ptq-scratch-int8/quantized_model/model_int8.safetensors",
    "ptq-scratch-int8/quantized_model/tokenizer.json",
    "summary.json",
    "summary.md",
]


@pytest.fixture(scope="module")
def recipe(two_layers, text_splits, tmp_path_factory):
    recipe = Recipe(str(two_layers), text_splits, SETTINGS, tmp_path_factory.mktemp("out"), qat="absmax3-g128")
    run(recipe)
    return recipe


def test_every_file_of_the_tree_is_there(recipe):
    assert [path for path in TREE if not (recipe.output / path).is_file()] == []


@pytest.mark.parametrize(
    "path",
    [
        "baseline-two-layers-full",
        "baseline-two-layers-full/checkpoint-50",
        "ptq-scratch-int8/quantized_model",
        "bnb-quantized/two-layers-int8",
        "bnb-quantized/two-layers-nf4",
        "qat-absmax3-g128",
    ],
)
def test_every_model_directory_loads_with_from_pretrained_and_answers(recipe, path):
    model = transformers.AutoModelForSequenceClassification.from_pretrained(recipe.output / path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(recipe.output / path)
    batch = tokenizer(["ox sun tree", "ox moon tree and more"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        answers = [model.config.id2label[index] for index in model(**batch).logits.argmax(1).tolist()]
    assert set(answers) <= {"Day", "Night"}
    assert model.config.label2id == {"Day": 0, "Night": 1}


def test_the_packed_file_holds_what_the_plain_one_stands_for(recipe):
    directory = recipe.output / "ptq-scratch-int8" / "quantized_model"
    packed, plain = load_file(directory / "model_int8.safetensors"), load_file(directory / "model.safetensors")
    name = "transformer.h.0.attn.c_attn"
    weight = plain[f"{name}.weight"].t()  # (out, in)
    held = {"codes": packed[f"{name}.codes"], "scale": packed[f"{name}.scale"]}
    assert held["codes"].dtype == torch.int8
    assert torch.equal(Absmax(8, "row").dequantize(held, weight.shape), weight)


def test_the_summary_has_a_row_for_each_with_size_speed_and_the_interval_of_the_change(recipe):
    rows = json.loads((recipe.output / "summary.json").read_text())["rows"]
    assert list(rows) == [
        "baseline",
        "absmax8-row from scratch",
        "bnb int8",
        "bnb nf4",
        "absmax3-g128 after training",
        "absmax3-g128 trained for (QAT)",
    ]
    for name, row in rows.items():
        if name != "baseline":
            low, high = row["accuracy_change_interval"]
            assert low <= row["accuracy_change"] <= high
            assert row["compression"] > 1
    assert rows["bnb nf4"]["weight_bytes"] < rows["bnb int8"]["weight_bytes"]


def test_under_its_precision_a_model_is_trained_on_for_one_epoch_at_a_tenth_of_the_learning_rate(recipe):
    began = json.loads((recipe.output / "qat-absmax3-g128" / "training_args.json").read_text())
    assert (began["learning_rate"], began["epochs"]) == (pytest.approx(SETTINGS.learning_rate / 10), 1)


def test_metrics_are_records_that_can_be_read_back(recipe):
    file = recipe.baseline / "metrics_baseline.json"
    record = from_json(json.loads(file.read_text()), str(file))
    assert {"accuracy", "macro_f1", "train_loss", "validation_loss", "test_loss", "samples_per_s"} <= set(
        record.metrics
    )
    assert record.metrics["accuracy"].value > 0.9  # a word in the text gives the class away


def test_a_finished_recipe_is_not_written_over_but_can_be_resumed(recipe):
    with pytest.raises(OutputError, match="finished run"):
        run(recipe)
    before = (recipe.output / "summary.json").read_bytes()
    resumed = Recipe(recipe.model, recipe.splits, SETTINGS, recipe.output, qat=recipe.qat, resume=True)
    run(resumed)
    assert (recipe.output / "summary.json").read_bytes() == before


def test_a_step_alone_needs_the_baseline(recipe, tmp_path):
    alone = Recipe(recipe.model, recipe.splits, SETTINGS, tmp_path / "out")
    with pytest.raises(UsageError, match="run the step baseline first"):
        run(alone, ("ptq",))


@pytest.mark.parametrize(
    ("changed", "steps", "message"),
    [
        ({"epochs": 3}, ("baseline", "ptq"), "began with epochs 2, not 3"),
        ({"context": 16}, ("ptq",), "context 32, not 16"),
    ],
)
def test_a_resumed_recipe_has_the_settings_that_its_baseline_began_with(recipe, changed, steps, message):
    with pytest.raises(UsageError, match=message):
        run(replace(recipe, settings=replace(SETTINGS, **changed), resume=True), steps)


def test_a_resumed_recipe_has_the_training_data_and_the_weights_that_its_baseline_began_with(recipe, tmp_path):
    fewer = replace(recipe, splits=recipe.splits.limited(20, None), resume=True)
    with pytest.raises(UsageError, match="began with data"):
        run(fewer)
    other = tmp_path / name_of(recipe.model)
    shutil.copytree(recipe.model, other)
    file = other / "model.safetensors"
    save_file({name: tensor / 2 for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    with pytest.raises(UsageError, match="began with weights"):
        run(replace(recipe, model=str(other), resume=True))


def test_other_test_texts_are_not_put_into_one_table(recipe):
    fewer = Splits(recipe.splits.train, recipe.splits.validation, recipe.splits.limited(None, 5).test)
    with pytest.raises(UsageError, match="measured on other test texts"):
        run(Recipe(recipe.model, fewer, SETTINGS, recipe.output, resume=True), ())


@pytest.mark.parametrize("content", ["{}", "[]", "{", "[" * 100_000])
@pytest.mark.parametrize("file", ["bnb-quantized/metrics_quant_bnb.json", "ptq-scratch-int8/metrics_ptq_scratch.json"])
def test_metrics_that_are_none_are_named(recipe, file, content):
    path = recipe.output / file
    before = path.read_bytes()
    path.write_text(content)
    try:
        with pytest.raises(FileFormatError, match=file):
            run(replace(recipe, resume=True), ())
    finally:
        path.write_bytes(before)
