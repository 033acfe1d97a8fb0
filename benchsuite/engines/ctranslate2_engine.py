"""CTranslate2: converted once to float32, its compute type chosen on loading."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ctranslate2
from ctranslate2.specs import TransformerDecoderModelSpec
from ctranslate2.specs.common_spec import Activation

from benchsuite.engines import ignore
from benchsuite.engines.source import Source
from benchsuite.errors import UnavailableError


class CTranslate2Engine:
    """`forward_batch` gives all logits, `generate_batch` the last ones; a token's name is its number."""

    def __init__(self, generator: Any) -> None:
        self.generator = generator

    def prefill(self, ids: Sequence[int]) -> None:
        """The logits of every position."""
        self.generator.forward_batch([list(ids)])

    def generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, mark: Callable[[], None] = ignore
    ) -> list[list[int]]:
        """Greedy; the last id of the vocabulary, which stands for the end of a text here, is suppressed."""
        told = itertools.count(1)

        def hear(_: Any) -> bool:  # of one row's token; True would end the row
            if next(told) % len(prompts) == 0:
                mark()
            return False

        results = self.generator.generate_batch(
            [[str(token) for token in prompt] for prompt in prompts],
            max_length=new_tokens,
            min_length=new_tokens,
            sampling_topk=1,
            include_prompt_in_result=False,
            callback=hear,
        )
        return [[int(token) for token in result.sequences[0]] for result in results]


def load(source: Source, form: str, threads: int, device: str) -> CTranslate2Engine:
    """The model with a compute type; UnavailableError where CTranslate2 has it not on this processor."""
    supported = ctranslate2.get_supported_compute_types(device)
    if form not in supported:
        raise UnavailableError(f"ctranslate2 has no {form} on this processor; it has {', '.join(sorted(supported))}")
    path = source.converted("ctranslate2", lambda temporary: _convert(source, temporary))
    return CTranslate2Engine(
        ctranslate2.Generator(str(path), device=device, compute_type=form, inter_threads=1, intra_threads=threads)
    )


def _convert(source: Source, out: Path) -> None:
    config, state = source.read()
    arrays = {name: tensor.contiguous().numpy() for name, tensor in state.items()}
    spec = TransformerDecoderModelSpec.from_config(
        config.n_layer, config.n_head, pre_norm=True, activation=Activation.GELUTanh
    )
    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = decoder.projection.weight = arrays["wte.weight"]
    decoder.position_encodings.encodings = arrays["wpe.weight"]

    def norm(target: Any, name: str) -> None:
        target.gamma, target.beta = arrays[f"{name}.weight"], arrays[f"{name}.bias"]

    def linear(target: Any, name: str) -> None:
        target.weight, target.bias = arrays[f"{name}.weight"], arrays[f"{name}.bias"]

    norm(decoder.layer_norm, "ln_f")
    for index, layer in enumerate(decoder.layer):
        norm(layer.self_attention.layer_norm, f"h.{index}.ln_1")
        linear(layer.self_attention.linear[0], f"h.{index}.attn.c_attn")
        linear(layer.self_attention.linear[1], f"h.{index}.attn.c_proj")
        norm(layer.ffn.layer_norm, f"h.{index}.ln_2")
        linear(layer.ffn.linear_0, f"h.{index}.mlp.c_fc")
        linear(layer.ffn.linear_1, f"h.{index}.mlp.c_proj")
    spec.config.layer_norm_epsilon = config.layer_norm_epsilon
    spec.register_vocabulary([str(token) for token in range(config.vocab_size)])
    spec.config.bos_token = spec.config.eos_token = spec.config.unk_token = str(config.vocab_size - 1)
    spec.validate()
    spec.optimize()
    spec.save(str(out))
