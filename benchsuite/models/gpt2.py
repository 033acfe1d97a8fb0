"""The whole of GPT-2 (Radford et al. 2019) in one file: it reads from the configuration down to the logits.

Shapes: B batch, T tokens of this call, S tokens in the cache and of this call, C width, H heads, D = C / H,
V vocabulary.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchsuite.errors import FileFormatError, UsageError
from benchsuite.kernels import cpu
from benchsuite.kernels.attention import attend_in_c, attends_in_c
from benchsuite.models import Attention
from benchsuite.models.one_token import MOST_ROWS, OneToken, takes

WRITTEN_OUT_KEYS = 1_024  # keys of all rows together, up to which a compiled pass attends without PyTorch's kernel


@dataclass(frozen=True)
class GPT2Config:
    """The shape of a GPT-2; the defaults are the 124M model's."""

    vocab_size: int = 50_257
    n_positions: int = 1_024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    layer_norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if self.n_embd % self.n_head:
            raise FileFormatError(f"n_embd {self.n_embd} is not a multiple of n_head {self.n_head}")


CONFIGS: dict[str, GPT2Config] = {
    "distilgpt2": GPT2Config(n_layer=6),
    "gpt2": GPT2Config(),
    "gpt2-medium": GPT2Config(n_embd=1_024, n_layer=24, n_head=16),
    "gpt2-large": GPT2Config(n_embd=1_280, n_layer=36, n_head=20),
    "gpt2-xl": GPT2Config(n_embd=1_600, n_layer=48, n_head=25),
}


class BlockCache(NamedTuple):
    """What one block remembers: keys and values (B, H, capacity, D) of the rows, and (1, H, P, D) of their prefix."""

    keys: Tensor
    values: Tensor
    prefix: tuple[Tensor, Tensor] | None

    def addresses(self) -> list[int]:
        """Of keys and values, the rows' and the prefix's: 0 without one."""
        first = (0, 0) if self.prefix is None else [tensor.data_ptr() for tensor in self.prefix]
        return [self.keys.data_ptr(), self.values.data_ptr(), *first]


