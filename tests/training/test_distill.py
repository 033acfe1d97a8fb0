from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from benchsuite.errors import UsageError
from benchsuite.training import classify, distill
from benchsuite.training.distill import Distillation, SoftTargets, chosen_layers, evenly_spaced, soft_divergence
from benchsuite.training.settings import Settings
from benchsuite.training.start import causal, classifier, positions_of

SETTINGS = Settings(learning_rate=3e-3, batch_size=8, epochs=1, context=64, warmup_steps=5, device="cpu")


def test_six_of_twelve_layers_are_those_of_distilgpt2():
    assert chosen_layers(12, 6) == [0, 2, 4, 7, 9, 11]


@given(st.integers(1, 48), st.integers(1, 48))
def test_chosen_layers_are_in_order_and_differ(teacher, student):
    chosen = chosen_layers(teacher, min(student, teacher))
    assert chosen == sorted(set(chosen))
    assert chosen[0] == 0
    assert chosen[-1] < teacher


def test_a_student_of_all_layers_is_its_teacher(two_layers):
    teacher = causal(str(two_layers))
    student = evenly_spaced(teacher, 2)
    ids = torch.arange(9)[None]
    assert torch.equal(student.module.eval()(ids).logits, teacher.module.eval()(ids).logits)


def test_a_student_of_one_layer_begins_with_the_first_and_all_else_of_its_teacher(two_layers):
    teacher = causal(str(two_layers))
    student = evenly_spaced(teacher, 1)
    assert len(student.module.transformer.h) == student.module.config.n_layer == 1
    held = student.module.state_dict()
    assert all(torch.equal(tensor, teacher.module.state_dict()[name]) for name, tensor in held.items())


def test_more_layers_than_the_teacher_has_are_a_usage_error(two_layers):
    with pytest.raises(UsageError, match="a student of 3 layers; its teacher two-layers has 2"):
        evenly_spaced(causal(str(two_layers)), 3)


@given(st.floats(0.5, 8), st.integers(1, 5))
def test_the_divergence_is_that_of_the_softened_distributions(temperature, rows):
    student, teacher = torch.randn(rows, 7).double(), torch.randn(rows, 7).double()
    p, q = (F.softmax(logits / temperature, dim=1) for logits in (teacher, student))
    expected = temperature**2 * (p * (p / q).log()).sum()
    assert float(soft_divergence(student, teacher, temperature)) == pytest.approx(float(expected), rel=1e-3, abs=1e-4)


