"""transformers as its documentation shows it: `model(ids)` and `model.generate`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
import transformers

from benchsuite.engines.source import Source

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "bnb-int8": torch.float32}


class TransformersEngine:
    """Logits of all positions in one tensor."""

    prefill_logits = "all"

    def __init__(self, model: Any) -> None:
        self.model = model

    @torch.inference_mode()
    def prefill(self, ids: Sequence[int]) -> None:
        """The forward pass."""
        self.model(torch.tensor([list(ids)]))

    @torch.inference_mode()
    def generate(self, ids: Sequence[int], new_tokens: int) -> list[int]:
        """`generate`, greedy."""
        prompt = torch.tensor([list(ids)])
        output = self.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        found: list[int] = output[0, len(ids) :].tolist()
        return found


def load(source: Source, form: str, threads: int) -> TransformersEngine:
    """The model in a dtype, or through bitsandbytes' LLM.int8()."""
    torch.set_num_threads(threads)
    options: dict[str, Any] = {"dtype": DTYPES[form], "local_files_only": True}
    if form == "bnb-int8":
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of a cast in every product
        options["quantization_config"] = transformers.BitsAndBytesConfig(load_in_8bit=True)
    return TransformersEngine(transformers.GPT2LMHeadModel.from_pretrained(source.directory, **options).eval())