class KVCache:
    """Keys and values of every block, allocated once for `capacity` tokens a row.

    Rows may differ in length: a token is written at its row's own length, and a query sees the keys at or before its
    own position, so that what stands right of a shorter row (padding) is never seen and is overwritten in time.
    `prefix`, of one row, is what every row begins with: it is neither copied nor read more than once for all rows.
    """

    lengths: list[int]
    blocks: list[BlockCache]
    one_token: OneToken | None  # made by the first pass in C for these rows

    def __init__(
        self,
        config: GPT2Config,
        batch_size: int,
        capacity: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
        prefix: KVCache | None = None,
    ) -> None:
        if capacity > config.n_positions:
            raise UsageError(f"{capacity} tokens do not fit the model's context of {config.n_positions}")
        self.capacity = capacity  # tokens that a row can hold, its prefix among them
        self.shared = 0 if prefix is None else prefix.lengths[0]  # tokens of the prefix
        self.lengths, self.one_token = [self.shared] * batch_size, None
        shape = (batch_size, config.n_head, capacity - self.shared, config.n_embd // config.n_head)
        # keys and values apart, so that the allocator gives memory used before
        self.blocks = [
            BlockCache(
                torch.zeros(shape, dtype=dtype, device=device),
                torch.zeros(shape, dtype=dtype, device=device),
                None if prefix is None else prefix.first(index, self.shared),
            )
            for index in range(config.n_layer)
        ]

    def first(self, block: int, tokens: int) -> tuple[Tensor, Tensor]:
        """Keys and values (1, H, tokens, D) of a block's first tokens, of a cache of one row."""
        keys, values, _ = self.blocks[block]
        return keys.narrow(2, 0, tokens).contiguous(), values.narrow(2, 0, tokens).contiguous()

    def keep(self, rows: list[int]) -> None:
        """Keep only `rows`, in that order: finished rows leave the batch; a row named twice is copied."""
        self.blocks = [BlockCache(block.keys[rows], block.values[rows], block.prefix) for block in self.blocks]
        self.lengths, self.one_token = [self.lengths[row] for row in rows], None


class Steps(NamedTuple):
    """Where the tokens of one call stand behind the prefix: the rows' common start, else positions and the mask."""

    shared: int  # tokens of the prefix
    end: int  # keys seen by this call: S
    start: int | None = None  # None: every token stands where `positions` says
    is_causal: bool = False
    positions: Tensor | None = None  # (1 or B, T)
    mask: Tensor | None = None  # (1 or B, 1, T, S)

    @classmethod
    def behind(cls, cache: KVCache | None, tokens: int, device: torch.device) -> Steps:
        """`tokens` more behind what each row of `cache` holds."""
        shared = 0 if cache is None else cache.shared
        starts = [0] if cache is None else [length - shared for length in cache.lengths]
        start = starts[0] if len(set(starts)) == 1 else None  # None: a ragged batch
        end = max(starts) + tokens
        # the last token of an even batch sees everything; otherwise a key is seen from its own position on
        if start == 0 or (start is not None and tokens == 1):
            return cls(shared, end, start, is_causal=tokens > 1)
        first = torch.tensor(starts if start is None else starts[:1], device=device)
        positions = first[:, None] + torch.arange(tokens, device=device)
        return cls(shared, end, start, positions=positions, mask=_seen(positions, end))

    @classmethod
    def at(cls, positions: Tensor, cache: KVCache) -> Steps:
        """One token in each row, at `positions` (B,): no number and no shape that changes from token to token."""
        end = cache.capacity - cache.shared
        behind = (positions - cache.shared)[:, None]
        return cls(cache.shared, end, positions=behind, mask=_seen(behind, end))

    def starts(self, rows: int) -> Tensor:
        """Where the first token of each row stands among the keys behind the prefix, (B,), on the CPU."""
        return torch.tensor(self.start).expand(rows) if self.positions is None else self.positions[:, 0].expand(rows)


def _seen(positions: Tensor, end: int) -> Tensor:
    """Which of `end` keys each of positions (N, T) sees: (N, 1, T, end)."""
    return torch.arange(end, device=positions.device) <= positions[:, None, :, None]


class SelfAttention(nn.Module):
    """Multi-head causal self-attention."""

    def __init__(self, config: GPT2Config, attention: Attention) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.attention = attention
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)

    def forward(self, x: Tensor, steps: Steps, cache: BlockCache | None) -> Tensor:
        """Map x (B, T, C) to (B, T, C); `cache` is this block's."""
        batch, tokens, width = x.shape
        qkv = self.c_attn(x).view(batch, tokens, 3, self.n_head, width // self.n_head)  # (B, T, 3, H, D)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, H, T, D) each
        if cache is not None:
            for kept, new in ((cache.keys, k), (cache.values, v)):
                if steps.start is not None:
                    kept.narrow(2, steps.start, tokens).copy_(new)
                else:
                    rows = torch.arange(batch, device=x.device)[:, None]
                    kept[rows, :, steps.positions] = new.transpose(1, 2)
            k, v = (kept.narrow(2, 0, steps.end) for kept in (cache.keys, cache.values))  # (B, H, S, D)
        if cache is None or cache.prefix is None:
            y = self._attend(q, k, v, steps)  # (B, H, T, D)
        else:
            y = self._attend_behind(cache.prefix, q, k, v, steps)
        return self.c_proj(y.transpose(1, 2).reshape(batch, tokens, width))  # type: ignore[no-any-return]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, steps: Steps) -> Tensor:
        if self.attention == "sdpa" and attends_in_c(q):
            return attend_in_c(q, k, v, steps.starts(len(q)))[0]
        if self.attention == "sdpa" and steps.mask is not None and _compiler_attends(q, k):
            return _one_query(q, k, v, steps.mask)
        if self.attention != "eager":
            return F.scaled_dot_product_attention(q, k, v, attn_mask=steps.mask, is_causal=steps.is_causal)
        return _eager(q, k, v, steps.mask, is_causal=steps.is_causal)[0]

    def _attend_behind(self, prefix: tuple[Tensor, Tensor], q: Tensor, k: Tensor, v: Tensor, steps: Steps) -> Tensor:
        """Attention to the prefix, all rows as the queries of one, and to the row itself, weighed by their sums of
        exponentials (Juravsky et al. 2024, "Hydragen")."""
        batch, heads, tokens, size = q.shape
        together = q.transpose(0, 1).reshape(1, heads, batch * tokens, size)
        first, first_sum = self._with_sums(together, *prefix, None)
        first = first.view(heads, batch, tokens, size).transpose(0, 1)  # (B, H, T, D)
        first_sum = first_sum.view(heads, batch, tokens).transpose(0, 1)  # (B, H, T)
        own, own_sum = self._with_sums(q, k, v, steps)
        share = torch.sigmoid(first_sum - own_sum)[..., None].to(own.dtype)  # (B, H, T, 1)
        return own.lerp_(first, share)

    def _with_sums(self, q: Tensor, k: Tensor, v: Tensor, steps: Steps | None) -> tuple[Tensor, Tensor]:
        """Attention, and the logarithm (B, H, T) of the sum of its exponentials; without `steps` all keys are seen."""
        if self.attention == "sdpa" and attends_in_c(q):
            starts = torch.tensor(k.shape[2]).expand(len(q)) if steps is None else steps.starts(len(q))
            return attend_in_c(q, k, v, starts)
        attend = _flash_cpu if q.is_cpu and self.attention != "eager" else _eager
        if steps is None:
            return attend(q, k, v, None, is_causal=False)
        return attend(q, k, v, steps.mask, is_causal=steps.is_causal)


def _compiler_attends(q: Tensor, k: Tensor) -> bool:
    """Whether a compiled pass on the CPU does better with attention written out: one query each and few keys, where
    PyTorch's kernel spends more time on its start than on its work."""
    few = q.shape[2] == 1 and k.shape[0] * k.shape[2] <= WRITTEN_OUT_KEYS
    return few and q.is_cpu and torch.compiler.is_compiling() and not torch.is_grad_enabled()


def _one_query(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attention of one query a row, (B, H, 1, D), as sums that a compiler fuses, rounded as PyTorch rounds."""
    scores = (q.float() * k.float()).sum(-1, keepdim=True) / math.sqrt(q.shape[-1])  # (B, H, S, 1)
    scores = scores.masked_fill(~mask.transpose(-2, -1), float("-inf"))
    shares = (scores - scores.amax(2, keepdim=True)).exp()
    y = (shares.to(v.dtype).float() * v.float()).sum(2, keepdim=True)  # (B, H, 1, D)
    return (y / shares.sum(2, keepdim=True)).to(q.dtype)


def _eager(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, is_causal: bool) -> tuple[Tensor, Tensor]:
    """Attention (B, H, T, D) written out, and the logarithm (B, H, T) of the sum of its exponentials."""
    scores = (q @ k.transpose(-2, -1)) / math.sqrt(q.shape[-1])  # (B, H, T, S)
    if is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    total = scores.float().logsumexp(-1, keepdim=True)  # (B, H, T, 1)
    return (scores - total).exp().to(v.dtype) @ v, total.squeeze(-1)


def _flash_cpu(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, is_causal: bool) -> tuple[Tensor, Tensor]:
    """The same by the kernel behind `scaled_dot_product_attention` on CPUs, which keeps that logarithm."""
    if mask is not None:
        mask = torch.zeros(mask.shape, dtype=q.dtype).masked_fill_(~mask, float("-inf"))
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(  # type: ignore[no-any-return]
        q, k, v, is_causal=is_causal, attn_mask=mask
    )


class FeedForward(nn.Module):
    """Four times as wide inside, with the tanh form of GELU that GPT-2 was trained with."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_fc: nn.Module = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.gelu: nn.Module = nn.GELU(approximate="tanh")
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, T, C) to (B, T, C)."""
        return self.c_proj(self.gelu(self.c_fc(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and feed-forward, each behind a layer norm and added to its input."""

    def __init__(self, config: GPT2Config, attention: Attention) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = SelfAttention(config, attention)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, steps: Steps, cache: BlockCache | None) -> Tensor:
        """Map x (B, T, C) to (B, T, C)."""
        x = x + self.attn(self.ln_1(x), steps, cache)  # (B, T, C)
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]


