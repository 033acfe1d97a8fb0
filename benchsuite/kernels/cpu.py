"""Linear layers for the CPU whose weight is held once, in the layout that the fastest product wants.

They infer only (no gradient), and no plain copy of the weight stays beside the packed one.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchsuite.device import has_amx, is_intel
from benchsuite.kernels import in_c
from benchsuite.kernels.table import Capability
from benchsuite.opaque import opaque
from benchsuite.quant.around import finish
from benchsuite.quant.products import int8_is_exact, int8_matmul, quantize_activations
from benchsuite.rows import by_rows, is_compiled_token

NARROW = 384  # columns up to which MKL multiplies the head faster than oneDNN, however many the tokens
FEW_TOKENS = 32  # up to here a bf16 head is the operand on the left with AMX, which reorders the one on the right
MANY_TOKENS = 128  # from here on it is reordered and multiplied in runs of rows
REORDERED_ROWS = 8192  # of such a run: 12 MB of GPT-2's
FLOAT_TOKENS_IN_C = 16  # up to here our loops multiply a float32 weight faster than oneDNN
LONG, LONG_NARROW = 512, 64  # tokens from which on MKL does, in all layers and in narrow ones; neither with AMX
INT8_TOKENS_IN_C = 16  # up to here they multiply int8 codes in rows faster than PyTorch
INT8_ROWS = 512  # rows whose codes, sums and scaled results stay in the caches together
CACHED_TOKENS = (
    64  # up to here int8 and bfloat16 weights become floats run of rows by run; from there larger runs are faster
)
CACHED_WEIGHTS = 2**18  # of such a run: one MiB of float32
WIDE_WEIGHTS = 2**22  # of a run for many tokens: all of a layer of the 124M model, a part of its head


@functools.cache
def capabilities() -> frozenset[Capability]:
    """What this processor and this PyTorch have: asked of PyTorch, and of products of packed codes by trying them."""
    from benchsuite.kernels.int4 import int4_is_right

    found: set[Capability] = set()
    if in_c.has_rows():
        found.add("c")
    if torch.backends.cpu.get_cpu_capability() != "DEFAULT" and int4_is_right("cpu"):
        found.add("int4")
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        found.add("onednn")
        if has_bf16():
            found.add("bf16")
    if int8_is_exact() and ("onednn" not in found or _packed_int8_is_exact()):
        found.add("exact_int8")
    if has_amx():
        found.add("amx")
    if is_intel() and torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        found.add("mkl")
    return frozenset(found)


@functools.cache
def has_bf16() -> bool:
    """Whether the processor itself multiplies bfloat16: with AVX-512 alone oneDNN does it too, in three times the time
    that float32 takes."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    in_software = torch.cpu._is_avx512_supported() and not torch.cpu._is_avx512_bf16_supported()
    return available and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and not in_software


