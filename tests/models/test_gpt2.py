"""Our GPT-2 is transformers' GPT-2, with and without the cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

import benchsuite.kernels.attention
from benchsuite.errors import FileFormatError, UsageError
from benchsuite.models import ATTENTIONS, TINY, Attention, gpt2, hub_layout
from benchsuite.models.gpt2 import GPT2Config


def ours_and_reference(path: Path, attention: Attention = "sdpa") -> tuple[gpt2.GPT2, Any]:
    reference = transformers.GPT2LMHeadModel.from_pretrained(path, dtype=torch.float32).eval()
    config = hub_layout.config_from_hub(json.loads((path / "config.json").read_text()))
    state = hub_layout.state_from_hub(load_file(path / "model.safetensors"), config)
    state = {key: value.float() for key, value in state.items()}
    return gpt2.from_state(state, config, attention=attention), reference


@pytest.fixture(scope="module", params=[*ATTENTIONS, "in C"])
def attention(request: pytest.FixtureRequest) -> Iterator[Attention]:
    """Every kind of attention; by our loops in C however few the queries are."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "in C":
            patch.setattr(benchsuite.kernels.attention, "MANY_QUERIES", 1)
        yield "sdpa" if request.param == "in C" else request.param


def check_same_logits(path: Path, attention: Attention, tokens: int) -> None:
    model, reference = ours_and_reference(path, attention)
    ids = torch.randint(0, model.config.vocab_size, (2, tokens), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = reference(ids).logits
        torch.testing.assert_close(model(ids), wanted, atol=1e-4, rtol=0)
        model.prepare("cpu")
        torch.testing.assert_close(model(ids), wanted, atol=1e-4, rtol=0)


def check_same_greedy_tokens(path: Path) -> None:
    model, reference = ours_and_reference(path)
    model.prepare("cpu")
    prompt = torch.arange(100, 132)[None]
    wanted = reference.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=256,
        min_new_tokens=256,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    ids, cache = prompt, model.new_cache(1, 32 + 256)
    with torch.inference_mode():
        logits = model(prompt, cache)
        for _ in range(256):
            token = logits[:, -1].argmax(-1, keepdim=True)
            ids = torch.cat([ids, token], dim=1)
            logits = model(token, cache)
    assert ids.tolist() == wanted.tolist()


def test_logits_equal_transformers_on_random_weights(small_directory: Path, attention: Attention) -> None:
    check_same_logits(small_directory, attention, 64)


def test_logits_equal_transformers_on_the_embedded_model(attention: Attention) -> None:
    check_same_logits(TINY, attention, 512)


def test_logits_equal_transformers_on_a_trained_model(shared: Path) -> None:
    check_same_logits(shared / "models" / "gpt2-wt2", "sdpa", 1_024)


def test_256_greedy_tokens_equal_transformers_on_the_embedded_model() -> None:
    check_same_greedy_tokens(TINY)


def test_256_greedy_tokens_equal_transformers_on_a_trained_model(shared: Path) -> None:
    check_same_greedy_tokens(shared / "models" / "gpt2-wt2")


@settings(max_examples=15)
@given(data=st.data())
def test_a_cache_filled_in_any_pieces_gives_the_logits_of_one_pass(
    attention: Attention, small_config: GPT2Config, data: st.DataObject
) -> None:
    pieces = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    model = gpt2.from_state(gpt2.random_state(small_config, seed=3), small_config, attention=attention)
    ids = torch.randint(0, small_config.vocab_size, (2, sum(pieces)), generator=torch.Generator().manual_seed(5))
    cache = model.new_cache(2, sum(pieces))
    with torch.inference_mode():
        parts = [model(piece, cache) for piece in ids.split(pieces, dim=1)]
        torch.testing.assert_close(torch.cat(parts, dim=1), model(ids), atol=1e-5, rtol=1e-5)


@settings(max_examples=15)
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5), keep_last=st.booleans())
def test_rows_of_different_lengths_do_not_disturb_each_other(
    attention: Attention, small_config: GPT2Config, lengths: list[int], keep_last: bool
) -> None:
    model = gpt2.from_state(gpt2.random_state(small_config, seed=3), small_config, attention=attention)
    generator = torch.Generator().manual_seed(7)
    rows = [torch.randint(0, small_config.vocab_size, (length + 2,), generator=generator) for length in lengths]
    padded = torch.zeros(len(rows), max(lengths), dtype=torch.int64)
    for at, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        padded[at, :length] = row[:length]
    cache = model.new_cache(len(rows), max(lengths) + 2)
    with torch.inference_mode():
        model(padded, cache)
        cache.lengths = list(lengths)
        kept = [len(rows) - 1] if keep_last else list(range(len(rows)))
        cache.keep(kept)
        for step in range(2):
            tokens = torch.stack([rows[at][lengths[at] + step] for at in kept])[:, None]
            logits = model(tokens, cache)
            for place, at in enumerate(kept):
                alone = model(rows[at][None, : lengths[at] + step + 1])[0, -1]
                torch.testing.assert_close(logits[place, 0], alone, atol=1e-5, rtol=1e-5)