class Embedding(nn.Embedding):
    """Rows by number, not initialised: weights always come from a state, and on the meta device nn.Embedding's own
    start would import all of torch's compiler, a second in each process."""

    def reset_parameters(self) -> None:
        """Leave the weight to whoever loads it."""


class TokenEmbedding(Embedding):
    """Tokens in, and the same weight as the head: a quantized embedding replaces both at once."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden states (..., C)."""
        return cpu.linear(hidden, self.weight)


class GPT2(nn.Module):
    """GPT-2 with a tied head. Weights keep the hub's names, each linear transposed to (out, in)."""

    def __init__(self, config: GPT2Config, *, attention: Attention = "sdpa") -> None:
        super().__init__()
        self.config = config
        self.attention = attention
        self.kernels: dict[str, int] = {}  # layers by the kernel that runs, once `prepare` has chosen it
        self.in_rows = self._in_c = False  # how weights are held, and whether one token of a row goes through C
        self.wte = TokenEmbedding(config.vocab_size, config.n_embd)
        self.wpe = Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(Block(config, attention) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def forward(self, input_ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """Logits (B, T, V) of every token of `input_ids` (B, T)."""
        return self.head(self.hidden(input_ids, cache))

    def hidden(self, input_ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """The last block's output behind the final layer norm, (B, T, C).

        With a cache the tokens follow what it holds, and their keys and values are added to it; a call with ragged
        prompts padded on the right is followed by setting `cache.lengths` to the true lengths.
        """
        tokens = input_ids.shape[1]
        steps = Steps.behind(cache, tokens, input_ids.device)
        limit = self.config.n_positions if cache is None else cache.capacity
        if steps.shared + steps.end > limit:
            raise _too_long(steps.shared + steps.end, limit)
        x = self._through(input_ids, steps, cache)
        if cache is not None:
            cache.lengths = [length + tokens for length in cache.lengths]
        return x

    def step(self, tokens: Tensor, positions: Tensor, cache: KVCache) -> Tensor:
        """Hidden states (B, C) of one token (B,) in each row of `cache`, at `positions` (B,).

        All that changes from token to token is in tensors, as torch.compile and CUDA graphs want it: the whole of the
        cache's capacity is attended to, masked, and its `lengths` stay as they are.
        """
        return self._through(tokens[:, None], Steps.at(positions, cache), cache)[:, 0]

    def _through(self, input_ids: Tensor, steps: Steps, cache: KVCache | None) -> Tensor:
        end = steps.shared + steps.end
        at = slice(end - input_ids.shape[1], end) if steps.positions is None else steps.shared + steps.positions
        x = self.wte(input_ids) + self.wpe.weight[at]  # (B, T, C)
        with _kernels(self.attention):
            for index, block in enumerate(self.h):
                x = block(x, steps, None if cache is None else cache.blocks[index])
        return self.ln_f(x)  # type: ignore[no-any-return]

    def next_tokens(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """The most likely tokens (B,) behind `tokens` (B,), which are added to the rows of `cache`; -1 for a row whose
        logits are not finite. By loops in C: only where `runs_in_c`.
        """
        if max(cache.lengths) == cache.capacity:
            raise _too_long(cache.capacity + 1, cache.capacity)
        positions = torch.tensor(cache.lengths)
        x = self.wte(tokens) + self.wpe.weight[positions]  # (B, C)
        if cache.one_token is None:
            cache.one_token = OneToken(self, cache)
        cache.lengths = [length + 1 for length in cache.lengths]
        return cache.one_token(x, positions)

    def runs_in_c(self, rows: int) -> bool:
        """Whether `next_tokens` takes a batch of so many rows, as weights are held now."""
        return self._in_c and rows <= MOST_ROWS

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden states (..., C): the token embedding once more."""
        return self.wte.logits(hidden)

    def new_cache(self, batch_size: int, capacity: int, prefix: KVCache | None = None) -> KVCache:
        """A cache that holds nothing but the one row of `prefix`; dtype and device are the activations'."""
        weight = self.wpe.weight
        return KVCache(self.config, batch_size, capacity, dtype=weight.dtype, device=weight.device, prefix=prefix)

    def prepare(self, device: str) -> None:
        """Swap the linear layers for the fastest that compute the same here; `kernels` counts them. For inference."""
        from benchsuite.kernels.prepare import prepare

        self.kernels = prepare(self, device)
        for layer in self.modules():
            if isinstance(layer, FeedForward) and isinstance(layer.c_fc, cpu.PreparedLinear):
                layer.c_fc.fuse_gelu()
                layer.gelu = nn.Identity()

    def lay_out(self, *, one_token: bool) -> None:
        """Hold prepared weights as passes of one token a row read them fastest, where loops in C take the model; else
        as the table chose.
        """
        self._in_c = one_token and bool(self.kernels) and takes(self)
        self.hold(in_rows=self._in_c)

    def hold(self, *, in_rows: bool) -> None:
        """Hold prepared weights in rows, or packed as the table chose."""
        if in_rows != self.in_rows:
            for layer in self.modules():
                if isinstance(layer, cpu.PackedLinear | cpu.Int8Linear):
                    layer.unpack() if in_rows else layer.pack()
            self.in_rows = in_rows


def _too_long(tokens: int, limit: int) -> UsageError:
    return UsageError(f"{tokens} tokens do not fit {limit} positions; shorten the prompt or generate fewer")


def _kernels(attention: Attention) -> contextlib.AbstractContextManager[None]:
    """Force the flash kernel where it was asked for; otherwise PyTorch chooses."""
    return sdpa_kernel(SDPBackend.FLASH_ATTENTION) if attention == "flash" else contextlib.nullcontext()


def random_state(config: GPT2Config, *, seed: int = 0) -> dict[str, Tensor]:
    """Seeded random weights as GPT-2 was initialised: N(0, 0.02), residual projections narrower by sqrt(2 · layers)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in GPT2(config).state_dict().items()}
    state = {}
    for key, shape in shapes.items():
        if key.endswith("bias"):
            state[key] = torch.zeros(shape)
        elif ".ln_" in f".{key}":
            state[key] = torch.ones(shape)
        else:
            std = 0.02 / math.sqrt(2 * config.n_layer) if key.endswith("c_proj.weight") else 0.02
            state[key] = torch.empty(shape).normal_(0, std, generator=generator)
    return state


def from_state(state: Mapping[str, Tensor], config: GPT2Config, *, attention: Attention = "sdpa") -> GPT2:
    """A GPT2 that takes the tensors of `state` as they are (no copy), in evaluation mode, without gradients."""
    with torch.device("meta"):
        model = GPT2(config, attention=attention)
    model.load_state_dict(state, assign=True)
    return model.requires_grad_(False).eval()