@torch.inference_mode()
def _packed_int8_is_exact() -> bool:
    """Whether oneDNN's product of packed codes is that of whole numbers, for one token and for more, and whether the
    codes come back as they were."""
    codes = torch.randint(-127, 128, (64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.int8)
    codes[0] = 127
    wanted = (codes.int() @ codes.int().t()).float()
    try:
        layer = Int8Linear(codes, torch.ones(1), None)
        given = layer.scale, layer.zero_point, layer.codes, None, "none", ""
        many, one = (_onednn_int8_linear(rows, None, *given) for rows in (codes, codes[:1]))
        layer.unpack()
    except (AttributeError, RuntimeError):  # a PyTorch without these operators
        return False
    return torch.equal(many, wanted) and torch.equal(one, wanted[:1]) and torch.equal(layer.codes, codes)


def packs_int8() -> bool:
    """Whether oneDNN multiplies codes in its own layout faster than in rows: with AMX, and where no loops of ours take
    single tokens. On Ice Lake a prompt of 1,024 takes 471 ms in rows and 569 packed, one of 16 18 and 20.
    """
    return "amx" in capabilities() or "c" not in capabilities()


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x (..., in) times weight (out, in) transposed, the weight as it is: for the head, which is the embedding too."""
    return by_rows(x, weight).to(x.dtype) if is_compiled_token(x, weight.shape[1]) else _linear(x, weight)


@opaque(lambda x, weight: x.new_empty(*x.shape[:-1], weight.shape[0]))
def _linear(x: Tensor, weight: Tensor) -> Tensor:
    """oneDNN takes the weight without a copy. But with AMX it reorders a bf16 weight in every call: for one token
    PyTorch's own matrix-vector product streams it, for a few the tokens are reordered in its place. For many it goes
    through in runs of rows that stay in the cache. On Intel our loops are faster for a few tokens, without AMX; else
    MKL for one token and for narrow models. bfloat16 that the processor does not multiply becomes float32 in the cache.
    With gradients, on another device or in another dtype it is F.linear.
    """
    if not x.is_cpu or torch.is_grad_enabled():
        return F.linear(x, weight)
    if not _onednn_takes(weight.dtype):
        if weight.dtype != torch.bfloat16:
            return F.linear(x, weight)
        return _widened(x.reshape(-1, weight.shape[1]), weight).to(x.dtype).view(*x.shape[:-1], weight.shape[0])
    tokens = x.numel() // weight.shape[1]
    one_token = tokens == 1
    if weight.dtype == torch.bfloat16 and tokens <= FEW_TOKENS and "amx" in capabilities():
        y = torch.mv(weight, x.view(-1)) if one_token else (weight @ x.reshape(-1, x.shape[-1]).t()).t().contiguous()
        return y.view(*x.shape[:-1], weight.shape[0])
    if weight.dtype == torch.bfloat16 and tokens >= MANY_TOKENS:
        y = x.new_empty(*x.shape[:-1], weight.shape[0])
        for start in range(0, weight.shape[0], REORDERED_ROWS):
            run = slice(start, start + REORDERED_ROWS)
            y[..., run] = torch.ops.mkldnn._linear_pointwise(x, weight[run], None, "none", [], "")
        return y
    if weight.dtype == torch.float32 and _few_in_c(tokens):
        y = in_c.multiply_rows(x.reshape(tokens, weight.shape[1]), weight)
        return y.view(*x.shape[:-1], weight.shape[0])
    if weight.dtype == torch.float32 and "mkl" in capabilities() and (one_token or weight.shape[1] <= NARROW):
        return F.linear(x, weight)
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")  # type: ignore[no-any-return]


def _few_in_c(tokens: int) -> bool:
    """Whether our loops are the fastest for so many tokens and a float32 weight in rows: on Intel, without AMX."""
    found = capabilities()
    return tokens <= FLOAT_TOKENS_IN_C and {"c", "mkl"} <= found and "amx" not in found


@opaque(lambda x, weight: x.new_empty(x.shape[0], weight.shape[0]))
def times(x: Tensor, weight: Tensor) -> Tensor:
    """x (N, in) times weight (out, in) transposed, of a weight that was made for this product: MKL on Intel and for
    narrow ones, else oneDNN, which takes a few tokens in half of MKL's time on AMD.
    """
    is_wide = x.dtype == torch.float32 and x.shape[1] > NARROW
    if is_wide and "onednn" in capabilities() and "mkl" not in capabilities():
        return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")  # type: ignore[no-any-return]
    return F.linear(x, weight)


@opaque(lambda x, out, *_: x.new_empty(*x.shape[:-1], out))
def _onednn_linear(x: Tensor, out: int, weight: Tensor, bias: Tensor | None, post: str, algorithm: str) -> Tensor:  # noqa: ARG001
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, post, [], algorithm)  # type: ignore[no-any-return]


@opaque(lambda codes, _, weight_scale, *__: codes.new_empty(*codes.shape[:-1], len(weight_scale), dtype=torch.float32))
def _onednn_int8_linear(
    codes: Tensor,
    scale: Tensor | None,
    weight_scale: Tensor,
    zero_point: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    post: str,
    algorithm: str,
) -> Tensor:
    factor, middle = 1.0 if scale is None else float(scale), 0
    if not has_amx():
        # VNNI multiplies unsigned by signed codes: given two signed ones oneDNN takes its reference, for minutes. The
        # sums are the same, since oneDNN subtracts each weight 128 times
        codes, middle = codes.view(torch.uint8) ^ 128, 128
    return torch.ops.onednn.qlinear_pointwise(  # type: ignore[no-any-return]
        codes, factor, middle, weight, weight_scale, zero_point, bias, 1.0, 0, torch.float32, post, [], algorithm
    )


@opaque(lambda x, weight, *_: x.new_empty(*x.shape[:-1], weight.shape[0]))
def _rows_linear(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    """gelu?(x (..., in) times weight (out, in) transposed + bias), of some tokens and float32 on Intel."""
    tokens = x.numel() // weight.shape[1]
    few = _few_in_c(tokens)
    long = LONG if weight.shape[1] > NARROW else LONG_NARROW
    if not few and (tokens < long or "amx" in capabilities()):
        return _onednn_linear(x, len(weight), weight, bias, *_post(gelu))
    rows = x.reshape(tokens, weight.shape[1])
    y = in_c.multiply_rows(rows, weight) if few else F.linear(rows, weight)
    finish(y, None, None, bias, y, gelu=gelu)
    return y.view(*x.shape[:-1], len(weight))


def _post(gelu: bool) -> tuple[str, str]:
    """What oneDNN calls GELU in its tanh form, or nothing, behind a product."""
    return ("gelu", "tanh") if gelu else ("none", "")


class PreparedLinear(nn.Module):
    """y = gelu?(x Wᵀ + b): what all of these layers have."""

    bias: Tensor | None

    def __init__(self, out_features: int, in_features: int, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features, self.gelu = out_features, in_features, False
        self.register_buffer("bias", None if bias is None else bias.detach())

    def fuse_gelu(self) -> None:
        """Apply GELU in its tanh form to every result from now on."""
        self.gelu = True

    def finished(self, sums: Tensor, x: Tensor) -> Tensor:
        """Results (..., out) of tokens x (..., in), in their dtype, from sums float32 (N, out), which may be lost."""
        y = sums if x.dtype == torch.float32 else sums.new_empty(sums.shape, dtype=x.dtype)
        finish(sums, None, None, None if self.bias is None else self.bias.float(), y, gelu=self.gelu)
        return y.view(*x.shape[:-1], self.out_features)


class PlainLinear(PreparedLinear):
    """y = gelu?(x Wᵀ + b) in float32, the weight (out, in) as it is, on Intel: one token and many through MKL, a few
    through our loops in C, those between through oneDNN.
    """

    weight: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight.shape[0], weight.shape[1], bias)
        self.register_buffer("weight", weight.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out)."""
        if is_compiled_token(x, self.in_features):
            return self._compiled(x)
        if x.numel() == self.in_features:
            return _with_gelu(F.linear(x, self.weight, self.bias), self.gelu)
        return _rows_linear(x, self.weight, self.bias, self.gelu)

    def _compiled(self, x: Tensor) -> Tensor:
        y = by_rows(x, self.weight)
        return _with_gelu(y if self.bias is None else y + self.bias, self.gelu).to(x.dtype)


class WidenedLinear(PlainLinear):
    """y = gelu?(x Wᵀ + b) in bfloat16 where the processor does not multiply that: summed in float32, rounded once.

    The weight (out, in) stays in rows, and becomes float32 run of rows by run of rows.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out) in the dtype of x."""
        if is_compiled_token(x, self.in_features):
            return self._compiled(x)
        return self.finished(_widened(x.reshape(-1, self.in_features), self.weight), x)


class PackedLinear(PlainLinear):
    """y = gelu?(x Wᵀ + b) in float32 or bfloat16, the weight (out, in) in oneDNN's layout: always through oneDNN.

    For a compiled pass of one token the weight is unpacked; oneDNN then reorders it in any other call.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        self.is_packed = False
        self.pack()

    def pack(self) -> None:
        """Hold the weight in oneDNN's layout, in bfloat16 in that for one row: in the one that it would take, oneDNN
        gives some hundred rows times a narrow weight to one thread alone.
        """
        if not self.is_packed:
            rows = 1 if self.weight.dtype == torch.bfloat16 else None
            self.weight, self.is_packed = torch.ops.mkldnn._reorder_linear_weight(self.weight, rows), True

    def unpack(self) -> None:
        """Hold the weight in rows."""
        if self.is_packed:
            self.weight, self.is_packed = self.weight.to_dense(), False

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out)."""
        if not self.is_packed and is_compiled_token(x, self.in_features):
            return self._compiled(x)
        return _onednn_linear(x, self.out_features, self.weight, self.bias, *_post(self.gelu))


class Int8Linear(PreparedLinear):
    """`w8a8`: int8 weights (out, in) with a scale per row, activations in int8 with a scale per token, exact sums.

    With `packs` the weight is prepacked by oneDNN. A single row's scale, the bias and GELU are part of the product; for
    more rows oneDNN knows only one scale, so theirs follow it. In rows a few tokens go through our loops in C, many
    through PyTorch's own int8 product; in a compiled pass of one token sums are float32's.
    """

    codes: Tensor
    scale: Tensor
    zero_point: Tensor

    def __init__(self, codes: Tensor, scale: Tensor, bias: Tensor | None, *, packs: bool = True) -> None:
        super().__init__(codes.shape[0], codes.shape[1], None if bias is None else bias.float())
        self.packs, self.in_c = packs, in_c.has_rows()
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale.float().expand(self.out_features, 1).reshape(-1).contiguous())
        self.register_buffer("zero_point", torch.zeros(self.out_features, dtype=torch.int8))
        self.is_packed = False
        self.pack()

    def pack(self) -> None:
        """Hold the codes in oneDNN's layout, if ever."""
        if self.packs and not self.is_packed:
            self.codes, self.is_packed = torch.ops.onednn.qlinear_prepack(self.codes, None), True

    def unpack(self) -> None:
        """Hold the codes in rows."""
        if self.is_packed:
            self.codes, self.is_packed = self.codes.to_dense().t().contiguous(), False

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out) in the dtype of x."""
        rows = x.reshape(-1, self.in_features)  # (N, in)
        if self.is_packed and rows.shape[0] == 1:
            codes, scale = quantize_activations(rows)
            y = _onednn_int8_linear(codes, scale, self.scale, self.zero_point, self.codes, self.bias, *_post(self.gelu))
        elif is_compiled_token(rows, self.in_features):
            y = self._compiled(rows)
        elif self.in_c and not self.is_packed and rows.shape[0] <= INT8_TOKENS_IN_C:
            return self.finished(in_c.multiply_rows(rows, self.codes, self.scale, rounds=True), x)
        else:
            y = x.new_empty(rows.shape[0], self.out_features)
            for run, place in zip(torch.split(rows, INT8_ROWS), torch.split(y, INT8_ROWS), strict=True):
                self._multiply(run, place)
        return y.to(x.dtype).view(*x.shape[:-1], self.out_features)

    def _compiled(self, x: Tensor) -> Tensor:
        codes, scale = quantize_activations(x)  # (1, in), (1, 1)
        y = by_rows(codes, self.codes) * self.scale * scale
        return _with_gelu(y if self.bias is None else y + self.bias, self.gelu)

    @torch.no_grad()
    def _multiply(self, x: Tensor, out: Tensor) -> None:
        """Write what x (N, in) is mapped to into `out` (N, out)."""
        codes, scale = quantize_activations(x)  # (N, in), (N, 1)
        if self.is_packed:
            sums = _onednn_int8_linear(codes, None, self.scale, self.zero_point, self.codes, None, "none", "")
        else:
            sums = int8_matmul(codes, self.codes)
        row_scale = None if self.is_packed else self.scale
        finish(sums, scale, row_scale, self.bias, out, gelu=self.gelu)


class Int8WeightLinear(PreparedLinear):
    """Int8 codes (out, in) times activations as they are; the rows' scales, and the zero points, follow the sums.

    w = code · scale + offset. The codes become floats on the way, for few tokens a run of rows at a time: floats that
    stay in the cache cost less than a weight that is read at their width.
    """

    codes: Tensor
    scale: Tensor
    offset: Tensor | None

    def __init__(self, codes: Tensor, scale: Tensor, offset: Tensor | None, bias: Tensor | None) -> None:
        super().__init__(codes.shape[0], codes.shape[1], bias)
        self.in_c = in_c.has_rows()
        shape = (self.out_features, 1)
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale.float().expand(shape).reshape(-1).contiguous())
        self.register_buffer(
            "offset", None if offset is None else offset.float().expand(shape).reshape(-1).contiguous()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out) in the dtype of x."""
        rows = x.reshape(-1, self.in_features)  # (N, in)
        if self.in_c and rows.shape[0] <= in_c.FEW_TOKENS and not is_compiled_token(rows, self.in_features):
            y = in_c.multiply_rows(rows, self.codes, self.scale, self.offset, None)
        else:
            y = self._sums(rows).mul_(self.scale)  # (N, out)
            if self.offset is not None:
                y.addcmul_(rows.sum(1, keepdim=True), self.offset.to(x.dtype))
        return self.finished(y.float(), x)

    def _sums(self, rows: Tensor) -> Tensor:
        if is_compiled_token(rows, self.in_features):
            return by_rows(rows, self.codes).to(rows.dtype)
        return in_runs(rows, self.codes)


