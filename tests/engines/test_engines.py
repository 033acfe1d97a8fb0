"""Engines get the same weights and the same clock, and one that is missing is named with what installs it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchsuite.commands.engines import command
from benchsuite.engines import load_engine
from benchsuite.engines.race import NEW_TOKENS, race
from benchsuite.engines.source import Source, open_source
from benchsuite.errors import UnavailableError, UnknownNameError, UsageError
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


def test_native_and_transformers_say_the_same(source: Source) -> None:
    engines = [load_engine(name, source, threads=1) for name in ("native:fp32", "transformers:fp32")]
    first, second = (engine.generate(PROMPT, 20) for engine in engines)
    assert len(first) == 20
    assert first == second


def test_ctranslate2_computes_the_same_model(source: Source) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    engine = load_engine("ctranslate2:float32", source, threads=1)
    view = engine.generator.forward_batch([PROMPT]).to_device(ctranslate2.Device.cpu)  # type: ignore[attr-defined]
    logits = torch.from_numpy(np.array(view))
    torch.testing.assert_close(logits[0], native_logits(PROMPT), atol=1e-3, rtol=0)
    assert len(engine.generate(PROMPT, 20)) == 20


def test_a_compute_type_that_the_processor_lacks_is_unavailable(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda _: {"float32"})
    with pytest.raises(UnavailableError, match="no bfloat16 on this processor"):
        load_engine("ctranslate2:bfloat16", source, threads=1)


def test_llama_cpp_computes_the_same_model(source: Source) -> None:
    pytest.importorskip("llama_cpp")
    engine = load_engine("llama-cpp:F32", source, threads=1)
    engine.prefill(PROMPT)
    scores = torch.tensor(engine.model.scores[: len(PROMPT)])  # type: ignore[attr-defined]
    torch.testing.assert_close(scores, native_logits(PROMPT), atol=1e-2, rtol=0)


@pytest.mark.parametrize(("name", "package"), [("ctranslate2:int8", "ctranslate2"), ("llama-cpp:Q8_0", "llama-cpp")])
def test_an_engine_that_is_not_installed_is_named_with_what_installs_it(
    source: Source, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    for module in ("ctranslate2", "llama_cpp"):
        monkeypatch.setitem(sys.modules, module, None)
    for module in ("ctranslate2_engine", "llama_cpp_engine"):
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


def test_every_engine_gets_the_same_prompts_in_turn_and_a_round_of_warm_up() -> None:
    calls: list[tuple[str, int, int]] = []

    class Fake:
        prefill_logits = "all"

        def __init__(self, name: str) -> None:
            self.name = name

        def prefill(self, ids: Sequence[int]) -> None:
            calls.append((self.name, hash(tuple(ids)), 0))

        def generate(self, ids: Sequence[int], new_tokens: int) -> list[int]:
            calls.append((self.name, hash(tuple(ids)), new_tokens))
            return [1] * new_tokens

    *_, lanes = race({"a": Fake("a"), "b": Fake("b")}, vocab_size=100, rounds=3)
    assert [name for name, _, _ in calls] == ["a"] * 3 + ["b"] * 3 + (["a"] * 3 + ["b"] * 3) * 3
    assert [call[1:] for call in calls if call[0] == "a"] == [call[1:] for call in calls if call[0] == "b"]
    assert {call[2] for call in calls} == {0, 1, NEW_TOKENS}
    assert all(len(lane.prefill_s) == len(lane.decode_s) == 3 for lane in lanes.values())


def test_the_command_goes_on_without_an_engine_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    monkeypatch.delitem(sys.modules, "benchsuite.engines.ctranslate2_engine", raising=False)
    monkeypatch.setattr("benchsuite.engines.race.PREFILL_TOKENS", 16)
    out = tmp_path / "race.json"
    arguments = ["native:fp32", "ctranslate2:int8", "--model", "random:tiny", "--rounds", "1", "--json", str(out)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert "ctranslate2:int8: skipped" in result.output
    assert '"prefill_s"' in out.read_text()


def test_a_model_that_is_no_gpt2_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchsuite.engines.source.GPT2", type("Other", (), {}))
    with pytest.raises(UsageError, match="native GPT-2s"):
        open_source("random:tiny")
