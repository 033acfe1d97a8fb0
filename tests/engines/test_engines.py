"""Engines get the same weights and the same clock, and one that is missing is named with what installs it."""

from __future__ import annotations

import functools
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from benchsuite.commands.engines import command
from benchsuite.engines import Engine, format_of, ignore, load_engine
from benchsuite.engines.source import SIZES, Source, open_source
from benchsuite.errors import FileFormatError, UnavailableError, UnknownNameError, UsageError
from benchsuite.measure.generation import require_context
from benchsuite.measure.race import NEW_TOKENS, race
from benchsuite.models import TINY
from benchsuite.models import models as model_names

PROMPT = [5, 9, 200, 31, 7]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return open_source("random:tiny")


def native_logits(ids: Sequence[int]) -> torch.Tensor:
    model = model_names["random:tiny"].load("cpu", "sdpa")
    with torch.inference_mode():
        return model.head(model.hidden(torch.tensor([list(ids)])))[0]


def test_weights_are_written_once(source: Source) -> None:
    written = (source.directory / "model.safetensors").stat().st_mtime_ns
    assert source.converted("hub", pytest.fail) == source.directory
    assert (source.directory / "model.safetensors").stat().st_mtime_ns == written


INSTALLED_BY = {"ctranslate2": "ctranslate2", "llama-cpp": "llama_cpp", "onnxruntime": "onnxruntime"}
EVERY = ("native:fp32", "transformers:fp32", "ctranslate2:float32", "llama-cpp:F32", "onnxruntime:fp32")


def engine_of(name: str, source: Source) -> Engine:
    module = INSTALLED_BY.get(name.partition(":")[0])
    if module:
        pytest.importorskip(module)
    return load_engine(name, source, threads=1)


@pytest.mark.parametrize("name", EVERY[1:])
def test_every_engine_says_what_ours_says_alone_and_in_a_batch(source: Source, name: str) -> None:
    prompts = [PROMPT, PROMPT[::-1], [7] * len(PROMPT)]
    engine, ours = engine_of(name, source), load_engine("native:fp32", source, threads=1)
    assert engine.generate(prompts, 20) == ours.generate(prompts, 20)
    assert engine.generate(prompts[1:2], 20) == ours.generate(prompts[1:2], 20)


@pytest.mark.parametrize("name", EVERY[1:])
def test_every_engine_takes_the_epsilon_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said = {}
    for epsilon in (1e-5, 1.0):
        model = tmp_path / f"epsilon {epsilon}"
        shutil.copytree(TINY, model)
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config | {"layer_norm_epsilon": epsilon}))
        source = open_source(str(model))
        said[epsilon] = engine_of(name, source).generate([PROMPT], 20)
        assert said[epsilon] == load_engine("native:fp32", source, threads=1).generate([PROMPT], 20)
    assert said[1e-5] != said[1.0]


FILES = [
    ("transformers:fp32", "hub/model.safetensors"),
    ("ctranslate2:float32", "hub/config.json"),
    ("ctranslate2:float32", "ctranslate2/model.bin"),
    ("llama-cpp:F16", "F32/model.gguf"),
    ("llama-cpp:F16", "F16/model.gguf"),
    ("onnxruntime:int8", "onnx-fp32/weights"),
    ("onnxruntime:int8", "onnx-int8/model.onnx"),
]


@pytest.mark.parametrize(("name", "file"), FILES)
def test_a_conversion_that_is_not_whole_is_named_with_what_to_remove(
    source: Source, tmp_path: Path, name: str, file: str
) -> None:
    engine_of(name, source)
    ours = replace(source, folder=tmp_path / "ours")
    shutil.copytree(source.folder, ours.folder)
    damaged = ours.folder / file
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(FileFormatError, match=rf"{damaged.name} has not the bytes .* remove {damaged.parent}, and"):
        ours.read() if "hub" in file else load_engine(name, ours, threads=1)
    shutil.rmtree(damaged.parent)
    load_engine(name, ours, threads=1).prefill(PROMPT)