@settings(max_examples=15)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4), prefix_length=st.integers(1, 20))
def test_a_prefix_computed_once_serves_every_row(
    attention: Attention, small_config: GPT2Config, lengths: list[int], prefix_length: int
) -> None:
    model = gpt2.from_state(gpt2.random_state(small_config, seed=3), small_config, attention=attention)
    generator = torch.Generator().manual_seed(11)
    prefix, *rows = (
        torch.randint(0, small_config.vocab_size, (length,), generator=generator)
        for length in (prefix_length, *(length + 2 for length in lengths))
    )
    padded = torch.zeros(len(rows), max(lengths), dtype=torch.int64)
    for at, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        padded[at, :length] = row[:length]
    with torch.inference_mode():
        shared = model.new_cache(1, prefix_length + 3)  # no full one
        model.hidden(prefix[None], shared)
        cache = model.new_cache(len(rows), prefix_length + max(lengths) + 2, shared)
        apart = [model(torch.cat([prefix, row])[None])[0, prefix_length:] for row in rows]
        together = model(padded, cache)
        for at, length in enumerate(lengths):
            torch.testing.assert_close(together[at, :length], apart[at][:length], atol=1e-5, rtol=1e-5)
        cache.lengths = [prefix_length + length for length in lengths]
        kept = list(range(len(rows)))[::-1]
        cache.keep(kept)
        for step in range(2):
            tokens = torch.stack([rows[at][lengths[at] + step] for at in kept])[:, None]
            logits = model(tokens, cache)
            for place, at in enumerate(kept):
                torch.testing.assert_close(logits[place, 0], apart[at][lengths[at] + step], atol=1e-5, rtol=1e-5)


def test_more_tokens_than_the_context_are_refused(small_config: GPT2Config) -> None:
    model = gpt2.from_state(gpt2.random_state(small_config), small_config)
    with pytest.raises(UsageError, match="65 tokens do not fit 64 positions"):
        model(torch.zeros(1, 65, dtype=torch.int64))
    with pytest.raises(UsageError, match="do not fit the model's context of 64"):
        model.new_cache(1, 65)


@pytest.mark.parametrize(
    ("name", "millions"), [("gpt2", 124), ("gpt2-medium", 355), ("gpt2-large", 774), ("gpt2-xl", 1_558)]
)
def test_named_configurations_have_the_published_number_of_parameters(name: str, millions: int) -> None:
    with torch.device("meta"):
        model = gpt2.GPT2(gpt2.CONFIGS[name])
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6) == millions


def test_weights_survive_the_way_to_the_hub_and_back(small_config: GPT2Config) -> None:
    state = gpt2.random_state(small_config, seed=2)
    back = hub_layout.state_from_hub(hub_layout.state_to_hub(state), small_config)
    assert state.keys() == back.keys()
    assert all(torch.equal(state[key], back[key]) for key in state)


def test_a_missing_an_unknown_and_a_misshapen_key_are_named(small_config: GPT2Config) -> None:
    tensors = hub_layout.state_to_hub(gpt2.random_state(small_config))
    with pytest.raises(FileFormatError, match=r"missing h\.1\.ln_2\.bias; unknown h\.9\.extra"):
        hub_layout.state_from_hub(
            {k: v for k, v in tensors.items() if k != "transformer.h.1.ln_2.bias"} | {"h.9.extra": torch.zeros(1)},
            small_config,
        )
    with pytest.raises(FileFormatError, match=r"h\.0\.mlp\.c_fc\.weight has shape \(48, 7\)"):
        hub_layout.state_from_hub(tensors | {"transformer.h.0.mlp.c_fc.weight": torch.zeros(48, 7)}, small_config)


def test_a_head_that_is_not_tied_is_refused(small_config: GPT2Config) -> None:
    tensors = hub_layout.state_to_hub(gpt2.random_state(small_config))
    with pytest.raises(FileFormatError, match="tied"):
        hub_layout.state_from_hub(tensors | {"lm_head.weight": torch.zeros(4_096, 48)}, small_config)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"activation_function": "relu"}, "activation_function"),
        ({"n_inner": 7}, "n_inner"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"model_type": "opt"}, "model_type"),
    ],
)
def test_what_is_not_this_gpt2_says_why(changes: dict[str, object], reason: str) -> None:
    assert reason in (hub_layout.why_not_native({"model_type": "gpt2", **changes}) or "")


@pytest.mark.parametrize("figure", ["12", 0, -1, None, True])
def test_a_configuration_that_is_no_number_is_refused(figure: object) -> None:
    with pytest.raises(FileFormatError, match="n_layer"):
        hub_layout.config_from_hub({"model_type": "gpt2", "n_layer": figure})


def test_every_figure_of_a_configuration_is_read() -> None:
    config = GPT2Config(vocab_size=97, n_positions=24, n_embd=48, n_layer=2, n_head=4, layer_norm_epsilon=1e-3)
    assert not vars(config).items() & vars(GPT2Config()).items()
    assert hub_layout.config_from_hub(hub_layout.config_to_hub(config, 96)) == config
