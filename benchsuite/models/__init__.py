"""Models by name: `models["tiny"].load("cpu", "sdpa")`. Importing this costs nothing; loading imports torch."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from benchsuite.errors import UnknownNameError, UsageError
from benchsuite.files import at_home, is_directory
from benchsuite.registry import Registry

if TYPE_CHECKING:
    from benchsuite.models.language_model import LanguageModel

Attention = Literal["eager", "sdpa", "flash"]
ATTENTIONS: tuple[Attention, ...] = get_args(Attention)
HUB_IDS = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
}
TINY = Path(__file__).parent / "tiny"


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from. `name` is what cells are called by; `directory` finds its files, fetched if need be.

    A model without files has random weights, or is one of one's own; a random one has no quality to measure.
    """

    name: str
    load: Callable[[str, Attention], LanguageModel]  # (device, attention)
    random: bool = False
    directory: Callable[[], Path] | None = None


class _Models(Registry[ModelSource]):
    def __getitem__(self, name: str) -> ModelSource:
        try:
            return super().__getitem__(name)
        except UnknownNameError as error:
            if is_directory(name):
                raise UsageError(f"{error}; the directory of that name is {name}/") from error
            raise


models = _Models("model")


def directory_of(name: str) -> Path:
    """Where the files of a model are, in Hugging Face layout; UsageError where it has none."""
    source = models[name]
    if source.directory is None:
        why = "has random weights and" if source.random else "was registered with"
        raise UsageError(f"{name} {why} no directory; name a model that has its weights in files")
    return source.directory()


def _stored(name: str, directory: Callable[[], Path]) -> ModelSource:
    def load(device: str, attention: Attention) -> LanguageModel:
        from benchsuite.models.resolve import load_directory

        return load_directory(directory(), name, device=device, attention=attention)

    return ModelSource(name, load, directory=directory)


models.register("tiny", _stored("tiny", lambda: TINY))


@models.family("|".join(map(re.escape, HUB_IDS)), examples=HUB_IDS)
def _known(match: re.Match[str]) -> ModelSource:
    return _from_hub(match[0], HUB_IDS[match[0]])


@models.family(r"random:(.+)", examples=[f"random:{name}" for name in ("tiny", *HUB_IDS)])
def _random(match: re.Match[str]) -> ModelSource:
    if match[1] not in ("tiny", *HUB_IDS):
        raise UnknownNameError("shape", match[1], ("tiny", *HUB_IDS))

    def load(device: str, attention: Attention) -> LanguageModel:
        from benchsuite.models.resolve import load_random

        return load_random(match[1], device=device, attention=attention)

    return ModelSource(match[0], load, random=True)


@models.family(r"\.{1,2}|(?:\.{0,2}|~)/.*|.*/")
def _directory(match: re.Match[str]) -> ModelSource:
    path = Path(os.path.realpath(at_home(match[0])))
    if not is_directory(path):
        raise UsageError(f"model {match[0]!r}: no such directory; name one in Hugging Face layout, or a hub id")

    return _stored(path.name, lambda: path)


@models.family(r"[\w./-]+/[\w.-]+")
def _hub_id_or_directory(match: re.Match[str]) -> ModelSource:
    if is_directory(match[0]) or match[0].count("/") > 1:
        return models[f"./{match[0]}"]
    return _from_hub(match[0], match[0])


def _from_hub(name: str, hub_id: str) -> ModelSource:
    def directory() -> Path:
        from benchsuite.models.resolve import fetch

        return fetch(hub_id)

    return _stored(name, directory)
