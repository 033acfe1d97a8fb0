"""Decoding with shapes that never change, compiled or in a graph, says what our own loop says."""

from __future__ import annotations

import gc
import shutil
import weakref
from pathlib import Path

import pytest
import torch

from benchsuite.engines import load_engine
from benchsuite.engines.native import NativeEngine
from benchsuite.engines.native_compiled import CompiledEngine
from benchsuite.engines.native_graph import GraphEngine
from benchsuite.engines.source import Source, open_source
from benchsuite.errors import NumericalError, UnavailableError
from benchsuite.models.gpt2 import GPT2
from benchsuite.models.in_precision import load

# behind the first no two tokens are nearly equally likely: in bfloat16 passes round in another order
PROMPTS = [[300, 41, 12, 77, 501], [7, 31, 200, 9, 5], [7] * 5]


def native(precision: str = "fp32", device: str = "cpu") -> tuple[NativeEngine, GPT2]:
    model, _ = load("random:tiny", precision, device, "sdpa")
    assert isinstance(model.module, GPT2)
    return NativeEngine(model), model.module


def graphed(engine: NativeEngine, module: GPT2) -> GraphEngine:
    return GraphEngine(engine.model, module)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return open_source("random:tiny")


@pytest.mark.parametrize("precision", ["fp32", "w8a8-head8", "absmax4-g32", "nf4-g64"])
def test_a_pass_of_fixed_shapes_says_the_same_tokens_in_generations_of_changing_size(precision: str) -> None:
    engine, module = native(precision)
    fixed = graphed(engine, module)
    for prompts, new_tokens in ((PROMPTS, 12), (PROMPTS[::-1], 12), (PROMPTS[:1], 12), (PROMPTS[:1], 40), (PROMPTS, 1)):
        assert fixed.generate(prompts, new_tokens) == engine.generate(prompts, new_tokens)


@torch.inference_mode()
def test_rows_of_different_lengths_and_a_shared_prefix_get_the_hidden_states_of_each_row_alone() -> None:
    _, module = native()
    shared = torch.arange(10, 14)[None]
    prefix = module.new_cache(1, 4)
    module.hidden(shared, prefix)
    rows = [torch.tensor([5, 9, 200]), torch.tensor([31, 7, 8, 40, 2])]
    cache = module.new_cache(2, 12, prefix)
    padded = torch.nn.utils.rnn.pad_sequence([row[:-1] for row in rows], batch_first=True)
    module.hidden(padded, cache)
    tokens, positions = torch.stack([row[-1] for row in rows]), torch.tensor([4 + len(row) - 1 for row in rows])
    together = module.step(tokens, positions, cache)
    for row, state in zip(rows, together, strict=True):
        alone = module.hidden(torch.cat([shared[0], row])[None])[0, -1]
        torch.testing.assert_close(state, alone, atol=1e-4, rtol=0)


def test_logits_that_are_not_finite_are_an_error_and_no_token() -> None:
    engine, module = native()
    fixed = graphed(engine, module)
    shorter = [prompt[:2] for prompt in PROMPTS]
    said = fixed.generate(shorter, 6)
    # the prompt's own logits are fine: only those of the pass after it are not
    head, bias = engine.model.head, module.h[0].ln_1.bias
    kept = bias.clone()
    engine.model.head = lambda hidden: torch.zeros(len(hidden), 10)  # type: ignore[method-assign]
    bias.fill_(float("nan"))
    with pytest.raises(NumericalError, match="NaN"):
        fixed.generate(PROMPTS, 3)
    engine.model.head = head  # type: ignore[method-assign]
    bias.copy_(kept)
    assert fixed.generate(shorter, 6) == said  # of the same size: the cache that met the NaN is not used again


def test_graphs_are_for_cuda_and_say_so(source: Source) -> None:
    with pytest.raises(UnavailableError, match="native-graph is measured on cuda only; use --device cuda"):
        load_engine("native-graph:fp32", source, threads=1)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++, which torch.compile wants")
@pytest.mark.parametrize(
    ("precision", "batches"),
    [
        ("fp32", (PROMPTS, PROMPTS[:1])),
        ("bf16", (PROMPTS[:1],)),
        ("w8a8-head8", (PROMPTS[:1], PROMPTS)),
        ("absmax4-g32-head8", (PROMPTS[:1], 11 * PROMPTS)),  # more rows than the 4-bit product takes
        ("llm-int8", (PROMPTS[:1],)),
    ],
)
def test_a_compiled_pass_says_the_same_tokens(source: Source, precision: str, batches: tuple[list[list[int]]]) -> None:
    ours, compiled = (load_engine(f"{name}:{precision}", source, threads=2) for name in ("native", "native-compiled"))
    for prompts in batches:
        assert compiled.generate(prompts, 20) == ours.generate(prompts, 20)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++, which torch.compile wants")
def test_compiled_engines_in_one_process_do_not_meet_and_leave_nothing_behind(source: Source) -> None:
    """What is compiled asks nothing of its model, so it must never run with another's."""
    first, second = (load_engine(f"native-compiled:{precision}", source, threads=1) for precision in ("fp32", "bf16"))
    ours = {engine: load_engine(f"native:{engine}", source, threads=1) for engine in ("fp32", "bf16")}
    expected = {name: engine.generate(PROMPTS[:1], 12) for name, engine in ours.items()}
    for engine, precision in ((first, "fp32"), (second, "bf16")):
        assert engine.generate(PROMPTS[:1], 12) == expected[precision]
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for engine, precision in ((first, "fp32"), (second, "bf16"), (first, "fp32")):
        assert engine.generate(PROMPTS[:1], 12) == expected[precision]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs  # nothing was compiled again
    assert isinstance(first, CompiledEngine)
    assert list(first.layers) == ["compiled-rows (fp32)"]
    first.prepare(2, 8)
    assert "compiled-rows (fp32)" not in first.layers
    gone = weakref.ref(first.model.module)
    del first, engine
    gc.collect()
    assert gone() is None


def test_without_a_compiler_the_engine_is_unavailable_and_says_what_it_wants(source: Source, tmp_path: Path) -> None:
    engine = load_engine("native-compiled:fp32", source, threads=1)
    assert isinstance(engine, CompiledEngine)
    missing = {"cpp.cxx": (str(tmp_path / "no-compiler"),), "fx_graph_cache": False}
    with (
        torch._inductor.config.patch(missing),
        pytest.raises(UnavailableError, match=r"torch\.compile does not work here: .*it wants g\+\+"),
    ):
        engine.generate(PROMPTS, 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_graph_on_cuda_says_the_same_tokens(precision: str) -> None:
    engine, module = native(precision, "cuda")
    fixed = graphed(engine, module)
    for prompts, new_tokens in ((PROMPTS, 20), (PROMPTS[:1], 20), (PROMPTS[:1], 20)):
        assert fixed.generate(prompts, new_tokens) == engine.generate(prompts, new_tokens)
