"""A token by our own loops in C has the logits of our own loop through PyTorch, whatever holds the weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchsuite import c_code
from benchsuite.errors import NumericalError, UsageError
from benchsuite.kernels import cpu, prepare
from benchsuite.kernels.in_c import has_rows
from benchsuite.models import one_token
from benchsuite.models.gpt2 import GPT2, GPT2Config, KVCache, from_state, random_state
from benchsuite.models.in_precision import load
from benchsuite.models.language_model import LanguageModel, Sequenced, generate, score, tokens_behind
from benchsuite.models.one_token import MOST_ROWS, rows_of
from benchsuite.quant.apply import set_module
from benchsuite.quant.precision import precisions

PROMPTS = [[5, 9, 200, 31, 7], [7, 31, 200], [7] * 5, [300, 41, 12, 77, 1, 60], [1, 2, 3, 4, 6]]
EVERY_LINEAR = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")

pytestmark = pytest.mark.skipif(not has_rows(), reason="no C compiler with OpenMP")


def small(config: GPT2Config, precision: str) -> tuple[GPT2, GPT2]:
    """Two models of the same weights; the second one is laid out for single tokens."""
    made = []
    for _ in range(2):
        module = from_state(random_state(config), config)
        precisions[precision].apply(module, device="cpu")
        module.prepare("cpu")
        made.append(module)
    made[1].lay_out(one_token=True)
    return made[0], made[1]


def logits_behind(module: GPT2, tokens: Tensor, cache: KVCache) -> Tensor:
    found = module.next_tokens(tokens, cache)
    assert cache.one_token is not None
    logits = cache.one_token.logits
    assert torch.equal(found, logits.argmax(-1))
    return logits


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
    ours, module = small(config, precision)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, config.vocab_size, (rows, 20), generator=generator)
    wanted = ours.head(ours.hidden(ids)).float()  # (B, T, V)
    cache = module.new_cache(rows, 20)
    module.hidden(ids[:, :3], cache)
    for place in range(3, 20):
        logits = logits_behind(module, ids[:, place], cache)
        torch.testing.assert_close(logits, wanted[:, place], atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "w8a8-head8", "absmax8-row", "absmax4-g32", "nf4-g64"])
@torch.inference_mode()
def test_widths_heads_and_vocabularies_of_no_whole_tile(precision: str) -> None:
    """Rows behind which nothing may be read, fewer rows than threads read at once, heads of 13 and 39 columns a row."""
    for width, heads, vocab in ((39, 3, 7), (96, 4, 131), (320, 5, 9)):
        config = GPT2Config(vocab_size=vocab, n_positions=8, n_embd=width, n_layer=1, n_head=heads)
        ours, module = small(config, precision)
        if not module.runs_in_c(3):
            assert precision in ("absmax4-g32", "nf4-g64")  # groups that do not divide the width
            continue
        ids = torch.randint(0, vocab, (3, 8), generator=torch.Generator().manual_seed(2))
        wanted = ours.head(ours.hidden(ids)).float()
        cache = module.new_cache(3, 8)
        for place in range(8):
            logits = logits_behind(module, ids[:, place], cache)
            torch.testing.assert_close(logits, wanted[:, place], atol=2e-2, rtol=0)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 2e-6), ("bf16", 2e-2), ("w8a8-head8", 2e-6)])
@pytest.mark.parametrize("before", [0, 1, 7])
@torch.inference_mode()
def test_ragged_rows_behind_a_prefix_that_leave_and_are_doubled(precision: str, tolerance: float, before: int) -> None:
    config = GPT2Config(vocab_size=50, n_positions=32, n_embd=48, n_layer=2, n_head=3)
    ours, module = small(config, precision)
    generator = torch.Generator().manual_seed(3)
    first, *rows = (torch.randint(0, 50, (n,), generator=generator).tolist() for n in (before, 3, 5, 1))
    shared = None
    if before:
        shared = module.new_cache(1, before + 2)  # no full one
        module.hidden(torch.tensor([first]), shared)
    cache = module.new_cache(len(rows), before + 9, shared)
    module.hidden(torch.tensor([[*row, *[0] * (5 - len(row))] for row in rows]), cache)
    cache.lengths = [before + len(row) for row in rows]
    for kept in ([0, 1, 2], [2, 0], [1, 1, 0]):
        cache.keep(kept)
        rows = [[*rows[row], 4 + row] for row in kept]
        logits = logits_behind(module, torch.tensor([row[-1] for row in rows]), cache)
        for row, found in zip(rows, logits, strict=True):
            wanted = ours(torch.tensor([first + row]))[0, -1].float()
            torch.testing.assert_close(found, wanted, atol=tolerance, rtol=tolerance)
        assert cache.lengths == [before + len(row) for row in rows]


@pytest.mark.parametrize("precision", ["fp32", "w8a8-head8", "absmax4-g32-head8", "nf4-g64"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_generations_in_c_say_what_generations_through_pytorch_say(
    precision: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        model, _ = load("random:tiny", precision, "cpu", "sdpa")
        prompts = {"max_new_tokens": 40, "batch_size": 3, "prefix": [9, 8, 7]}
        calls = c_code.calls["benchsuite::one_token"]
        said = dict(generate(model, PROMPTS, **prompts))
        assert c_code.calls["benchsuite::one_token"] > calls
        monkeypatch.setattr(GPT2, "runs_in_c", lambda *_: False)
        assert dict(generate(model, PROMPTS, **prompts)) == said
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "w8a8-head8"])
@pytest.mark.parametrize("packs", [False, True], ids=["as here", "packed for prompts"])
def test_scoring_between_generations_changes_nothing(
    precision: str, packs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are laid out for many tokens, and for single ones again."""
    if packs:
        monkeypatch.setattr(cpu, "packs_int8", lambda: True)
        if precision == "fp32":
            monkeypatch.setitem(prepare._PLAIN, "mkl-and-onednn", cpu.PackedLinear)
    model, _ = load("random:tiny", precision, "cpu", "sdpa")
    packed = [layer for layer in module_of(model).modules() if isinstance(layer, cpu.PackedLinear | cpu.Int8Linear)]
    if packs and precision != "bf16":
        assert packed
    sequences = [Sequenced([*prompt, 4], 1) for prompt in PROMPTS]

    def scores() -> dict[int, float]:
        return {row: found.total for row, found in score(model, sequences, batch_size=2)}

    def says() -> dict[int, list[int]]:
        return dict(generate(model, PROMPTS, max_new_tokens=8, batch_size=2))

    first, said = scores(), says()
    assert (scores(), says(), says()) == (first, said, said)
    assert not any(layer.is_packed for layer in packed)
    assert scores() == first
    if packs:
        assert all(layer.is_packed for layer in packed)


