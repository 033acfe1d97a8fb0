"""Other systems beside ours: `load_engine("llama-cpp:Q8_0", source)`. Importing this imports none of them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from benchsuite.errors import UnavailableError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from benchsuite.engines.source import Source

# engine -> its module, how it may hold the weights (native: every precision), and the package that it needs
ENGINES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "native": ("native", (), "torch"),
    "transformers": ("transformers_engine", ("fp32", "bf16", "fp16", "bnb-int8"), "transformers"),
    "ctranslate2": ("ctranslate2_engine", ("float32", "bfloat16", "int8"), "ctranslate2"),
    "llama-cpp": ("llama_cpp_engine", ("F32", "BF16", "Q8_0", "Q4_0"), "llama-cpp-python"),
}


class Engine(Protocol):
    """What is timed. `prefill_logits` says whether `prefill` computes every position's logits or the last one's."""

    prefill_logits: str

    def prefill(self, ids: Sequence[int]) -> None:
        """One pass over a prompt, whose logits are computed and dropped."""

    def generate(self, ids: Sequence[int], new_tokens: int) -> list[int]:
        """Exactly `new_tokens` greedy token ids after a prompt, an end-of-text token among them or not."""


def load_engine(name: str, source: Source, *, threads: int) -> Engine:
    """The engine of `ENGINE:FORMAT` with the weights of `source`.

    Raises UsageError for a name that cannot be, UnavailableError where the engine is not installed here.
    """
    engine, _, form = name.partition(":")
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)
    module, forms, package = ENGINES[engine]
    if not form:
        raise UsageError(f"engine {name!r} names no format; write for example {engine}:{(forms or ('fp32',))[0]}")
    if forms and form not in forms:
        raise UnknownNameError(f"format of {engine}", form, forms)
    try:
        loaded = importlib.import_module(f"benchsuite.engines.{module}")
    except ImportError as error:
        raise UnavailableError(
            f"{engine} is not installed ({error}); `pip install {package}` or `pip install 'benchsuite[peers]'`"
        ) from error
    engine_: Engine = loaded.load(source, form, threads)
    return engine_
