"""Options become points, in order, with stable names; what cannot be is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchsuite.errors import UsageError
from benchsuite.matrix import Question, make_matrix, read_settings, settings_here


def identifiers(question: Question, **options: Any) -> list[str]:
    matrix = make_matrix({name.replace("_", "-"): value for name, value in options.items()}, {})
    return [matrix.identify(point, question) for point in matrix.points(question)]


def test_points_are_named_model_precision_dataset_with_the_reference_first() -> None:
    assert identifiers(Question("lm"), precision=["absmax8,fp32"], dataset=["prose", "headlines"]) == [
        "tiny-fp32-prose",
        "tiny-absmax8-prose",
    ]


def test_a_question_without_datasets_varies_its_batch_sizes() -> None:
    question = Question(batch_sizes=(1, 8), reference=False)
    assert identifiers(question, precision=["fp32", "bf16"]) == ["tiny-bf16-batch1", "tiny-bf16-batch8"]
    assert identifiers(question, precision=["bf16"], batch_size=["4"]) == ["tiny-bf16"]


def test_what_is_named_twice_is_measured_once() -> None:
    named = {"batch_size": ["1,1"], "attention": ["sdpa", "sdpa"], "engine": ["native,native"], "precision": ["fp32"]}
    assert identifiers(Question(engines=True), **named) == ["tiny-fp32"]


def test_attention_shows_in_the_name_unless_it_is_the_usual_one() -> None:
    assert identifiers(Question("lm"), precision=["fp32"], dataset=["prose"], attention=["eager,sdpa"]) == [
        "tiny-fp32-prose-eager",
        "tiny-fp32-prose-sdpa",
    ]


def test_only_a_question_of_engines_asks_others_and_ours_keeps_its_name() -> None:
    generation = Question(batch_sizes=(1,), engines=True)
    assert identifiers(generation, precision=["fp32"], engine=["native,ctranslate2"]) == [
        "tiny-fp32",
        "tiny-fp32-ctranslate2",
    ]
    assert identifiers(Question("lm"), precision=["fp32"], dataset=["prose"], engine=["native,ctranslate2"]) == [
        "tiny-fp32-prose"
    ]
    assert identifiers(Question("lm"), precision=["fp32"], dataset=["prose"], engine=["ctranslate2"]) == []


def test_other_engines_are_measured_once_whatever_our_attention() -> None:
    generation = Question(batch_sizes=(1,), engines=True)
    assert identifiers(generation, precision=["fp32"], engine=["native,llama-cpp"], attention=["sdpa,eager"]) == [
        "tiny-fp32-sdpa",
        "tiny-fp32-sdpa-llama-cpp",
        "tiny-fp32-eager",
    ]


@pytest.mark.parametrize("attentions", ["sdpa,eager", "eager,sdpa", "eager"])
def test_other_engines_are_called_by_one_attention_whatever_ours_is(attentions: str) -> None:
    matrix = make_matrix({"engine": ["native,llama-cpp"], "attention": [attentions], "precision": ["fp32"]}, {})
    points = list(matrix.points(Question(batch_sizes=(1,), engines=True)))
    assert [point.attention for point in points if point.engine == "llama-cpp"] == ["sdpa"]
    assert [point.attention for point in points if point.engine == "native"] == attentions.split(",")


def test_a_directory_is_called_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert identifiers(Question("lm"), model=[f"{tmp_path}/mine"], precision=["fp32"], dataset=["prose"]) == [
        "mine-fp32-prose"
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": ["tny"]}, "unknown model 'tny'; did you mean 'tiny'"),
        ({"model": ["./nowhere"]}, "no such directory"),
        ({"model": ["~nobody-of-that-name/x/"]}, "no such directory"),
        ({"model": ["./a\nb c/"]}, "no such directory"),
        ({"precision": ["absmx8"]}, "unknown precision 'absmx8'; did you mean 'absmax8"),
        ({"precision": ["zzz*"]}, "unknown precision"),
        ({"dataset": ["pros"]}, "did you mean 'prose'"),
        ({"attention": ["flsh"]}, "did you mean 'flash'"),
        ({"engine": ["lama-cpp"]}, "did you mean 'llama-cpp'"),
        ({"profile": "qick"}, "did you mean 'quick'"),
        ({"limit": "0"}, "limit is '0'"),
        ({"batch-size": ["x"]}, "batch-size is 'x'"),
    ],
)
def test_what_cannot_be_measured_is_a_usage_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_matrix(options, {})


def test_settings_are_defaults_that_the_command_line_overrides() -> None:
    settings = {"profile": "quick", "precision": ["bf16"], "limit": 3}
    assert make_matrix({}, settings).precisions == ("bf16",)
    assert make_matrix({}, settings).limit == 3
    assert make_matrix({"precision": ["fp32"], "limit": "9"}, settings).precisions == ("fp32",)
    with pytest.raises(UsageError, match="did you mean 'precision'"):
        make_matrix({}, {"precisions": "bf16"})


def test_two_directories_of_one_name_are_not_mixed_up(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        (tmp_path / parent / "same").mkdir(parents=True)
    with pytest.raises(UsageError, match="both called 'same'"):
        make_matrix({"model": [f"{tmp_path}/a/same", f"{tmp_path}/b/same"]}, {})


def test_settings_are_read_from_pyproject(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == {}
    (tmp_path / "pyproject.toml").write_text('[tool.benchsuite]\nprofile = "quick"\n')
    assert read_settings(tmp_path) == {"profile": "quick"}
    (tmp_path / "pyproject.toml").write_text("[tool.benchsuite\n")
    with pytest.raises(UsageError, match="not TOML"):
        read_settings(tmp_path)
    for text in ("tool = 5", "tool.benchsuite = 5"):
        (tmp_path / "pyproject.toml").write_text(text)
        with pytest.raises(UsageError, match=r"\[tool.benchsuite\] is to be a table, not 5"):
            read_settings(tmp_path)


def test_settings_of_a_directory_that_is_gone_are_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UsageError, match="the working directory is gone"):
        settings_here()


def test_a_profile_that_is_asked_for_goes_before_the_settings() -> None:
    settings = {"precision": ["bf16"], "limit": 200, "model": ["tiny"]}
    assert make_matrix({}, settings).precisions == ("bf16",)
    quick = make_matrix({"profile": "quick"}, settings)
    assert (quick.limit, quick.precisions) == (16, ("fp32", "absmax8-row", "absmax4-g32"))
    assert make_matrix({"profile": "quick", "limit": "3"}, settings).limit == 3


def test_the_task_of_the_settings_is_that_of_their_own_file() -> None:
    settings = {"dataset": ["mine.jsonl"], "task": "classification"}
    assert make_matrix({"dataset": ["prose"]}, settings).datasets == ("prose",)


@pytest.mark.parametrize(
    ("options", "settings", "message"),
    [
        ({"precision": [","]}, {}, "precision is empty"),
        ({"model": [""]}, {}, "model is empty"),
        ({}, {"profile": ["quick"]}, "profile is"),
        ({}, {"limit": True}, "limit is True"),
        ({}, {"limit": 2.9}, "limit is 2.9"),
        ({}, {"device": ["cpu"]}, "device is"),
    ],
)
def test_values_of_another_kind_are_usage_errors(options: Any, settings: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_matrix(options, settings)
