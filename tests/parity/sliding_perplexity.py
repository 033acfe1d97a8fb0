"""Token perplexity as the documentation of transformers computes it, "Perplexity of fixed-length models"."""

from __future__ import annotations

import math

import torch
import transformers


def sliding_perplexity(model: transformers.GPT2LMHeadModel, ids: list[int], context: int, stride: int) -> float:
    """Perplexity per token of `ids`, in windows of `context` tokens that move on by `stride`."""
    nll_sum, n_tokens, prev_end_loc = 0.0, 0, 0
    for begin_loc in range(0, len(ids), stride):
        end_loc = min(begin_loc + context, len(ids))
        input_ids = torch.tensor([ids[begin_loc:end_loc]])
        target_ids = input_ids.clone()
        target_ids[:, : -(end_loc - prev_end_loc)] = -100
        with torch.no_grad():
            loss = model(input_ids, labels=target_ids).loss
        num_loss_tokens = int((target_ids != -100).sum()) - 1
        nll_sum += float(loss) * num_loss_tokens
        n_tokens += num_loss_tokens
        prev_end_loc = end_loc
        if end_loc == len(ids):
            break
    return math.exp(nll_sum / n_tokens)