def test_eager_and_flash_attention_stay_pytorchs_and_so_do_large_batches_and_weights_laid_out_for_many_tokens() -> None:
    model, _ = load("random:tiny", "fp32", "cpu", "eager")
    module = module_of(model)
    module.lay_out(one_token=True)
    assert not module.runs_in_c(1)
    module = module_of(load("random:tiny", "fp32", "cpu", "sdpa")[0])
    assert not module.runs_in_c(1)
    module.lay_out(one_token=True)
    assert module.runs_in_c(MOST_ROWS)
    assert not module.runs_in_c(MOST_ROWS + 1)
    module.lay_out(one_token=False)
    assert not module.runs_in_c(1)


@pytest.mark.parametrize("precision", ["fp32", "w8a8-head8"])
@torch.inference_mode()
def test_logits_that_are_not_finite_are_an_error_and_no_token(precision: str) -> None:
    model, _ = load("random:tiny", precision, "cpu", "sdpa")
    module = module_of(model)
    module.lay_out(one_token=True)
    position = module.wpe.weight[5]  # of the first token after the prompt
    for wrong in ("nan", "inf"):
        kept, cache = position.clone(), model.new_cache(2, 9)
        model.hidden(torch.tensor([[5, 9, 200, 31, 7]] * 2), cache)
        position[3] = float(wrong)
        with pytest.raises(NumericalError, match="NaN"):
            tokens_behind(model, torch.tensor([7, 7]), cache)
        position.copy_(kept)
        cache.lengths = [5, 5]  # forget the token
        assert (tokens_behind(model, torch.tensor([7, 7]), cache) >= 0).all()


@pytest.mark.parametrize("wrong", ["nan", "inf", "-inf"])
@torch.inference_mode()
def test_one_logit_that_is_no_number_is_enough(wrong: str) -> None:
    """Less than all others is a number, and NaN and infinity are not."""
    _, module = small(GPT2Config(vocab_size=50, n_positions=8, n_embd=32, n_layer=1, n_head=2), "fp32")
    tokens = torch.tensor([5])
    assert module.next_tokens(tokens, module.new_cache(1, 4)) >= 0
    largest = module.ln_f.weight.abs().argmax()
    module.ln_f.bias.zero_()[largest] = 1e3  # the sign of this feature is known
    module.wte.weight[7] = 0
    module.wte.weight[7, largest] = float(wrong)
    found = module.next_tokens(tokens, module.new_cache(1, 4))
    assert (found[0] >= 0) == (wrong == "-inf")
    assert found[0] != 7


