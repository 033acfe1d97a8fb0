"""A quantized model is written whole or not at all, and loads with the same logits to the bit."""

from __future__ import annotations

import errno
import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchsuite.cli import main
from benchsuite.errors import FileFormatError, OutputError, QuantizationError, UnavailableError, UsageError
from benchsuite.models import gpt2, hub_layout
from benchsuite.models.resolve import load_directory
from benchsuite.quant import files
from benchsuite.quant.files import Written, is_quantized, quantize_directory
from benchsuite.quant.layers import QuantizedLinear
from benchsuite.quant.precision import precisions

CONFIG = gpt2.GPT2Config(vocab_size=300, n_positions=24, n_embd=64, n_layer=2, n_head=4)
IDS = torch.arange(20)[None]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small GPT-2 in Hugging Face layout, with a byte-level tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    directory = tmp_path_factory.mktemp("source")
    state = hub_layout.state_to_hub(gpt2.random_state(CONFIG))
    save_file(state, directory / "model.safetensors", metadata={"format": "pt"})
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], **vars(CONFIG), "tie_word_embeddings": True}
    (directory / "config.json").write_text(json.dumps({**config, "bos_token_id": 0, "eos_token_id": 0}))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|endoftext|>": 0, **{letter: place for place, letter in enumerate(alphabet, 1)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


def calibration(dataset: str | None) -> Tensor:
    return torch.arange(96).view(4, 24)


def write(source: Path, out: Path, precision: str) -> tuple[Written, Tensor]:
    """Quantize `source` to `out`; and the logits of the module that was written."""
    module = load_directory(source, "source").module
    written = quantize_directory(module, source, out, precision, calibration=calibration)
    return written, module(IDS)


@pytest.mark.parametrize(
    "precision",
    [
        *(name for name in precisions.names() if re.fullmatch(r"(absmax|z|nf4|fp4|w8a8|llm|gptq).*(?<!head8)", name)),
        *("absmax3-g50", "zeropoint3-g50", "gptq3-g32-act"),  # short groups
    ],
)
def test_a_written_model_loads_with_the_same_logits_to_the_bit(source: Path, tmp_path: Path, precision: str) -> None:
    written, logits = write(source, tmp_path / "out", precision)
    loaded = load_directory(tmp_path / "out", "out")
    assert torch.equal(loaded.module(IDS), logits)
    assert loaded.tokenizer.encode("abc") == load_directory(source, "source").tokenizer.encode("abc")
    # a header of names and shapes stands before the tensors
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert sum(tensor.nbytes for tensor in tensors.values()) == written.coverage.bytes_after
    assert written.file_bytes - written.coverage.bytes_after < 16_384


@pytest.mark.parametrize("precision", ["bnb-int8", "bnb-nf4", "bnb-fp4"])
def test_what_bitsandbytes_quantizes_is_written_as_transformers_reads_it(
    source: Path, tmp_path: Path, precision: str
) -> None:
    import transformers

    written, _ = write(source, tmp_path / "out", precision)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "bitsandbytes"
    assert not is_quantized(config)
    assert written.coverage.share == 1
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", local_files_only=True).eval()
    ours = load_directory(tmp_path / "out", "out")
    with torch.no_grad():
        assert torch.equal(ours.head(ours.hidden(IDS)), theirs(IDS).logits)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("precision", ["absmax4-g32", "gptq4-g32"])
def test_a_model_of_another_family_is_written_and_loaded_too(
    source: Path, tmp_path: Path, family: str, precision: str
) -> None:
    import transformers

    shape = {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 0}
    if family == "gpt2":  # inner width of its own: not the native one, with Conv1D and a tied head
        config = transformers.GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=24, n_inner=96, **shape)
    else:
        config = transformers.LlamaConfig(
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=24,
            **shape,
        )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "plain")
    shutil.copy(source / "tokenizer.json", tmp_path / "plain")
    model = load_directory(tmp_path / "plain", "plain")
    quantize_directory(model.module, tmp_path / "plain", tmp_path / "out", precision, calibration=calibration)
    with torch.no_grad():
        logits = model.head(model.hidden(IDS))
        loaded = load_directory(tmp_path / "out", "out")
        assert torch.equal(loaded.head(loaded.hidden(IDS)), logits)
    assert sum(isinstance(layer, QuantizedLinear) for layer in loaded.module.modules()) >= 8


def test_the_config_carries_what_the_quantization_was(source: Path, tmp_path: Path) -> None:
    written, _ = write(source, tmp_path / "out", "absmax4-g32")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert is_quantized(config)
    described = config["quantization_config"]
    assert described["precision"] == "absmax4-g32"
    assert described["grid"] == {"kind": "Absmax", "bits": 4, "group": 32}
    assert len(described["modules"]) == 8
    report = json.loads((tmp_path / "out" / "quantization.json").read_text())
    assert report["share"] == written.coverage.share == 1
    assert [layer["name"] for layer in report["layers"]] == described["modules"]


def test_the_worst_layers_come_first(source: Path, tmp_path: Path) -> None:
    written, _ = write(source, tmp_path / "out", "absmax3-g50")
    worst = [layer.snr_db for layer in written.worst_layers(3)]
    assert len(worst) == 3
    assert worst == sorted(worst)  # type: ignore[type-var]
    assert worst[0] == min(layer.snr_db for layer in written.coverage.layers)  # type: ignore[type-var]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "w8a8-head8"])
def test_a_precision_that_packs_nothing_is_refused(source: Path, tmp_path: Path, precision: str) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        write(source, tmp_path / "out", precision)
    assert list(tmp_path.iterdir()) == []