class Saying(nn.Module):
    """A teacher that says the same whatever it reads."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, **_):
        return SimpleNamespace(logits=self.logits)


def test_the_soft_loss_scores_the_tokens_that_the_hard_loss_scores_and_no_others():
    logits, wanted = torch.randn(1, 4, 5), torch.randn(1, 4, 5)
    labels = torch.tensor([[-100, -100, 3, -100]])
    inputs = {"input_ids": labels, "attention_mask": labels, "labels": labels}
    loss = SoftTargets(Saying(wanted), Distillation(temperature=1.0, soft=1.0))
    found = loss(torch.tensor(0.0), inputs, SimpleNamespace(logits=logits), None)
    assert float(found) == pytest.approx(float(soft_divergence(logits[0, 1:2], wanted[0, 1:2], 1.0)))


def test_the_soft_loss_is_a_share_of_the_items_of_all_batches_that_make_a_step():
    ids = torch.tensor([[1, 2, 3, 4]])
    inputs = {"input_ids": ids, "attention_mask": ids, "labels": ids}
    outputs = SimpleNamespace(logits=torch.randn(1, 4, 5))
    loss = SoftTargets(Saying(torch.randn(1, 4, 5)), Distillation(temperature=1.0, soft=1.0))
    alone, among_twelve = (float(loss(torch.tensor(0.0), inputs, outputs, items)) for items in (None, 12))
    assert among_twelve == pytest.approx(alone * 3 / 12)


def test_a_student_equal_to_its_teacher_has_only_the_hard_loss(two_layers):
    teacher, student = causal(str(two_layers)).module.eval(), causal(str(two_layers)).module.eval()
    ids = torch.arange(9)[None]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    loss = SoftTargets(teacher, Distillation(soft=0.25))(torch.tensor(2.0), inputs, student(ids), None)
    assert float(loss.detach()) == pytest.approx(1.5, abs=1e-4)


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"temperature": math.inf}, {"soft": 1.5}, {"soft": -0.1}])
def test_a_temperature_or_share_that_cannot_be_is_a_usage_error(wrong):
    with pytest.raises(UsageError, match="was wanted"):
        Distillation(**wrong)


def test_a_student_of_another_vocabulary_is_a_usage_error(two_layers, instruction_splits, tmp_path):
    student = shutil.copytree(two_layers, tmp_path / "padded")
    padded = causal(str(two_layers)).module
    padded.resize_token_embeddings(416)  # the tokenizer stays as it is
    padded.save_pretrained(student)
    with pytest.raises(UsageError, match="two-layers has logits of 400 tokens, padded of 416"):
        distill.run(str(two_layers), str(student), instruction_splits, SETTINGS, Distillation(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_teacher_without_a_classification_head_is_a_usage_error(two_layers, text_splits, tmp_path):
    with pytest.raises(UsageError, match="no classification head"):
        distill.run(str(two_layers), 1, text_splits, SETTINGS, Distillation(), tmp_path / "student")


def test_a_distilled_classifier_stands_beside_its_teacher_in_the_summary(two_layers, text_splits, tmp_path):
    teacher = tmp_path / "teacher"
    classify.run(classifier(str(two_layers), text_splits.train.labels), text_splits, SETTINGS, teacher)
    distill.run(str(teacher), 1, text_splits, SETTINGS, Distillation(), tmp_path / "student")
    rows = json.loads((tmp_path / "student" / "summary.json").read_text())["rows"]
    assert list(rows) == ["teacher", "student"]
    assert rows["student"]["compression"] > 1


def test_a_teacher_reads_as_much_as_it_was_trained_to(two_layers, text_splits, tmp_path, monkeypatch):
    teacher = tmp_path / "teacher"
    short = replace(SETTINGS, context=3)
    classify.run(classifier(str(two_layers), text_splits.train.labels), text_splits, short, teacher)
    assert positions_of(str(teacher)) == 3
    assert positions_of(str(two_layers)) == 64
    alone = json.loads((teacher / "metrics.json").read_text())["metrics"]["accuracy"]["value"]
    read, measure = [], classify.classify
    monkeypatch.setattr(
        classify,
        "classify",
        lambda module, rows, *more, **how: (
            read.append(max(len(row["input_ids"]) for row in rows)) or measure(module, rows, *more, **how)
        ),
    )
    distill.run(str(teacher), 1, text_splits, SETTINGS, Distillation(), tmp_path / "student")
    rows = json.loads((tmp_path / "student" / "summary.json").read_text())["rows"]
    assert rows["teacher"]["accuracy"] == alone
    assert read[0] > read[1] == 3  # the student's texts, then the teacher's


def test_a_student_is_not_resumed_with_another_teacher_of_the_same_name(two_layers, instruction_splits, tmp_path):
    other = tmp_path / two_layers.name
    shutil.copytree(two_layers, other)
    file = other / "model.safetensors"
    save_file({name: tensor / 2 for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    splits = instruction_splits.limited(16, 4)
    settings = replace(SETTINGS, context=64, epochs=1)
    distill.run(str(two_layers), 1, splits, settings, Distillation(), tmp_path / "student")
    (tmp_path / "student" / "metrics.json").unlink()  # as if it had been interrupted
    with pytest.raises(UsageError, match="began with teacher"):
        distill.run(str(other), 1, splits, settings, Distillation(), tmp_path / "student", resume=True)


def test_a_teacher_whose_labels_stand_in_another_order_says_the_same(two_layers, text_splits, tmp_path):
    teacher = tmp_path / "teacher"
    classify.run(classifier(str(two_layers), text_splits.train.labels), text_splits, SETTINGS, teacher)
    ids = torch.arange(1, 9)[None]
    plain, turned = (classifier(str(teacher), labels).module.eval() for labels in (("Day", "Night"), ("Night", "Day")))
    assert turned.config.id2label == {0: "Night", 1: "Day"}
    assert torch.equal(turned(ids).logits, plain(ids).logits[:, [1, 0]])
    with pytest.raises(UsageError, match="tells apart Day, Night; the data have Cat, Dog"):
        classifier(str(teacher), ("Cat", "Dog"))


def test_a_classifier_teaches_its_classes_and_nothing_else(two_layers, text_splits, tmp_path):
    teacher = tmp_path / "teacher"
    classify.run(classifier(str(two_layers), text_splits.train.labels), text_splits, SETTINGS, teacher)
    assert distill.tasks_of(str(teacher)) == ("classification",)
    assert distill.tasks_of(str(two_layers)) == ("lm", "instructions")
