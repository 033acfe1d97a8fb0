"""A classifier's directory gives the classes that transformers finds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from benchsuite.data.examples import Document, Examples, LabelledText
from benchsuite.errors import DataError, FileFormatError, UnavailableError
from benchsuite.evals import classification, perplexity
from benchsuite.models import TINY
from benchsuite.models.resolve import load_directory
from benchsuite.quant.files import quantize_directory

NAMES = ("World", "Sports", "Business")
TEXTS = Examples(
    "topics",
    "classification",
    "test",
    tuple(LabelledText(text, index % 3) for index, text in enumerate(["Rain", "A cup for Rovers", "It sells"])),
    labels=("Business", "World", "Sports"),
)


def write_classifier(path: Path, **other: object) -> Path:
    torch.manual_seed(2)
    config = transformers.GPT2Config(
        vocab_size=4_096,
        n_positions=64,
        n_embd=64,
        n_layer=2,
        n_head=4,
        pad_token_id=0,
        initializer_range=0.3,
        id2label=dict(enumerate(NAMES)),
        label2id={name: index for index, name in enumerate(NAMES)},
        **other,
    )
    transformers.GPT2ForSequenceClassification(config).save_pretrained(path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (path / name).write_bytes((TINY / name).read_bytes())
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_classifier(tmp_path)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_classes_are_those_of_transformers_in_the_order_of_the_dataset(directory: Path, batch_size: int) -> None:
    model = load_directory(directory, "classifier")
    reference = transformers.GPT2ForSequenceClassification.from_pretrained(directory).eval()
    found = classification.evaluate(model, TEXTS, batch_size=batch_size)
    for item in found.items:
        with torch.inference_mode():
            logs = reference(torch.tensor([model.tokenizer.encode(item["prompt"])])).logits[0].log_softmax(-1)
        wanted = [logs[NAMES.index(label)].item() for label in TEXTS.labels]
        np.testing.assert_allclose([item["log_likelihood"][label] for label in TEXTS.labels], wanted, atol=1e-4)


def test_a_classifier_of_other_classes_is_named(directory: Path) -> None:
    other = Examples("d", "classification", "test", TEXTS.items, labels=("red", "green", "blue"))
    with pytest.raises(DataError, match=r"World, Sports, Business; d has red, green, blue"):
        classification.evaluate(load_directory(directory, "c"), other, batch_size=1)


def test_a_classifier_does_not_speak(directory: Path) -> None:
    text = Examples("d", "lm", "test", (Document("Rain all day."),))
    with pytest.raises(UnavailableError, match="no language-model head"):
        perplexity.evaluate(load_directory(directory, "c"), text, batch_size=1)


def test_a_head_that_does_not_fit_its_classes_is_refused(directory: Path) -> None:
    file = directory / "model.safetensors"
    save_file(load_file(file) | {"score.weight": torch.zeros(7, 64)}, file)
    with pytest.raises(FileFormatError, match=r"score.weight is \(7, 64\); wanted \(3, 64\)"):
        load_directory(directory, "c")


@pytest.mark.parametrize("names", [{"0": "a", "2": "b"}, ["a", "b"], 5])
def test_classes_that_are_not_numbered_through_are_refused(directory: Path, names: object) -> None:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"id2label": names}))
    with pytest.raises(FileFormatError, match="id2label"):
        load_directory(directory, "c")


@pytest.mark.parametrize("precision", ["absmax8-row", "nf4-g64", "bnb-int8", "bnb-nf4"])
def test_a_quantized_classifier_keeps_its_head_and_is_loaded_as_it_was_written(
    directory: Path, tmp_path: Path, precision: str
) -> None:
    if precision.startswith("bnb-"):
        pytest.importorskip("bitsandbytes")
    whole = load_directory(directory, "toy")
    written = quantize_directory(whole.module, directory, tmp_path / "quantized", precision)
    assert not any("score" in layer.name for layer in written.coverage.layers)
    held = load_directory(tmp_path / "quantized", "toy")
    score = load_file(directory / "model.safetensors")["score.weight"]
    assert torch.equal(held.module.get_submodule("score").weight.float(), score)

    def logits(ids: torch.Tensor) -> torch.Tensor:
        if precision.startswith("bnb-"):
            by_transformers = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "quantized")
            return by_transformers.eval()(ids).logits[0]
        return whole.class_logits(whole.hidden(ids))[0, -1]  # quantized in place

    for item in classification.evaluate(held, TEXTS, batch_size=1).items:
        with torch.inference_mode():
            logs = logits(torch.tensor([held.tokenizer.encode(item["prompt"])])).log_softmax(-1).tolist()
        assert item["log_likelihood"] == pytest.approx(dict(zip(NAMES, logs, strict=True)), abs=1e-4)
    with pytest.raises(UnavailableError, match="it has no language-model head"):
        held.head(torch.zeros(1, 64))


def test_the_matrix_measures_a_classifier_in_every_precision(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    names = ("World", "Sports", "Business", "Technology")
    config |= {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
    (directory / "config.json").write_text(json.dumps(config))
    weights = load_file(directory / "model.safetensors")
    weights["score.weight"] = torch.randn(4, 64)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    command = ["bench/test_classification.py", "--model", f"{directory}/", "--dataset", "headlines", "--limit", "3"]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *command, "--precision", "fp32,absmax8-row"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in finished.stdout, finished.stdout[-2000:]


@pytest.mark.parametrize("other", [{"n_inner": 96}, {"activation_function": "relu"}], ids=str)
def test_a_classifier_that_is_not_our_gpt2_is_computed_by_transformers_and_keeps_its_head_when_quantized(
    tmp_path: Path, other: dict[str, object]
) -> None:
    source = write_classifier(tmp_path / "plain", **other)
    whole = load_directory(source, "toy")
    ids = torch.tensor([[5, 6, 7]])

    def logits(model: Any) -> torch.Tensor:
        with torch.inference_mode():
            return model.class_logits(model.hidden(ids))[:, -1]

    reference = transformers.GPT2ForSequenceClassification.from_pretrained(source).eval()
    torch.testing.assert_close(logits(whole), reference(ids).logits)
    quantize_directory(whole.module, source, tmp_path / "quantized", "absmax8-row")
    torch.testing.assert_close(logits(load_directory(tmp_path / "quantized", "toy")), logits(whole))


def test_a_longer_text_loses_its_end(directory: Path) -> None:
    """As transformers' tokenizer with `truncation=True` cuts it, by the shorter of the two limits."""
    config = json.loads((directory / "tokenizer_config.json").read_text())
    for limit, wanted in ((5, 5), (10**30, 64), (None, 64)):
        (directory / "tokenizer_config.json").write_text(json.dumps({**config, "model_max_length": limit}))
        model = load_directory(directory, "classifier")
        text = "A cup for Rovers after rain. " * 20
        texts = Examples("topics", "classification", "test", (LabelledText(text, 0),), labels=TEXTS.labels)
        kept = model.tokenizer.decode(model.tokenizer.encode(text)[:wanted])
        alone = Examples("topics", "classification", "test", (LabelledText(kept, 0),), labels=TEXTS.labels)
        [item], [same] = (classification.evaluate(model, each, batch_size=1).items for each in (texts, alone))
        assert item["log_likelihood"] == same["log_likelihood"]


def test_a_text_that_ends_in_padding_is_answered_at_the_last_token_before_it(directory: Path) -> None:
    model = load_directory(directory, "classifier")
    reference = transformers.GPT2ForSequenceClassification.from_pretrained(directory).eval()
    text = "A cup<|endoftext|><|endoftext|>"
    ids = model.tokenizer.encode(text)
    assert ids[-2:] == [model.pad_token_id] * 2
    texts = Examples("topics", "classification", "test", (LabelledText(text, 0),), labels=TEXTS.labels)
    [item] = classification.evaluate(model, texts, batch_size=1).items
    with torch.inference_mode():
        logs = reference(torch.tensor([ids])).logits[0].log_softmax(-1)
    assert item["log_likelihood"] == pytest.approx(dict(zip(NAMES, logs.tolist(), strict=True)), abs=1e-4)


@pytest.mark.parametrize("limit", [0, -5, "long"])
def test_a_limit_that_is_no_number_of_tokens_is_named(directory: Path, limit: object) -> None:
    (directory / "tokenizer_config.json").write_text(json.dumps({"model_max_length": limit}))
    model = load_directory(directory, "classifier")
    with pytest.raises(DataError, match="model_max_length"):
        classification.evaluate(model, TEXTS, batch_size=1)
