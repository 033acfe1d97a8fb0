"""How far a precision strays from the reference precision of the same model, token by token.

The figures are those of llama.cpp's `llama-perplexity --kl-divergence`: the Kullback-Leibler divergence of the
predictions, its quantiles, how often both find the same token most likely, and what became of the right token's
probability. Both models are resident and walk the text together, so that no logits are stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchsuite.data.examples import Examples
from benchsuite.errors import UsageError
from benchsuite.evals import evaluation
from benchsuite.evals.evaluation import Evaluation, Progress, quiet
from benchsuite.evals.perplexity import SEPARATOR, joined
from benchsuite.evals.windows import Window, sliding
from benchsuite.models import language_model
from benchsuite.models.language_model import LanguageModel, pad, require_finite
from benchsuite.record import Better, Metric

QUANTILES = (0.1, 1, 5, 50, 95, 99, 99.9)  # per cent


def evaluate(
    model: LanguageModel,
    examples: Examples,
    *,
    reference: LanguageModel,
    batch_size: int,
    progress: Progress = quiet,
) -> Evaluation:
    """Divergence of `model` from `reference`, both with the same tokenizer, over the windows of token perplexity.

    Windows of one document are one cluster of the intervals. Raises UsageError for models that do not read the same
    tokens, DataError where there is nothing to score, NumericalError for NaN or infinite logits.
    """
    if model.tokenizer.fingerprint() != reference.tokenizer.fingerprint():
        raise UsageError(
            f"{model.name} and {reference.name} have different tokenizers; compare precisions of one model"
        )
    stream, clusters = joined(model, examples)
    context = min(model.n_positions, reference.n_positions)
    plan = sliding(len(stream), context, context)
    columns: list[NDArray[np.float64]] = []  # of each batch (3, N): divergence, same token, change of probability
    for at in range(0, len(plan), batch_size):
        columns.append(_batch(model, reference, stream, plan[at : at + batch_size]))
        progress(min(at + batch_size, len(plan)), len(plan))
    divergence, same, change = np.concatenate(columns, axis=1)
    edges = np.cumsum([window.scored for window in plan])[:-1]
    cluster = np.array([clusters[window.first] for window in plan], dtype=np.int64)

    def mean(figures: NDArray[np.float64], unit: str, better: Better) -> Metric:
        return evaluation.mean_of_windows(np.split(figures, edges), cluster, unit, better)

    quantiles = np.quantile(divergence, [share / 100 for share in QUANTILES])
    return Evaluation(
        {
            "kl_mean": mean(divergence, "nats", "lower"),
            **{
                f"kl_p{share}": Metric(float(value), "nats", "lower", n=divergence.size)
                for share, value in zip(QUANTILES, quantiles, strict=True)
            },
            "agreement": mean(same, "share", "higher"),
            "correct_probability_change": mean(change, "probability", "higher"),
            "correct_probability_change_rms": Metric(
                float(np.sqrt(np.square(change).mean())), "probability", "lower", n=change.size
            ),
        },
        protocol={
            "window": context,
            "stride": context,
            "separator": SEPARATOR,
            "reference": "the same weights" if reference.fingerprint == model.fingerprint else reference.fingerprint,
        },
        items=tuple(
            {
                "prompt": model.tokenizer.decode(stream[window.begin : window.first]),
                "answer": model.tokenizer.decode(stream[window.first : window.end]),
                "kl": float(part[0].mean()),
                "agreement": float(part[1].mean()),
            }
            for window, part in zip(plan, np.split(np.stack([divergence, same]), edges, axis=1), strict=True)
        ),
        excluded=dict(examples.excluded),
        details={"tokens": len(stream)},
    )


@torch.inference_mode()
def _batch(
    model: LanguageModel, reference: LanguageModel, stream: Sequence[int], windows: Sequence[Window]
) -> NDArray[np.float64]:
    """The three figures (3, N) of every scored token of some windows, logits for `HEAD_ROWS` of them at a time."""
    for each in (reference, model):
        language_model.lay_out(each, one_token=False)
    rows = [stream[window.begin : window.end - 1] for window in windows]
    states = [
        torch.cat([hidden[: len(row)] for hidden, row in zip(each.hidden(pad(rows, each.device)), rows, strict=True)])
        for each in (reference, model)
    ]  # (N, C) each
    targets = torch.tensor([token for window in windows for token in stream[window.first : window.end]])  # (N,)
    rows_at_once = language_model.HEAD_ROWS
    found = []
    for start in range(0, len(targets), rows_at_once):
        part = slice(start, start + rows_at_once)
        wanted, candidate = (
            each.head(state[part]).float() for each, state in zip((reference, model), states, strict=True)
        )  # (n, V)
        require_finite(reference, wanted)
        require_finite(model, candidate)
        found.append(compare(wanted, candidate.to(wanted.device), targets[part].to(wanted.device)).cpu().numpy())
    return np.concatenate(found, axis=1)


def compare(wanted: Tensor, candidate: Tensor, targets: Tensor) -> Tensor:
    """Figures (3, n) in float64 from logits (n, V) in float32: divergence, same most likely token, probability change.

    With p the reference's probabilities and d the difference of the logits, KL = log Σ p exp(d - Σ p d), which keeps
    its digits where both nearly agree: nothing large is subtracted.
    """
    log_p, log_q = wanted.log_softmax(dim=-1), candidate.log_softmax(dim=-1)  # (n, V) each
    p = log_p.exp()  # (n, V)
    best = wanted.argmax(dim=-1)  # (n,)
    difference = candidate - wanted  # (n, V)
    difference -= difference.gather(-1, best[:, None])  # a shift of all alike: p sums to 1 but nearly
    difference -= (p * difference).sum(dim=-1, keepdim=True)
    divergence = torch.log1p((p * difference.expm1()).sum(dim=-1).double())  # (n,)
    rows = torch.arange(len(targets), device=wanted.device)
    far = ~divergence.isfinite()  # exp overflowed: the two hardly agree at all, and plain subtraction has digits enough
    if far.any():
        divergence[far] = (p[far] * (log_p[far] - log_q[far])).sum(dim=-1).double()
    change = log_q[rows, targets].double().exp() - log_p[rows, targets].double().exp()  # (n,)
    same = best == candidate.argmax(dim=-1)  # (n,)
    return torch.stack([divergence.clamp(min=0), same.double(), change])
