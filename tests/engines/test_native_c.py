"""A token by our own loops in C has the logits of our own loop through PyTorch, whatever holds the weights."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from benchsuite import c_code
from benchsuite.engines import load_engine
from benchsuite.engines.native_c import CEngine, rows_of
from benchsuite.engines.source import Source, open_source
from benchsuite.errors import NumericalError, UnavailableError
from benchsuite.kernels.in_c import has_rows
from benchsuite.models import gpt2
from benchsuite.models.gpt2 import GPT2Config
from benchsuite.models.in_precision import load
from benchsuite.quant.precision import precisions

PROMPTS = [[5, 9, 200, 31, 7], [7, 31, 200, 9, 5], [7] * 5, [300, 41, 12, 77, 1], [1, 2, 3, 4, 6]]

pytestmark = pytest.mark.skipif(not has_rows(), reason="no C compiler with OpenMP")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return open_source("random:tiny")


def small(config: GPT2Config, precision: str) -> tuple[gpt2.GPT2, CEngine, gpt2.GPT2]:
    """A model, an engine that owns another of the same weights, and that one."""
    made = []
    for _ in range(2):
        module = gpt2.from_state(gpt2.random_state(config), config)
        precisions[precision].apply(module, device="cpu")
        module.prepare("cpu")
        made.append(module)
    model = SimpleNamespace(name="small", module=made[1], new_cache=made[1].new_cache, device=torch.device("cpu"))
    return made[0], CEngine(cast("Any", model), made[1]), made[1]


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [
        ("fp32", 2e-6),
        ("bf16", 2e-2),  # bfloat16 has steps of 2^-8 at logits of 1, which differ by some roundings
        ("w8a8", 2e-6),
        ("w8a8-head8", 2e-6),
        ("absmax8", 2e-6),
        ("absmax8-row", 2e-6),
        ("zeropoint8-row", 2e-6),
        ("absmax4-g32", 2e-6),
        ("absmax4-g32-head8", 2e-6),
        ("zeropoint4-g64", 2e-6),
        ("nf4-g64", 2e-6),
        ("fp4-g16", 2e-6),
    ],
)
@pytest.mark.parametrize("rows", [1, 2, 5])  # of one product, and of four tokens at once
@torch.inference_mode()
def test_each_token_has_the_logits_of_the_loop_through_pytorch(precision: str, tolerance: float, rows: int) -> None:
    config = GPT2Config(vocab_size=133, n_positions=32, n_embd=64, n_layer=3, n_head=4)
    ours, engine, module = small(config, precision)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, config.vocab_size, (rows, 20), generator=generator)
    wanted = ours.head(ours.hidden(ids)).float()  # (B, T, V)
    engine.prepare(rows, 20)
    module.hidden(ids[:, :3], engine._cache)
    for place in range(3, 20):
        positions = torch.full((rows,), place)
        found, finite = engine._run(ids[:, place], positions, engine._cache)
        logits = engine._work[-1]
        torch.testing.assert_close(logits, wanted[:, place], atol=tolerance, rtol=tolerance)
        assert torch.equal(found, logits.argmax(-1))
        assert finite


@pytest.mark.parametrize("precision", ["fp32", "bf16", "w8a8-head8", "absmax8-row", "absmax4-g32", "nf4-g64"])
@torch.inference_mode()
def test_widths_heads_and_vocabularies_of_no_whole_tile(precision: str) -> None:
    """Rows behind which nothing may be read, fewer rows than threads read at once, heads of 13 and 39 columns a row."""
    for width, heads, vocab in ((39, 3, 7), (96, 4, 131), (320, 5, 9)):
        config = GPT2Config(vocab_size=vocab, n_positions=8, n_embd=width, n_layer=1, n_head=heads)
        try:
            ours, engine, _ = small(config, precision)
        except UnavailableError:
            assert precision in ("absmax4-g32", "nf4-g64")  # groups that do not divide the width
            continue
        ids = torch.randint(0, vocab, (3, 8), generator=torch.Generator().manual_seed(2))
        wanted = ours.head(ours.hidden(ids)).float()
        engine.prepare(3, 8)
        for place in range(8):
            engine._run(ids[:, place], torch.full((3,), place), engine._cache)
            torch.testing.assert_close(engine._work[-1], wanted[:, place], atol=2e-2, rtol=0)


@torch.inference_mode()
def test_rows_stand_where_their_positions_say() -> None:
    config = GPT2Config(vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=2)
    ours, engine, module = small(config, "fp32")
    rows = [torch.tensor([5, 9, 20]), torch.tensor([31, 7, 8, 40, 2])]
    engine.prepare(2, 8)
    module.hidden(torch.nn.utils.rnn.pad_sequence([row[:-1] for row in rows], batch_first=True), engine._cache)
    engine._run(torch.stack([row[-1] for row in rows]), torch.tensor([2, 4]), engine._cache)
    for row, logits in zip(rows, engine._work[-1], strict=True):
        torch.testing.assert_close(logits, ours(row[None])[0, -1], atol=2e-6, rtol=0)


@pytest.mark.parametrize("precision", ["fp32", "w8a8-head8", "absmax4-g32-head8", "nf4-g64"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_generations_of_changing_size_say_what_native_says(source: Source, precision: str, threads: int) -> None:
    before = torch.get_num_threads()
    try:
        ours, in_c = (load_engine(f"{name}:{precision}", source, threads=threads) for name in ("native", "native-c"))
        for prompts, new_tokens in ((PROMPTS, 12), (PROMPTS[:1], 40), (PROMPTS[:3], 1)):
            assert in_c.generate(prompts, new_tokens) == ours.generate(prompts, new_tokens)
        assert isinstance(in_c, CEngine)
        assert {name.partition(" ")[0] for name in in_c.layers} == {"c-rows"}
        assert sum(in_c.layers.values()) == sum(in_c.model.module.kernels.values())  # type: ignore[operator]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("precision", ["fp32", "w8a8-head8"])
def test_logits_that_are_not_finite_are_an_error_and_no_token(source: Source, precision: str) -> None:
    engine = load_engine(f"native-c:{precision}", source, threads=2)
    assert isinstance(engine, CEngine)
    said = engine.generate(PROMPTS, 6)
    module = cast("gpt2.GPT2", engine.model.module)
    position = module.wpe.weight[5]  # of the first token after the prompts
    for wrong in ("nan", "inf"):
        kept = position.clone()
        position[3] = float(wrong)
        with pytest.raises(NumericalError, match="NaN"):
            engine.generate(PROMPTS, 6)
        position.copy_(kept)
        assert engine.generate(PROMPTS, 6) == said


@pytest.mark.parametrize("wrong", ["nan", "inf", "-inf"])
@torch.inference_mode()
def test_one_logit_that_is_no_number_is_enough(wrong: str) -> None:
    """Less than all others is a number, and NaN and infinity are not."""
    _, engine, module = small(GPT2Config(vocab_size=50, n_positions=8, n_embd=32, n_layer=1, n_head=2), "fp32")
    engine.prepare(1, 4)
    at = torch.tensor([0])
    _, finite = engine._run(torch.tensor([5]), at, engine._cache)
    assert finite
    largest = module.ln_f.weight.abs().argmax()
    module.ln_f.bias.zero_()[largest] = 1e3  # the sign of this feature is known
    module.wte.weight[7] = 0
    module.wte.weight[7, largest] = float(wrong)
    found, finite = engine._run(torch.tensor([5]), at, engine._cache)
    assert bool(finite) == (wrong == "-inf")
    assert found[0] != 7


@pytest.mark.parametrize("precision", ["fp16", "llm-int8", "absmax3-g128", "nf4-g24"])
def test_layers_without_a_loop_are_named(source: Source, precision: str) -> None:
    with pytest.raises(UnavailableError, match=r"native-c has no loop for a .*; it takes float32"):
        load_engine(f"native-c:{precision}", source, threads=1)


def test_a_weight_that_is_not_what_its_dtype_says_or_has_gaps_is_not_read() -> None:
    """torchao keeps codes in a layer of PyTorch, as a tensor of its own kind that says float32."""

    class Codes(torch.Tensor):
        pass

    layer = torch.nn.Linear(32, 48).requires_grad_(False)
    assert rows_of(layer) is not None
    layer.weight = torch.nn.Parameter(torch.ones(48, 32).as_subclass(Codes), requires_grad=False)
    assert rows_of(layer) is None
    layer.weight = torch.nn.Parameter(torch.ones(32, 48).t(), requires_grad=False)
    assert rows_of(layer) is None


def test_without_a_compiler_it_is_not_there(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_code, "_library", lambda _: None)
    with pytest.raises(UnavailableError, match="no C compiler with OpenMP; install gcc"):
        load_engine("native-c:fp32", source, threads=1)


def test_the_engine_holds_no_weight_twice(source: Source) -> None:
    for precision in ("fp32", "bf16", "w8a8-head8", "absmax4-g32"):
        engine = load_engine(f"native-c:{precision}", source, threads=1)
        assert isinstance(engine, CEngine)
        module = cast("gpt2.GPT2", engine.model.module)
        held = {tensor.data_ptr() for tensor in (*module.parameters(), *module.buffers())}
        for block in module.h:
            for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
                rows = rows_of(block.get_submodule(name))
                assert rows is not None
                assert rows.weight.data_ptr() in held


def test_it_is_for_the_cpu(source: Source) -> None:
    with pytest.raises(UnavailableError, match="native-c is measured on cpu only; use --device cpu"):
        load_engine("native-c:fp32", source, threads=1, device="cuda")


def test_a_model_of_8_bits_is_loaded_in_rows() -> None:
    """`lay_out` has been called: what oneDNN packed is no row."""
    model, _ = load("random:tiny", "w8a8", "cpu", "sdpa")
    module = cast("gpt2.GPT2", model.module)
    CEngine(model, module)
    rows = rows_of(module.h[0].get_submodule("attn.c_attn"))
    assert rows is not None
    assert rows.weight.layout == torch.strided