def test_a_conversion_from_another_leaves_that_alone(source: Source, tmp_path: Path) -> None:
    """Other processes read it meanwhile."""
    ours = replace(source, folder=tmp_path / "ours")
    engine_of("onnxruntime:fp32", ours)
    plain = ours.folder / "onnx-fp32"
    changed = plain.stat().st_mtime_ns
    load_engine("onnxruntime:int8", ours, threads=1)
    assert plain.stat().st_mtime_ns == changed
    assert {file.name for file in (ours.folder / "onnx-int8").iterdir()} == {"model.onnx", "model.onnx.data", SIZES}


def test_what_llama_cpp_would_keep_in_16_bits_is_not_called_quantized(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("llama_cpp")
    monkeypatch.setattr(Source, "config", replace(source.config, n_embd=48))
    for form in ("Q8_0", "Q4_0", "Q4_1"):
        with pytest.raises(UnavailableError, match=f"{form} wants rows of whole blocks of 32 .* use llama-cpp:F16"):
            load_engine(f"llama-cpp:{form}", source, threads=1)


@pytest.mark.parametrize("name", EVERY)
def test_a_mark_is_heard_when_a_token_of_every_row_is_known(source: Source, name: str) -> None:
    marks: list[float] = []
    engine_of(name, source).generate([PROMPT, PROMPT[::-1]], 7, lambda: marks.append(time.perf_counter()))
    assert len(marks) == 7
    assert marks == sorted(marks)


@pytest.mark.parametrize(
    "name", ["ctranslate2:int8", "llama-cpp:F16", "llama-cpp:BF16", "llama-cpp:Q8_0", "onnxruntime:int8"]
)
def test_a_rounded_engine_still_speaks(source: Source, name: str) -> None:
    engine = engine_of(name, source)
    engine.prefill(PROMPT)
    [tokens] = engine.generate([PROMPT], 5)
    assert len(tokens) == 5
    assert all(0 <= token < source.vocab_size for token in tokens)


def test_ctranslate2_computes_the_same_model(source: Source) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    engine = load_engine("ctranslate2:float32", source, threads=1)
    view = engine.generator.forward_batch([PROMPT]).to_device(ctranslate2.Device.cpu)  # type: ignore[attr-defined]
    logits = torch.from_numpy(np.array(view))
    torch.testing.assert_close(logits[0], native_logits(PROMPT), atol=1e-3, rtol=0)


def test_a_compute_type_that_the_processor_lacks_is_unavailable(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda _: {"float32"})
    with pytest.raises(UnavailableError, match="no bfloat16 on this processor"):
        load_engine("ctranslate2:bfloat16", source, threads=1)


def test_llama_cpp_computes_the_same_model(source: Source) -> None:
    pytest.importorskip("llama_cpp")
    logits = load_engine("llama-cpp:F32", source, threads=1).logits(PROMPT)  # type: ignore[attr-defined]
    torch.testing.assert_close(torch.from_numpy(logits), native_logits(PROMPT), atol=1e-2, rtol=0)


def test_onnx_runtime_computes_the_same_model_to_the_fourth_digit(source: Source) -> None:
    pytest.importorskip("onnxruntime")
    ids = [*PROMPT, *range(100)]
    logits = load_engine("onnxruntime:fp32", source, threads=1).logits(ids)  # type: ignore[attr-defined]
    torch.testing.assert_close(torch.from_numpy(logits), native_logits(ids), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("engine", "precision", "form"),
    [
        ("native", "nf4-g64", "nf4-g64"),
        ("ctranslate2", "fp32", "float32"),
        ("ctranslate2", "w8a8-head8", "int8"),
        ("llama-cpp", "absmax8-row", "Q8_0"),
        ("llama-cpp", "nf4-g64", "Q4_0"),
        ("transformers", "bnb-nf4", "bnb-nf4"),
        ("onnxruntime", "w8a8", "int8"),
    ],
)
def test_each_precision_has_its_counterpart(engine: str, precision: str, form: str) -> None:
    assert format_of(engine, precision) == form


@pytest.mark.parametrize(("engine", "precision"), [("ctranslate2", "nf4-g64"), ("onnxruntime", "bf16")])
def test_a_precision_without_a_counterpart_is_unavailable(engine: str, precision: str) -> None:
    with pytest.raises(UnavailableError, match=f"{engine} has no counterpart of {precision}; it has those of fp32"):
        format_of(engine, precision)


def test_an_engine_for_the_cpu_is_unavailable_on_another_device(source: Source) -> None:
    with pytest.raises(UnavailableError, match="measured on cpu only"):
        load_engine("llama-cpp:F32", source, threads=1, device="cuda")


@pytest.mark.parametrize(
    ("name", "package"),
    [("ctranslate2:int8", "ctranslate2"), ("llama-cpp:Q8_0", "llama-cpp"), ("onnxruntime:fp32", "onnxruntime")],
)
def test_an_engine_that_is_not_installed_is_named_with_what_installs_it(
    source: Source, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    for module in ("ctranslate2", "llama_cpp", "onnxruntime"):
        monkeypatch.setitem(sys.modules, module, None)
    for module in ("ctranslate2_engine", "llama_cpp_engine", "onnxruntime_engine"):
        monkeypatch.delitem(sys.modules, f"benchsuite.engines.{module}", raising=False)
    with pytest.raises(UnavailableError, match=f"pip install {package}"):
        load_engine(name, source, threads=1)


def test_unknown_engines_and_formats_are_usage_errors(source: Source) -> None:
    with pytest.raises(UnknownNameError, match="llama-cpp"):
        load_engine("lama-cpp:F32", source, threads=1)
    with pytest.raises(UnknownNameError, match="Q8_0"):
        load_engine("llama-cpp:Q8", source, threads=1)
    with pytest.raises(UsageError, match="names no format"):
        load_engine("ctranslate2", source, threads=1)


def test_every_engine_gets_the_same_prompts_in_a_changing_order_and_a_round_of_warm_up() -> None:
    calls: list[tuple[str, int, int]] = []

    class Fake:
        def __init__(self, name: str) -> None:
            self.name = name

        def prefill(self, ids: Sequence[int]) -> None:
            calls.append((self.name, hash(tuple(ids)), 0))

        def generate(
            self, prompts: Sequence[Sequence[int]], new_tokens: int, mark: Callable[[], None] = ignore
        ) -> list[list[int]]:
            calls.append((self.name, hash(tuple(prompts[0])), new_tokens))
            for _ in range(new_tokens):
                mark()
            return [[1] * new_tokens]

    starts = {name: functools.partial(Fake, name) for name in "abcd"}
    *_, (_, _, lanes) = race(starts, vocab_size=100, rounds=3, missing={})
    order = [name for name, _, _ in calls]
    rounds = ["".join(order[at : at + 4]) for at in range(0, len(order), 4)]
    assert [sorted(each) for each in rounds] == [list("abcd")] * 8
    assert len(set(rounds[:4])) == len(set(rounds[4:])) == 4  # nobody comes behind the same engine in every round
    assert [call[2] for call in calls] == [0] * 16 + [NEW_TOKENS] * 16  # one work after the other
    calls.clear()
    known = list(race(starts, vocab_size=100, rounds=3, missing={}))
    assert [(work, number) for work, number, _ in known] == [(w, n) for w in ("prefill", "decode") for n in (1, 2, 3)]
    assert [name for name, _, _ in calls] == order
    assert [call[1:] for call in calls if call[0] == "a"] == [call[1:] for call in calls if call[0] == "b"]
    assert all(len(lane.prefill_s) == len(lane.decode_s) == 3 for lane in lanes.values())


def test_the_command_goes_on_without_an_engine_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    monkeypatch.delitem(sys.modules, "benchsuite.engines.ctranslate2_engine", raising=False)
    out = tmp_path / "race.json"
    arguments = ["native:fp32", "ctranslate2:int8", "--model", "random:tiny", "--rounds", "1", "--json", str(out)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert "ctranslate2:int8: skipped" in result.output
    [lane] = json.loads(out.read_text())["lanes"].values()
    assert lane["prefill_tokens"] == 512  # the context of this model is shorter than the prompt would be
    assert len(lane["prefill_s"]) == 1


def test_an_engine_that_fails_leaves_the_race_with_its_reason_and_the_others_go_on(source: Source) -> None:
    ours = load_engine("native:fp32", source, threads=1)

    class Failing:
        """Works `rounds` times; the one without the clock is the first."""

        def __init__(self, error: Exception, rounds: int) -> None:
            self.errors = [None] * rounds + [error]

        def prefill(self, _: Sequence[int]) -> None:
            if error := self.errors.pop(0):
                raise error

        def generate(self, *given: Any) -> list[list[int]]:
            return ours.generate(*given)

    def not_started() -> Engine:
        raise FileFormatError("the file is damaged")

    starts = {
        "ours": lambda: ours,
        "damaged": not_started,
        "missing": lambda: cast("Engine", Failing(UnavailableError("too many"), 0)),
        "faulty": lambda: cast("Engine", Failing(AssertionError(), 0)),
        "late": lambda: cast("Engine", Failing(RuntimeError("no memory\nmore of it"), 2)),
    }
    missing: dict[str, str] = {}
    running = race(starts, vocab_size=source.vocab_size, rounds=2, prefill_tokens=16, missing=missing)
    assert list(next(running)[2]) == ["ours", "late"]
    *_, (_, _, lanes) = running
    assert [(len(lane.prefill_s), len(lane.decode_s)) for lane in lanes.values()] == [(2, 2)]
    assert missing == {
        "damaged": "the file is damaged",
        "missing": "too many",
        "faulty": "AssertionError",
        "late": "RuntimeError: no memory",
    }
    for wrong in (["damaged"], []):
        assert not list(race({name: starts[name] for name in wrong}, vocab_size=9, rounds=2, missing={}))


def test_a_race_without_any_engine_is_an_error_and_so_is_a_name_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "benchsuite.engines.native", None)
    result = CliRunner().invoke(command, ["native:fp32", "--model", "random:tiny"])
    assert isinstance(result.exception, UnavailableError)
    assert "native:fp32: skipped: torch is not installed" in result.output
    result = CliRunner().invoke(command, ["nativ:fp32", "--model", "random:tiny"])
    assert isinstance(result.exception, UnknownNameError)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A model with a context of 24 tokens."""
    model = tmp_path_factory.mktemp("small") / "model"
    shutil.copytree(TINY, model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"n_positions": 24}))
    weights = load_file(model / "model.safetensors")
    weights["transformer.wpe.weight"] = weights["transformer.wpe.weight"][:24].clone()
    save_file(weights, model / "model.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(model.parent))
        return open_source(str(model))


@pytest.mark.parametrize("name", EVERY)
def test_a_generation_may_fill_the_context_and_its_last_token_is_never_fed(small: Source, name: str) -> None:
    [tokens] = engine_of(name, small).generate([PROMPT], 20)
    assert tokens == load_engine("native:fp32", small, threads=1).generate([PROMPT], 20)[0]
    require_context("small", 24, len(PROMPT), 20)
    with pytest.raises(UsageError, match="small sees 24 tokens; 21 behind a prompt of 5 want 25: name a model"):
        require_context("small", 24, len(PROMPT), 21)


def test_a_race_in_a_context_that_is_too_short_is_refused_before_any_engine_is_loaded(small: Source) -> None:
    result = CliRunner().invoke(command, ["native:fp32", "--model", small.name])
    assert isinstance(result.exception, UsageError)
    assert "sees 24 tokens; 64 behind a prompt of 32 want 95" in str(result.exception)


def test_more_sequences_than_llama_cpp_takes_are_unavailable(source: Source) -> None:
    engine = engine_of("llama-cpp:F32", source)
    with pytest.raises(UnavailableError, match="no context for 300 sequences of 7 tokens; it takes 256 sequences"):
        engine.generate([PROMPT] * 300, 2)
    assert len(engine.generate([PROMPT], 2)[0]) == 2


def test_a_model_that_is_no_gpt2_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchsuite.engines.source.GPT2", type("Other", (), {}))
    with pytest.raises(UnavailableError, match="plain weights of a native GPT-2"):
        open_source("random:tiny")