def test_a_precision_that_this_machine_cannot_run_is_unavailable(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="fp8: it needs a CUDA device"):
        write(source, tmp_path / "out", "fp8")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_quantized_already_is_refused(source: Path, tmp_path: Path) -> None:
    write(source, tmp_path / "once", "absmax8")
    with pytest.raises(UsageError, match="quantized already"):
        write(tmp_path / "once", tmp_path / "twice", "absmax4-g32")


def test_an_output_directory_in_use_is_refused_before_anything_is_quantized(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    module = load_directory(source, "source").module
    with pytest.raises(OutputError, match="not an empty directory"):
        quantize_directory(module, source, tmp_path / "out", "absmax8")
    assert not any(isinstance(layer, QuantizedLinear) for layer in module.modules())
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_disk_that_fills_up_leaves_nothing_half_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_json", full)  # after the weights
    with pytest.raises(OutputError, match="no space left"):
        write(source, tmp_path / "out", "absmax8")
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_cannot_be_quantized_leaves_nothing_half_written(source: Path, tmp_path: Path) -> None:
    module = load_directory(source, "source").module
    module.h[1].mlp.c_proj.weight[0, 0] = float("nan")
    with pytest.raises(QuantizationError, match=r"h\.1\.mlp\.c_proj"):
        quantize_directory(module, source, tmp_path / "out", "absmax8")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda tensors: tensors.pop("h.0.attn.c_attn.codes"), "h.0.attn.c_attn.codes is missing"),
        (lambda tensors: tensors.pop("h.1.ln_1.weight"), "h.1.ln_1.weight is missing"),
        (lambda tensors: tensors.update(extra=torch.ones(1)), "unknown extra"),
        (lambda tensors: tensors.update({"wpe.weight": torch.ones(3, 64)}), "wpe.weight is"),
        (
            lambda tensors: tensors.update({"h.0.mlp.c_fc.codes": tensors["h.0.mlp.c_fc.codes"].float()}),
            "its layer wants torch.int8",
        ),
        (lambda tensors: tensors.update({"h.0.mlp.c_fc.scale": torch.ones(3, 1)}), "h.0.mlp.c_fc.scale is"),
        (lambda tensors: tensors["h.0.mlp.c_fc.scale"].fill_(math.nan), "h.0.mlp.c_fc.scale holds NaN"),
        (lambda tensors: tensors.update({"wpe.weight": tensors["wpe.weight"].double()}), "wpe.weight is torch.float64"),
    ],
)
def test_tensors_that_do_not_fit_their_layers_are_named(
    source: Path, tmp_path: Path, change: object, complaint: str
) -> None:
    write(source, tmp_path / "out", "absmax8-row")
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    change(tensors)  # type: ignore[operator]
    save_file(tensors, tmp_path / "out" / "model.safetensors")
    with pytest.raises(FileFormatError, match=complaint):
        load_directory(tmp_path / "out", "out")


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("version", 1, "this benchsuite reads version 2"),
        ("modules", ["h.7.attn.c_attn"], "h.7.attn.c_attn is no linear layer"),
        ("modules", "all", "modules"),
        ("precision", None, "precision"),
        ("precision", "absmax99", "absmax99"),
        ("precision", "absmax8", "grid is"),
        ("precision", "fp32", "no written model is in fp32"),
        ("precision", "absmax8-g0", "no written model is in absmax8-g0"),
        ("grid", {"kind": "Absmax", "bits": 4, "group": "row"}, "grid is"),
        ("product", "another", "product is 'another'"),
    ],
)
def test_a_description_that_cannot_be_right_is_named(
    source: Path, tmp_path: Path, key: str, value: object, complaint: str
) -> None:
    write(source, tmp_path / "out", "absmax8-row")
    file = tmp_path / "out" / "config.json"
    config = json.loads(file.read_text())
    config["quantization_config"][key] = value
    file.write_text(json.dumps(config))
    with pytest.raises(FileFormatError, match=complaint):
        load_directory(tmp_path / "out", "out")


def test_a_source_without_a_config_says_so(source: Path, tmp_path: Path) -> None:
    module = load_directory(source, "source").module
    shutil.copytree(source, tmp_path / "copy")
    (tmp_path / "copy" / "config.json").unlink()
    with pytest.raises(UnavailableError, match=r"no config\.json"):
        quantize_directory(module, tmp_path / "copy", tmp_path / "out", "absmax8")


@pytest.mark.parametrize("command", ["quantize", "weights"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_here_is_a_usage_error(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for device in ("cuda", "nonsense"):
        with pytest.raises(SystemExit) as stopped:
            main([command, "tiny", "--precision", "absmax4", "--device", device, "-o", str(tmp_path / "out")])
        assert stopped.value.code == 2
        assert f"device '{device}'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_random_weights_are_no_directory_to_quantize(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["quantize", "random:tiny", "--precision", "absmax4", "-o", str(tmp_path / "out")])
    assert (stopped.value.code, "random weights" in capsys.readouterr().err) == (2, True)


def test_a_quantized_model_is_loaded_without_weights_that_nobody_wants(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load_directory(source, "source").module
    quantize_directory(module, source, tmp_path / "out", "absmax4-g32")

    def drawn(*_: object, **__: object) -> None:
        pytest.fail("weights were drawn, which the packed ones then replace")

    monkeypatch.setattr(gpt2, "random_state", drawn)
    loaded = load_directory(tmp_path / "out", "out").module
    assert not any(tensor.is_meta for tensor in loaded.state_dict().values())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert not loaded.training
