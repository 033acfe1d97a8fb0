"""Score and generate, whatever the family: everything an evaluation asks of a model.

A family gives three primitives (`hidden`, `head`, `new_cache`); scoring and generating are functions over them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from benchsuite.errors import DataError, NumericalError, UsageError
from benchsuite.models.gpt2 import GPT2
from benchsuite.models.tokenizer import TextTokenizer

# Positions whose logits exist at once: 128 x 50,257 float32 are 26 MB. From 32 MB on glibc gives a block back to the
# system at once, and touching the pages of the next one costs as much as the product.
HEAD_ROWS = 128
_RUN = 512  # tokens whose largest logit is found together
_MANY_ROWS = 8  # from here on that pays


class LanguageModel(Protocol):
    """A causal language model with its tokenizer; `module` is what a precision is applied to."""

    name: str
    tokenizer: TextTokenizer
    n_positions: int
    vocab_size: int
    fingerprint: str  # SHA-256 of the weights as they were loaded

    @property
    def module(self) -> nn.Module:
        """All of the weights."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def hidden(self, input_ids: Tensor, cache: Any | None = None) -> Tensor:
        """Final hidden states (B, T, C) of input_ids (B, T), which follow what the cache holds and are added to it."""

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden states (..., C)."""

    def new_cache(self, batch_size: int, capacity: int, prefix: Any | None = None) -> Any:
        """A cache for `capacity` tokens a row, of which those in the one row of `prefix` begin every row."""


@dataclass(frozen=True)
class Scored:
    """Log-likelihoods (nats) of a sequence's scored tokens, and whether each was the most likely one."""

    log_likelihood: NDArray[np.float64]  # (n,)
    greedy: NDArray[np.bool_]  # (n,)

    @property
    def total(self) -> float:
        """The sum over the scored tokens."""
        return float(self.log_likelihood.sum())


@dataclass(frozen=True)
class Sequenced:
    """Token ids of which those from index `first` on are scored, each given all before it; `first` is at least 1."""

    ids: Sequence[int]
    first: int = 1


@torch.inference_mode()
def score(
    model: LanguageModel, sequences: Sequence[Sequenced], *, batch_size: int, prefix: Sequence[int] = ()
) -> Iterator[tuple[int, Scored]]:
    """Score sequences; yields (index, Scored) batch by batch, longest first, so that a caller can show progress.

    `prefix` is shared by all and goes before each: its keys and values are computed once. Logits exist for
    `HEAD_ROWS` positions at a time. Raises DataError for a sequence that does not fit the context, NumericalError for
    NaN or infinite logits.
    """
    for index, sequence in enumerate(sequences):
        if sequence.first + len(prefix) < 1 or len(sequence.ids) + len(prefix) > model.n_positions + 1:
            raise DataError(
                f"sequence {index}: {len(prefix)} + {len(sequence.ids)} tokens with the first scored at "
                f"{sequence.first} do not fit a context of {model.n_positions} with at least one token before it"
            )
    lay_out(model, one_token=False)
    shared = _prefix_cache(model, prefix[:-1]) if len(prefix) > 1 else None
    # the prefix's last token opens every row: its hidden state predicts the row's first token
    opening = list(prefix[-1:])
    for rows in batches([len(sequence.ids) for sequence in sequences], batch_size):
        batch = [sequences[row] for row in rows]
        inputs = [(opening + list(sequence.ids))[:-1] for sequence in batch]
        input_ids = pad(inputs, model.device)  # (B, T)
        cache = None
        if shared is not None:
            cache = model.new_cache(len(rows), shared.lengths[0] + input_ids.shape[1], shared)
        hidden = model.hidden(input_ids, cache)  # (B, T, C)
        spans = [
            range(sequence.first + len(opening) - 1, len(row)) for sequence, row in zip(batch, inputs, strict=True)
        ]
        flat = torch.cat([hidden[b, span.start : span.stop] for b, span in enumerate(spans)])  # (N, C)
        targets = torch.tensor(
            [token for sequence in batch for token in sequence.ids[sequence.first :]], device=model.device
        )  # (N,)
        log_likelihood, greedy = score_hidden(model, flat, targets)
        edges = np.cumsum([0, *map(len, spans)])
        for row, start, stop in zip(rows, edges[:-1], edges[1:], strict=True):
            yield row, Scored(log_likelihood[start:stop], greedy[start:stop])


