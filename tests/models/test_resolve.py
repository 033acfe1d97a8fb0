"""A directory or a name becomes a model, or an error that says what is wrong with which file."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from benchsuite.errors import FileFormatError, UnavailableError, UsageError
from benchsuite.models import TINY, models
from benchsuite.models.resolve import NativeModel, fetch, fingerprint, load_directory
from benchsuite.models.tokenizer import load_tokenizer
from benchsuite.models.transformers_model import TransformersModel


@pytest.fixture
def directory(small_directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_directory, tmp_path / "model"))


def change_config(directory: Path, **changes: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_gpt2_directory_is_run_by_our_own_gpt2(directory: Path) -> None:
    model = models[f"{directory}/"].load("cpu", "sdpa")
    assert isinstance(model, NativeModel)
    assert model.name == "model"
    assert model.fingerprint == fingerprint(directory)


def test_another_family_is_run_by_transformers(tmp_path: Path) -> None:
    config = transformers.GPTNeoXConfig(
        vocab_size=4_096, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    transformers.GPTNeoXForCausalLM(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY / name, tmp_path / name)
    model = load_directory(tmp_path, "neox")
    assert isinstance(model, TransformersModel)
    ids = torch.tensor([[1, 2, 3]])
    assert model.head(model.hidden(ids)).shape == (1, 3, 4_096)


def test_random_weights_need_nothing_from_the_network_and_are_the_same_each_time() -> None:
    first, second = (models["random:tiny"].load("cpu", "sdpa") for _ in range(2))
    assert models["random:tiny"].random
    for one, other in zip(first.module.parameters(), second.module.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_truncated_weight_file_is_named(directory: Path) -> None:
    weights = directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(FileFormatError, match=r"model\.safetensors: truncated or not a safetensors file"):
        load_directory(directory, "x")


def test_a_pickle_is_never_loaded(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(UnavailableError, match=r"pytorch_model\.bin is a pickle, which is never loaded"):
        load_directory(directory, "x")


def test_a_configuration_that_does_not_fit_the_weights_is_named(directory: Path) -> None:
    change_config(directory, n_layer=4)
    with pytest.raises(FileFormatError, match=r"model: not the weights of this GPT-2: missing h\.3\."):
        load_directory(directory, "x")


def test_a_broken_and_a_missing_configuration_are_told_apart(directory: Path) -> None:
    (directory / "config.json").write_text("{")
    with pytest.raises(FileFormatError, match="cannot be read as JSON"):
        load_directory(directory, "x")
    (directory / "config.json").unlink()
    with pytest.raises(UnavailableError, match=r"no config\.json"):
        load_directory(directory, "x")


def test_an_architecture_that_nobody_knows_is_refused(directory: Path) -> None:
    change_config(directory, model_type="unheard-of")
    with pytest.raises(FileFormatError, match=r"transformers .* cannot load it"):
        load_directory(directory, "x")


def test_a_tokenizer_with_more_tokens_than_the_embedding_is_refused(directory: Path) -> None:
    path = directory / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["vocab"]["zzzz"] = 5_000
    path.write_text(json.dumps(tokenizer))
    with pytest.raises(FileFormatError, match=r"the tokenizer has 5001 tokens but the model's embedding has 4096 rows"):
        load_directory(directory, "x")


def test_a_tokenizer_that_is_broken_or_missing_is_named(directory: Path) -> None:
    (directory / "tokenizer.json").write_text('{"model": 1}')
    with pytest.raises(FileFormatError, match="the tokenizer's files cannot be read"):
        load_directory(directory, "x")
    (directory / "tokenizer.json").unlink()
    with pytest.raises(UnavailableError, match=r"no tokenizer\.json"):
        load_directory(directory, "x")


def test_an_index_that_names_a_file_elsewhere_is_refused(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "part.safetensors")
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"wte.weight": "../part.safetensors"}}))
    with pytest.raises(FileFormatError, match="outside its directory"):
        load_directory(directory, "x")
    index.write_text(json.dumps({"weight_map": {"wte.weight": "part.safetensors"}}))
    assert isinstance(load_directory(directory, "x"), NativeModel)


def test_weights_elsewhere_are_refused_before_transformers_reads_them(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_config(directory, scale_attn_weights=False)  # not ours: transformers loads it
    (directory / "model.safetensors").rename(directory.parent / "part.safetensors")
    names = transformers.GPT2LMHeadModel.from_pretrained(TINY).state_dict()
    index = {"weight_map": dict.fromkeys(names, "../part.safetensors")}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(FileFormatError, match="outside its directory"):
        load_directory(directory, "x")


@pytest.mark.parametrize("index", ["", "[]", "{}", "[" * 100_000, '{"weight_map": [1]}', '{"weight_map": {"w": 1}}'])
def test_an_index_that_is_none_is_named(directory: Path, index: str) -> None:
    (directory / "model.safetensors").unlink()
    (directory / "model.safetensors.index.json").write_text(index)
    with pytest.raises(FileFormatError, match=r"model\.safetensors\.index\.json: .*; fetch it again"):
        fingerprint(directory)


@pytest.mark.parametrize("shard", ["part.safetensors", "x" * 300, "x\0"])
def test_a_shard_that_is_not_there_is_named(directory: Path, shard: str) -> None:
    (directory / "model.safetensors").unlink()
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"wte.weight": shard}}))
    with pytest.raises(UnavailableError, match=r"the shards .* are missing"):
        fingerprint(directory)


@pytest.mark.parametrize("native", [True, False])
def test_weights_under_a_name_of_their_own_are_refused(directory: Path, native: bool) -> None:
    shutil.copy(directory / "model.safetensors", directory / "other.safetensors")
    change_config(directory, transformers_weights="other.safetensors", scale_attn_weights=native)
    with pytest.raises(FileFormatError, match=r"config\.json: transformers_weights"):
        load_directory(directory, "x")


@pytest.mark.parametrize("architectures", [5, "GPT2LMHeadModel", [None]])
def test_architectures_are_a_list_of_names_or_nothing(directory: Path, architectures: object) -> None:
    change_config(directory, architectures=architectures)
    with pytest.raises(FileFormatError, match=r"config\.json: architectures is"):
        load_directory(directory, "x")
    change_config(directory, architectures=None)
    assert isinstance(load_directory(directory, "x"), NativeModel)


def test_a_truncated_weight_file_that_transformers_reads_is_named(directory: Path) -> None:
    change_config(directory, scale_attn_weights=False)
    weights = directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(FileFormatError, match=r"model: transformers .* cannot load it"):
        load_directory(directory, "x")


def test_a_hub_id_that_is_not_cached_says_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnavailableError, match=r"tried the cache only .*hf download someone/nothing"):
        fetch("someone/nothing")


@pytest.mark.parametrize("name", ["random:gpt5", "./nowhere", "/nowhere/at/all"])
def test_a_name_that_cannot_be_a_model_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError):
        models[name]


def test_gpt2s_own_vocabulary_and_merges_make_its_tokenizer(shared: Path) -> None:
    folder = shared / "hf" / "hub" / "models--openai-community--gpt2" / "snapshots" / "mirror"
    tokenizer = load_tokenizer(folder)
    reference = transformers.GPT2TokenizerFast.from_pretrained(folder)
    for text in ("Hello world!  It's 1,024\n\n = Title = \n", "naïve – 東京 🙂", ""):
        assert tokenizer.encode(text) == reference(text)["input_ids"]
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_figures_that_are_none_are_named(directory: Path) -> None:
    for name, value in (
        ("n_head", 4.5),
        ("layer_norm_epsilon", math.nan),
        ("n_positions", 1e300),
        ("vocab_size", 10**12),
    ):
        change_config(directory, **{name: value})
        with pytest.raises(FileFormatError, match=name):
            load_directory(directory, "model")
        change_config(directory, **{name: {"n_head": 2, "layer_norm_epsilon": 1e-5}.get(name, 64)})


def test_heads_under_the_name_that_transformers_gives_them_count_the_same(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    reference = transformers.GPT2LMHeadModel.from_pretrained(directory)
    heads = config.pop("n_head")
    (directory / "config.json").write_text(json.dumps(config | {"num_attention_heads": heads}))
    model = load_directory(directory, "model")
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(model.head(model.hidden(ids)), reference(ids).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("native", [True, False])
def test_a_model_in_which_a_tensor_is_missing_is_never_measured(directory: Path, native: bool) -> None:
    change_config(directory, scale_attn_weights=native)
    tensors = load_file(directory / "model.safetensors")
    del tensors["transformer.h.1.mlp.c_fc.weight"]
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FileFormatError, match=r"missing .*h\.1\.mlp\.c_fc\.weight"):
        load_directory(directory, "model")


def test_weights_that_are_whole_numbers_are_refused(directory: Path) -> None:
    tensors = {name: tensor.int() for name, tensor in load_file(directory / "model.safetensors").items()}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FileFormatError, match=r"is torch\.int32; a weight of floating point was wanted"):
        load_directory(directory, "model")


@pytest.mark.parametrize("damage", [{"quantization_config": "x"}, {"n_inner": "x"}, {"model_type": ["gpt2"]}])
def test_a_configuration_that_transformers_cannot_read_is_named(directory: Path, damage: dict[str, Any]) -> None:
    change_config(directory, **damage)
    with pytest.raises(FileFormatError, match="cannot load it"):
        load_directory(directory, "model")
