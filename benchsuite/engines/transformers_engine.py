"""transformers as its documentation shows it: `model(ids)` and `model.generate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.generation.streamers import BaseStreamer

from benchsuite.device import synchronize
from benchsuite.engines import ignore
from benchsuite.engines.source import Source
from benchsuite.quant.external import transformers_config

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TransformersEngine:
    """`prefill` makes the logits of all positions in one tensor; `generate` asks for the last one's only."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @torch.inference_mode()
    def prefill(self, ids: Sequence[int]) -> None:
        """The forward pass."""
        self.model(torch.tensor([list(ids)], device=self.model.device))
        synchronize(self.model.device)

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, mark: Callable[[], None] = ignore
    ) -> list[list[int]]:
        """`generate`, greedy; a streamer is told of each token."""
        input_ids = torch.tensor([list(prompt) for prompt in prompts], device=self.model.device)  # (B, T)
        output = self.model.generate(
            input_ids,
            attention_mask=torch.ones_like(input_ids),
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            streamer=_Marks(mark),
        )
        found: list[list[int]] = output[:, input_ids.shape[1] :].tolist()
        return found


class _Marks(BaseStreamer):  # type: ignore[misc]
    """Hears of the prompt first, then of each token."""

    def __init__(self, mark: Callable[[], None]) -> None:
        self.mark = mark
        self.prompt_seen = False

    def put(self, value: Tensor) -> None:  # noqa: ARG002  only that it came
        """A token of every row, or the prompt."""
        if self.prompt_seen:
            self.mark()
        self.prompt_seen = True

    def end(self) -> None:
        """Nothing is left to say."""


def load(source: Source, form: str, threads: int, device: str) -> TransformersEngine:
    """The model in a dtype, or through bitsandbytes."""
    torch.set_num_threads(threads)
    options: dict[str, Any] = {"dtype": DTYPES.get(form, torch.float32), "local_files_only": True}
    if form.startswith("bnb-"):
        options |= {"quantization_config": transformers_config(form), "device_map": {"": device}}
    model = transformers.GPT2LMHeadModel.from_pretrained(source.directory, **options).eval()
    return TransformersEngine(model if "device_map" in options else model.to(device))