def score_hidden(
    model: LanguageModel, hidden: Tensor, targets: Tensor
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Log-likelihoods (N,) in float64 of targets (N,) after hidden states (N, C), and whether each was the argmax."""
    log_likelihoods, greedy = [], []
    for states, wanted in zip(torch.split(hidden, HEAD_ROWS), torch.split(targets, HEAD_ROWS), strict=True):
        logits = model.head(states).float()  # (n, V)
        greedy.append(most_likely(logits)[1] == wanted)
        torch.log_softmax(logits, dim=-1, out=logits)  # in place: nobody else has them
        log_likelihoods.append(logits.gather(1, wanted[:, None]))
        del logits  # the next ones take its memory, which is in the cache
    if not log_likelihoods:
        return np.zeros(0), np.zeros(0, dtype=bool)
    found = torch.cat(log_likelihoods).squeeze(1).double().cpu().numpy()
    if not np.isfinite(found).all():
        raise NumericalError(not_finite(model))
    return found, torch.cat(greedy).cpu().numpy()


def log_probabilities(model: LanguageModel, state: Tensor) -> Tensor:
    """Log-probabilities (B, V), float32, of the next token after hidden states (B, C), few enough for one product."""
    found = F.log_softmax(model.head(state).float(), dim=-1)  # (B, V)
    require_finite(model, found.amax(dim=-1))
    return found


@torch.inference_mode()
def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch_size: int,
    prefix: Sequence[int] = (),
    finished: Callable[[list[int]], bool] | None = None,
) -> Iterator[tuple[int, list[int]]]:
    """Continue prompts greedily; yields (index, new token ids) batch by batch, longest prompt first.

    A row ends after `max_new_tokens`, behind an end-of-text token (not returned), where the context is full, or when
    `finished(new ids)` says so; it then leaves the batch. `prefix` is shared by all prompts and computed once.
    """
    if max_new_tokens < 1:
        raise UsageError(f"max_new_tokens is {max_new_tokens}; ask for at least one token")
    for index, prompt in enumerate(prompts):
        if not prompt or len(prefix) + len(prompt) > model.n_positions:
            raise DataError(
                f"prompt {index}: {len(prefix)} + {len(prompt)} tokens; at least one token is needed and "
                f"{model.n_positions} fit the context"
            )
    lay_out(model, one_token=True)
    shared = _prefix_cache(model, prefix) if prefix else None
    for rows in batches([len(prompt) for prompt in prompts], batch_size):
        longest = len(prefix) + max(len(prompts[row]) for row in rows)
        cache = model.new_cache(len(rows), min(model.n_positions, longest + max_new_tokens), shared)
        input_ids = pad([prompts[row] for row in rows], model.device)  # (B, T)
        hidden = model.hidden(input_ids, cache)  # (B, T, C)
        cache.lengths = [len(prefix) + len(prompts[row]) for row in rows]
        last = torch.tensor([len(prompts[row]) - 1 for row in rows], device=hidden.device)
        state = hidden[torch.arange(len(rows), device=hidden.device), last]  # (B, C)
        new: dict[int, list[int]] = {row: [] for row in rows}
        alive = list(rows)
        tokens = next_tokens(model, state)
        while True:
            going = []
            for at, (row, token) in enumerate(zip(alive, tokens.tolist(), strict=True)):
                if token == model.tokenizer.end_of_text_id:
                    continue
                new[row].append(token)
                full = len(new[row]) == max_new_tokens or cache.lengths[at] == model.n_positions
                if not full and not (finished and finished(new[row])):
                    going.append(at)
            if not going:
                break
            if len(going) < len(alive):
                alive = [alive[at] for at in going]
                cache.keep(going)
                tokens = tokens[going]
            tokens = tokens_behind(model, tokens, cache)
        yield from new.items()


def lay_out(model: LanguageModel, *, one_token: bool) -> None:
    """Let our own GPT-2 hold its weights as passes of one token a row, or of many, read them fastest.

    Asked before each work, it costs nothing where they are held so already, else about as much as loading them.
    """
    if isinstance(model.module, GPT2):
        model.module.lay_out(one_token=one_token)


def tokens_behind(model: LanguageModel, tokens: Tensor, cache: Any) -> Tensor:
    """The most likely next tokens (B,) behind `tokens` (B,), which are added to the rows of `cache`.

    Of our own GPT-2 by one call of loops in C, where they take it. NumericalError where the logits are NaN.
    """
    module = model.module
    if not isinstance(module, GPT2) or not module.runs_in_c(len(tokens)):
        return next_tokens(model, model.hidden(tokens[:, None], cache)[:, 0])
    found = module.next_tokens(tokens, cache)
    if min(found.tolist()) < 0:
        raise NumericalError(not_finite(model))
    return found


def next_tokens(model: LanguageModel, state: Tensor) -> Tensor:
    """The most likely next tokens (B,) after hidden states (B, C); NumericalError where the logits are NaN."""
    logits = model.head(state)  # (B, V)
    best, tokens = most_likely(logits)
    require_finite(model, best)
    return tokens


def most_likely(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of logits (B, V) and its first index, (B,) each: as `logits.max(dim=-1)`, in half of its time.

    Only the maximum without an index goes through PyTorch's vector instructions: first that of runs of tokens, then the
    run that holds it is searched.
    """
    rows, tokens = logits.shape
    runs = tokens // _RUN
    if not logits.is_cpu or runs < 2 or rows < _MANY_ROWS or logits.stride(1) != 1:
        best, at = logits.max(dim=-1)
        return best, at
    whole = logits.as_strided((rows, runs, _RUN), (logits.stride(0), _RUN, 1), logits.storage_offset())
    best, run = whole.amax(dim=-1).max(dim=-1)  # (B,) each; the first run that holds it
    at = run * _RUN + whole[torch.arange(rows), run].max(dim=-1).indices
    if tokens % _RUN:
        rest, behind = logits[:, runs * _RUN :].max(dim=-1)
        better = (rest > best) | (rest.isnan() & ~best.isnan())
        best, at = torch.where(better, rest, best), torch.where(better, runs * _RUN + behind, at)
    return best, at


def batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Indices in batches, longest first: rows of like length share a batch, and memory runs out early or never."""
    if batch_size < 1:
        raise UsageError(f"the batch size is {batch_size}; it must be at least 1")
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def pad(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Token ids (B, T), padded on the right with zeros, which nothing to their left sees."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], dtype=torch.int64, device=device)


def _prefix_cache(model: LanguageModel, prefix: Sequence[int]) -> Any:
    cache = model.new_cache(1, len(prefix))
    model.hidden(torch.tensor([list(prefix)], device=model.device), cache)
    return cache


def require_finite(model: LanguageModel, logits: Tensor) -> None:
    """NumericalError where `logits` hold NaN or infinity."""
    if not torch.isfinite(logits.sum(dtype=torch.float64)):
        raise NumericalError(not_finite(model))


def not_finite(model: LanguageModel) -> str:
    """What a NumericalError says of such logits."""
    return (
        f"{model.name}: the logits are NaN or infinite; "
        "the weights are damaged, or this precision overflows on this model"
    )