def _widened(x: Tensor, weight: Tensor) -> Tensor:
    """x (N, in) times weight (out, in) transposed, both bfloat16, in float32 (N, out)."""
    if x.shape[0] > in_c.FEW_TOKENS:
        return in_runs(x.float(), weight)
    return in_c.multiply_rows(x, weight) if in_c.has_rows() else F.linear(x, weight).float()


def in_runs(x: Tensor, weight: Tensor) -> Tensor:
    """x (N, in) times weight (out, in) transposed, which takes the dtype of x run of rows by run of rows: (N, out)."""
    weights = CACHED_WEIGHTS if x.shape[0] <= CACHED_TOKENS else WIDE_WEIGHTS
    step = max(1, weights // weight.shape[1])
    y = torch.empty(x.shape[0], weight.shape[0], dtype=x.dtype)
    for start in range(0, weight.shape[0], step):
        run = slice(start, start + step)
        y[:, run] = times(x, weight[run].to(x.dtype))
    return y


def _with_gelu(y: Tensor, gelu: bool) -> Tensor:
    return F.gelu(y, approximate="tanh") if gelu else y


@functools.cache
def _onednn_takes(dtype: torch.dtype) -> bool:
    return "onednn" in capabilities() and (
        dtype == torch.float32 or (dtype == torch.bfloat16 and "bf16" in capabilities())
    )
