"""What training starts from: a transformers model and its tokenizer, by the names of the model registry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from benchsuite.errors import FileFormatError, UsageError
from benchsuite.files import read_config
from benchsuite.models import TINY, Attention, directory_of, models
from benchsuite.models.classifier import classes_of, context_of
from benchsuite.models.gpt2 import CONFIGS, GPT2Config
from benchsuite.models.hub_layout import figure
from benchsuite.models.resolve import fingerprint
from benchsuite.models.tokenizer import load_tokenizer
from benchsuite.models.transformers_model import ATTENTION_NAMES, loading, read_whole
from benchsuite.quant.apply import size_bytes
from benchsuite.training.run_directory import require_space, saving


@dataclass(frozen=True)
class Start:
    """A module that can be trained, in fp32, with its tokenizer."""

    name: str
    module: Any  # transformers.PreTrainedModel
    tokenizer: Any  # transformers.PreTrainedTokenizerFast, with a padding token
    source: str  # the registry's name of what its weights are of

    @property
    def context(self) -> int:
        """Tokens that the model can see."""
        return int(self.module.config.max_position_embeddings)

    def origin(self) -> dict[str, str]:
        """What tells it apart from another model, of the same name too."""
        return {"model": self.name, "weights": weights_of(self.source)}

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts; nothing is added at either end."""
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def save(self, directory: Path) -> None:
        """Write all that `from_pretrained` needs."""
        require_space(directory, size_bytes(self.module), "the model")
        with quiet_transformers(), saving(directory, "the model"):
            self.module.save_pretrained(directory)
            self.tokenizer.save_pretrained(directory)
        for file in directory.glob("*.safetensors"):
            file.chmod(directory.stat().st_mode & 0o666)  # safetensors lets nobody else read them


def causal(name: str, *, attention: Attention = "sdpa", seed: int = 0) -> Start:
    """A language model by name, directory or hub id; `random:NAME` draws its weights by `seed`."""
    return _start(name, transformers.AutoModelForCausalLM, attention, seed)


def classifier(name: str, labels: Sequence[str], *, attention: Attention = "sdpa", seed: int = 0) -> Start:
    """A classifier of texts by `labels`, in that order: the head is drawn by `seed` where the model has none.

    UsageError where it has one for other labels.
    """
    names = dict(enumerate(labels))
    indices = {label: index for index, label in names.items()}
    told = {"id2label": names, "label2id": indices, "problem_type": "single_label_classification"}
    auto = transformers.AutoModelForSequenceClassification
    if not is_saved_classifier(name):
        return _start(name, auto, attention, seed, new=frozenset({"score.weight"}), **told)
    start = _start(name, auto, attention, seed)
    directory, config = directory_of(name), start.module.config
    own = list(classes_of(read_config(directory), directory))
    unnamed = own == [f"LABEL_{index}" for index in range(len(labels))]
    if sorted(own) != sorted(labels) and not unnamed:
        raise UsageError(
            f"{name} tells apart {', '.join(own)}; the data have {', '.join(labels)}: start from a model for text, or "
            "bring data with its labels"
        )
    rows = list(range(len(labels))) if unnamed else [own.index(label) for label in labels]
    with torch.no_grad():
        start.module.score.weight.copy_(start.module.score.weight[rows].clone())
    for key, value in told.items():
        setattr(config, key, value)
    return start


def weights_of(name: str) -> str:
    """The fingerprint of a model's weights; `random` where a seed draws them."""
    return "random" if models[name].random else fingerprint(directory_of(name))


def positions_of(name: str) -> int:
    """Tokens that a model can see, from its files of settings alone; a classifier those that it was trained with."""
    shape = name.removeprefix("random:")
    if shape in CONFIGS and shape != name:
        return CONFIGS[shape].n_positions
    directory = TINY if shape != name else directory_of(name)
    config = read_config(directory)
    said = "n_positions" if "n_positions" in config else "max_position_embeddings"
    positions = figure(config, said, GPT2Config.n_positions)
    if shape == name and is_saved_classifier(name):
        return context_of(name, load_tokenizer(directory), positions)
    return positions


def is_saved_classifier(name: str) -> bool:
    """Whether a model was saved with a classification head."""
    names = () if models[name].random else read_config(directory_of(name)).get("architectures") or ()
    return any("ForSequenceClassification" in architecture for architecture in names)


def _start(
    name: str, auto: Any, attention: Attention, seed: int, new: frozenset[str] = frozenset(), **options: Any
) -> Start:
    transformers.set_seed(seed)
    how = {"attn_implementation": ATTENTION_NAMES[attention], "dtype": torch.float32}
    shape = name.removeprefix("random:")
    with loading(name):
        if shape != name:
            _ = models[name]
            directory = TINY
            config = (
                transformers.AutoConfig.from_pretrained(TINY, **options)
                if shape == "tiny"
                else transformers.GPT2Config(**asdict(CONFIGS[shape]), bos_token_id=0, eos_token_id=0, **options)
            )
            module = auto.from_config(config, **how)
        else:
            directory = directory_of(name)
            module = _read(directory, auto, new=new, **how, **options)
    return Start(models[name].name, module, _tokenizer(directory, module), name)


def _read(directory: Path, auto: Any, **options: Any) -> Any:
    if read_config(directory).get("quantization_config"):
        raise UsageError(f"{directory} is quantized; training starts from floating-point weights")
    with quiet_transformers():  # a new head is no news
        return read_whole(auto, directory, **options)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' warnings and bars while the block runs."""
    before, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)
        if bars:
            transformers.logging.enable_progress_bar()


def _tokenizer(directory: Path, module: Any) -> Any:
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # as in `load_tokenizer`
        raise FileFormatError(f"{directory}: the tokenizer's files cannot be read: {error}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    # which token a classifier reads its answer from is found by what follows it
    for config in filter(None, (module.config, getattr(module, "generation_config", None))):
        config.pad_token_id = tokenizer.pad_token_id
    return tokenizer