@torch.inference_mode()
def test_a_full_cache_is_an_error_as_it_is_through_pytorch() -> None:
    _, module = small(GPT2Config(vocab_size=50, n_positions=8, n_embd=32, n_layer=1, n_head=2), "fp32")
    cache = module.new_cache(1, 4)
    module.hidden(torch.tensor([[1, 2, 3, 4]]), cache)
    with pytest.raises(UsageError, match="5 tokens do not fit 4 positions"):
        module.next_tokens(torch.tensor([5]), cache)
    with pytest.raises(UsageError, match="5 tokens do not fit 4 positions"):
        module.hidden(torch.tensor([[5]]), cache)


@pytest.mark.parametrize("precision", ["fp16", "llm-int8", "absmax3-g128", "nf4-g24"])
def test_a_model_with_layers_without_a_loop_stays_as_the_table_chose(precision: str) -> None:
    model, _ = load("random:tiny", precision, "cpu", "sdpa")
    module = module_of(model)
    module.lay_out(one_token=True)
    assert not module.in_rows
    assert not module.runs_in_c(1)
    assert len(list(generate(model, PROMPTS, max_new_tokens=2, batch_size=2))) == len(PROMPTS)


def put(name: str, layer: torch.nn.Module) -> Callable[[GPT2], object]:
    return lambda module: set_module(module, name, layer)


@pytest.mark.parametrize(
    "change",
    [
        put("h.1.ln_2", torch.nn.RMSNorm(64)),
        put("ln_f", torch.nn.RMSNorm(64)),
        put("ln_f", torch.nn.LayerNorm(64, elementwise_affine=False)),
        put("h.0.ln_1", torch.nn.LayerNorm(64, bias=False)),
        put("h.0.ln_1", torch.nn.LayerNorm(64, eps=1e-3)),
        put("h.1.mlp.gelu", torch.nn.ReLU()),
        put("h.0.attn.c_proj", torch.nn.Sequential(torch.nn.Linear(64, 64))),
        lambda module: module.h[1].mlp.register_forward_hook(lambda _, __, y: y / 2),
        lambda module: module.h[1].mlp.register_forward_pre_hook(lambda _, x: x),
        lambda module: setattr(module.h[0], "forward", lambda x, *_: x),
        lambda module: setattr(module.h[0], "__class__", type("Mine", (type(module.h[0]),), {"__module__": "mine"})),
    ],
    ids=[
        "norm",
        "last norm",
        "no weight",
        "no bias",
        "epsilon",
        "activation",
        "layer",
        "hook",
        "pre-hook",
        "forward",
        "class",
    ],
)
@torch.inference_mode()
def test_a_model_that_was_changed_by_hand_goes_through_what_was_put_there(change: Callable[[GPT2], object]) -> None:
    _, module = small(GPT2Config(vocab_size=50, n_positions=8, n_embd=64, n_layer=2, n_head=2), "fp32")
    assert module.runs_in_c(1)
    change(module)
    module.lay_out(one_token=True)
    assert not module.runs_in_c(1)


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


def test_without_a_compiler_pytorch_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said = dict(generate(load("random:tiny", "w8a8", "cpu", "sdpa")[0], PROMPTS, max_new_tokens=8, batch_size=2))
    monkeypatch.setattr(one_token, "has_rows", lambda: False)
    model, _ = load("random:tiny", "w8a8", "cpu", "sdpa")
    assert dict(generate(model, PROMPTS, max_new_tokens=8, batch_size=2)) == said
    assert not module_of(model).in_rows


@pytest.mark.parametrize("precision", ["fp32", "bf16", "w8a8-head8", "absmax4-g32"])
def test_no_weight_is_held_twice(precision: str) -> None:
    module = module_of(load("random:tiny", precision, "cpu", "sdpa")[0])
    module.lay_out(one_token=True)
    held = {tensor.data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    for layer in (module.wte, *(block.get_submodule(name) for block in module.h for name in EVERY_LINEAR)):
        rows = rows_of(layer)
        assert rows is not None
        assert rows.weight.data_ptr() in held


def module_of(model: LanguageModel) -> GPT2:
    assert isinstance(model.module, GPT2)
    return model.module
